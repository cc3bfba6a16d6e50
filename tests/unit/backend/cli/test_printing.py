"""How the command prints text, names and data from elsewhere."""

from __future__ import annotations

import json
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from llm_backend.cli import main, printing
from llm_backend.llms.payloads import Usage


def test_a_model_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal gets an answer without its escapes; a pipe gets it unchanged."""
    text = "a\x1b[2J\tb\n\x07"
    printing.write(text)
    assert capsys.readouterr().out == text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printing.write(text)
    assert capsys.readouterr().out == "a\ufffd[2J\tb\n\ufffd"


def test_json_of_what_is_no_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Metadata that JSON cannot hold is printed all the same."""
    printing.print_json({"path": Path("a"), "kind": Usage})
    assert json.loads(capsys.readouterr().out) == {"path": "a", "kind": str(Usage)}


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", "\u00e9"), ("ascii", "\\u00e9")])
def test_json_on_any_terminal(encoding: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON escapes control characters, and whatever the terminal's encoding cannot show."""
    out = TextIOWrapper(BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    text = "\u00e9\x9b2J\x7f\x1b\udcff\n"
    printing.print_json({"a": text})
    out.flush()
    line = out.buffer.getvalue().decode(encoding)
    assert line == f'{{"a": "{written}\\u009b2J\\u007f\\u001b\\udcff\\n"}}\n'
    assert json.loads(line) == {"a": text}


def test_an_encoding_without_some_letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A letter missing from the terminal's encoding is shown by its number."""
    out = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["llm-backend", "config", "untrust", str(tmp_path / "h\u00e9")])
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path))
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
    assert out.buffer.getvalue().count(b"h\\xe9 was not trusted.\n") == 2


def test_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in a name are printed, not read as markup."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printing.print_table(["name", "note"], [["[/bold]", "x"]])
    out = capsys.readouterr().out
    assert "name" in out
    assert "[/bold]" in out


def test_names_cannot_forge_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with a newline or an escape neither adds a row nor steers a terminal."""
    printing.print_table(["name", "note"], [["a\nb\tc", "\x1b[2J"]])
    assert capsys.readouterr().out == "a b c\t\ufffd[2J\n"
