"""How the command prints: what it makes of texts, names and data that are not its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli import printing
from backend.llms.payloads import Usage

if TYPE_CHECKING:
    import pytest


def test_a_model_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer clears the screen, or a program that reads a pipe gets something else than the answer."""
    text = "a\x1b[2J\tb\n\x07"
    printing.write(text)
    assert capsys.readouterr().out == text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printing.write(text)
    assert capsys.readouterr().out == "a\ufffd[2J\tb\n\ufffd"


def test_json_of_what_is_no_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Metadata that JSON does not know ends the command with a traceback."""
    printing.print_json({"path": Path("a"), "kind": Usage})
    assert json.loads(capsys.readouterr().out) == {"path": "a", "kind": str(Usage)}


def test_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in a name are taken for markup, and vanish or raise."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printing.print_table(["name", "note"], [["[/bold]", "x"]])
    out = capsys.readouterr().out
    assert "name" in out
    assert "[/bold]" in out


def test_names_cannot_forge_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with a line's end or an escape makes a row of its own, or steers the terminal that a log is read on."""
    printing.print_table(["name", "note"], [["a\nb\tc", "\x1b[2J"]])
    assert capsys.readouterr().out == "a b c\t\ufffd[2J\n"
