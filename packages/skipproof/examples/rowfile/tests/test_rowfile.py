"""Tests of rowfile: each says what it needs, and is skipped where the environment has it not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from rowfile import MissingExtraError, json_reader, read_rows

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [{"city": "Tokyo", "people": 13_988_129}, {"city": "Reykjavík", "people": 139_875}]


def test_json_is_read_everywhere(tmp_path: Path) -> None:
    """JSON is read with any reader: no capability is needed."""
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS), encoding="utf-8")
    assert read_rows(path) == ROWS


@pytest.mark.requires("orjson")
def test_the_fast_reader_is_taken() -> None:
    """With the extra ``fast``, JSON is read by orjson."""
    import orjson

    assert json_reader() is orjson.loads


@pytest.mark.requires("msgpack")
def test_messagepack_is_read(tmp_path: Path) -> None:
    """With the extra ``msgpack``, MessagePack is read."""
    import msgpack

    path = tmp_path / "rows.msgpack"
    path.write_bytes(msgpack.packb(ROWS))
    assert read_rows(path) == ROWS


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without msgpack, the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rowfile\[msgpack\]'"):
        read_rows(tmp_path / "rows.msgpack")
