"""Reads a configuration file as TOML, safely, whatever is really there."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

from llm_backend.errors import ConfigFileError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["FILE_VARIABLE", "parse", "read_content"]

FILE_VARIABLE = "LLM_BACKEND_CONFIG"
# More is not a configuration, and may be meant to keep a reader busy.
_MOST_BYTES, _DEEPEST, _BITS = 2**20, 50, 63
_TOO_DEEP = f"its tables and lists are nested more than {_DEEPEST} deep"


def read_content(path: Path) -> bytes:
    """The file's content.

    Raises:
        ConfigFileError: it cannot be read, is too long, or would have to be waited for.
    """
    place = printable(str(path))
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            content: bytes | None = file.read(_MOST_BYTES + 1)
    except OSError as exc:
        message = (
            f"{place} cannot be read: {exc.strerror}. Fix its permissions, or name another file in {FILE_VARIABLE}."
        )
        raise ConfigFileError(message) from exc
    if content is None or len(content) > _MOST_BYTES:
        fact = "holds nothing yet" if content is None else f"is longer than {_MOST_BYTES} bytes"
        message = f"{place} {fact}, so it is not a configuration. Remove it, or name another file in {FILE_VARIABLE}."
        raise ConfigFileError(message)
    return content


def parse(path: Path, content: bytes) -> dict[str, object]:
    """The tables in ``content``, which was read from ``path``.

    Raises:
        ConfigFileError: ``content`` is not TOML, or holds what no configuration should.
    """
    place = printable(str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        column = exc.start - exc.object.rfind(b"\n", 0, exc.start)
        message = f"{place} is not UTF-8 (at line {line}, column {column}). Save it as UTF-8."
        raise ConfigFileError(message) from exc
    document: dict[str, object] = {}
    try:
        document = tomllib.loads(text)
        fault = _fault(document)
    except RecursionError:
        fault = _TOO_DEEP
    except ValueError as exc:
        lines = text.splitlines() or [""]
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the document"
        fact = str(exc).replace("at end of document", end)
        message = f"{place} is not valid TOML: {fact}. Correct that line."
        raise ConfigFileError(message) from exc
    if fault:
        message = f"{place} is not a configuration: {fault}. Correct that, or name another file in {FILE_VARIABLE}."
        raise ConfigFileError(message)
    return document


def _without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for its content: a repository may link to a pipe or into /proc."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _fault(document: Mapping[str, object]) -> str:
    """What Python's parser accepts, but TOML or code that walks the tables does not; empty if nothing is wrong."""
    level: list[object] = [document]
    for _ in range(_DEEPEST):
        level = [inner for holder in level for inner in _inside(holder)]
        if any(isinstance(value, int) and value.bit_length() > _BITS for value in level):
            return f"it holds a whole number of more than {_BITS} bits"
    return _TOO_DEEP if level else ""


def _inside(holder: object) -> Iterable[object]:
    if isinstance(holder, dict):
        return holder.values()
    return holder if isinstance(holder, list) else ()
