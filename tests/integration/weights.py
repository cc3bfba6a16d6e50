"""What the real tests look at and change inside a loaded model."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from llm_backend.llms.agent import Agent


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks and threads run until ``condition`` holds; a test where it never does fails instead of hanging.

    Raises:
        TimeoutError: it did not hold within 30 seconds, which is far more than anything here takes.

    """
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  (threads and hooks change it, which set no event)
            await asyncio.sleep(0.001)


async def give_up_while_loading(load: Coroutine[Any, Any, Any]) -> None:
    """Start to load an agent, and cancel that while the weights are being read."""
    from llm_backend.llms.engines.huggingface import loaded_models as huggingface_registry

    task = asyncio.create_task(load)
    await until(huggingface_registry._LOCK.locked)  # noqa: SLF001
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not huggingface_registry._LOCK.locked())  # noqa: SLF001


def own_weights(model: Path) -> Path:
    """Give a copied model a weights file of its own, so that its memory pages count for it alone."""
    path = model / "model.safetensors"
    original = path.resolve()
    path.unlink()
    shutil.copyfile(original, path)
    return path


def destroy_weights(model: Path) -> None:
    """Give a copied model a weights file in which every number is shifted by one place."""
    from safetensors.torch import load_file, save_file

    path = model / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    save_file({name: weight.roll(1) for name, weight in weights.items()}, path, metadata={"format": "pt"})


def drop_weight(model: Path, name: str) -> None:
    """Give a copied model a weights file that lacks one weight."""
    from safetensors.torch import load_file, save_file

    path = model / "model.safetensors"
    weights = load_file(path)
    del weights[name]
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})


def loaded_models() -> frozenset[int]:
    """The ids of the models in memory."""
    from llm_backend.llms.engines.huggingface import loaded_models as huggingface_registry

    return frozenset(id(entry.loaded.model) for entry in huggingface_registry._models.values())  # noqa: SLF001


@dataclass
class Passes:
    """How often a model was run."""

    count: int = 0


def count_forward_passes(agent: Agent) -> AbstractContextManager[Passes]:
    """Count how often the model behind ``agent`` is run; each token takes one run."""
    return count_passes(agent._loaded.model)  # type: ignore[attr-defined]  # noqa: SLF001


@contextmanager
def count_passes(model: Any) -> Iterator[Passes]:
    """Count how often ``model`` is run, whoever runs it."""
    passes = Passes()

    def count(*_: Any) -> None:
        passes.count += 1

    hook = model.register_forward_pre_hook(count)
    yield passes
    hook.remove()
