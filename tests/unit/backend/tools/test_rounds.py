"""A model's calls are run until it answers; what goes wrong reaches the model, or the caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import PayloadError, ToolCallError, ToolDefinitionError, ToolRoundsError
from llm_backend.llms import run_with_tools
from llm_backend.llms.agent import as_payload
from llm_backend.llms.payloads import AgentPayload, AgentResponse, MemoryEntry, ToolCall, Usage
from tests.unit.backend.fake_agent import FakeAgent, about

if TYPE_CHECKING:
    from collections.abc import Mapping

QUESTION = AgentPayload("What is 2 + 3?", memory=[MemoryEntry("user", "Hello."), MemoryEntry("assistant", "Hi.")])


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fail() -> None:
    """Raise."""
    message = "out of\x1b[2J paper"
    raise OSError(message)


class ScriptedAgent(FakeAgent):
    """Answers with one response after another."""

    def __init__(self, *responses: AgentResponse) -> None:
        super().__init__()
        self.responses = list(responses)

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Answer with the next one."""
        self.payloads.append(as_payload(payload))
        return self.responses.pop(0)


def calls(*wanted: tuple[str, Mapping[str, Any]], text: str = "", ids: str | None = None) -> AgentResponse:
    """A response that asks for tools."""
    made = tuple(ToolCall(name=name, arguments=arguments, id=ids) for name, arguments in wanted)
    usage = Usage(prompt_tokens=10, completion_tokens=1)
    return AgentResponse(response=text, tool_calls=made, metadata=about(usage=usage))


def answer(text: str, engine: str = "e") -> AgentResponse:
    """A response that answers."""
    usage = Usage(prompt_tokens=20, completion_tokens=2)
    return AgentResponse(response=text, metadata=about(usage=usage, engine=engine))


async def told(agent: ScriptedAgent, **options: Any) -> list[str]:
    """What the model reads after a round with tools ``add`` and ``fail``, and that answer."""
    agent.responses.append(answer("Done."))
    response = await run_with_tools(agent, QUESTION, [add, fail, *options.pop("tools", [])], **options)
    return [turn.content for turn in response.metadata["tool_turns"] if turn.role == "tool"]


async def test_results_are_told_until_the_model_answers() -> None:
    """Each result reaches the model in order, with its call, until it answers."""
    agent = ScriptedAgent(calls(("add", {"a": 2, "b": 3}), ("add", {"a": 1, "b": 1}), text="Let me see."), answer("5"))
    response = await run_with_tools(agent, QUESTION, [add])
    first, second = agent.payloads
    assert (first.user_message, first.memory) == (QUESTION.user_message, QUESTION.memory)
    assert [tool["function"]["name"] for tool in first.tools_available] == ["add"]
    assert second.user_message == ""
    assert second.tools_available == first.tools_available
    *earlier, question, asked, five, two = second.memory
    assert earlier == QUESTION.memory
    assert question == MemoryEntry("user", QUESTION.user_message)
    assert (asked.role, asked.content) == ("assistant", "Let me see.")
    ids = [call.id for call in asked.tool_calls]
    assert all(isinstance(name, str) and len(name) == 9 and name.isalnum() for name in ids)
    assert [turn.metadata["tool_call_id"] for turn in (five, two)] == ids
    assert [turn.content for turn in (five, two)] == ["5", "2"]
    assert response.response == "5"
    assert response.metadata["tool_turns"] == (asked, five, two)
    assert response.metadata["usage"] == Usage(prompt_tokens=30, completion_tokens=3)


async def test_a_plain_text_is_a_request() -> None:
    """A text works as a request with tools."""
    agent = ScriptedAgent(answer("5"))
    await run_with_tools(agent, "What is 2 + 3?", [add])
    assert agent.payloads[0].user_message == "What is 2 + 3?"


async def test_no_call_is_one_answer() -> None:
    """An answer without a call is returned as it is, after one request."""
    agent = ScriptedAgent(answer("Hello.", engine="e"))
    response = await run_with_tools(agent, QUESTION, [add])
    assert response.response == "Hello."
    assert response.metadata["engine"] == "e"
    assert response.metadata["tool_turns"] == ()


async def test_a_server_s_ids_are_kept() -> None:
    """A result carries the id that the server gave its call."""
    agent = ScriptedAgent(calls(("add", {"a": 2, "b": 3}), ids="call_1"), answer("5"))
    await run_with_tools(agent, QUESTION, [add])
    assert agent.payloads[1].memory[-1].metadata == {"tool_call_id": "call_1"}


async def test_what_the_server_said_goes_back() -> None:
    """Extras of a turn and of its calls go back in the next round."""
    made = ToolCall(name="add", arguments={"a": 2, "b": 3}, id="c", extras={"signature": "s\ud800"})
    asked = AgentResponse(response="", tool_calls=(made,), extras={"reasoning_content": "Add."}, metadata=about())
    agent = ScriptedAgent(asked, answer("5"))
    await run_with_tools(agent, QUESTION, [add])
    turn = agent.payloads[1].memory[-2]
    assert turn.extras == {"reasoning_content": "Add."}
    assert turn.tool_calls[0].extras == {"signature": "s?"}, "half a character cannot be sent"


async def test_it_goes_on_from_a_result() -> None:
    """A conversation that ends on a tool's result can use tools."""
    called = MemoryEntry("assistant", "", tool_calls=[ToolCall(name="add", arguments={}, id="1")])
    memory = [called, MemoryEntry("tool", "4", metadata={"tool_call_id": "1"})]
    agent = ScriptedAgent(calls(("add", {"a": 2, "b": 3})), answer("5"))
    await run_with_tools(agent, AgentPayload("", memory=memory), [add])
    assert [turn.role for turn in agent.payloads[1].memory] == ["assistant", "tool"] * 2


async def test_a_second_round_knows_the_first() -> None:
    """Each round holds all calls and results of the rounds before."""
    agent = ScriptedAgent(calls(("add", {"a": 2, "b": 3})), calls(("add", {"a": 5, "b": 5})), answer("10"))
    response = await run_with_tools(agent, QUESTION, [add])
    turns = response.metadata["tool_turns"]
    assert [turn.content for turn in turns if turn.role == "tool"] == ["5", "10"]
    assert tuple(agent.payloads[2].memory[-4:]) == turns


async def test_unknown_usage_is_not_added_up() -> None:
    """Where one round's usage is unknown, the total is None."""
    agent = ScriptedAgent(calls(("add", {"a": 2, "b": 3})), AgentResponse(response="5", metadata=about(usage=None)))
    assert (await run_with_tools(agent, QUESTION, [add])).metadata["usage"] is None


def unserialisable() -> object:
    """Return what no JSON can carry."""
    return object()


async def cancel_itself() -> None:
    """Wait for a future that was cancelled already."""
    raise asyncio.CancelledError


FAILURES = [
    ("no\x1b[2J", {}, r"The model called 'no\\x1b\[2J' with \{\}, which does not exist\. There is: add, fail"),
    ("add", {"a": "two"}, r"with \{'a': 'two'\}, whose arguments do not fit: a: Input should be a valid integer"),
    ("fail", {}, r"which failed with OSError: out of\\x1b\[2J paper\."),
    ("unserialisable", {}, "whose result, a object, cannot be written as JSON: Unable to serialize unknown type"),
    ("cancel_itself", {}, "which failed with CancelledError"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), FAILURES)
async def test_errors_are_told_to_the_model(
    name: str, arguments: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of a call reaches the model, and the log holds none of its text."""
    agent = ScriptedAgent(calls((name, arguments), ("add", {"a": 1, "b": 1})))
    error, two = await told(agent, tools=[unserialisable, cancel_itself])
    assert two == "2"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(error)
    assert caplog.messages == [f"a call of tool {name!r} gave no result; the model is told why"]


@pytest.mark.parametrize(("name", "arguments", "message"), FAILURES)
async def test_errors_are_raised_where_that_is_asked(name: str, arguments: dict[str, Any], message: str) -> None:
    """On request a failure is raised as ToolCallError, not as a group."""
    agent = ScriptedAgent(calls((name, arguments)))
    with pytest.raises(ToolCallError, match=message) as caught:
        await told(agent, tools=[unserialisable, cancel_itself], on_error="raise")
    assert (caught.value.name, caught.value.arguments) == (name, arguments)
    assert (caught.value.__cause__ is None) == ("does not exist" in message)


async def test_a_failure_cancels_the_other_calls() -> None:
    """A failure that is raised cancels the other calls."""
    started, stopped = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def give_up() -> None:
        await started.wait()
        message = "no more"
        raise ValueError(message)

    agent = ScriptedAgent(calls(("wait", {}), ("give_up", {})))
    with pytest.raises(ToolCallError, match="ValueError: no more"):
        await run_with_tools(agent, QUESTION, [wait, give_up], on_error="raise")
    assert stopped.is_set()


async def test_cancelling_stops_the_tools() -> None:
    """Cancelling the caller cancels the running tools, and the model is told nothing."""
    started, stopped = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    agent = ScriptedAgent(calls(("wait", {})))
    work = asyncio.create_task(run_with_tools(agent, QUESTION, [wait]))
    await started.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert stopped.is_set()
    assert len(agent.payloads) == 1


async def test_calls_of_a_round_run_together() -> None:
    """The calls of a round run at the same time."""
    both = asyncio.Barrier(2)

    async def meet() -> str:
        await both.wait()
        return "met"

    agent = ScriptedAgent(calls(("meet", {}), ("meet", {})))
    assert await told(agent, tools=[meet]) == ["met", "met"]


async def test_rounds_are_bounded() -> None:
    """After the allowed rounds an error is raised, and the last calls are not run."""
    ran: list[int] = []

    def note(number: int) -> None:
        ran.append(number)

    agent = ScriptedAgent(*(calls(("note", {"number": number})) for number in range(3)))
    with pytest.raises(ToolRoundsError, match="called tools in 2 rounds, and still calls note") as caught:
        await run_with_tools(agent, QUESTION, [note], max_rounds=2)
    assert caught.value.rounds == 2
    assert ran == [0, 1]
    assert agent.responses == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rounds": 0}, "max_rounds is 0. Give a whole number of at least 1"),
        ({"max_rounds": "8"}, "max_rounds is '8'"),
        ({"on_error": "ignore"}, "on_error is 'ignore'. Use one of: return, raise"),
    ],
)
async def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """A wrong option is refused before the model is asked."""
    agent = ScriptedAgent()
    with pytest.raises(PayloadError, match=message):
        await run_with_tools(agent, QUESTION, [add], **options)


async def test_one_tool_is_no_sequence() -> None:
    """A single tool without its brackets is refused by our error."""
    with pytest.raises(
        PayloadError, match=r"tools is of type function\. Give a sequence of tools, such as \[function\]"
    ):
        await run_with_tools(ScriptedAgent(), QUESTION, add)  # type: ignore[arg-type]


async def test_bad_tools_are_refused_before_the_model_is_asked() -> None:
    """A bad tool is refused before the model is asked."""
    agent = ScriptedAgent()
    with pytest.raises(ToolDefinitionError, match="Two tools are named 'add'"):
        await run_with_tools(agent, QUESTION, [add, add])
    assert agent.payloads == []
