"""What holds for every model: run with AF_LLM_MODEL to try another one than the packaged model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.llms.models.memory import model_memory_requirements
from llm_backend.llms.models.store import resolve_model
from tests.integration.questions import FACT, QUESTION
from tests.integration.usage import used
from tests.integration.weights import loaded_models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Any]]"
Ask: TypeAlias = "Callable[..., Any]"


@pytest.fixture
async def chosen(load: Load, chosen_model: str) -> AsyncIterator[Agent]:
    """An agent on the chosen model."""
    async with await load(chosen_model) as agent:
        yield agent


async def test_stream_is_the_answer(agent: Agent, chosen: Agent, chosen_model: str, ask: Ask) -> None:
    """The chosen model's stream is its answer, its tokens add up, and no other model is disturbed."""
    payload = ask("The capital of France is", max_new_tokens=8)
    answer = await chosen.invoke(payload)
    streamed = [piece async for piece in chosen.stream(payload)]
    usage = used(answer)
    assert "".join(streamed) == answer.response
    assert answer.response + answer.thinking
    assert 1 <= usage.completion_tokens <= 8
    assert usage.total_tokens <= await chosen.get_context_window()
    assert answer.metadata["model"] == chosen_model
    beside = await agent.invoke(ask(QUESTION))
    assert beside.response == FACT


@pytest.mark.untraced("weighs the model, and asks it nothing")
async def test_estimate_fits_the_real_weights(chosen: Agent, chosen_model: str) -> None:
    """The memory estimated before loading is that of the loaded weights."""
    loaded = chosen._loaded  # type: ignore[attr-defined]  # noqa: SLF001
    needed = model_memory_requirements(resolve_model(chosen_model).directory, None, loaded.key.dtype)
    held = sum(weight.numel() * weight.element_size() for weight in loaded.model.parameters())
    assert held <= needed.weights <= 1.5 * held, "a checkpoint may store tied weights or buffers besides"
    assert needed.total > needed.weights


@pytest.mark.untraced("loads the model, and asks it nothing")
async def test_one_copy_that_goes_away(load: Load, chosen_model: str) -> None:
    """Two agents of the chosen model share one copy of its weights, and closing both frees it."""
    before = loaded_models()
    first, second = await load(chosen_model), await load(chosen_model)
    shared = first._loaded is second._loaded  # noqa: SLF001
    await first.aclose()
    during = loaded_models()
    await second.aclose()
    assert shared
    assert len(during) >= 1
    assert loaded_models() == before
