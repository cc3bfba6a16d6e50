"""Takes a model's raw text apart: reasoning, tool calls and the answer itself.

One incremental parser serves streams and whole answers alike, so a joined stream is the answer by construction.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pydantic_core import from_json

from backend.llms.payloads import Reasoning, Text, ToolCall, ToolCallEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.llms.payloads import Event

__all__ = ["MARKS", "AnswerParser", "ParsedAnswer", "StopFilter"]

_log = logging.getLogger(__name__)
_CODE_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")


class _Block(Enum):
    """What a stretch of the text is."""

    TEXT = "text"
    THINK = "<think>"
    TOOL_CALL = "<tool_call>"
    # The channels of gpt-oss: <|channel|>HEADER<|message|>CONTENT<|end|><|start|>assistant<|channel|>HEADER...
    # https://developers.openai.com/cookbook/articles/openai-harmony
    HEADER = "<|channel|>"
    ANALYSIS = "analysis"
    REQUEST = "request"
    FINAL = "final"


_MESSAGE_ENDS = ("<|end|>", "<|start|>", "<|channel|>", "<|call|>", "<|return|>")
_ENDS: dict[_Block, tuple[str, ...]] = {
    _Block.TEXT: ("<think>", "</think>", "<tool_call>", "<|channel|>"),
    _Block.THINK: ("</think>",),
    _Block.TOOL_CALL: ("</tool_call>",),
    _Block.HEADER: ("<|message|>",),
    _Block.ANALYSIS: _MESSAGE_ENDS,
    _Block.REQUEST: _MESSAGE_ENDS,
    _Block.FINAL: _MESSAGE_ENDS,
}
_THOUGHTS = ("<think>", "</think>")
_REASONING = (_Block.THINK, _Block.ANALYSIS)
_WHOLE = (_Block.TOOL_CALL, _Block.HEADER, _Block.REQUEST)  # can be read only when their end is there
# A tokenizer may call these special, and leave them out of its text unless told not to.
MARKS = frozenset({mark for marks in _ENDS.values() for mark in marks} | {"<|constrain|>"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAnswer:
    """What a model's text holds; ``code`` is what the first fenced code block that is closed holds."""

    response: str
    thinking: str
    code: str | None
    tool_calls: tuple[ToolCall, ...]


class AnswerParser:
    """Give it the model's text piece by piece; it gives back what is certain, as events.

    ``<think>`` blocks and the channel "analysis" are reasoning, also when they are never closed; a lone ``</think>``
    is dropped. ``<tool_call>`` blocks that hold a JSON object with a name, and JSON objects sent to a function in a
    channel, are tool calls; any other stays in the answer, so that nothing is lost. White space at both ends of the
    answer is dropped.

    ``thinking`` says that the prompt already opened a ``<think>`` block, ``structured`` that the answer is to be JSON:
    once that has begun, marks are part of its texts, and ``calls`` that the model was offered tools: otherwise what
    looks like a call is text. So is ``<think>`` where reasoning came beside the text.
    """

    def __init__(self, *, thinking: bool = False, structured: bool = False, calls: bool = True) -> None:
        self._structured = structured
        self._calls_offered = calls
        self._reasons_beside = False
        self._text, self._thinking = _Trimmed(), _Trimmed()
        self._calls: list[ToolCall] = []
        self._block = _Block.THINK if thinking else _Block.TEXT
        self._opening = ""  # how the block began, as far as it would have to be shown
        self._pending = ""

    def reason(self, piece: str) -> list[Event]:
        """What is certain after a piece of reasoning that came beside the text."""
        self._reasons_beside = self._reasons_beside or bool(piece)
        return self._reason(piece)

    def feed(self, piece: str) -> list[Event]:
        """What is certain after ``piece``."""
        self._pending += piece
        events: list[Event] = []
        while True:
            marks = self._marks()
            before, mark, after = _partition_first(self._pending, marks)
            if not mark:
                if self._block not in _WHOLE:
                    certain = len(before) - _partial_tag_length(before, marks)
                    self._pending = before[certain:]
                    events += self._pass_on(before[:certain])
                return events
            self._pending = after
            events += self._pass_on(before, closing=mark)
            self._enter(before, mark)

    def _marks(self) -> tuple[str, ...]:
        """The marks that end the block."""
        if self._in_json():
            return ()
        marks = _ENDS[self._block]
        if self._block is not _Block.TEXT:
            return marks
        prose = (() if self._calls_offered else ("<tool_call>",)) + (_THOUGHTS if self._reasons_beside else ())
        return tuple(mark for mark in marks if mark not in prose)

    def _in_json(self) -> bool:
        if not (self._structured and self._block is _Block.TEXT):
            return False
        return bool(self._text.shown) or self._pending.lstrip()[:1] not in ("", "<")

    def finish(self) -> list[Event]:
        """What was held back, at the end of the text."""
        rest, self._pending = self._pending, ""
        events = self._pass_on(rest)
        self._block, self._opening = _Block.TEXT, ""
        return events

    def result(self) -> ParsedAnswer:
        """Everything that was found."""
        response = "".join(self._text.shown)
        code = _CODE_BLOCK.search(response)
        return ParsedAnswer(
            response=response,
            thinking="".join(self._thinking.shown),
            code=code[1] if code else None,
            tool_calls=tuple(self._calls),
        )

    def _pass_on(self, content: str, closing: str = "") -> list[Event]:
        """The events of a block's ``content``, which is all of it when there is a ``closing`` mark."""
        if self._block in _REASONING:
            return self._reason(content)
        if self._block is _Block.TOOL_CALL:
            return self._call(_read_call(content), self._opening + content + closing)
        if self._block is _Block.REQUEST:
            return self._call(_read_call(content, self._opening), content)
        if self._block is _Block.HEADER:
            # One that never ends is text like any other; between two messages there is none, and nothing opened it.
            return [] if closing or not self._opening else self._show(self._opening + content)
        return self._show(content)

    def _enter(self, content: str, mark: str) -> None:
        """Change over to the block that begins at ``mark``, after ``content``."""
        if self._block is _Block.HEADER:
            recipient = _RECIPIENT.search(content) if self._calls_offered else None
            self._opening = recipient[1] if recipient else ""
            analysis = "analysis" in content
            self._block = _Block.REQUEST if recipient else _Block.ANALYSIS if analysis else _Block.FINAL
        elif mark in _MESSAGE_ENDS:
            self._opening = mark if self._block is _Block.TEXT else ""
            self._block = _Block.HEADER
        else:
            opens = self._block is _Block.TEXT and mark != "</think>"
            self._opening = mark if opens else ""
            self._block = _Block(mark) if opens else _Block.TEXT
        if self._block in _REASONING:
            self._thinking.break_line()

    def _reason(self, content: str) -> list[Event]:
        shown = self._thinking.add(content)
        return [Reasoning(shown)] if shown else []

    def _call(self, call: ToolCall | None, written: str) -> list[Event]:
        if call is None:
            _log.warning("the model wrote a tool call that is no JSON object with a name; it stays in the answer")
            return self._show(written)
        self._calls.append(call)
        return [ToolCallEvent(call)]

    def _show(self, content: str) -> list[Event]:
        shown = self._text.add(content)
        return [Text(shown)] if shown else []


class _Trimmed:
    """A text that arrives in pieces, without the white space at both of its ends."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._spaces = ""

    def add(self, text: str) -> str:
        """What can be shown after ``text``."""
        text = self._spaces + text if self.shown else text.lstrip()
        shown = text.rstrip()
        self._spaces = text[len(shown) :]
        if shown:
            self.shown.append(shown)
        return shown

    def break_line(self) -> None:
        """Begin a new line with what comes next."""
        self._spaces = "\n"


class StopFilter:
    """Ends a text at the first of some stop texts, also when it arrives in pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = tuple(stops)
        self._pending = ""

    def feed(self, piece: str) -> str:
        """Return what is certain to stand before any stop text; sets ``stopped`` when one was found."""
        before, stop, _ = _partition_first(self._pending + piece, self._stops)
        if stop:
            self.stopped, self._pending = True, ""
            return before
        certain = len(before) - _partial_tag_length(before, self._stops)
        self._pending = before[certain:]
        return before[:certain]

    def finish(self) -> str:
        """Return what was held back, at the end of the text."""
        rest, self._pending = self._pending, ""
        return rest


def _partition_first(text: str, marks: tuple[str, ...]) -> tuple[str, str, str]:
    """Like ``str.partition``, at whichever of ``marks`` comes first."""
    found = [(place, mark) for mark in marks if (place := text.find(mark)) >= 0]
    if not found:
        return text, "", ""
    place, mark = min(found)
    return text[:place], mark, text[place + len(mark) :]


def _partial_tag_length(text: str, marks: tuple[str, ...]) -> int:
    """How many characters at the end of ``text`` could be the beginning of one of ``marks``."""
    longest = max((len(mark) for mark in marks), default=1) - 1
    lengths = range(min(longest, len(text)), 0, -1)
    return next((length for length in lengths if any(mark.startswith(text[-length:]) for mark in marks)), 0)


def _read_call(content: str, name: str | None = None) -> ToolCall | None:
    """The call that ``content`` holds, or its arguments alone where the tool's ``name`` stood before; None for none."""
    try:
        read = from_json(content, allow_inf_nan=False)
    except ValueError:
        return None
    call = read if name is None else {"name": name, "arguments": read}
    if not (isinstance(call, dict) and isinstance(call.get("name"), str)):
        return None
    arguments = call.get("arguments", {})
    return ToolCall(name=call["name"], arguments=arguments) if isinstance(arguments, dict) else None
