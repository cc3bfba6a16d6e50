"""A model's text is parsed the same way whole and in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import ToolCall
from llm_backend.llms.answer_parsing import AnswerParser, StopFilter
from llm_backend.llms.payloads import Reasoning, Text, ToolCallEvent

if TYPE_CHECKING:
    from llm_backend.llms.answer_parsing import ParsedAnswer
    from llm_backend.llms.payloads import Event

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("add", "get_weather")]
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "text": "x, (y)"}}\n</tool_call>'


CHANNELS = (
    "<|channel|>analysis<|message|>They ask\nfor 2+2. <|end|><|start|>assistant<|channel|>analysis<|message|>Easy."
    "<|end|><|start|>assistant<|channel|>final<|message|>The answer\n is 4. <|return|>"
)
REQUEST = (
    "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant<|channel|>commentary "
    'to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>'
)


def split_answer(text: str, **options: Any) -> ParsedAnswer:
    """The parts of a whole answer, with tools offered unless ``options`` say otherwise."""
    parser = AnswerParser(**{"tools": TOOLS, **options})
    parser.feed(text)
    parser.finish()
    return parser.result()


def in_pieces(text: str, size: int, **options: Any) -> list[Event]:
    """The events of ``text`` that arrives ``size`` characters at a time."""
    parser = AnswerParser(**{"tools": TOOLS, **options})
    pieces = [parser.feed(text[start : start + size]) for start in range(0, len(text), size)]
    return [event for events in (*pieces, parser.finish()) for event in events]


def joined(events: list[Event], kind: type[Reasoning | Text]) -> str:
    """The texts of the events of one kind."""
    return "".join(event.text for event in events if isinstance(event, kind))


def test_reasoning_is_taken_out() -> None:
    """Reasoning at an answer's beginning is not part of it."""
    parsed = split_answer("<think> first </think>\n<think>second</think>\n\nThe answer is 4. ")
    assert (parsed.thinking, parsed.response) == ("first\nsecond", "The answer is 4.")


def test_unclosed_reasoning_is_no_answer() -> None:
    """Reasoning that was cut off is not part of the answer."""
    parsed = split_answer(" <think>I was cut o")
    assert (parsed.thinking, parsed.response) == ("I was cut o", "")


def test_prompt_may_open_the_reasoning() -> None:
    """Reasoning whose opening tag stood in the prompt is still reasoning."""
    parsed = split_answer("hmm</think>4", thinking=True)
    assert (parsed.thinking, parsed.response) == ("hmm", "4")


def test_tool_calls_are_parsed_whole() -> None:
    """A tool call is read whole, commas and brackets included, and leaves the answer."""
    parsed = split_answer(f"I will add. {CALL}")
    assert parsed.tool_calls == (ToolCall(name="add", arguments={"a": 1, "text": "x, (y)"}),)
    assert parsed.response == "I will add."


def test_unclosed_tool_call_is_still_one() -> None:
    """A whole call without its closing tag is still a call."""
    assert split_answer(CALL.removesuffix("</tool_call>")).tool_calls[0].name == "add"


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[1]",
        '{"arguments": {}}',
        '{"name": "add", "arguments": [1]}',
        '{"name": "add", "arguments": {"a": NaN}}',
        '{"name": "\\ud800", "arguments": {}}',
        "[" * 100_000,
    ],
    ids=lambda body: body[:40],
)
def test_malformed_tool_call_stays_in_the_answer(body: str, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed call stays in the answer, and its text is not logged."""
    text = f"<tool_call>{body}</tool_call>"
    parsed = split_answer(text)
    assert (parsed.response, parsed.tool_calls) == (text, ())
    assert "not a JSON object with a name" in caplog.text
    assert body not in caplog.text


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "  Plain text, with a < and a <thin line.  ",
        f"<think>a < b</think>  so {CALL} and\n\n  more <tool",
        "ends in an open tag <think",
        "<tool_call>{}</tool_call> x",
        "   ",
        "<think> b </think> c <think></think><think> d </think> e </think>",
        "</think> c",
        "Use <think> and </think>.",
        "The tag </think> ends it.",
        CHANNELS,
        REQUEST,
        "<|channel|>final<|message|>cut o",
        '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]add{"a": 2}',
        '{"name": "add", "parameters": {"a": 1}}; {"name": "add", "parameters": {"a": 2}}',
        '{"name": "Oslo", "parameters": {"a": 1}}',
        "[1](link) and {name}",
    ],
)
def test_pieces_equal_the_whole(text: str, size: int) -> None:
    """A joined stream equals the whole answer, wherever the pieces were cut."""
    events, whole = in_pieces(text, size), split_answer(text)
    assert joined(events, Text) == whole.response
    assert joined(events, Reasoning) == whole.thinking
    assert tuple(event.call for event in events if isinstance(event, ToolCallEvent)) == whole.tool_calls


@pytest.mark.parametrize("mark", ["</think>", "\n</think>\n\n", "</think> "])
def test_lone_closing_tag_parts_reasoning_from_the_answer(mark: str) -> None:
    """Text before a lone closing tag is reasoning."""
    parsed = split_answer(f"They greet me.{mark}Hello!")
    assert (parsed.thinking, parsed.response) == ("They greet me.", "Hello!")
    assert split_answer("They greet me.</think>").thinking == "They greet me."


def test_lone_closing_tag_in_a_stream() -> None:
    """A stream keeps what it passed on before a lone closing tag, and drops the tag."""
    assert joined(in_pieces("They greet me.</think> Hello!", 5), Text) == "They greet me. Hello!"


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_stream_of_a_model_that_closes_what_it_did_not_open(size: int) -> None:
    """After one lone closing tag, later streams wait for theirs."""
    first = AnswerParser()
    assert first.feed("They greet me.</think> Hello!") == [Reasoning("They greet me."), Text("Hello!")]
    assert first.closed_unopened
    events = in_pieces("They greet me.</think> Hello!", size, unopened=True)
    assert (joined(events, Reasoning), joined(events, Text)) == ("They greet me.", "Hello!")
    assert joined(in_pieces("<think>Hm.</think> Hello!", size, unopened=True), Text) == "Hello!"
    assert joined(in_pieces("Hello! </thin", size, unopened=True), Text) == "Hello! </thin"


PROSE = [
    "The answer <think>second</think> is 4.",
    "The tag </think> ends a block.",
    'Close it with `</think>`, "</think>" or </think>.',
    "Write <think>, then reason, then </think>\nand the answer.",
    "The mark <|channel|>analysis<|message|> opens one.<|end|>",
]


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("text", PROSE)
def test_marks_in_prose_are_prose(text: str, size: int) -> None:
    """Reasoning tags after an answer's beginning are part of the answer."""
    assert split_answer(text).response == text
    events = in_pieces(text, size)
    assert (joined(events, Text), joined(events, Reasoning)) == (text, "")


@pytest.mark.parametrize("text", ["<think>x</think> y", "x</think>y", "<|channel|>analysis<|message|>x"])
def test_reasoning_beside_the_text_leaves_its_marks_alone(text: str) -> None:
    """Where a server tells reasoning apart, tags in the text are text."""
    parser = AnswerParser(tools=TOOLS)
    assert parser.reason("hmm") == [Reasoning("hmm")]
    parser.feed(text)
    parser.finish()
    assert (parser.result().thinking, parser.result().response) == ("hmm", text)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "text",
    [
        CALL,
        '[TOOL_CALLS][{"name": "add", "arguments": {}}]',
        '{"name": "add", "parameters": {}}',
        '<|python_tag|>{"name": "add", "parameters": {}}',
    ],
)
def test_no_tools_no_calls(text: str, size: int) -> None:
    """Where no tools were offered, a call's text is the answer's, passed on as it comes."""
    parsed = split_answer(text, tools=())
    assert (parsed.response, parsed.tool_calls) == (text, ())
    assert joined(in_pieces(text, size, tools=()), Text) == text


@pytest.mark.parametrize(
    ("text", "response"),
    [
        (f"{{}}{CALL}", f"{{}}{CALL}"),
        (f"<think>x</think>{{}}{CALL}", f"{{}}{CALL}"),
        ("They ask for JSON.</think>[1]", "[1]"),
    ],
)
def test_json_is_text_from_its_beginning(text: str, response: str) -> None:
    """A JSON answer holds no tags once it has begun; reasoning may come before."""
    assert split_answer(text, structured=True).response == response


def test_channels_are_taken_apart() -> None:
    """Reasoning in a channel of its own is not part of the answer, nor are the channel's marks."""
    parsed = split_answer(CHANNELS)
    assert (parsed.thinking, parsed.response) == ("They ask\nfor 2+2.\nEasy.", "The answer\n is 4.")


def test_call_in_a_channel_is_read() -> None:
    """A call in a channel is read, and leaves the answer."""
    parsed = split_answer(REQUEST)
    assert parsed.tool_calls == (ToolCall(name="get_weather", arguments={"city": "Paris"}),)
    assert (parsed.response, parsed.thinking) == ("I will look.", "")


def test_recipient_before_the_channel() -> None:
    """A message of gpt-oss that names its function before the channel is a call."""
    text = ' to=functions.add<|channel|>commentary json<|message|>{"a": 1}<|call|>'
    assert split_answer(text).tool_calls == (ToolCall(name="add", arguments={"a": 1}),)
    assert split_answer("to=functions.add is how").response == "to=functions.add is how"


def test_request_without_tools_is_text() -> None:
    """A message to a function is text where none was offered."""
    parsed = split_answer("<|channel|>commentary to=add<|message|>{}<|call|>", tools=())
    assert (parsed.response, parsed.tool_calls) == ("{}", ())


@pytest.mark.parametrize("body", ["not JSON", "[1]"])
def test_malformed_call_in_a_channel_stays_in_the_answer(body: str) -> None:
    """A malformed call in a channel stays in the answer."""
    parsed = split_answer(f"<|channel|>commentary to=add<|message|>{body}<|call|>")
    assert (parsed.response, parsed.tool_calls) == (body, ())


@pytest.mark.parametrize(
    ("text", "thinking", "response"),
    [
        ("<|channel|>analysis<|message|>I was cut o", "I was cut o", ""),
        ("The mark <|channel|> opens one.", "", "The mark <|channel|> opens one."),
        ("<|channel|>final<|message|>4<|end|><|start|>assist", "", "4"),
    ],
)
def test_unfinished_channels(text: str, thinking: str, response: str) -> None:
    """An answer cut inside a channel keeps its text, and shows no reasoning and no half header."""
    parsed = split_answer(text)
    assert (parsed.thinking, parsed.response) == (thinking, response)


def test_text_is_passed_on_at_once() -> None:
    """A stream passes on text as soon as it certainly belongs to the answer."""
    parser = AnswerParser()
    pieces = ("Hello", " ", "world", " <", "b>", "<think>so", " far")
    assert [parser.feed(piece) for piece in pieces] == [
        [Text("Hello")],
        [],
        [Text(" world")],
        [],
        [Text(" <b>")],
        [Text("<think>"), Text("so")],
        [Text(" far")],
    ]


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("Here:\n```python\nx = `1`\n```\nand\n```\ny\n```", "x = `1`\n"),
        ("```\nnever closed", None),
        ("no code, only `this`", None),
    ],
)
def test_first_code_block_is_found(response: str, code: str | None) -> None:
    """The answer's code is its first closed block."""
    assert split_answer(response).code == code


@pytest.mark.parametrize(("text", "calls"), [('No. [TOOL_CALLS]add{"a": 1}', 1), ('{"a": "[TOOL_CALLS]add{}"}', 0)])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_prose_where_json_was_asked_for(text: str, calls: int, size: int) -> None:
    """Call tags count in prose, and are text inside JSON, in pieces and whole."""
    events = in_pieces(text, size, structured=True)
    assert sum(isinstance(event, ToolCallEvent) for event in events) == calls
    assert joined(events, Text) == ("No." if calls else text)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_stop_text_ends_the_text(size: int) -> None:
    """A stop text in pieces is not passed on, nor is what follows it."""
    text, stop = "one, two. END three", StopFilter(["XYZ", " END"])
    shown = "".join(stop.feed(text[start : start + size]) for start in range(0, len(text), size) if not stop.stopped)
    assert (shown + stop.finish(), stop.stopped) == ("one, two.", True)


def test_beginning_of_a_stop_text_is_not_lost() -> None:
    """Text that only looked like the beginning of a stop text is passed on."""
    stop = StopFilter(["END"])
    assert (stop.feed("the EN"), stop.feed("GINE E"), stop.finish()) == ("the ", "ENGINE ", "E")
    assert not stop.stopped


def test_no_stop_texts_hold_nothing_back() -> None:
    """Without stop texts no text is held back."""
    assert StopFilter([]).feed("all of it") == "all of it"
