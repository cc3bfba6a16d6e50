"""The question is what was typed plus what a pipe gives; nothing waits for ever or is dropped in silence."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from llm_backend.cli import chatting, main
from tests.unit.backend.fake_agent import FakeAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import TextIOWrapper

    Ask = Callable[..., str]

pytestmark = pytest.mark.usefixtures("fake_engines")

EMPTY = "PayloadError: The message is empty. Give one as an argument, or on standard input.\n"


@contextmanager
def piped(*pieces: bytes, close: bool = True) -> Iterator[TextIOWrapper]:
    """A pipe that receives these pieces one after the other, and nothing more, even if it stays open."""
    out, into = os.pipe()

    def write() -> None:
        for piece in pieces:
            os.write(into, piece)
        if close:
            os.close(into)

    writing = threading.Thread(target=write)
    writing.start()
    with os.fdopen(out) as reading:
        yield reading
        writing.join()
        if not close:
            os.close(into)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run the command with this input, and return the question that the agent got, or "" if the command failed."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")

    def ask(stdin: TextIOWrapper, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["llm-backend", "chat", "--json", *words])
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(SystemExit) as caught:
            main()
        return "" if caught.value.code else FakeAgent.created.payloads[0].user_message

    return ask


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ([], "What\nis ä?"),
        (["-"], "What\nis ä?"),
        (["Summarise", "this:"], "Summarise this:\n\nWhat\nis ä?"),
        (["Summarise:", "-"], "Summarise:\n\nWhat\nis ä?"),
        (["3", "-", "2?"], "3 - 2?\n\nWhat\nis ä?"),
        ([""], "What\nis ä?"),
    ],
)
def test_a_pipe_goes_with_the_message(words: list[str], question: str, ask: Ask) -> None:
    """A pipe's text follows the message after a blank line, without BOM or final newline."""
    with piped(b"\xef\xbb\xbfWhat\n", "is ä?\r\n".encode()) as stdin:
        assert ask(stdin, *words) == question


def test_a_file_goes_with_the_message(ask: Ask, tmp_path: Path) -> None:
    """Input from a file works like input from a pipe, however long it is."""
    (tmp_path / "text").write_text("word " * 50_000)
    with (tmp_path / "text").open() as stdin:
        assert ask(stdin, "Summarise:") == "Summarise:\n\n" + "word " * 50_000


def test_a_pipe_that_does_not_wait_is_waited_for(ask: Ask) -> None:
    """A non-blocking pipe, as Node.js makes it, is read once data arrives."""
    out, into = os.pipe()
    os.set_blocking(out, False)

    def write() -> None:
        os.write(into, b"late")
        os.close(into)

    writing = threading.Timer(0.2, write)
    writing.start()
    with os.fdopen(out) as stdin:
        assert ask(stdin, "Summarise:") == "Summarise:\n\nlate"
    writing.join()


def test_a_terminal_is_not_read(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message typed with the command does not wait for more input."""
    with piped(b"typed later") as stdin:
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        assert ask(stdin, "Hi.") == "Hi."


@pytest.mark.parametrize("text", [b"", b" \n"])
def test_an_empty_pipe_does_not_change_the_message(text: bytes, ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    """Without input, as under cron or from /dev/null, the message goes alone."""
    with piped(text) as stdin:
        assert ask(stdin, "Hi.") == "Hi."
    with Path(os.devnull).open() as stdin:
        assert ask(stdin, "Hi.") == "Hi."
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [[], ["-"], ["Summarise:", "-"], [""]])
def test_input_that_was_asked_for_has_to_come(words: list[str], ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty input is refused, even beside a message if ``-`` asked for it."""
    with piped(b" \n") as stdin:
        assert ask(stdin, *words) == ""
    assert capsys.readouterr() == ("", EMPTY)


def test_a_silent_pipe_is_not_waited_for(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An open pipe that nobody writes to is ignored, with a note that says so."""
    monkeypatch.setattr(chatting, "_PATIENCE", 0.01)
    with piped(close=False) as stdin:
        assert ask(stdin, "Hi.") == "Hi."
    assert capsys.readouterr().err == (
        "Nothing came on standard input within 0.01 s, so only the message is sent. Add - to wait for input,"
        " or < /dev/null to skip it.\n"
    )


@pytest.mark.parametrize("words", [[], ["Summarise:", "-"]])
def test_input_that_was_asked_for_is_waited_for(words: list[str], ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``-`` the command waits for a slow program at the pipe's other end."""
    waited: list[float | None] = []

    class Patient(SimpleQueue[bytes]):
        def get(self, block: bool = True, timeout: float | None = None) -> bytes:  # noqa: FBT001, FBT002  (as there)
            waited.append(timeout)
            return super().get(block, timeout)

    monkeypatch.setattr(chatting, "SimpleQueue", Patient)
    with piped(b"text") as stdin:
        assert ask(stdin, *words).endswith("text")
    assert set(waited) == {None}


@pytest.mark.parametrize("words", [[], ["Summarise:"]])
def test_input_that_is_no_text(words: list[str], ask: Ask, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Bytes that are not UTF-8, and a directory instead of a file, raise a named error."""
    with piped(b"ab\xff") as stdin:
        assert ask(stdin, *words) == ""
    assert capsys.readouterr().err == "PayloadError: Standard input is not UTF-8 (at byte 2). Convert it first.\n"

    class Folder:
        def isatty(self) -> bool:
            return False

        def fileno(self) -> int:
            return folder

    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert ask(Folder(), *words) == ""
    finally:
        os.close(folder)
    assert capsys.readouterr().err == (
        "PayloadError: Standard input cannot be read: Is a directory. Give the message as an argument.\n"
    )
