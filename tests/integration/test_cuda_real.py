"""What is different on a GPU. Without one these tests skip, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.integration.questions import FACT, QUESTION

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

pytestmark = pytest.mark.requires("llm", "model", "cuda")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Any]]"
Ask: TypeAlias = "Callable[..., Any]"


async def test_gpu_is_chosen_and_answers(load: Load, ask: Ask) -> None:
    """With a free GPU the model runs there, and answers correctly."""
    async with await load() as agent:
        answer = await agent.invoke(ask(QUESTION))
    assert answer.metadata["device"] == "cuda:0"
    assert answer.response == FACT


async def test_gpu_memory_comes_back(load: Load, ask: Ask, model_copy: Path) -> None:
    """The weights leave the GPU's memory when the last agent of a model closes.

    The first cycle leaves cuBLAS the workspace of its thread, 32 MiB on an H200; the next thread takes that over.
    """
    import torch

    weights = (model_copy / "model.safetensors").stat().st_size
    before = torch.cuda.memory_reserved()
    held, left = [], []
    for _ in range(3):
        async with await load(model_copy) as agent:
            await agent.invoke(ask(QUESTION, max_new_tokens=2))
            held.append(torch.cuda.memory_reserved() - before)
        left.append(torch.cuda.memory_reserved() - before)
    assert min(held) > weights / 2, "the packaged model's other agent has weights of its own"
    assert left[0] < weights / 4
    assert left[1:] == [left[0]] * 2


async def test_cpu_can_be_chosen(load: Load, ask: Ask, tmp_path: Path) -> None:
    """A model that is told to run on the CPU does so."""
    (tmp_path / "config.toml").write_text("[agent]\ndevice = 'cpu'\n")
    async with await load(use_config=True) as agent:
        answer = await agent.invoke(ask(QUESTION, max_new_tokens=2))
    assert answer.metadata["device"] == "cpu"


@pytest.mark.requires("llm", "model", "cuda", "quantization")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("quantization", ["int8", "int4"])
async def test_quantised_model_on_a_gpu(load: Load, ask: Ask, tmp_path: Path, quantization: str) -> None:
    """A quantised model answers correctly on a GPU, in less memory there."""
    import torch

    before = torch.cuda.memory_allocated()
    (tmp_path / "config.toml").write_text(f"[agent]\ndevice = 'cuda'\nquantization = '{quantization}'\n")
    async with await load(use_config=True) as agent:
        answer = await agent.invoke(ask(QUESTION, max_new_tokens=7))
        held = torch.cuda.memory_allocated() - before
    assert answer.response.startswith(FACT.removesuffix("."))
    assert answer.metadata["quantization"] == quantization
    assert held < 0.8 * 2 * 134_515_008, "two bytes of each weight are what it has in bfloat16"


@pytest.mark.untraced("asks the GPU, and no model")
async def test_free_memory_of_the_gpu_is_measured() -> None:
    """The GPU's free memory is more than zero, and no more than it has."""
    import torch

    from llm_backend.llms.models.memory import get_available_vram

    assert 0 < get_available_vram() <= torch.cuda.get_device_properties(0).total_memory
