"""Read rows from a file: JSON by orjson where that is installed, MessagePack by the extra ``msgpack``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["MissingExtraError", "json_reader", "read_rows"]


class MissingExtraError(ImportError):
    """A file needs a library that is not installed; the message names the extra that brings it."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, whose suffix is ``.json`` or ``.msgpack``.

    Raises:
        MissingExtraError: the file is MessagePack, and msgpack is not installed.
    """
    read = _msgpack_reader() if path.suffix == ".msgpack" else json_reader()
    rows: list[dict[str, Any]] = read(path.read_bytes())
    return rows


def json_reader() -> Callable[[bytes], Any]:
    """Return what reads JSON here: orjson's ``loads``, or the slower one of Python."""
    try:
        import orjson
    except ModuleNotFoundError:
        return json.loads
    reader: Callable[[bytes], Any] = orjson.loads
    return reader


def _msgpack_reader() -> Callable[[bytes], Any]:
    try:
        import msgpack
    except ModuleNotFoundError as error:
        message = "MessagePack files need msgpack, which is not installed: pip install 'rowfile[msgpack]'"
        raise MissingExtraError(message) from error
    reader: Callable[[bytes], Any] = msgpack.unpackb
    return reader
