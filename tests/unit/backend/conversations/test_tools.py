"""Turns with tools and typed events, with an agent that calls and answers what it is told to."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentResponse, MemoryEntry, ToolCall
from llm_backend.errors import ContextWindowError, PayloadError, StructuredOutputError, ToolCallError, ToolRoundsError
from llm_backend.llms import MemoryStore, Tool
from llm_backend.llms.conversations.conversation import Fitting
from llm_backend.llms.payloads import End, Text, ToolCallEvent
from tests.unit.backend.word_agent import CALL, TOOL, WordAgent, answer, said, talk, words

if TYPE_CHECKING:
    from llm_backend.llms import Conversation

LENGTHY = "word " * 12
ROUND = [("user", "Roll."), ("assistant", ""), ("tool", "4"), ("assistant", "A four.")]


def roll() -> int:
    """Roll a die."""
    return 4


def calling(*answers: AgentResponse | Exception, window: int = 1000) -> WordAgent:
    """An agent that calls ``roll``, and then answers."""
    agent = WordAgent(window)
    agent.said = [answer("", CALL), *answers]
    return agent


async def test_calls_and_results_are_remembered() -> None:
    """A tool runs, its result reaches the model, and the next turn knows both."""
    agent = calling(answer("A four."))
    conversation = talk(agent)
    response = await conversation.ask("Roll.", tools=[roll])
    asked, told = agent.payloads
    assert asked.tools_available == told.tools_available == [Tool.from_function(roll).definition]
    assert (told.user_message, [entry.role for entry in told.memory]) == ("", ["user", "assistant", "tool"])
    assert response.response == "A four."
    assert response.metadata["conversation"] == Fitting(sent=0, summarised=0, left_out=0)
    assert await said(conversation) == ROUND
    assert tuple(await conversation.history())[1:3] == response.metadata["tool_turns"]
    await conversation.ask("Thanks.")
    assert [entry.content for entry in agent.payloads[-1].memory] == [text for _, text in ROUND]
    times = [entry.timestamp for entry in await conversation.history()]
    assert times == sorted(times, key=str)


async def test_a_turn_with_tools_is_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn with tools is stored in one piece, when it is complete."""
    appended = []

    async def append(_: MemoryStore, session: str, entries: list[MemoryEntry]) -> None:
        appended.append((session, [entry.role for entry in entries]))

    monkeypatch.setattr(MemoryStore, "append", append)
    await talk(calling(answer("A four."))).ask("Roll.", tools=[roll])
    assert appended == [("s", [role for role, _ in ROUND])]


async def test_requests_are_measured_with_the_tools() -> None:
    """The definitions of tools count when a request is fitted into the window."""
    agent = calling()
    conversation = talk(agent)
    await conversation.add(MemoryEntry("user", "Hi."))
    await conversation.ask("Roll.", tools=[roll])
    assert len(agent.counted) == 2
    assert all(payload.tools_available == agent.payloads[0].tools_available for payload in agent.counted)


async def test_long_results_take_the_room_of_older_turns() -> None:
    """Older exchanges make room for a long result in the middle of a turn."""
    agent = calling(answer("Done."), window=40)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(MemoryEntry("system", "Be brief."), *[MemoryEntry("user", LENGTHY)] * 2)
    response = await conversation.ask("Roll.", tools=[Tool.from_function(lambda: LENGTHY, name="roll")])
    assert [entry.content for entry in agent.payloads[0].memory] == [LENGTHY, LENGTHY]
    assert [entry.content for entry in agent.payloads[1].memory] == [LENGTHY, "Roll.", "", LENGTHY]
    assert words(agent.payloads[1]) <= 30
    assert response.metadata["conversation"] == Fitting(sent=1, summarised=0, left_out=1)


async def test_long_results_make_a_summary() -> None:
    """What makes room for a tool's result is summarised, and never the current turn."""
    agent = calling(answer("sum"), answer("Done."), window=100)
    conversation = talk(agent, answer_tokens=10, compact="summarise")
    lengthy = "word " * 30
    await conversation.add(*[MemoryEntry("user", lengthy)] * 2)
    await conversation.ask("Roll.", tools=[Tool.from_function(lambda: lengthy, name="roll")])
    _, summary, told = agent.payloads
    assert [entry.content for entry in summary.memory] == [lengthy]
    assert told.system_context == "Summary of the conversation so far:\nsum"
    assert [entry.content for entry in told.memory] == [lengthy, "Roll.", "", lengthy]
    assert [role for role, _ in await said(conversation)] == ["user", "user", "user", "assistant", "tool", "assistant"]


def fail() -> None:
    """Raise."""
    raise LookupError


TOO_LONG = ContextWindowError("too long", prompt_tokens=99, context_window=40)


@pytest.mark.parametrize(
    ("said_then", "options", "error"),
    [
        (TOO_LONG, {}, ContextWindowError),
        (answer("", CALL), {"max_rounds": 1}, ToolRoundsError),
        (answer(""), {"tools": [Tool.from_function(fail, name="roll")], "on_error": "raise"}, ToolCallError),
        (answer(""), {"max_rounds": 0}, PayloadError),
    ],
)
@pytest.mark.parametrize("way", ["ask", "stream_events"])
async def test_failed_round_leaves_nothing(
    way: str, said_then: AgentResponse | Exception, options: dict[str, Any], error: type[Exception]
) -> None:
    """A turn that fails between its tools stores nothing, and the session goes on."""
    agent = calling(said_then)
    conversation = talk(agent)
    with pytest.raises(error):
        await finish(conversation, way, "Roll.", **{"tools": [roll], **options})
    assert await said(conversation) == []
    agent.said.clear()
    assert (await conversation.ask("Hi.")).response == "ok"


async def finish(conversation: Conversation, way: str, text: str, **options: Any) -> list[Any]:
    """Take a turn in one of the ways."""
    if way == "ask":
        return [await conversation.ask(text, **options)]
    return [event async for event in conversation.stream_events(text, **options)]


async def test_cancelled_tool_leaves_nothing() -> None:
    """Cancelling a turn cancels its running tool, and stores nothing."""
    running, stopped = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    conversation = talk(calling())
    turn = asyncio.create_task(conversation.ask("Roll.", tools=[Tool.from_function(wait, name="roll")]))
    await running.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert stopped.is_set()
    assert await said(conversation) == []


async def test_tool_that_uses_its_own_session() -> None:
    """A tool that asks in its own session is refused; it may read the history."""
    agent = calling()
    conversation = talk(agent)
    seen = []

    async def reflect() -> str:
        seen.append(await conversation.history())
        return (await conversation.ask("What do I think?")).response

    await conversation.ask("Roll.", tools=[Tool.from_function(reflect, name="roll")])
    told = agent.payloads[1].memory[-1].content
    assert (
        "failed with PayloadError: A tool of a turn in session 's' uses that session. Let it only read history()."
        in told
    )
    assert ".." not in told
    assert seen == [[]]
    other = talk(WordAgent())
    left_behind = []

    async def speak() -> str:
        left_behind.append(asyncio.create_task(speak_later()))
        return (await other.ask("Hi.")).response

    async def speak_later() -> None:
        await after.wait()
        await conversation.ask("Later.")

    agent.said = [answer("", CALL), answer("Done.")]
    after = asyncio.Event()
    await conversation.ask("Roll.", tools=[Tool.from_function(speak, name="roll")])
    assert await said(other) == [("user", "Hi."), ("assistant", "ok")]
    after.set()
    await left_behind[0]
    assert (await said(conversation))[-2] == ("user", "Later.")


async def test_going_on_from_a_result_with_tools() -> None:
    """After a result that was added by hand, the next calls can be run for the caller."""
    agent = calling(answer("", ToolCall(name="roll", arguments={}, id="c2")), answer("Both four."))
    conversation = talk(agent)
    await conversation.ask("Roll twice.", tools_available=[TOOL])
    await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": "c1"}))
    response = await conversation.ask("", tools=[roll])
    assert [role for role, _ in await said(conversation)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    assert response.metadata["conversation"] == Fitting(sent=1, summarised=0, left_out=0)


async def test_events_of_a_turn_with_tools() -> None:
    """A stream goes on after calls, ends once, and is stored whole."""
    agent = calling(answer("A four."))
    conversation = talk(agent)
    events = [event async for event in conversation.stream_events("Roll.", tools=[roll])]
    assert [event for event in events if event != Text("")] == [
        ToolCallEvent(CALL),
        Text("A"),
        Text(" four."),
        End("stop"),
    ]
    assert await said(conversation) == ROUND
    agent.said = [answer("Well. ", CALL), answer("A four.")]
    assert "".join([piece async for piece in conversation.stream("Again.", tools=[roll])]) == "Well. A four."
    assert [role for role, _ in await said(conversation)] == [role for role, _ in ROUND] * 2


async def test_extras_are_remembered() -> None:
    """A turn's extras are stored, whole and streamed, and sent with the next request."""
    for way in ("ask", "stream"):
        agent = WordAgent()
        agent.said = [replace(answer("", CALL), extras={"k": 1}), replace(answer("A four."), extras={"k": 2})]
        conversation = talk(agent)
        if way == "ask":
            await conversation.ask("Roll.", tools=[roll])
        else:
            assert [piece async for piece in conversation.stream("Roll.", tools=[roll])]
        await conversation.ask("Thanks.")
        assert [entry.extras for entry in agent.payloads[1].memory] == [{}, {"k": 1}, {}]
        assert [entry.extras for entry in agent.payloads[2].memory] == [{}, {"k": 1}, {}, {"k": 2}]


async def test_events_with_tools_that_others_run() -> None:
    """Calls that arrive in a stream are stored, so that their results can be added."""
    conversation = talk(calling(answer("A four.")))
    events = [event async for event in conversation.stream_events("Roll.", tools_available=[TOOL])]
    assert events[-2:] == [ToolCallEvent(CALL), End("tool_calls")]
    await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": "c1"}))
    assert (await conversation.ask("")).response == "A four."
    assert await said(conversation) == ROUND


async def test_stream_of_text_with_tools_that_others_run() -> None:
    """A stream of text refuses tools that others run, as it shows no calls."""
    conversation = talk(calling())
    with pytest.raises(PayloadError, match=r"cannot show calls of tools_available\. Use ask\(\) or stream_events\(\)"):
        await anext(conversation.stream("Roll.", tools_available=[TOOL]))


@pytest.mark.parametrize(("last", "stored"), [(ToolCallEvent, []), (End, ROUND)])
async def test_events_that_are_not_read_to_the_end(last: type, stored: list[tuple[str, str]]) -> None:
    """A turn is stored once its End was seen, and not if its stream closed early."""
    conversation = talk(calling(answer("A four.")))
    async with aclosing(conversation.stream_events("Roll.", tools=[roll])) as events:
        while not isinstance(await anext(events), last):
            pass
    assert await said(conversation) == stored


async def test_schema_of_an_answer() -> None:
    """The schema reaches the agent, the object comes back, and the text is stored."""
    agent = WordAgent()
    agent.said = [AgentResponse(response="[1, 2]", parsed=[1, 2])]
    conversation = talk(agent)
    assert (await conversation.ask("Count.", output_schema=list[int])).parsed == [1, 2]
    assert agent.payloads[0].output_schema == list[int]
    assert await said(conversation) == [("user", "Count."), ("assistant", "[1, 2]")]
    agent.said = [StructuredOutputError("no", text="[1, ", finish_reason="length")]
    with pytest.raises(StructuredOutputError):
        await conversation.ask("Count.", output_schema=list[int])
    assert len(await conversation.history()) == 2


@pytest.mark.parametrize("options", [{"tools": [roll]}, {"tools_available": [TOOL]}])
async def test_arguments_that_nobody_can_send(options: dict[str, Any]) -> None:
    """Arguments with half a character or NaN are stored as text that can be sent."""
    agent = WordAgent()
    bad = ToolCall(name="roll", arguments={"a\ud800": [float("nan"), "\ud800"], "b": 1.5}, id="c1")
    agent.said = [answer("\ud800", bad)]
    conversation = talk(agent)
    first = await conversation.ask("Roll.", **options)
    if first.tool_calls:
        await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": "c1"}))
    await conversation.ask("And?")
    called = agent.payloads[-1].memory[1]
    assert (called.content, called.tool_calls[0].arguments) == ("?", {"a?": ["NaN", "?"], "b": 1.5})


@pytest.mark.parametrize("value", [{1}, float("nan"), "\ud800", object()])
async def test_call_that_nobody_can_send(value: object) -> None:
    """A call that no request can hold is refused, and not stored."""
    conversation = talk(WordAgent())
    with pytest.raises(PayloadError, match="a call of tool 'roll' cannot be written as JSON"):
        await conversation.add(MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={"a": value})]))
    assert await conversation.history() == []
