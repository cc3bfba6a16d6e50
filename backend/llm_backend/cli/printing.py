"""Output of the command: plain text for programs, tables for people, and nothing that could steer a terminal."""

from __future__ import annotations

import dataclasses
import json
import sys
import unicodedata
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["harmless", "print_json", "print_table", "say_error", "write"]


def write(text: str) -> None:
    """Write a piece of an answer at once; on a terminal, without characters that would steer it."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def harmless(text: str) -> str:
    """``text`` with U+FFFD for each control character except line ends and tabs."""
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def say_error(exc: Exception) -> None:
    """Write an error and its class name to standard error."""
    sys.stderr.write(f"{type(exc).__name__}: {harmless(str(exc))}\n")


def print_json(value: object) -> None:
    """Write one line of JSON, escaping what would steer a terminal or does not exist in the output's encoding."""
    text = json.dumps(value, default=_as_plain, ensure_ascii=False)
    text = "".join(char if _can_be_written(char) else json.dumps(char)[1:-1] for char in text)
    sys.stdout.write(text + "\n")


def _can_be_written(char: str) -> bool:
    if char.isascii():
        return char != "\x7f"
    try:
        char.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return unicodedata.category(char) != "Cc"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; if the output is not a terminal, as lines of tab-separated cells."""
    lines = [[" ".join(harmless(cell).split()) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(line) + "\n" for line in lines)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))  # as Text, not markup: a name may hold brackets
    Console().print(table)


def _as_plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return str(value)
