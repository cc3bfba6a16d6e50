"""Answers that stray from the format where servers are known to: what every engine that asks one makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, GenerationOptions, ToolCall
from llm_backend.errors import EngineConnectionError, EngineResponseError
from llm_backend.llms.payloads import End, Reasoning, Text, ToolCallEvent, UsageEvent
from tests.integration.server import delta
from tests.integration.server_engines import TOOL, joined, message_of

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

ROLL = AgentPayload("Roll.", tools_available=[TOOL])
CALL = {"id": "c", "type": "function", "function": {"name": "roll", "arguments": '{"n": 1}'}}
ROLLED = ToolCall(name="roll", arguments={"n": 1}, id="c")
EVENTS = "text/event-stream"
RESPONSE: dict[str, Any] = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed"}


def message_item(content: object) -> dict[str, Any]:
    """A message as an item of the Responses API."""
    return {"type": "message", "role": "assistant", "content": content}


SAID = message_item([{"type": "output_text", "text": "Hello."}])
CALLED = {"type": "function_call", "call_id": "c", "name": "roll", "arguments": '{"n": 1}'}
COMPLETED = {"type": "response.completed", "response": {**RESPONSE, "output": [SAID]}}
NOTHING = {"type": "response.completed", "response": {**RESPONSE, "output": []}}


def lines(*events: dict[str, Any] | str, end: str = "\n\n") -> bytes:
    """Events as they are sent, with ``[DONE]`` at the end."""
    said = [event if isinstance(event, str) else json.dumps(event) for event in (*events, "[DONE]")]
    return "".join(f"data: {words}{end}" for words in said).encode()


def choice(index: int, text: str | None, *, key: str = "delta", reason: str | None = None, **more: Any) -> Any:
    """An answer among several."""
    return {"index": index, key: {"role": "assistant", "content": text, **more}, "finish_reason": reason}


def in_choices(*choices: Any) -> dict[str, Any]:
    """A part of a stream with these choices."""
    return {**delta(), "choices": list(choices)}


async def told_events(agent: ServerAgent) -> tuple[str, str, list[ToolCall], Any, str]:
    """The text, reasoning, calls, usage and end of a stream."""
    events = [event async for event in agent.stream_events(ROLL)]
    [usage] = [event.usage for event in events if isinstance(event, UsageEvent)]
    [end] = [event.finish_reason for event in events if isinstance(event, End)]
    text = "".join(event.text for event in events if isinstance(event, Text))
    thinking = "".join(event.text for event in events if isinstance(event, Reasoning))
    return text, thinking, [event.call for event in events if isinstance(event, ToolCallEvent)], usage, end


@pytest.mark.parametrize(
    "said",
    [
        b"\xef\xbb\xbf" + lines(delta("Hel"), delta("lo.", "stop")),
        lines(delta("Hel"), delta("lo.", "stop"), end="\n\r\n"),
        lines(delta("Hel"), delta("lo.", "stop"), end="\r\r\n"),
        lines(delta("Hel"), delta("lo.", "stop")).replace(b"data: [DONE]", b"data:  [DONE]"),
        lines(delta("Hel"), delta("lo.", "stop")) + lines(delta("And more.")),
        lines(in_choices(choice(0, "Hel"), choice(1, "No")), in_choices(choice(1, "!")), delta("lo.", "stop")),
        lines(in_choices(choice(1, "No"), choice(0, "Hel")), delta("lo.", "stop")),
        lines(in_choices({**choice(0, "Hello.", key="message"), "finish_reason": "stop"})),
        lines(in_choices(choice(0, "Hello.", key="message"))),
        lines(in_choices({**choice(0, "Hel"), "message": {"content": "Hel"}}), delta("lo.", "stop")),
    ],
    ids=[
        "BOM",
        "LF and CRLF",
        "CR and CRLF",
        "spaced end",
        "two ends",
        "two answers",
        "second first",
        "a message",
        "a message without a reason",
        "a message beside it",
    ],
)
async def test_a_stream_out_of_form(scripted: ScriptedServer, told: ServerAgent, said: bytes) -> None:
    """No word of an answer is lost in a stream, and none of another answer is taken."""
    scripted.send(said, EVENTS)
    assert await told_events(told) == ("Hello.", "", [], None, "stop")


@pytest.mark.parametrize(
    ("reasons", "end"),
    [(["null", "length"], "length"), (["stop", "length"], "length"), (["length", "stop"], "length")],
)
async def test_reasons_on_each_part(scripted: ScriptedServer, told: ServerAgent, reasons: list[str], end: str) -> None:
    """An answer that was cut is reported as cut, whatever reason its other parts give."""
    scripted.stream(*(delta("Hi", reason) for reason in reasons))
    assert (await told_events(told))[-1] == end


async def test_null_as_a_text_is_no_end(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A finish reason "null" is not the end of a stream."""
    scripted.stream(delta("Hi", "null"))
    with pytest.raises(EngineConnectionError, match="broke off"):
        await told_events(told)


async def test_an_answer_in_two_choices(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Calls are found in another choice than the text (GitHub Copilot), but not another answer's."""
    text, call = choice(0, "I roll.", key="message", reason="tool_calls"), choice(0, None, key="message")
    call["message"]["tool_calls"] = [CALL]
    other = choice(1, "No.", key="message", reason="stop")
    for unnumbered in (False, True):
        if unnumbered:
            del text["index"], call["index"]
        scripted.answer({"choices": [text, call, other][: 2 if unnumbered else 3]})
        answer = await told.invoke(ROLL)
        assert (answer.response, answer.tool_calls) == ("I roll.", (ROLLED,))
        assert answer.metadata["finish_reason"] == "tool_calls"


async def test_figures_in_a_choice(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Usage is found inside the choice (Kimi)."""
    figures = {"prompt_tokens": 3, "completion_tokens": 2}
    scripted.stream(delta("Hi"), in_choices({**choice(0, None, reason="stop"), "usage": figures}))
    usage = (await told_events(told))[3]
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 2)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("said", "thinking"),
    [
        ({"thinking": "why"}, "why"),
        ({"reasoning": {"content": "why"}}, "why"),
        ({"reasoning_content": [{"type": "text", "text": "why"}]}, "why"),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "why"}]}, "why"),
        ({"reasoning": "why", "reasoning_details": [{"type": "reasoning.text", "text": "why"}]}, "why"),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, ""),
        ({"reasoning": False}, ""),
    ],
)
async def test_reasoning_wherever_it_stands(
    scripted: ScriptedServer, told: ServerAgent, said: dict[str, Any], thinking: str, *, streamed: bool
) -> None:
    """Reasoning is found in any field and form, once; anything else there does no harm."""
    if streamed:
        scripted.stream(delta(None, **said), delta("Hi.", "stop"))
        assert (await told_events(told))[:2] == ("Hi.", thinking)
    else:
        scripted.answer(message_of(content="Hi.", **said))
        answer = await told.invoke(ROLL)
        assert (answer.response, answer.thinking) == ("Hi.", thinking)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("said", "id_"),
    [
        ({"function_call": {"name": "roll", "arguments": '{"n": 1}'}}, None),
        ({"function_call": {"name": "roll", "arguments": '{"n": 1}'}, "tool_calls": [CALL]}, "c"),
        ({"tool_calls": [{**CALL, "function": {"name": "roll", "arguments": json.dumps('{"n": 1}')}}]}, "c"),
        ({"tool_calls": [{**CALL, "id": 7}]}, "7"),
    ],
    ids=["of old", "in both ways", "JSON of JSON", "a number"],
)
async def test_calls_out_of_form(
    scripted: ScriptedServer, told: ServerAgent, said: dict[str, Any], id_: str | None, *, streamed: bool
) -> None:
    """A call is read in the old single form, with its arguments quoted twice, or with a number as its id."""
    call = ToolCall(name="roll", arguments={"n": 1}, id=id_)
    if streamed:
        scripted.stream(delta(None, **said), delta(None, "function_call"))
        assert (await told_events(told))[2] == [call]
    else:
        scripted.answer(message_of(content=None, **said))
        assert (await told.invoke(ROLL)).tool_calls == (call,)


async def test_pieces_of_a_call_of_old(scripted: ScriptedServer, told: ServerAgent) -> None:
    """The pieces of a call in the old single form become one call."""
    pieces = [{"name": "roll", "arguments": ""}, {"arguments": '{"n"'}, {"arguments": ": 1}"}]
    scripted.stream(*(delta(None, function_call=piece) for piece in pieces), delta(None, "function_call"))
    assert (await told_events(told))[2] == [ToolCall(name="roll", arguments={"n": 1})]


@pytest.mark.parametrize("arguments", [[1], 5, '"[1]"', '"{"'], ids=repr)
async def test_arguments_that_are_no_object(scripted: ScriptedServer, told: ServerAgent, arguments: object) -> None:
    """Arguments that are not an object, however quoted, raise the error that says so."""
    call = {**CALL, "function": {"name": "roll", "arguments": arguments}}
    scripted.answer(message_of(content=None, tool_calls=[call]))
    with pytest.raises(EngineResponseError, match="arguments that are not a JSON object"):
        await told.invoke(ROLL)


async def test_a_number_without_end(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A number with more digits than Python reads raises our error."""
    scripted.send(lines('{"choices": [], "n": ' + "1" * 5000 + "}"), EVENTS)
    with pytest.raises(EngineResponseError, match=r"malformed \(ValueError\)"):
        await told_events(told)


@pytest.mark.parametrize(
    ("events", "text", "calls"),
    [
        ([COMPLETED], "Hello.", []),
        ([{"type": "response.output_text.done", "text": "Hello."}, NOTHING], "Hello.", []),
        ([{"type": "response.output_item.done", "item": SAID}, NOTHING], "Hello.", []),
        ([{"type": "response.output_item.done", "item": SAID}, COMPLETED], "Hello.", []),
        ([{"type": "response.output_text.delta", "delta": "Hello."}, COMPLETED], "Hello.", []),
        (
            [{"type": "response.completed", "response": {**RESPONSE, "output": [SAID, CALLED]}}],
            "Hello.",
            [ROLLED],
        ),
        (
            [
                {"type": "response.output_item.done", "item": CALLED},
                {"type": "response.completed", "response": {**RESPONSE, "output": [CALLED]}},
            ],
            "",
            [ROLLED],
        ),
    ],
    ids=["the end", "text", "item", "item and end", "all", "a call at the end", "a call twice"],
)
async def test_a_response_that_comes_in_no_parts(
    connect: Connect, scripted: ScriptedServer, events: list[dict[str, Any]], text: str, calls: list[ToolCall]
) -> None:
    """What a Responses API server says once, at either end, is the answer; repeats count once."""
    scripted.stream(*events)
    agent = await connect(scripted.url, use_responses=True)
    found = await told_events(agent)
    assert (found[0], found[2]) == (text, calls)


async def test_a_stop_text_in_what_is_said_once(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A stop text also ends text that a stream sends whole."""
    whole = in_choices(choice(0, "Hello. Bye", key="message", reason="stop"))
    payload = AgentPayload("Hi.", generation=GenerationOptions(stop=(" Bye",)))
    for parts in ([delta("Hello. Bye"), whole], [whole]):
        scripted.stream(*parts)
        assert await joined(told, payload) == "Hello."


@pytest.mark.parametrize("content", ["Hello.", [{"type": "output_text", "text": "Hello."}]], ids=["text", "parts"])
async def test_texts_where_items_hold_parts(connect: Connect, scripted: ScriptedServer, content: object) -> None:
    """An item's content may be a text, and a call may have only one id."""
    call = {"type": "function_call", "id": "c", "name": "roll", "arguments": '{"n": 1}'}
    thoughts = {"type": "reasoning", "content": "why", "summary": []}
    scripted.answer({**RESPONSE, "output": [thoughts, message_item(content), call]})
    answer = await (await connect(scripted.url, use_responses=True)).invoke(ROLL)
    assert (answer.response, answer.thinking, answer.tool_calls) == ("Hello.", "why", (ROLLED,))
