"""OpenAI's Responses API as plain data."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend import GenerationOptions, ReasoningEffort, ToolCall, Usage
from llm_backend.errors import EngineError, EngineResponseError, PayloadError
from llm_backend.llms.engines.server.chat_format import Piece, Request
from llm_backend.llms.engines.server.responses_format import (
    read_event,
    read_response,
    reasoning_options,
    response_options,
    response_status,
)
from llm_backend.llms.tools.openai_calls import read_calls

CALL = {"type": "function_call", "call_id": "c", "name": "roll", "arguments": "{}"}


def test_conversation_with_tools() -> None:
    """Calls, their results and the words said with them are all sent."""
    call = {"id": "c", "type": "function", "function": {"name": "roll", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Roll."},
        {"role": "assistant", "content": "Rolling.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "6"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "assistant", "content": ""},
    ]
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "roll"}}, {"type": "web_search"}]
    generation = GenerationOptions(max_new_tokens=5, temperature=0, top_p=0.5, top_k=3)
    request = Request(messages=messages, tools=tools, generation=generation, effort=None)
    said = {"type": "function_call", "call_id": "c", "name": "roll", "arguments": "{}"}
    assert response_options(request) == {
        "input": [
            {"type": "message", "role": "user", "content": "Roll."},
            {"type": "message", "role": "assistant", "content": "Rolling."},
            said,
            {"type": "function_call_output", "call_id": "c", "output": "6"},
            said,
            {"type": "message", "role": "assistant", "content": ""},
        ],
        "max_output_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "tools": [{"type": "function", "name": "roll"}, {"type": "web_search"}],
        "extra_body": {"top_k": 3},
        "store": False,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 0}, r"no seed\. Leave"),
        ({"stop": ("#",)}, r"no stop\. Leave"),
        ({"seed": 1, "stop": ("#",)}, "no seed and"),
    ],
)
def test_options_that_the_api_lacks(options: dict[str, Any], words: str) -> None:
    """An option that the API does not have is refused by name."""
    request = Request(messages=[], tools=(), generation=GenerationOptions(**options), effort=None)
    with pytest.raises(PayloadError, match=words):
        response_options(request)


def test_reasoning_options() -> None:
    """A summary is sent under its new name, also if it was set under the old one."""
    assert reasoning_options(None) == {}
    assert reasoning_options(ReasoningEffort(effort="low")) == {"effort": "low"}
    old = ReasoningEffort(effort="low", generate_summary="auto")
    assert reasoning_options(old) == {"effort": "low", "summary": "auto"}
    both = ReasoningEffort(effort="low", generate_summary="auto", summary="detailed")
    assert reasoning_options(both) == {"effort": "low", "summary": "detailed"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete"}, "incomplete"),
    ],
)
def test_status(answer: dict[str, Any], reason: str) -> None:
    """The reason for the end tells a whole answer from one that was cut off."""
    assert response_status(answer) == reason


def test_whole_answer() -> None:
    """Every part of the answer is read."""
    output = [
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {
            "type": "message",
            "content": [{"type": "output_text", "text": "Hi. "}, {"type": "refusal", "refusal": "No."}],
        },
        {"type": "function_call", "call_id": "c", "name": "roll", "arguments": "{}"},
    ]
    reply = read_response({"output": output, "usage": {"input_tokens": 3, "output_tokens": 2}})
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Hi. No.", "Hm.", "stop")
    assert read_calls(reply.calls) == (ToolCall(name="roll", arguments={}, id="c"),)
    assert reply.usage == Usage(prompt_tokens=3, completion_tokens=2)


def test_no_answer() -> None:
    """A failure, or a reply without an answer, raises an error."""
    with pytest.raises(EngineResponseError, match=r"holds no output\. Check"):
        read_response({"status": "completed", "output": []})
    with pytest.raises(EngineError, match=r"gave up on the answer: no memory\. Check"):
        read_response({"status": "failed", "error": {"message": "no memory"}})
    with pytest.raises(EngineError, match=r"gave up on the answer: it does not say why\."):
        read_response({"status": "cancelled", "error": None})


@pytest.mark.parametrize(
    ("event", "piece"),
    [
        ({"type": "response.output_text.delta", "delta": "Hi"}, Piece(text="Hi")),
        ({"type": "response.refusal.delta", "delta": "No"}, Piece(text="No")),
        ({"type": "response.reasoning_summary_text.delta", "delta": "Hm"}, Piece(reasoning="Hm")),
        ({"type": "response.reasoning_text.delta", "delta": "Hm"}, Piece(reasoning="Hm")),
        (
            {"type": "response.output_item.done", "item": CALL},
            Piece(calls=[{"id": "c", "function": {"name": "roll", "arguments": "{}"}}]),
        ),
        ({"type": "response.output_item.done", "item": {"type": "message"}}, Piece()),
        ({"type": "response.created", "response": {"status": "queued"}}, Piece()),
        ({"type": "response.completed", "response": {"status": "completed"}}, Piece(finish_reason="stop")),
        ({"type": "response.incomplete", "response": None}, Piece(finish_reason="stop")),
        (
            {"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 2}}},
            Piece(finish_reason="stop", usage=Usage(prompt_tokens=3, completion_tokens=2)),
        ),
    ],
)
def test_events(event: dict[str, Any], piece: Piece) -> None:
    """Each event of a stream is read."""
    assert read_event(event) == piece


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "message": "no memory"},
        {"type": "response.failed", "response": {"status": "failed", "error": {"message": "no memory"}}},
    ],
)
def test_failing_stream(event: dict[str, Any]) -> None:
    """A stream that the server gave up on raises an error."""
    with pytest.raises(EngineError, match=r"gave up on the answer: no memory\. Check the server's log"):
        read_event(event)
