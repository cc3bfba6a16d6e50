"""Tool calls in OpenAI's chat format."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend import ToolCall
from llm_backend.errors import EngineResponseError
from llm_backend.llms.tools.openai_calls import name_calls, read_calls, tool_name


def test_tool_names() -> None:
    """A tool's name is found in both formats, and is empty in any other."""
    tools: list[dict[str, Any]] = [{"function": {"name": "roll"}}, {"name": "roll"}, {"type": "web_search"}]
    assert list(map(tool_name, tools)) == ["roll", "roll", ""]


def test_calls_without_names() -> None:
    """Calls without an id get one, and their results the same."""
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
    """The parts of each streamed call are put together, however a server tells calls apart."""
    assert [(call.arguments["n"], call.id) for call in read_calls(parts)] == [(1, "a"), (2, "b")]
    assert {call.name for call in read_calls(parts)} == {"roll"}


def test_tool_call_without_id() -> None:
    """A call without an id stays without one, and counts as a call."""
    assert read_calls([part(None, "{}", "roll", ""), part(None, "{}", "roll", "")])[1] == ToolCall(
        name="roll", arguments={}
    )
    assert len(read_calls([{"function": {"name": "roll"}}] * 2, whole=True)) == 2


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [part(0, "", "roll", "a"), part(0, '{"n"', "roll", "a"), part(0, ": 1}", "roll", "a")], id="same id"
        ),
        pytest.param([part(0, "", "roll", "a"), part(0, '{"n"', "roll"), part(0, ": 1}", "roll")], id="no id"),
        pytest.param([part(0, '{"n"', "roll", "a"), part(0, ": 1}", "roll", "x")], id="another id in each part"),
        pytest.param([part(None, "", "roll", "a"), part(None, '{"n": 1}', "roll", "a")], id="no index"),
        pytest.param([part(None, '{"n"', "roll"), part(None, ": 1}", "roll")], id="no index and no id"),
        pytest.param([part(None, "", "roll"), part(None, '{"n": 1}', "roll")], id="no index, no id, nothing at first"),
        pytest.param([part(0, "", "ro", "a"), part(0, '{"n": 1}', "roll")], id="grows"),
    ],
)
def test_name_in_each_part(parts: list[dict[str, Any]]) -> None:
    """A name repeated in each part is one name, and one call."""
    assert [(call.name, dict(call.arguments)) for call in read_calls(parts)] == [("roll", {"n": 1})]


@pytest.mark.parametrize(
    ("said", "offered", "name"),
    [
        (["go", "go"], [], "go"),
        (["go", "go"], ["gogo"], "gogo"),
        (["go", "go"], ["go", "gogo"], "go"),
        (["get_", "weather"], ["get_weather"], "get_weather"),
    ],
)
def test_name_in_pieces(said: list[str], offered: list[str], name: str) -> None:
    """The offered tools tell a repeated name from one in pieces."""
    [call] = read_calls([part(0, "", piece) for piece in said], offered)
    assert call.name == name


@pytest.mark.parametrize("arguments", ["", " ", None, "null", {}, "{}"], ids=repr)
def test_no_arguments(arguments: Any) -> None:
    """A call without arguments is read as one, however a server writes that."""
    for whole in (True, False):
        assert read_calls([part(0, arguments, "roll")], whole=whole) == (ToolCall(name="roll", arguments={}),)
    assert read_calls([{"function": {"name": "roll"}}]) == (ToolCall(name="roll", arguments={}),)


@pytest.mark.parametrize(
    "said",
    [[{"n": 1}], ["{}", '{"n": 1}'], ['{"n"', ": 1}", '{"n": 1}'], ['{"n": 1}', '{"n": 1}'], ['{"n": 1}', ""]],
    ids=repr,
)
def test_arguments_said_twice(said: list[Any]) -> None:
    """Arguments sent as an object, or again whole at the end, are read once."""
    [call] = read_calls([part(0, said[0], "roll", "a"), *(part(0, piece) for piece in said[1:])])
    assert call.arguments == {"n": 1}


@pytest.mark.parametrize("said", [['{"n": 6', ""], ['{"n": ', "{}"], ['{"n": 6}', '{"n": 7}']], ids=repr)
def test_arguments_that_are_not_whole(said: list[str]) -> None:
    """Arguments that were cut, or sent twice and different, raise an error."""
    with pytest.raises(EngineResponseError, match="arguments that are not a JSON object"):
        read_calls([part(0, piece, "roll" if number == 0 else None) for number, piece in enumerate(said)])


def test_a_call_that_was_cut_before_its_arguments() -> None:
    """A call cut before its arguments raises an error; an empty one before it does not."""
    first, last = part(0, "", "roll", "a"), part(1, "", "sing", "b")
    with pytest.raises(EngineResponseError, match=r"called tool 'sing' .* raise max_new_tokens"):
        read_calls([first, last], cut=True)
    assert len(read_calls([first, part(1, "{}", "sing", "b")], cut=True)) == 2
    assert read_calls([], cut=True) == ()


def test_extras_of_a_call() -> None:
    """A call's extras are kept, whole or in parts."""
    google = {"extra_content": {"google": {"thought_signature": "s"}}}
    about = {"function": {"name": "roll", "arguments": "{}", "provider": {"k": 1}}}
    assert read_calls([{**about, **google}])[0].extras == {**google, "function": {"provider": {"k": 1}}}
    [call] = read_calls([{"index": 0, "id": "a", **about}, {"index": 0, **google}, {"index": 0, "extra_content": None}])
    assert call.extras == {**google, "function": {"provider": {"k": 1}}}


@pytest.mark.parametrize("call", [{"id": "c"}, {"function": {"arguments": "{}"}}, {"function": "roll"}])
def test_tool_call_without_name(call: dict[str, Any]) -> None:
    """A call without a name raises an error."""
    with pytest.raises(EngineResponseError, match="a tool call without a function name"):
        read_calls([call])


@pytest.mark.parametrize(
    "arguments",
    ["{'n': 6}", "[6]", '{"n": 6', [6], 6, '{"n": NaN}', '{"n": ' + "[" * 100_000],
    ids=lambda arguments: str(arguments)[:20],
)
def test_malformed_arguments_stay_private(arguments: Any) -> None:
    """Malformed arguments raise an error that does not show them."""
    with pytest.raises(
        EngineResponseError, match=r"tool 'roll' with arguments that are not a JSON object\. Ask"
    ) as caught:
        read_calls([part(0, arguments, "roll")])
    assert "6" not in str(caught.value)
