"""Splits a model's raw text into reasoning, tool calls and the answer itself.

One incremental parser serves both streams and whole answers, so a joined stream equals the answer by construction.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from llm_backend.llms.payloads import Reasoning, Text, ToolCallEvent
from llm_backend.llms.tools.openai_calls import tool_name
from llm_backend.llms.tools.written_calls import may_be_bare_calls, read_bare_calls, read_calls, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_backend.llms.payloads import Event, ToolCall

__all__ = ["MARKS", "AnswerParser", "ParsedAnswer", "StopFilter"]

_log = logging.getLogger(__name__)
_CODE_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")


class _Block(Enum):
    """The kind of a stretch of text."""

    TEXT = "text"
    THINK = "<think>"
    CALL = "call"
    # The channels of gpt-oss: <|channel|>HEADER<|message|>CONTENT<|end|><|start|>assistant<|channel|>HEADER...
    # https://developers.openai.com/cookbook/articles/openai-harmony
    HEADER = "<|channel|>"
    ANALYSIS = "analysis"
    REQUEST = "request"
    FINAL = "final"


_OPENING, _CLOSING = "<think>", "</think>"
_RECIPIENT_FIRST = "to=functions."  # a message of gpt-oss may name its recipient before its channel
_MESSAGE_ENDS = ("<|end|>", "<|start|>", "<|channel|>", "<|call|>", "<|return|>")
_ENDS: dict[_Block, tuple[str, ...]] = {
    _Block.THINK: (_CLOSING,),
    _Block.HEADER: ("<|message|>",),
    _Block.ANALYSIS: _MESSAGE_ENDS,
    _Block.REQUEST: _MESSAGE_ENDS,
    _Block.FINAL: _MESSAGE_ENDS,
}
# What begins a block of calls, and what ends it before the text does; written_calls.py says which model uses which.
_CALLS = {
    "<tool_call>": ("</tool_call>", "<tool_call>"),
    "<|tool_call|>": ("<|/tool_call|>", "<|tool_call|>"),
    "[TOOL_CALLS]": ("[TOOL_CALLS]",),
    "<|python_tag|>": (),
}
_REASONING = (_Block.THINK, _Block.ANALYSIS)
_WHOLE = (_Block.CALL, _Block.HEADER, _Block.REQUEST)  # readable only once their end is there
# A tokenizer may treat these as special, and drop them from its text unless told not to.
MARKS = frozenset(
    {mark for marks in (*_ENDS.values(), *_CALLS.values()) for mark in marks}
    | {_OPENING, *_CALLS, "<|constrain|>", "[ARGS]", "[CALL_ID]"}
)
_JSON_BEGINNING = re.compile(r'\s*([{\["\d-]|true|false|null)')
_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.)*+("?)', re.DOTALL)
_QUOTED = re.compile(r"""[`'"(\u201c\u2018]\Z| \Z""")  # what surrounds a mark in prose
_UNQUOTED = re.compile(r"""[`'")\u201d\u2019]|[ .,;:!?]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAnswer:
    """The parts of a model's text; ``code`` is the content of the first closed code fence."""

    response: str
    thinking: str
    code: str | None
    tool_calls: tuple[ToolCall, ...]


class AnswerParser:
    """Parses the model's text piece by piece, and returns what is certain, as events.

    ``<think>`` blocks and the channel "analysis" at the beginning of an answer are reasoning, even if never closed. So
    is everything before a ``</think>`` that nothing opened; in a stream, what was passed on before it stays text. Later
    in the answer, or if a server separates the reasoning itself, these marks are prose. Where ``tools`` are offered,
    blocks of calls (written_calls.py), and JSON objects sent to a function in a channel, are tool calls; what cannot be
    read as one stays in the answer, so that nothing is lost. White space at both ends of the answer is dropped.

    ``thinking`` says that the prompt already opened a ``<think>`` block, ``structured`` that the answer is to be JSON:
    once that has begun, marks are part of its strings. ``tools`` are those that the model may call, in OpenAI's format.
    ``unopened`` says that an earlier answer closed a block that nothing opened: then the text is held back until this
    answer does so, or ends. ``closed_unopened`` says whether it did.
    """

    def __init__(
        self,
        *,
        thinking: bool = False,
        structured: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
        unopened: bool = False,
    ) -> None:
        self.closed_unopened = False
        self._unopened = unopened
        self._structured = structured
        self._tools = frozenset(map(tool_name, tools))
        self._text, self._thinking = _Trimmed(), _Trimmed()
        self._calls: list[ToolCall] = []
        self._block = _Block.THINK if thinking else _Block.TEXT
        self._opening = ""  # how the block began, in case it has to be shown
        self._reasoned = thinking  # whether a block of reasoning has begun, or prose that mentions one
        self._apart = False  # whether reasoning came beside the text
        self._pending = ""

    def reason(self, piece: str) -> list[Event]:
        """What is certain after a piece of reasoning that came separately from the text."""
        self._apart = self._apart or bool(piece)
        return self._reason(piece)

    def feed(self, piece: str) -> list[Event]:
        """What is certain after ``piece``."""
        self._pending += piece
        events: list[Event] = []
        while self._step(events, last=False):
            pass
        return events

    def finish(self) -> list[Event]:
        """The rest that was held back, once the text has ended."""
        events: list[Event] = []
        while self._step(events, last=True):
            pass
        rest, self._pending = self._pending, ""
        events += self._pass_on(rest)
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

    def _step(self, events: list[Event], *, last: bool) -> bool:
        """Add what is certain up to the next mark; False if there is none, or it is not clear yet."""
        if self._at_beginning():
            if (found := self._begin(events, last=last)) is not None:
                return found
            if self._unopened and not (last or self._apart or self._reasoned or _CLOSING in self._pending):
                return False
        in_text, marks = self._block is _Block.TEXT, self._marks()
        before, mark, after = self._partition(marks, last=last)
        if not mark:
            if self._block not in _WHOLE:
                certain = len(before) - _partial_tag_length(before, marks)
                self._pending = before[certain:]
                events += self._pass_on(before[:certain])
            return False
        if in_text and mark == _CLOSING and not (after or last):
            return False  # what follows shows whether it is prose
        self._pending = after
        if in_text and mark in (_OPENING, _CLOSING):
            events += self._part(before, mark, after)
        else:
            events += self._pass_on(before, closing="" if mark in _CALLS else mark)
            self._enter(before, mark)
        return True

    def _at_beginning(self) -> bool:
        return self._block is _Block.TEXT and not self._text.shown and not self._in_json()

    def _in_json(self) -> bool:
        beginning = "".join(self._text.shown[:5]) or self._pending  # five pieces hold "false", the longest one
        return self._structured and _JSON_BEGINNING.match(beginning) is not None

    def _begin(self, events: list[Event], *, last: bool) -> bool | None:
        """Enter the block that the answer begins with: True if there is one, None if there is none."""
        head = self._pending.lstrip()
        openings = {} if self._apart else {_OPENING: _Block.THINK, "<|channel|>": _Block.HEADER}
        if self._tools:
            openings[_RECIPIENT_FIRST] = _Block.HEADER
        bare = bool(self._tools) and not self._structured
        for mark, block in openings.items():
            if head.startswith(mark):
                self._pending, self._opening = head.removeprefix(mark), mark
                self._change(block)
                return True
        if not last:
            unclear = any(mark.startswith(head) for mark in openings)
            return False if unclear or (bare and may_be_bare_calls(head)) else None
        if bare and (calls := read_bare_calls(head, self._tools)):
            self._pending = ""
            events += self._call(calls, head)
        return None

    def _marks(self) -> tuple[str, ...]:
        """What ends the current stretch of text."""
        if self._block is _Block.CALL:
            return _CALLS[self._opening]
        if self._block is not _Block.TEXT:
            return _ENDS[self._block]
        if self._in_json():
            return ()
        lone = () if self._apart or (self._reasoned and self._text.shown) else (_OPENING, _CLOSING)
        return (*lone, *(_CALLS if self._tools else ()))

    def _partition(self, marks: tuple[str, ...], *, last: bool) -> tuple[str, str, str]:
        """The text before the next mark, the mark, and the text after it; a call's arguments may hold marks."""
        first = before, mark, after = _partition_first(self._pending, marks)
        if self._block not in (_Block.CALL, _Block.REQUEST) or not _opens_text(before) or self._read(before):
            return first
        while mark:
            more, found, after = _partition_first(after, marks)
            before, mark = before + mark + more, found
            if mark and self._read(before):
                return before, mark, after
        return first if last and not self._read(before) else (before, "", "")

    def _read(self, content: str) -> list[ToolCall] | None:
        """The calls in the content of the current block, if it is complete."""
        return read_calls(content) if self._block is _Block.CALL else read_request(self._opening, content)

    def _part(self, before: str, mark: str, after: str) -> list[Event]:
        """What a reasoning mark within the text means: prose, or the end of a block that nothing opened."""
        reasoned, self._reasoned = self._reasoned, True
        if mark == _CLOSING and not before.strip() and not self._text.shown:
            return []
        if mark == _OPENING or reasoned or (_QUOTED.search(self._text.end() + before) and _UNQUOTED.match(after)):
            return self._show(before + mark)
        self.closed_unopened = True
        return self._show(before) if self._text.shown else self._reason(before)

    def _pass_on(self, content: str, closing: str = "") -> list[Event]:
        """The events of a block's ``content``; all of it if there is a ``closing`` mark."""
        if self._block in _REASONING:
            return self._reason(content)
        if self._block is _Block.CALL:
            return self._call(self._read(content), self._opening + content + closing)
        if self._block is _Block.REQUEST:
            return self._call(self._read(content), content)
        if self._block is _Block.HEADER:
            # A block that never ends is ordinary text; between two messages there is no block, and nothing opened one.
            return [] if closing or not self._opening else self._show(self._opening + content)
        return self._show(content)

    def _enter(self, content: str, mark: str) -> None:
        """Switch to the block that begins at ``mark``, after ``content``."""
        if self._block is _Block.HEADER:
            recipient = _RECIPIENT.search(self._opening + content)
            sent = recipient is not None and bool(self._tools)
            self._opening = recipient[1] if recipient else ""
            analysis = "analysis" in content
            self._change(_Block.REQUEST if sent else _Block.ANALYSIS if analysis else _Block.FINAL)
        elif mark in _MESSAGE_ENDS:
            self._opening = ""
            self._change(_Block.HEADER)
        else:
            self._opening = mark if mark in _CALLS else ""
            self._change(_Block.CALL if self._opening else _Block.TEXT)

    def _change(self, block: _Block) -> None:
        self._block = block
        if block in _REASONING:
            self._reasoned = True
            self._thinking.break_line()

    def _reason(self, piece: str) -> list[Event]:
        shown = self._thinking.add(piece)
        return [Reasoning(shown)] if shown else []

    def _call(self, calls: Sequence[ToolCall] | None, written: str) -> list[Event]:
        if calls is None:
            _log.warning("the model wrote a tool call that is not a JSON object with a name; it stays in the answer")
            return self._show(written)
        self._calls += calls
        return [ToolCallEvent(call) for call in calls]

    def _show(self, content: str) -> list[Event]:
        shown = self._text.add(content)
        return [Text(shown)] if shown else []


class _Trimmed:
    """A text that arrives in pieces, without white space at either end."""

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

    def end(self) -> str:
        """Its current end: the white space held back, or the last piece shown."""
        return self._spaces or "".join(self.shown[-1:])

    def break_line(self) -> None:
        """Put what comes next on a new line."""
        self._spaces = "\n"


class StopFilter:
    """Ends a text at the first of some stop texts, even if it arrives in pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = tuple(stops)
        self._pending = ""

    def feed(self, piece: str) -> str:
        """Return what certainly precedes any stop text; sets ``stopped`` if one is found."""
        before, stop, _ = _partition_first(self._pending + piece, self._stops)
        if stop:
            self.stopped, self._pending = True, ""
            return before
        certain = len(before) - _partial_tag_length(before, self._stops)
        self._pending = before[certain:]
        return before[:certain]

    def finish(self) -> str:
        """Return the rest that was held back, once the text has ended."""
        rest, self._pending = self._pending, ""
        return rest


def _partition_first(text: str, marks: tuple[str, ...]) -> tuple[str, str, str]:
    """Like ``str.partition``, at whichever of ``marks`` comes first."""
    found = [(place, mark) for mark in marks if (place := text.find(mark)) >= 0]
    if not found:
        return text, "", ""
    place, mark = min(found)
    return text[:place], mark, text[place + len(mark) :]


def _opens_text(json_text: str) -> bool:
    """Whether the beginning of a JSON document ends inside a string."""
    return any(not text[1] for text in _JSON_TEXT.finditer(json_text))


def _partial_tag_length(text: str, marks: tuple[str, ...]) -> int:
    """How many characters at the end of ``text`` could be the beginning of one of ``marks``."""
    longest = max((len(mark) for mark in marks), default=1) - 1
    lengths = range(min(longest, len(text)), 0, -1)
    return next((length for length in lengths if any(mark.startswith(text[-length:]) for mark in marks)), 0)
