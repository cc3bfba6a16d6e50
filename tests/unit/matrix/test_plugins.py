"""Popular plugins beside pytest-skipproof: what one of them changes is named, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from matrix import locks, plugins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROOT = plugins.SOURCE.parents[1]
LOCK = ROOT / locks.lock_path("plugins")


def stand_in(folder: Path, command: Sequence[str], **_: bool) -> subprocess.CompletedProcess[str]:
    """Stand in for uv and pytest: pytest-retry turns a failure into a pass, and pytest-sugar leaves no receipt."""
    if "--skipproof" not in command:
        return subprocess.CompletedProcess(command, 0, "one==1.0\n", "")
    session = command[command.index("--skipproof-session") + 1]
    receipt = folder / ".matrix" / "receipts" / f"{session}.json"
    receipt.parent.mkdir(parents=True, exist_ok=True)
    sick = session == "sick" and folder.name != "pytest-retry"
    if folder.name != "pytest-sugar":
        outcome = {"outcome": "failed" if sick else "passed"}
        told = {"tests": {"test_it.py::test_it": outcome}, "violations": ["red"] if sick else []}
        receipt.write_text(json.dumps(told), encoding="utf-8")
    return subprocess.CompletedProcess(command, 1 if sick else 0, "said", "")


def test_what_a_plugin_changes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plugin that changes an outcome, or leaves no receipt, is red by name; one that changes nothing is green."""
    monkeypatch.setattr(plugins, "run", stand_in)
    told = ["--folder", str(tmp_path), "--lock", str(LOCK)]
    assert plugins.main([*told, "pytest-mock", "pytest-retry", "pytest-sugar"]) == 1
    mock, retry, sugar, whole = capsys.readouterr().out.splitlines()
    assert mock == "pytest-mock: nothing changed"
    assert retry == (
        "pytest-retry: sick: exit status 0, without it 1; sick: outcomes {'test_it.py::test_it': 'passed'}, "
        "without it {'test_it.py::test_it': 'failed'}; sick: violations [], without it ['red']"
    )
    assert sugar.startswith("pytest-sugar: bare: outcomes None, without it {'test_it.py::test_it': 'passed'}; ")
    assert "; bare: output said, without it None; " in sugar
    assert whole == "3 plugins, of these 2 change what a run proves: pytest-retry, pytest-sugar"
    assert plugins.main([*told, "pytest-mock"]) == 0


def test_each_environment_has_the_lock_of_what_was_in_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project has a lock for each of its environments: what uv says is installed."""
    monkeypatch.setattr(plugins, "run", stand_in)
    assert plugins.proof(tmp_path, [])["unnamed"] == {"exit status": 0}
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "locks").iterdir()} == {
        "bare.txt": "one==1.0\n",
        "full.txt": "one==1.0\n",
    }


def test_what_makes_a_room_must_succeed_and_a_run_may_fail(tmp_path: Path) -> None:
    """A program that fails ends everything with its words, unless it is a run of the tests; these can be made sick."""
    program = [sys.executable, "-c", "import os, sys; sys.exit(os.environ.get('SICK') or 'no room')"]
    with pytest.raises(SystemExit, match="no room"):
        plugins.run(tmp_path, program)
    assert plugins.run(tmp_path, program, sick=True, may_fail=True).stderr == "1\n"


def test_the_lock_has_every_plugin() -> None:
    """Each plugin has its version in the lock."""
    pins = {
        canonicalize_name(Requirement(pin.requirement).name) for pin in locks.pins(LOCK.read_text(encoding="utf-8"))
    }
    assert plugins.PLUGINS.keys() - pins == set()
    assert len(plugins.PLUGINS) >= 30


def test_it_is_a_program() -> None:
    """As a program, it says what it needs."""
    command = [sys.executable, "-m", "matrix.plugins"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "--folder" in done.stderr) == (2, True)
