"""Answers in the shapes that servers give them: what every engine that asks one makes of them, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, ToolCall
from llm_backend.errors import EngineConnectionError, EngineResponseError
from llm_backend.llms.payloads import End, Reasoning, Text, ToolCallEvent
from tests.integration.server import END, chunk, delta
from tests.integration.server_engines import QUESTION, TOOL, joined, message_of

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

ROLL = AgentPayload("Roll.", tools_available=[TOOL])
DONE = chunk("data: [DONE]\n\n") + END


async def both(told: ServerAgent, scripted: ScriptedServer, payload: AgentPayload, message: dict[str, Any]) -> Any:
    """What ``message`` becomes as a whole answer, after checking that a stream of it becomes the same."""
    scripted.answer(message_of(**message))
    answer = await told.invoke(payload)
    calls = [{"index": number, **call} for number, call in enumerate(message.pop("tool_calls", ()))]
    scripted.stream(delta(**{"text": message.pop("content", None), **message}, tool_calls=calls), delta(None, "stop"))
    events = [event async for event in told.stream_events(payload)]
    assert "".join(event.text for event in events if isinstance(event, Text)) == answer.response
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == answer.thinking
    assert tuple(event.call for event in events if isinstance(event, ToolCallEvent)) == answer.tool_calls
    end = events[-1]
    assert isinstance(end, End)
    assert (end.finish_reason, end.extras) == (answer.metadata["finish_reason"], answer.extras)
    return answer


@pytest.mark.parametrize("arguments", [{"arguments": ""}, {"arguments": None}, {}, {"arguments": {}}], ids=repr)
async def test_no_arguments(told: ServerAgent, scripted: ScriptedServer, arguments: dict[str, Any]) -> None:
    """A tool without parameters is called, however a server writes that there are no arguments."""
    call = {"id": "c", "type": "function", "function": {"name": "roll", **arguments}}
    answer = await both(told, scripted, ROLL, {"content": None, "tool_calls": [call]})
    assert answer.tool_calls == (ToolCall(name="roll", arguments={}, id="c"),)


async def test_a_call_that_was_cut(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A call cut before its arguments is not a call without arguments."""
    call = {"index": 0, "id": "c", "function": {"name": "roll", "arguments": ""}}
    scripted.stream(delta(tool_calls=[call]), delta(None, "length"))
    with pytest.raises(EngineResponseError, match="raise max_new_tokens if the answer was cut"):
        await joined(told, ROLL)


async def test_arguments_as_an_object(told: ServerAgent, scripted: ScriptedServer) -> None:
    """Arguments that are an object, not its text, are read."""
    call = {"id": "c", "type": "function", "function": {"name": "roll", "arguments": {"sides": 6}}}
    answer = await both(told, scripted, ROLL, {"content": None, "tool_calls": [call]})
    assert answer.tool_calls == (ToolCall(name="roll", arguments={"sides": 6}, id="c"),)


async def test_a_call_told_twice(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A call told as text and as structure is one call, with the server's id."""
    call = {"id": "c", "type": "function", "function": {"name": "roll", "arguments": '{"sides": 6}'}}
    text = 'I roll.<tool_call>{"name": "roll", "arguments": {"sides": 6}}</tool_call>'
    answer = await both(told, scripted, ROLL, {"content": text, "tool_calls": [call]})
    assert (answer.response, answer.tool_calls) == ("I roll.", (ToolCall(name="roll", arguments={"sides": 6}, id="c"),))


async def test_a_name_in_each_part(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A tool's name that each part of a stream repeats counts once."""
    pieces = ("", '{"sides"', ": 6}", "")
    parts = ({"index": 0, "id": "c", "function": {"name": "roll", "arguments": piece}} for piece in pieces)
    scripted.stream(*(delta(tool_calls=[part]) for part in parts), delta(None, "tool_calls"))
    call, *_ = [event async for event in told.stream_events(ROLL)]
    assert call == ToolCallEvent(ToolCall(name="roll", arguments={"sides": 6}, id="c"))


@pytest.mark.parametrize("offered", [True, False])
async def test_marks_in_prose(told: ServerAgent, scripted: ScriptedServer, *, offered: bool) -> None:
    """Tags are prose beside the server's own reasoning, and so is a call where no tool was offered."""
    text = "In HTML one writes <think>, as in `<think>so</think>`."
    answer = await both(told, scripted, ROLL if offered else AgentPayload("?"), {"content": text, "reasoning": "Hm."})
    assert (answer.response, answer.thinking) == (text, "Hm.")
    call = 'Write <tool_call>{"name": "roll", "arguments": {}}</tool_call> for that.'
    answer = await both(told, scripted, ROLL if offered else AgentPayload("?"), {"content": call})
    assert bool(answer.tool_calls) == offered
    assert offered or answer.response == call


async def test_content_in_parts(told: ServerAgent, scripted: ScriptedServer) -> None:
    """Content in parts is joined, and what a server marks as thinking is reasoning."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Easy."}]}
    parts = [thought, {"type": "text", "text": "It is "}, {"type": "text", "text": "Paris."}]
    answer = await both(told, scripted, AgentPayload(QUESTION), {"content": parts})
    assert (answer.response, answer.thinking) == ("It is Paris.", "Easy.")
    scripted.answer(message_of(content=[{"type": "image_url", "image_url": {"url": "data:,"}}]))
    with pytest.raises(EngineResponseError, match="content is of type image_url, not text"):
        await told.invoke(AgentPayload(QUESTION))


@pytest.mark.parametrize(
    "silence",
    ["event: ping\n\n", "id: 7\n\n", "retry: 1000\n\n", "data:\n\n", ": ping\n\n", "event: ping\ndata: still here\n\n"],
)
async def test_events_without_data(told: ServerAgent, scripted: ScriptedServer, silence: str) -> None:
    """An event without data is skipped."""
    scripted.stream(
        delta("Hi"), ending=chunk(silence) + chunk('data: {"choices": [{"delta": {"content": "!"}}]}\n\n') + DONE
    )
    assert await joined(told, AgentPayload(QUESTION)) == "Hi!"


async def test_end_without_a_reason(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A stream that says it is over is over if it said anything; one that just ends has broken off."""
    scripted.stream(delta("Hi."), ending=DONE)
    *_, end = [event async for event in told.stream_events(AgentPayload(QUESTION))]
    assert end == End("stop")
    scripted.stream(delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "roll"}}]), ending=DONE)
    call, _, end = [event async for event in told.stream_events(ROLL)]
    assert (call, end) == (ToolCallEvent(ToolCall(name="roll", arguments={}, id="c")), End("tool_calls"))
    for said, ending in ((delta(None), DONE), (delta("Hi."), END)):
        scripted.stream(said, ending=ending)
        with pytest.raises(EngineConnectionError, match="broke off before 'm' had finished"):
            await joined(told, AgentPayload(QUESTION))


async def test_other_words_for_an_end(told: ServerAgent, scripted: ScriptedServer) -> None:
    """Other names for a finish reason mean the same reason."""
    for word, reason in (("eos_token", "stop"), ("MAX_TOKENS", "length"), ("content_filter", "content_filter")):
        scripted.stream(delta("Hi."), delta(None, word))
        *_, end = [event async for event in told.stream_events(AgentPayload(QUESTION))]
        assert end == End(reason)


async def test_end_of_the_other_api(connect: Connect, scripted: ScriptedServer) -> None:
    """In a Responses API stream, events without data and "[DONE]" do no harm."""
    place = {"item_id": "o", "output_index": 0, "content_index": 0, "sequence_number": 1}
    about = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": []}
    about |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    said = {"type": "response.output_text.delta", **place, "delta": "Hi."}
    agent = await connect(scripted.url, use_responses=True)
    scripted.stream(said, {"type": "response.completed", "sequence_number": 2, "response": about}, ending=DONE)
    assert await joined(agent, AgentPayload(QUESTION)) == "Hi."
    scripted.stream(said, ending=chunk("event: ping\n\n") + DONE)
    assert await joined(agent, AgentPayload(QUESTION)) == "Hi."
