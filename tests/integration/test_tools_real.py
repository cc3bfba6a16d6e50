"""A real model calls tools, is told what came of it, and answers with that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.errors import ToolCallError
from backend.llms import run_with_tools
from backend.llms.payloads import MemoryEntry, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.llms.payloads import AgentPayload
    from backend.llms.protocol import Agent

pytestmark = pytest.mark.requires("llm", "model")

# What a larger model does when it is only told of a tool, so small a one does after an example.
EXAMPLE = [
    MemoryEntry("user", "How many people live in Paris?"),
    MemoryEntry(
        "assistant", "", tool_calls=[ToolCall(name="get_population", arguments={"city": "Paris"}, id="a1b2c3d4e")]
    ),
    MemoryEntry("tool", "2102650", metadata={"tool_call_id": "a1b2c3d4e"}),
    MemoryEntry("assistant", "2102650 people live in Paris."),
]


@pytest.fixture
def question(ask: Callable[..., Any]) -> AgentPayload:
    """Something that the model knows only from the tool."""
    payload: AgentPayload = ask("How many people live in Oslo?", max_new_tokens=40, memory=EXAMPLE)
    return payload


async def test_a_model_answers_with_what_a_tool_told_it(agent: Agent, question: AgentPayload) -> None:
    """A model cannot use tools: its call is not read, the tool not run, or the result does not reach the model."""
    asked = []

    async def get_population(city: str) -> int:
        """Get the number of people who live in a city.

        Args:
            city: the city's name.
        """
        asked.append(city)
        return 709037

    response = await run_with_tools(agent, question, [get_population])
    assert asked == ["Oslo"]
    assert response.response == "709037 people live in Oslo."
    call, result = response.metadata["tool_turns"]
    assert [(made.name, made.arguments) for made in call.tool_calls] == [("get_population", {"city": "Oslo"})]
    assert (result.role, result.content) == ("tool", "709037")
    assert response.metadata["usage"].prompt_tokens > 2 * await agent.count_tokens(question)


async def test_a_tool_that_fails_for_a_model(agent: Agent, question: AgentPayload) -> None:
    """A caller who asked for it does not learn that the tool failed."""

    def get_population(city: str) -> int:
        """Get the number of people who live in a city."""
        message = f"no figures for {city}"
        raise LookupError(message)

    with pytest.raises(ToolCallError, match="failed with LookupError: no figures for Oslo") as caught:
        await run_with_tools(agent, question, [get_population], on_error="raise")
    assert isinstance(caught.value.__cause__, LookupError)
