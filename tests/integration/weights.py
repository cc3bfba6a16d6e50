"""What the real tests look at and change inside a loaded model."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.llms.protocol import Agent


def replace_weights(model: Path, how: Literal["noise", "same"]) -> None:
    """Give a copied model a weights file of its own: destroyed, or the same once more."""
    import torch
    from safetensors.torch import load_file, save_file

    path = model / "model.safetensors"
    weights = load_file(path)
    if how == "noise":
        generator = torch.Generator().manual_seed(0)
        weights = {
            name: (torch.randn(weight.shape, generator=generator) * 0.05).to(weight.dtype)
            for name, weight in weights.items()
        }
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})


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
