"""Tests of OpenAI's chat format as plain data."""

from __future__ import annotations

from typing import Any

import pytest

from backend import GenerationOptions, ReasoningEffort, ToolCall, Usage
from backend.errors import ConfigError, EngineResponseError
from backend.llms.openai_format import (
    Piece,
    Request,
    as_mapping,
    as_mappings,
    card_window,
    chat_options,
    name_calls,
    only_model,
    read_calls,
    read_chunk,
    read_completion,
    read_usage,
)

TOOL = {"type": "function", "function": {"name": "roll"}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def completion(**message: Any) -> dict[str, Any]:
    """A chat completion with one choice."""
    return {"choices": [{"message": message}]}


def test_options_that_nobody_chose_are_left_out() -> None:
    """Servers get nulls and empty lists, which some of them refuse."""
    request = Request(messages=[], tools=(), generation=GenerationOptions(), effort=None)
    assert chat_options(request, limit_name="max_tokens") == {}


def test_options_have_the_servers_names() -> None:
    """An option that somebody chose is lost, or a value of zero passes for none."""
    generation = GenerationOptions(max_new_tokens=5, temperature=0, top_p=0.5, top_k=3, seed=0, stop=("#",))
    request = Request(messages=[], tools=[TOOL], generation=generation, effort=ReasoningEffort(effort="high"))
    assert chat_options(request, limit_name="max_completion_tokens") == {
        "temperature": 0,
        "top_p": 0.5,
        "seed": 0,
        "stop": ["#"],
        "reasoning_effort": "high",
        "tools": [TOOL],
        "extra_body": {"top_k": 3, "max_completion_tokens": 5},
    }


def test_calls_without_names() -> None:
    """A server refuses a call that has no id, or a result goes to another call."""
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "tool_calls": [{"id": None}, {"id": "mine"}, {"id": None}]},
        {"role": "tool", "tool_call_id": None},
        {"role": "tool", "tool_call_id": "mine"},
        {"role": "tool", "tool_call_id": None},
        {"role": "tool", "tool_call_id": None},
    ]
    (asked, *results) = name_calls(messages)
    assert [call["id"] for call in asked["tool_calls"]] == ["call00000", "mine", "call00002"]
    assert [result["tool_call_id"] for result in results] == ["call00000", "mine", "call00002", None]


def test_only_json_objects_are_answers() -> None:
    """A web page in place of an answer gives an AttributeError somewhere behind."""
    with pytest.raises(EngineResponseError, match=r"no JSON object but a str\. Check base_url: .*ends in /v1"):
        as_mapping("<html>")
    assert as_mappings([{"a": 1}, "b", None]) == [{"a": 1}]
    assert as_mappings(None) == []


def test_whole_completion() -> None:
    """A part of the answer is lost."""
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
    """A refusal, or the reasoning of a server with another name for it, is lost."""
    reply = read_completion(completion(content=None, refusal="No.", reasoning="Hm."))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.usage) == ("No.", "Hm.", "", None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, r"holds no message; it has: nothing\. Look into"),
        ({"choices": [{"text": "legacy"}], "id": "1"}, r"holds no message; it has: choices, id\. Look into"),
        (completion(content=["part"]), r"content is a list, not a text\. This model"),
    ],
)
def test_malformed_completion(answer: dict[str, Any], words: str) -> None:
    """An answer that is none passes for an empty one."""
    with pytest.raises(EngineResponseError, match=words):
        read_completion(answer)


@pytest.mark.parametrize(
    ("chunk", "piece"),
    [
        ({"choices": [{"delta": {"content": "Hi"}}]}, Piece(text="Hi")),
        ({"choices": [{"delta": {"refusal": "No"}}]}, Piece(text="No")),
        ({"choices": [{"delta": {"reasoning_content": "Hm"}}]}, Piece(reasoning="Hm")),
        ({"choices": [{"delta": {}, "finish_reason": "length"}]}, Piece(finish_reason="length")),
        ({"choices": [{"delta": None, "finish_reason": "stop"}]}, Piece(finish_reason="stop")),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0}, 5]}}]}, Piece(calls=[{"index": 0}])),
        ({"choices": [], "usage": {"prompt_tokens": 1}}, Piece()),
        ({"choices": [], "usage": USAGE}, Piece(usage=Usage(prompt_tokens=3, completion_tokens=2))),
        (
            {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE},
            Piece(finish_reason="stop", usage=Usage(prompt_tokens=3, completion_tokens=2)),
        ),
    ],
)
def test_chunks(chunk: dict[str, Any], piece: Piece) -> None:
    """A piece of a stream is misread."""
    assert read_chunk(chunk) == piece


def part(index: int | None, arguments: str = "", name: str | None = None, id_: str | None = None) -> dict[str, Any]:
    """A part of a streamed tool call."""
    return {"index": index, "id": id_, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([part(0, '{"n": 1}', "roll", "a"), part(1, '{"n": 2}', "roll", "b")], id="whole"),
        pytest.param(
            [
                part(0, "", "ro", "a"),
                part(1, "", "roll", "b"),
                part(0, '{"n"', "ll"),
                part(1, '{"n": 2}'),
                part(0, ": 1}"),
            ],
            id="interleaved",
        ),
        pytest.param([part(0, '{"n": 1}', "roll", "a"), part(0, '{"n": 2}', "roll", "b")], id="one index for all"),
        pytest.param(
            [part(None, '{"n": 1', "roll", "a"), part(None, "}"), part(None, '{"n": 2}', "roll", "b")], id="no index"
        ),
        pytest.param(
            [part(0, "", "roll", "a"), part(0, '{"n": 1}', None, "x"), part(1, '{"n": 2}', "roll", "b")],
            id="another id in each part",
        ),
    ],
)
def test_tool_calls(parts: list[dict[str, Any]]) -> None:
    """Calls whose parts a server tells apart in its own way are mixed up, or torn."""
    assert [(call.arguments["n"], call.id) for call in read_calls(parts)] == [(1, "a"), (2, "b")]
    assert {call.name for call in read_calls(parts)} == {"roll"}


def test_tool_call_without_id() -> None:
    """A call that has no id gets one that a server may refuse."""
    assert read_calls([part(None, "{}", "roll", ""), part(None, "{}", "roll", "")])[1] == ToolCall(
        name="roll", arguments={}
    )


@pytest.mark.parametrize("call", [{"id": "c"}, {"function": {"arguments": "{}"}}, {"function": "roll"}])
def test_tool_call_without_name(call: dict[str, Any]) -> None:
    """A call of no tool passes for one."""
    with pytest.raises(EngineResponseError, match="a tool call without a function's name"):
        read_calls([call])


@pytest.mark.parametrize(
    "arguments",
    ["{'n': 6}", "[6]", '{"n": 6', "", {"n": 6}, '{"n": NaN}', '{"n": ' + "[" * 100_000],
    ids=lambda arguments: str(arguments)[:20],
)
def test_malformed_arguments_stay_private(arguments: Any) -> None:
    """A tool is called with nonsense, or the error shows what may be private."""
    with pytest.raises(
        EngineResponseError, match=r"tool 'roll' with arguments that are no JSON object\. Ask"
    ) as caught:
        read_calls([part(0, arguments, "roll")])
    assert "6" not in str(caught.value)


@pytest.mark.parametrize("figures", [None, [1], {"p": 1}, {"p": "1", "c": 2}, {"p": 1, "c": -2}, {"p": True, "c": 2}])
def test_no_usage(figures: object) -> None:
    """Figures that are not there are made up."""
    assert read_usage(figures, "p", "c") is None


def test_only_model() -> None:
    """The one model of a server is not found, or one of several is taken."""
    assert only_model([{"id": "a"}, {"id": "a"}, {}], "here") == "a"
    with pytest.raises(ConfigError, match=r"the server at here offers none\. Set model \(AF_LLM_MODEL\)"):
        only_model([], "here")
    with pytest.raises(ConfigError, match=r"offers 30\. Set model \(AF_LLM_MODEL\) to one of: m00, .*m19, \.\.\.\.$"):
        only_model([{"id": f"m{number:02}"} for number in range(30)], "here")


@pytest.mark.parametrize(
    ("card", "window"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"context_length": 0, "context_window": 8192}, 8192),
        ({"meta": {"n_ctx": 2048}}, 2048),
        ({"meta": None, "max_model_len": "many"}, None),
    ],
)
def test_card_window(card: dict[str, Any], window: int | None) -> None:
    """A server's way to state the window is not known, or another model's is taken."""
    assert card_window([{"id": "other", "max_model_len": 1}, {"id": "m", **card}], "m") == window
    assert card_window([{"id": "other", **card}], "m") is None
