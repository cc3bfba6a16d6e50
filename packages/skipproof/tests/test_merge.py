"""The command that judges the matrix, on coverage data as sessions leave it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from skipproof import merge
from skipproof.__main__ import main
from skipproof.exits import ExitStatus
from skipproof.receipts import Outcome, write_receipt
from support.project import PYPROJECT
from support.samples import ARCS, current, result, write_data

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project

TEST = "tests/unit/test_a.py::test_a"


def leave(project: Project, session: str, environment: str, outcome: Outcome = "passed", *requires: str) -> None:
    """Leave the receipt of a finished run with one test."""
    status = int(outcome == "failed")
    each = current(project, session, environment, exit_status=status, tests={TEST: result(outcome, *requires)})
    write_receipt(project.contract, each)


def test_whole_matrix_is_proved(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A complete green matrix is proved, and its merged data is written."""
    for session, environment in (("one", "bare"), ("two", "full")):
        write_data(measured, session, environment)
        leave(measured, session, environment)
    leave(measured, "old", "bare", "failed")
    assert merge.main(["--expect", "one", "--expect", "two"]) == 0
    out = capsys.readouterr().out
    assert "all together" in out
    assert out.endswith("Proved: 2 sessions agree, and the gate of 100 % is reached.\n")
    assert (measured.root / ".matrix" / "coverage" / "coverage.json").is_file()


def test_red_run_is_shown_and_refused(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A red run is shown, and the merge fails."""
    write_data(measured, "one", "bare")
    leave(measured, "one", "bare", "failed")
    assert merge.main(["--expect", "one", "three"]) == ExitStatus.MERGE
    out = capsys.readouterr().out
    assert "- one: is red (exit status 1, 1 failed test, 0 violations)" in out
    assert "- three: has no receipt: run this session\n" in out
    assert not (measured.root / ".matrix" / "coverage" / "coverage.json").exists()


def test_shut_gate_is_refused(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Coverage under the gate fails with an exit status of its own."""
    for session, environment in (("one", "bare"), ("two", "full")):
        write_data(measured, session, environment, ARCS - {(2, 3), (3, -1)})
        leave(measured, session, environment)
    assert merge.main([]) == ExitStatus.COVERAGE
    out = capsys.readouterr().out
    assert "- code.py  66.66 %  3, 2->3\n" in out
    assert "- coverage is 66.66 %, under 100 %: test or remove the lines that are named\n" in out


def test_required_capability_is_asked_for(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """--require refuses a matrix in which no session had the capability."""
    for session, environment in (("one", "bare"), ("two", "full")):
        write_data(measured, session, environment)
        leave(measured, session, environment, "skipped", "gpu")
    assert merge.main([]) == 0
    assert capsys.readouterr().out.endswith("is reached; 1 test is unproven.\n")
    assert merge.main(["--require", "gpu"]) == ExitStatus.MERGE
    assert "- gpu is required, but no session had it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ".matrix/receipts holds no receipt: run a session"),
        (["--expect", "one"], ".matrix/receipts holds no receipt: run a session"),
    ],
)
def test_no_receipt_is_a_usage_error(
    measured: Project, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A merge without any receipt is a usage error."""
    assert measured.contract.state == ".matrix"
    with pytest.raises(SystemExit) as caught:
        merge.main(arguments)
    assert caught.value.code == 4
    assert message in capsys.readouterr().err


def test_the_table_is_found_where_pytest_was_told_to_look(
    measured: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """A merge reads the table from the file given with -c, as pytest does."""
    table, _, rest = PYPROJECT.partition("[tool.pytest")
    measured.write("pyproject.toml", f"[tool.pytest{rest}")
    measured.write("ci.toml", table.replace("tool.skipproof", "skipproof"))
    with pytest.raises(SystemExit) as ended:
        merge.main(["-c", "ci.toml"])
    assert ended.value.code == pytest.ExitCode.USAGE_ERROR
    assert ".matrix/receipts holds no receipt" in capsys.readouterr().err


def test_misspelt_capability_is_a_usage_error(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown capability in --require is a usage error."""
    leave(measured, "one", "bare")
    with pytest.raises(SystemExit) as caught:
        merge.main(["--require", "gpo"])
    assert caught.value.code == 4
    assert "no capability is called 'gpo' (did you mean 'gpu'?)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["merge", "report"])
def test_command_outside_of_a_project_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """In the wrong folder, a command says so and exits as on a usage error."""
    command = [sys.executable, "-m", "skipproof", name]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"skipproof {name}: error: ")
    assert "has no table [tool.skipproof] in pyproject.toml" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "usage: skipproof {merge,report,accept,doctor,init} [options]"),
        (["murge"], 4, "skipproof: error: no command is called 'murge'"),
        ([], 4, "skipproof: error: no command given"),
    ],
)
def test_the_command_names_its_subcommands(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    """For --help or an unknown subcommand, the command lists its subcommands."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_a_library_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a library of the extra, a command that needs it says how to get it."""
    for name in ("skipproof.merge", "skipproof.terminal"):
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["merge"]) == pytest.ExitCode.USAGE_ERROR
    said = "skipproof merge: needs rich, which is not installed: pip install 'pytest-skipproof[report]'\n"
    assert capsys.readouterr().err == said


def test_another_library_that_is_not_there_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the plugin's own that is missing is not hidden behind advice."""
    monkeypatch.setitem(sys.modules, "skipproof.merge", None)
    with pytest.raises(ModuleNotFoundError, match=r"skipproof\.merge"):
        main(["merge"])


@pytest.mark.parametrize("name", ["merge", "report", "accept", "doctor"])
def test_a_file_that_is_not_there_is_a_usage_error(
    measured: Project, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A misspelt -c is not passed over for the table that stands elsewhere."""
    assert measured.contract.table == "pyproject.toml"
    with pytest.raises(SystemExit) as ended:
        main([name, "-c", "ci.ini"])
    assert ended.value.code == pytest.ExitCode.USAGE_ERROR
    assert "ci.ini is not there: name the file that pytest is given by its own -c" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "fact"), [(b"[broken", "(Expected ']'"), (b"a = '\xff'", "('utf-8' codec can't")])
def test_a_broken_pyproject_beside_the_table_is_named(
    measured: Project, capsys: pytest.CaptureFixture[str], content: bytes, fact: str
) -> None:
    """A project whose table stands elsewhere is told which file cannot be read."""
    measured.write("pyproject.toml", "")
    measured.write("pytest.toml", PYPROJECT.partition("[tool.pytest")[0].replace("tool.skipproof", "skipproof"))
    leave(measured, "one", "bare")
    (measured.root / "pyproject.toml").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        merge.main([])
    assert ended.value.code == pytest.ExitCode.USAGE_ERROR
    assert f"pyproject.toml is not TOML {fact}" in capsys.readouterr().err
