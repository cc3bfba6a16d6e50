"""Other models in the hub's local cache: what holds for every model, and what each one knows.

They are larger than the packaged one, and slow on a CPU. On a machine without them the tests count as unproven.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.integration.usage import used

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.slow

Ask: TypeAlias = "Callable[..., AgentPayload]"
Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
QUESTION = "The capital of France is"


@dataclass(frozen=True)
class Model:
    """A model of the hub, and what is expected of it.

    Attributes:
        name: its name on the hub.
        has_template: whether it was trained on turns, and says how they are written.
        fact: what it knows of the question, or nothing.
    """

    name: str
    has_template: bool = False
    fact: str = ""


MODELS = {
    "distilgpt2": Model("distilbert/distilgpt2"),
    "tinyllama": Model("TinyLlama/TinyLlama-1.1B-Chat-v1.0", has_template=True, fact="Paris"),
    "phi-2": Model("microsoft/phi-2", fact="Paris"),
}


@pytest.fixture(
    params=[
        pytest.param(model, id=capability, marks=pytest.mark.requires("llm", "model", capability))
        for capability, model in MODELS.items()
    ]
)
def other_model(request: pytest.FixtureRequest) -> Model:
    """The model to try, one after the other."""
    chosen: Model = request.param
    return chosen


@pytest.fixture
async def other(other_model: Model, load: Load) -> AsyncIterator[Agent]:
    """An agent on that model."""
    async with await load(other_model.name) as agent:
        yield agent


@pytest.mark.untraced("infers with another model than the packaged one")
async def test_answer(other: Agent, other_model: Model, ask: Ask) -> None:
    """The model's stream is its answer, its tokens add up, and it knows what it knows."""
    payload = ask(QUESTION, max_new_tokens=16)
    answer = await other.invoke(payload)
    usage = used(answer)
    assert answer.response.strip()
    assert other_model.fact in answer.response
    assert "".join([piece async for piece in other.stream(payload)]) == answer.response
    assert 1 <= usage.completion_tokens <= 16
    assert usage.total_tokens <= await other.get_context_window()
    assert answer.metadata["model"] == other_model.name


@pytest.mark.untraced("counts, and asks no model")
async def test_prompt(other: Agent, other_model: Model, ask: Ask) -> None:
    """Only a model with a chat template gets roles; one without gets plain text."""
    tokenizer = other._loaded.tokenizer  # type: ignore[attr-defined]  # noqa: SLF001
    bare = len(tokenizer(QUESTION)["input_ids"])
    assert (tokenizer.chat_template is not None) is other_model.has_template
    assert (await other.count_tokens(ask(QUESTION)) > bare) is other_model.has_template
