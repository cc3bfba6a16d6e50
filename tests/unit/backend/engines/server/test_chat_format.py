"""OpenAI's chat format as plain data."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend import GenerationOptions, ReasoningEffort, ToolCall, Usage
from llm_backend.errors import EngineResponseError
from llm_backend.llms.engines.server.chat_format import (
    DONE_EVENT,
    Piece,
    Request,
    as_mapping,
    chat_options,
    read_chunk,
    read_completion,
    read_content,
    read_usage,
)
from llm_backend.llms.tools.openai_calls import read_calls

TOOL = {"type": "function", "function": {"name": "roll"}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def completion(**message: Any) -> dict[str, Any]:
    """A chat completion with one choice."""
    return {"choices": [{"message": message}]}


def test_options_that_nobody_chose_are_left_out() -> None:
    """A request holds no nulls and no empty lists, which some servers refuse."""
    request = Request(messages=[], tools=(), generation=GenerationOptions(), effort=None)
    assert chat_options(request) == {}


def test_options_have_the_servers_names() -> None:
    """Each chosen option is sent under the server's name for it, zeros included."""
    generation = GenerationOptions(max_new_tokens=5, temperature=0, top_p=0.5, top_k=3, seed=0, stop=("#",))
    request = Request(
        messages=[],
        tools=[TOOL],
        generation=generation,
        effort=ReasoningEffort(effort="high"),
        limit_name="max_completion_tokens",
    )
    assert chat_options(request) == {
        "temperature": 0,
        "top_p": 0.5,
        "seed": 0,
        "stop": ["#"],
        "reasoning_effort": "high",
        "tools": [TOOL],
        "extra_body": {"top_k": 3, "max_completion_tokens": 5},
    }


def test_only_json_objects_are_answers() -> None:
    """A web page instead of an answer raises EngineResponseError about base_url."""
    with pytest.raises(EngineResponseError, match=r"of type str, not a JSON object\. Check base_url: .*ends in /v1"):
        as_mapping("<html>")


def test_whole_completion() -> None:
    """Every part of the answer is read."""
    answer = completion(
        content="Hi.",
        reasoning_content="Hm.",
        tool_calls=[{"id": "c", "function": {"name": "roll", "arguments": '{"n": 1}'}}],
    )
    answer["choices"][0]["finish_reason"] = "function_call"
    answer["usage"] = {"prompt_tokens": 3, "completion_tokens": 2}
    reply = read_completion(answer)
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Hi.", "Hm.", "tool_calls")
    assert read_calls(reply.calls) == (ToolCall(name="roll", arguments={"n": 1}, id="c"),)
    assert reply.usage == Usage(prompt_tokens=3, completion_tokens=2)


def test_other_names_of_text_and_reasoning() -> None:
    """A refusal is read as text, and reasoning under any of its names."""
    reply = read_completion(completion(content=None, refusal="No.", reasoning="Hm."))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.usage) == ("No.", "Hm.", "", None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, r"holds no message; it has: nothing\. Check"),
        ({"choices": [{"text": "legacy"}], "id": "1"}, r"holds no message; it has: choices, id\. Check"),
        (completion(content=5), r"content is of type int, not text\. Use a model"),
        (completion(content=[5]), r"content is of type list, not text\. Use a model"),
        (completion(content=[{"type": "image_url"}]), r"content is of type image_url, not text\. Use a model"),
        (completion(content=None, refusal=[]), r"refusal is of type list, not text\. Use a model"),
    ],
)
def test_malformed_completion(answer: dict[str, Any], words: str) -> None:
    """An answer without a readable message raises EngineResponseError."""
    with pytest.raises(EngineResponseError, match=words):
        read_completion(answer)


@pytest.mark.parametrize(
    ("chunk", "piece"),
    [
        ({"choices": [{"delta": {"content": "Hi"}}]}, Piece(text="Hi")),
        ({"choices": [{"delta": {"refusal": "No"}}]}, Piece(text="No")),
        (
            {"choices": [{"delta": {"reasoning_content": "Hm"}}]},
            Piece(reasoning="Hm", extras={"reasoning_content": "Hm"}),
        ),
        ({"choices": [{"delta": {}, "finish_reason": "length"}]}, Piece(finish_reason="length")),
        ({"choices": [{"delta": None, "finish_reason": "stop"}]}, Piece(finish_reason="stop")),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0}, 5]}}]}, Piece(calls=[{"index": 0}])),
        ({"choices": [{"delta": {}, "finish_reason": "end_turn"}]}, Piece(finish_reason="stop")),
        ({"choices": [{"delta": {}, "finish_reason": "MAX_TOKENS"}]}, Piece(finish_reason="length")),
        ({"choices": [{"delta": {}, "finish_reason": "content_filter"}]}, Piece(finish_reason="content_filter")),
        (DONE_EVENT, Piece(done=True)),
        ({"choices": [], "usage": {"prompt_tokens": 1}}, Piece()),
        ({"choices": [], "usage": USAGE}, Piece(usage=Usage(prompt_tokens=3, completion_tokens=2))),
        (
            {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE},
            Piece(finish_reason="stop", usage=Usage(prompt_tokens=3, completion_tokens=2)),
        ),
    ],
)
def test_chunks(chunk: dict[str, Any], piece: Piece) -> None:
    """Each piece of a stream is read."""
    assert read_chunk(chunk) == piece


@pytest.mark.parametrize("figures", [None, [1], {"p": 1}, {"p": "1", "c": 2}, {"p": 1, "c": -2}, {"p": True, "c": 2}])
def test_no_usage(figures: object) -> None:
    """Missing or malformed figures give no usage."""
    assert read_usage(figures, "p", "c") is None


@pytest.mark.parametrize(
    ("content", "text", "thoughts"),
    [
        ([], "", ""),
        (["Hi", {"type": "text", "text": "!"}], "Hi!", ""),
        ({"type": "text", "text": {"value": "Hi"}}, "Hi", ""),
        ([{"type": "output_text", "text": "Hi"}, {"type": "image_url", "image_url": {}}], "Hi", ""),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hi"}],
            "Hi",
            "Hm",
        ),
        ([{"type": "thinking", "thinking": "Hm", "signature": "s"}, {"type": "text", "text": ""}], "", "Hm"),
        ([{"type": "reasoning", "summary": [{"text": "H"}, {"text": "m"}]}], "", "Hm"),
        ([{"text": "Hm", "thought": True}, {"text": "Hi"}], "Hi", "Hm"),
        ([{"type": "refusal", "refusal": "No."}], "No.", ""),
    ],
)
def test_content_in_parts(content: object, text: str, thoughts: str) -> None:
    """Content in parts becomes text, and the parts marked as thinking become reasoning."""
    assert read_content(content) == (text, thoughts)
    reply = read_completion(completion(content=content))
    assert (reply.text, reply.reasoning) == (text, thoughts)
