"""The command line: what it prints and where, what it refuses, and its exit status."""

from __future__ import annotations

import io
import json
import os
import runpy
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import llm_backend.cli
from llm_backend.cli import main
from llm_backend.errors import EngineError
from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.models.directory_store import DirectoryStore
from llm_backend.llms.payloads import AgentPayload, End, Text
from tests.unit.backend import talker
from tests.unit.backend.talker import ANSWER, Talker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from llm_backend.llms.payloads import Event

    Command = Callable[..., int]


class Input(io.TextIOWrapper):
    """Standard input, a terminal where the test says so."""

    terminal = False

    def isatty(self) -> bool:
        """Return what the test says."""
        return self.terminal


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the talker behind every engine's name."""
    module: Any = ModuleType("fake_engine")
    module.Talker = Talker
    monkeypatch.setitem(sys.modules, "fake_engine", module)
    for name, engine in ENGINES.items():
        fake = replace(engine, agent="fake_engine:Talker", libraries=("json",), extra="fake")
        monkeypatch.setitem(ENGINES, name, fake)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command with these arguments and this standard input, and return its exit status."""

    def command(*arguments: str, stdin: bytes = b"") -> int:
        out, into = os.pipe()
        os.write(into, stdin)
        os.close(into)
        monkeypatch.setattr(sys, "argv", ["llm-backend", *arguments])
        monkeypatch.setenv("GOMP_SPINCOUNT", "1")
        with Input(os.fdopen(out, "rb")) as pipe:
            monkeypatch.setattr(sys, "stdin", pipe)
            with pytest.raises(SystemExit) as caught:
                main()
        return int(caught.value.code or 0)

    return command


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make the command see a terminal on which these lines are typed."""

    def terminal(*lines: str | BaseException) -> None:
        typed = iter(lines)

        def read(prompt: str) -> str:
            assert prompt == "> "
            line = next(typed, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr(Input, "terminal", True)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    return terminal


def test_one_answer(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer alone goes to standard output, and the options reach the agent."""
    arguments = ["--system", "Be brief.", "--max-new-tokens", "7", "--temperature", "0.5", "--seed", "3"]
    assert command("chat", "What", "is it?", *arguments) == 0
    assert capsys.readouterr() == (f"{ANSWER}\n", "")
    [payload] = Talker.created.payloads
    assert (payload.user_message, payload.system_context) == ("What is it?", "Be brief.")
    assert (payload.generation.max_new_tokens, payload.generation.temperature, payload.generation.seed) == (7, 0.5, 3)
    assert Talker.created.closed


def test_json_answer(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` a program can read the answer and its cost."""
    assert command("chat", "--json", "x") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["response"] == ANSWER
    assert document["metadata"]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2}


def test_answer_into_a_file(
    command: Command, terminal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typed question whose answer goes into a file leaves no conversation prompts there."""
    terminal()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert command("chat", stdin=b"What is it?\n") == 0
    assert capsys.readouterr().out == f"{ANSWER}\n"


def test_interrupt_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during the first half second exits with 130 and no traceback."""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(llm_backend.cli, "import_module", interrupt)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130


@pytest.mark.parametrize(
    ("shell", "status", "error"),
    [
        ("chat <&-", 1, "PayloadError: The message is empty. Give one as an argument, or on standard input.\n"),
        ("models list --json >&-", 0, ""),
        ("models list --json > /dev/full", 1, "OSError: [Errno 28] No space left on device\n"),
    ],
)
def test_streams_that_cannot_be_used(shell: str, status: int, error: str) -> None:
    """A closed or full stream causes no traceback, and a full disk is a failure."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -m llm_backend {shell}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert (done.returncode, done.stderr) == (status, error)


def test_unknown_options_and_engines(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown option exits with 2, an unknown engine with 1 and the close match."""
    assert command("chat", "--modle", "x") == 2
    assert "--modle" in capsys.readouterr().err
    assert command("chat", "-e", "opnai", "x") == 1
    assert "Did you mean 'openai'?" in capsys.readouterr().err


def test_the_file_can_be_left_out(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """``--no-config`` skips the file, which is otherwise read."""
    with open("config.toml", "w", encoding="utf-8") as file:  # noqa: PTH123  (in the test's own directory)
        file.write("[agent]\nnot_a_key = 1\n")
    assert command("chat", "x") == 1
    assert "not_a_key" in capsys.readouterr().err
    assert command("chat", "--no-config", "x") == 0


def test_conversation_on_a_terminal(
    command: Command, terminal: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second turn knows the first, and an empty line is not sent."""
    terminal("first", "", "second")
    assert command("chat", "--system", "Be brief.") == 0
    first, second = Talker.created.payloads
    assert (first.user_message, second.user_message) == ("first", "second")
    assert [entry.content for entry in second.memory] == ["first", ANSWER]
    assert second.system_context.startswith("Be brief.")
    assert capsys.readouterr().out == f"{ANSWER}\n{ANSWER}\n\n"
    assert Talker.created.closed


def test_failed_turn_does_not_end_the_conversation(
    command: Command,
    terminal: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The conversation goes on after a failed turn, which is not remembered."""
    terminal("first", "second")
    monkeypatch.setattr(Talker, "stream_events", _fails_once(EngineError("on fire")))
    assert command("chat") == 0
    out, err = capsys.readouterr()
    assert "EngineError: on fire\n" in err
    assert out.endswith(f"{ANSWER}\n\n")


def test_interrupt_stops_an_answer_and_then_the_command(
    command: Command,
    terminal: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C stops only the answer; at the prompt it exits with 130."""
    terminal("first", KeyboardInterrupt())
    monkeypatch.setattr(Talker, "stream_events", _fails_once(KeyboardInterrupt()))
    monkeypatch.setattr(os, "_exit", sys.exit)  # pytest's own process has to go on
    assert command("chat") == 130
    assert "(stopped; this turn is forgotten)\n" in capsys.readouterr().out
    assert Talker.created.closed


def test_interrupt_ends_the_process_at_once(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the process even while a thread is still loading a model."""

    class LeftError(Exception):
        pass

    def leave(status: int) -> None:
        raise LeftError(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(Talker, "stream_events", _fails_once(KeyboardInterrupt()))
    monkeypatch.setattr(sys, "argv", ["llm-backend", "chat", "x"])
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(LeftError) as caught:
            main()
    assert caught.value.args == (130,)
    assert capsys.readouterr().err.endswith("\n")
    assert command("--version") == 0


def test_json_wants_a_message(
    command: Command, terminal: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """``--json`` on a terminal without a message is refused."""
    terminal()
    assert command("chat", "--json") == 1
    assert "--json answers one message." in capsys.readouterr().err


def _fails_once(error: BaseException) -> Any:
    """A ``stream_events`` whose first call raises."""
    calls: list[AgentPayload] = []

    async def stream_events(_: Talker, payload: AgentPayload) -> AsyncGenerator[Event, None]:
        calls.append(payload)
        if len(calls) == 1:
            raise error
        yield Text(ANSWER)
        yield End("stop")

    return stream_events


def test_validation(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A working agent passes validation with exit status 0, in words and as JSON."""
    assert command("validate") == 0
    assert capsys.readouterr().out.startswith("works: it answered question 1 of 4 correctly. (")
    assert command("validate", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["error"]) == ("works", None)


def test_failed_validation(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken agent fails validation with a non-zero exit status."""
    monkeypatch.setattr(talker, "ANSWER", "banana")
    assert command("validate") == 1
    assert capsys.readouterr().out.startswith("nonsense: it answered none of 4 simple questions")


def test_version_and_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints its version and its help."""
    assert command("--version") == 0
    assert capsys.readouterr().out.startswith("llm-backend 0.")
    assert command("--help") == 0
    assert "doctor" in capsys.readouterr().out


def test_it_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m llm_backend`` runs the command."""
    monkeypatch.setattr(sys, "argv", ["llm_backend", "--version"])
    with pytest.raises(SystemExit):
        runpy.run_module("llm_backend", run_name="__main__")
    assert capsys.readouterr().out.startswith("llm-backend ")


def test_importing_the_module_runs_nothing() -> None:
    """Importing ``llm_backend.__main__`` does not run the command."""
    assert "main" in runpy.run_module("llm_backend.__main__")


def test_config_and_doctor_are_there(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """``config`` and ``doctor`` run from the command line."""
    assert command("config", "-e", "openai", "-m", "m") == 0
    assert "model\tm\targument model\n" in capsys.readouterr().out
    assert command("doctor") in {0, 1}
    assert "engine openai\t" in capsys.readouterr().out


def test_a_file_can_be_named(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that reads settings takes ``--config``, or ``--no-config``, but not both."""
    path = tmp_path / "other.toml"
    path.write_text("[agent]\nmodel = 'm'\n")
    for words in (["chat", "x"], ["validate"], ["config"], ["doctor"]):
        command(*words, "--config", str(path))
        assert "untrusted" not in capsys.readouterr().err.lower()
        assert command(*words, "--config", str(path), "--no-config") == 2
        assert "--config names a file, but --no-config ignores it." in capsys.readouterr().err
        assert command(*words, "--config", "nothing.toml") == 1
        assert "nothing.toml', which is not a file" in "".join(capsys.readouterr())


def test_consent_on_the_command_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A found file is used only after its user trusts it, and until they withdraw that."""
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path / "data"))
    path = tmp_path / "config.toml"
    path.write_text("[agent]\nmodel = 'm'\n[agent.openai]\napi_key = 'sk-secret'\n")
    refused = f"UntrustedConfigError: {path} was found, not named by you"
    assert command("chat", "x") == 1
    assert capsys.readouterr().err.startswith(refused)
    assert command("config", "trust") == 0
    assert capsys.readouterr().out == (
        f"{path} is trusted until it changes.\n  model in [agent]\n  api_key in [agent.openai]\n"
        "It may choose who answers, use your keys, and run a model's code. To withdraw: llm-backend config untrust\n"
    )
    assert command("chat", "x") == 0
    assert command("config", "untrust", str(tmp_path)) == 0
    assert command("config", "untrust", str(path)) == 0
    assert capsys.readouterr().out.endswith(f"{path} is no longer trusted.\n{path} was not trusted.\n")
    assert command("config") == 1
    assert capsys.readouterr().err.startswith(refused)


def test_models_are_there(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``models`` runs from the command line, and removes a model only after a yes."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path))
    DirectoryStore(tmp_path / "models").provide("key", lambda folder: (folder / "config.json").touch())
    assert command("models", "list") == 0
    assert command("models", "verify", "key") == 0
    assert command("models", "pull", "./nothing") == 1
    assert command("models", "remove", "nothing", stdin=b"y\n") == 1
    assert "[y/N]" not in capsys.readouterr().out
    assert command("models", "remove", "key", stdin=b"n\n") == 1
    assert (tmp_path / "models" / "key").exists()
    assert command("models", "remove", "key", stdin=b"y\n") == 0
    assert not (tmp_path / "models" / "key").exists()
    assert "removed key: 0 MB\n" in capsys.readouterr().out
