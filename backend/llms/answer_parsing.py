"""Takes a model's raw text apart: reasoning, tool calls and the answer itself.

One incremental parser serves streams and whole answers alike, so a joined stream is the answer by construction.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.llms.payloads import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AnswerParser", "ParsedAnswer", "StopFilter", "find_code", "split_answer"]

_log = logging.getLogger(__name__)
_CLOSING = {"<think>": "</think>", "<tool_call>": "</tool_call>"}
_CODE_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAnswer:
    """What a model's text holds."""

    response: str
    thinking: str
    code: str | None
    tool_calls: tuple[ToolCall, ...]


def split_answer(text: str, *, thinking: bool = False) -> ParsedAnswer:
    """Take a whole answer apart; ``thinking`` says that the prompt already opened a ``<think>`` block."""
    parser = AnswerParser(thinking=thinking)
    response = parser.feed(text) + parser.finish()
    return parser.result(response)


def find_code(response: str) -> str | None:
    """The content of the first fenced code block, or None when there is none that is closed."""
    match = _CODE_BLOCK.search(response)
    return match[1] if match else None


class AnswerParser:
    """Give it the model's text piece by piece; it gives back what belongs to the answer.

    ``<think>`` blocks are reasoning, also when they are never closed. ``<tool_call>`` blocks that hold a JSON
    object with a name are tool calls; any other stays in the answer, so that nothing is lost. White space at
    both ends of the answer is dropped.
    """

    def __init__(self, *, thinking: bool = False) -> None:
        self.tool_calls: list[ToolCall] = []
        self._thinking: list[str] = []
        self._block = "<think>" if thinking else ""
        self._pending = ""
        self._spaces = ""
        self._started = False

    def feed(self, piece: str) -> str:
        """Return the part of the answer that is certain after ``piece``."""
        self._pending += piece
        visible = ""
        while True:
            if not self._block:
                before, tag, after = _partition_first(self._pending, tuple(_CLOSING))
                if not tag:
                    held = _partial_tag_length(self._pending, tuple(_CLOSING))
                    return visible + self._show(self._take(len(self._pending) - held))
                visible += self._show(before)
                self._block, self._pending = tag, after
            closing = _CLOSING[self._block]
            content, found, after = self._pending.partition(closing)
            if not found:
                return visible
            visible += self._close(content, whole=f"{self._block}{content}{closing}")
            self._block, self._pending = "", after

    def finish(self) -> str:
        """Return what was held back, at the end of the text."""
        rest, block = self._take(len(self._pending)), self._block
        self._block = ""
        if block == "<think>":
            self._thinking.append(rest)
            return ""
        if block:
            return self._close(rest, whole=block + rest)
        return self._show(rest)

    def result(self, response: str) -> ParsedAnswer:
        """Everything that was found, around the answer's joined pieces."""
        return ParsedAnswer(
            response=response,
            thinking="\n".join(text.strip() for text in self._thinking),
            code=find_code(response),
            tool_calls=tuple(self.tool_calls),
        )

    def _take(self, length: int) -> str:
        taken, self._pending = self._pending[:length], self._pending[length:]
        return taken

    def _close(self, content: str, *, whole: str) -> str:
        if self._block == "<think>":
            self._thinking.append(content)
            return ""
        call = _read_tool_call(content)
        if call is None:
            _log.warning("the model wrote a tool call that is no JSON object with a name; it stays in the answer")
            return self._show(whole)
        self.tool_calls.append(call)
        return ""

    def _show(self, text: str) -> str:
        if not self._started:
            text = text.lstrip()
        if not text:
            return ""
        self._started = True
        text = self._spaces + text
        shown = text.rstrip()
        self._spaces = text[len(shown) :]
        return shown


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
    return next(
        (
            length
            for length in range(min(longest, len(text)), 0, -1)
            if any(mark.startswith(text[-length:]) for mark in marks)
        ),
        0,
    )


def _read_tool_call(content: str) -> ToolCall | None:
    try:
        call = json.loads(content)
    except ValueError:
        return None
    if not (isinstance(call, dict) and isinstance(call.get("name"), str)):
        return None
    arguments = call.get("arguments", {})
    return ToolCall(name=call["name"], arguments=arguments) if isinstance(arguments, dict) else None
