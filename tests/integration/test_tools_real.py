"""A real model calls tools, reads their results, and answers with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import ToolCallError
from llm_backend.llms import Conversation, MemoryStore, run_with_tools
from llm_backend.llms.payloads import End, MemoryEntry, Text, ToolCall, ToolCallEvent, UsageEvent
from tests.integration.usage import used

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_backend.llms.agent import Agent
    from llm_backend.llms.conversations.conversation import TurnOptions
    from llm_backend.llms.payloads import AgentPayload

pytestmark = pytest.mark.requires("llm", "model")

# A larger model needs only the tool; one this small needs an example, too.
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
    """A question whose answer only the tool knows."""
    payload: AgentPayload = ask("How many people live in London?", max_new_tokens=40, memory=EXAMPLE)
    return payload


async def test_a_model_answers_with_what_a_tool_told_it(agent: Agent, question: AgentPayload) -> None:
    """A model's call is read, its tool runs, and the answer holds the result."""
    asked = []

    async def get_population(city: str) -> int:
        """Get the number of people who live in a city.

        Args:
            city: the city's name.
        """
        asked.append(city)
        return 8799800

    response = await run_with_tools(agent, question, [get_population])
    assert asked == ["London"]
    assert response.response == "8799800 people live in London."
    call, result = response.metadata["tool_turns"]
    assert [(made.name, made.arguments) for made in call.tool_calls] == [("get_population", {"city": "London"})]
    assert (result.role, result.content) == ("tool", "8799800")
    assert used(response).prompt_tokens > 2 * await agent.count_tokens(question)


async def test_a_tool_that_fails_for_a_model(agent: Agent, question: AgentPayload) -> None:
    """On request a tool's failure is raised to the caller."""

    def get_population(city: str) -> int:
        """Get the number of people who live in a city."""
        message = f"no figures for {city}"
        raise LookupError(message)

    with pytest.raises(ToolCallError, match="failed with LookupError: no figures for London") as caught:
        await run_with_tools(agent, question, [get_population], on_error="raise")
    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_conversation_with_tools(agent: Agent, question: AgentPayload) -> None:
    """A conversation runs a model's tools, whole and streamed, and remembers their results."""

    def get_population(city: str) -> int:
        """Get the number of people who live in a city."""
        return {"London": 8799800, "Tokyo": 9733276}[city]

    conversation = Conversation(agent, "s", store=MemoryStore())
    await conversation.add(*EXAMPLE)
    turn: TurnOptions = {"tools": [get_population], "generation": question.generation}
    answer = await conversation.ask(question.user_message, **turn)
    assert answer.response == "8799800 people live in London."
    events = [event async for event in conversation.stream_events("How many people live in Tokyo?", **turn)]
    kinds = [type(event) for event in events if not isinstance(event, Text)]
    assert kinds == [ToolCallEvent, UsageEvent, UsageEvent, End]
    cities: Any = {"enum": ["London", "Tokyo"]}
    answer = await conversation.ask("Which of the two is in the west?", output_schema=cities)
    assert answer.parsed in cities["enum"]
    called, result, told, _, chosen = (await conversation.history())[-5:]
    assert [call.arguments for call in called.tool_calls] == [{"city": "Tokyo"}]
    assert (result.content, told.content) == ("9733276", "9733276 people live in Tokyo.")
    assert (answer.response, answer.parsed) == (chosen.content, json.loads(chosen.content))
