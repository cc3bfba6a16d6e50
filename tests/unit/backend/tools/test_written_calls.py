"""Tool calls are read in the formats of the model families that write them."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend import ToolCall
from llm_backend.llms.answer_parsing import AnswerParser
from llm_backend.llms.payloads import ToolCallEvent
from llm_backend.llms.tools.written_calls import may_be_bare_calls, read_calls

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "add", "description": "Adds."}},
    {"function": "broken"},
]
ONE, TWO = ToolCall(name="add", arguments={"a": 1}), ToolCall(name="add", arguments={"a": 2})
FORMATS = {
    "hermes": ('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>', (ONE,)),
    "hermes-twice": (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>',
        (ONE, TWO),
    ),
    "granite": (
        '<|tool_call|>[{"name": "add", "arguments": {"a": 1}}, {"arguments": {"a": 2}, "name": "add"}]',
        (ONE, TWO),
    ),
    "phi-4-mini": ('<|tool_call|>[{"name": "add", "arguments": {"a": 1}}]<|/tool_call|>', (ONE,)),
    "mistral": (
        '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}, "id": "abcdef123"}]',
        (ToolCall(name="add", arguments={"a": 1}, id="abcdef123"),),
    ),
    "mistral-11": (
        '[TOOL_CALLS]add[CALL_ID]abcdef123[ARGS]{"a": 1}[TOOL_CALLS]add[ARGS]{"a": 2}',
        (ToolCall(name="add", arguments={"a": 1}, id="abcdef123"), TWO),
    ),
    "mistral-13": ('[TOOL_CALLS]add{"a": 1}', (ONE,)),
    "llama": ('{"name": "add", "parameters": {"a": 1}}', (ONE,)),
    "llama-twice": (
        '\n{"name": "add", "parameters": {"a": 1}}; {"type": "function", "name": "add", "parameters": {"a": 2}}',
        (ONE, TWO),
    ),
    "llama-fenced": ('```json\n{"name": "add", "parameters": {"a": 1}}\n```', (ONE,)),
    "llama-tagged": ('<|python_tag|>{"name": "add", "parameters": {"a": 1}}', (ONE,)),
    "openai": ('{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 1}"}}', (ONE,)),
    "list": ('[{"name": "add", "arguments": {"a": 1}}]', (ONE,)),
}


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(("text", "calls"), FORMATS.values(), ids=list(FORMATS))
def test_formats_of_families(text: str, calls: tuple[ToolCall, ...], size: int) -> None:
    """A call in each family's format is read, whole and in pieces, and leaves the answer."""
    parser = AnswerParser(tools=TOOLS)
    pieces = [parser.feed(text[start : start + size]) for start in range(0, len(text), size)]
    events = [event for events in (*pieces, parser.finish()) for event in events]
    assert events == [ToolCallEvent(call) for call in calls]
    assert (parser.result().tool_calls, parser.result().response) == (calls, "")


BROKEN = '<tool_call>{"name": "add", "arguments": {"a": "x'


@pytest.mark.parametrize(
    ("text", "calls", "response"),
    [
        ('<tool_call>{"name": "add", "arguments": {"a": "</tool_call>"}}</tool_call>', 1, ""),
        ('<tool_call>{"name": "add", "arguments": {"a": "\\"</tool_call> \\\\"}}</tool_call> Done.', 1, "Done."),
        ('<tool_call>{"name": "add", "arguments": {"a": "<tool_call>"}}</tool_call>', 1, ""),
        ('<tool_call>{"name": "add"}\n<tool_call>{"name": "add"}</tool_call>', 2, ""),
        ('[TOOL_CALLS]add{"a": "[TOOL_CALLS]"}[TOOL_CALLS]add{}', 2, ""),
        ('[TOOL_CALLS][{"name": "add", "arguments": {"a": "[TOOL_CALLS]"}}]', 1, ""),
        ('<|tool_call|>[{"name": "add", "arguments": {"a": "<|tool_call|>"}}]', 1, ""),
        ('<|channel|>commentary to=functions.add<|message|>{"a": "<|end|>"}<|call|>', 1, ""),
        (BROKEN + '}}</tool_call> So <tool_call>{"name": "add"}</tool_call>', 1, BROKEN + "}}</tool_call> So"),
        (BROKEN + "</tool_call>", 0, BROKEN + "</tool_call>"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_marks_within_arguments(text: str, calls: int, response: str, size: int) -> None:
    """A call ends where it is whole: tags in its arguments are text, and a broken one hides no other."""
    parser = AnswerParser(tools=TOOLS)
    for start in range(0, len(text), size):
        parser.feed(text[start : start + size])
    parser.finish()
    assert [call.name for call in parser.result().tool_calls] == ["add"] * calls
    assert parser.result().response == response


@pytest.mark.parametrize("arguments", ['""', "null", "{}", '"{}"'])
def test_call_without_arguments(arguments: str) -> None:
    """A call whose arguments are empty, in any spelling, has none."""
    assert read_calls(f'{{"name": "add", "arguments": {arguments}}}') == [ToolCall(name="add", arguments={})]
    assert read_calls('{"name": "add"}') == [ToolCall(name="add", arguments={})]


@pytest.mark.parametrize(
    "content", ["", "add", "add{", '{"name": "add", "arguments": "x"}', '[{"name": "add"}, 1]', '{"name": "add"} and']
)
def test_what_is_no_call(content: str) -> None:
    """Text around a call, or a broken call, is not a call, so nothing is dropped."""
    assert read_calls(content) is None


@pytest.mark.parametrize("text", ['{"name": "Oslo"}', '{"name": "add", "parameters": [1]}', '{"name": "add"} fits.'])
def test_json_that_is_an_answer(text: str) -> None:
    """JSON that calls no offered tool is the answer."""
    parser = AnswerParser(tools=TOOLS)
    parser.feed(text)
    parser.finish()
    assert (parser.result().response, parser.result().tool_calls) == (text, ())


def test_other_json_is_passed_on_at_once() -> None:
    """With tools offered, JSON that cannot become a call is passed on at once."""
    assert [may_be_bare_calls(text) for text in ("", "[", "{", '{"na', '[ {"name": "x', "``", "```js")] == [True] * 7
    assert [may_be_bare_calls(text) for text in ("x", "[1", '{"city', "{n", "```py", "```\nx", "`a`")] == [False] * 7
