"""What the real tests look at and change inside a loaded model."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.llms.protocol import Agent


def own_weights(model: Path) -> Path:
    """Give a copied model a weights file of its own, whose pages in memory are counted anew."""
    path = model / "model.safetensors"
    original = path.resolve()
    path.unlink()
    shutil.copyfile(original, path)
    return path


def destroy_weights(model: Path) -> None:
    """Give a copied model a weights file in which every number stands one place from where it belongs."""
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
    """The identities of the models in memory."""
    from backend.llms.engines import huggingface_model

    return frozenset(id(loaded.model) for loaded in huggingface_model._models.values())  # noqa: SLF001


@dataclass
class Passes:
    """How often a model was run."""

    count: int = 0


@contextmanager
def count_forward_passes(agent: Agent) -> Iterator[Passes]:
    """Count how often the model behind ``agent`` is run; each token takes one run."""
    passes = Passes()

    def count(*_: Any) -> None:
        passes.count += 1

    hook = agent._loaded.model.register_forward_pre_hook(count)  # type: ignore[attr-defined]  # noqa: SLF001
    yield passes
    hook.remove()
