"""Repeated tests: in both types, on a quiet and on a busy machine, with their failures counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from matrix import repeats

COIN = """
import os
from pathlib import Path

def test_coin():
    rounds = Path("rounds")
    rounds.write_text(rounds.read_text() + os.environ["LLM_BACKEND_TEST_DTYPE"] + "\\n")
    assert len(rounds.read_text().split()) != 3

def test_sound():
    pass
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a test that fails in its third round, and one that never fails."""
    (tmp_path / "test_it.py").write_text(COIN)
    (tmp_path / "rounds").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def test_a_coin_is_named_with_how_often_it_failed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that fails in one round of four is named with that count."""
    assert repeats.main(["1", "-p", "no:cacheprovider", "test_it.py"]) == 1
    assert (project / "rounds").read_text().split() == ["float32", "float32", "bfloat16", "bfloat16"]
    assert capsys.readouterr().out.splitlines() == [
        "float32, quiet, round 1: all passed",
        "float32, beside 2 busy processes, round 1: all passed",
        "bfloat16, quiet, round 1: test_it.py::test_coin",
        "bfloat16, beside 2 busy processes, round 1: all passed",
        "test_it.py::test_coin failed in 1 of 4 rounds",
        "4 rounds, 1 tests failed in some",
    ]


@pytest.mark.usefixtures("project")
def test_rounds_without_a_failure_are_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds without a failure exit with 0."""
    assert repeats.main(["1", "-p", "no:cacheprovider", "test_it.py", "-k", "sound"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 rounds, 0 tests failed in some"


@pytest.mark.usefixtures("project")
def test_a_round_that_ran_nothing_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A round that ran no test is a failure, and pytest's own message is shown."""
    assert repeats.failures("float32", ["no_such_file.py"]) == ["pytest ended with 4"]
    assert "file or directory not found: no_such_file.py" in capsys.readouterr().out


def test_the_module_is_a_command() -> None:
    """``python -m`` runs the module and exits with its status."""
    command = [sys.executable, "-m", "matrix.repeats", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "0 rounds, 0 tests failed in some\n"


def test_busy_processes_are_there_and_end() -> None:
    """The busy processes run exactly as long as the tests do."""
    own = psutil.Process(os.getpid())
    with repeats.busy_processes(2):
        spinning = [child for child in own.children() if child.cmdline() == [sys.executable, "-c", repeats._SPIN]]  # noqa: SLF001
        assert len(spinning) == 2
    assert not any(child.is_running() for child in spinning)
