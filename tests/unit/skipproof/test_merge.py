"""The command that puts everything together."""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

import pytest

from tests.skipproof import cover, merge
from tests.skipproof.cover import CoverageResult
from tests.skipproof.exits import ExitStatus
from tests.skipproof.receipts import Outcome, lock_digest, sources_digest, write_receipt

from .samples import receipt, result

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Project

TEST = "tests/unit/test_a.py::test_a"


@pytest.fixture
def summary(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a workflow's step summary is written to."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    return project.write("summary.md", "before\n")


@pytest.fixture
def _no_coverage_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage data that is sound and complete; test_cover.py sees to the rest."""
    monkeypatch.setattr(cover, "data_problems", lambda _contract, _receipt: [])
    monkeypatch.setattr(
        cover, "merge", lambda _contract, _receipts, left_out: CoverageResult(100, 100, {"bare": 100}, left_out)
    )


def leave(project: Project, session: str, outcome: Outcome = "passed", *requires: str) -> None:
    """Leave the receipt of a finished run with one test."""
    contract = project.contract
    write_receipt(
        contract,
        receipt(
            session,
            sources=sources_digest(contract),
            lock=lock_digest(contract, "bare"),
            exit_status=int(outcome == "failed"),
            tests={TEST: result(outcome, *requires)},
        ),
    )


@pytest.mark.usefixtures("_no_coverage_data")
def test_whole_matrix_is_proved(project: Project, summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a whole and green matrix is refused, or its report leaves something out."""
    leave(project, "one")
    leave(project, "two")
    leave(project, "old", "failed")
    assert merge.main(["--expect", "one", "--expect", "two"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("file                  one  two\n")
    assert "all together  100.00 %" in out
    assert out.endswith("Proved: 2 sessions agree, and the gate of 100 % is reached.\n")
    markdown = summary.read_text()
    assert markdown.startswith("before\n### Tests and sessions\n\n| file | one | two |\n")
    assert "### Coverage\n\n| environment | covered |\n" in markdown
    assert "Refused" not in markdown


@pytest.mark.usefixtures("_no_coverage_data")
def test_red_run_shows_its_grid_and_is_refused(
    project: Project, summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: after a red run there is no grid to look at, or the merge passes over it."""
    leave(project, "one", "failed")
    write_receipt(project.contract, receipt("two", violations=["x: was deselected"]))
    assert merge.main(["--expect", "one", "two", "three"]) == ExitStatus.MERGE
    out = capsys.readouterr().out
    assert "tests/unit/test_a.py   F1    1\n" in out
    assert f"FAILED in one: {TEST}\nVIOLATION in two: x: was deselected\n" in out
    _, _, refused = out.partition("Refused:\n")
    assert [line.partition(":")[0] for line in refused.splitlines()] == ["- three", "- one", "- two", "- two", "- two"]
    assert "F1" in summary.read_text()
    assert refused in summary.read_text()


@pytest.mark.usefixtures("_no_coverage_data")
def test_shut_gate_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: coverage under the gate ends with success."""
    leave(project, "one")
    monkeypatch.setattr(cover, "merge", lambda *_arguments: CoverageResult(99, 100, {"bare": 99}))
    assert merge.main([]) == ExitStatus.COVERAGE
    assert capsys.readouterr().out.endswith(
        "Refused:\n- coverage is 99.00 %, under 100 %: test, or remove, the lines under Missing\n"
    )


def test_missing_coverage_data_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a session without coverage data is merged with one file fewer."""
    leave(project, "one")
    assert merge.main([]) == ExitStatus.MERGE
    assert "- one: coverage data .matrix/coverage/.coverage.one is missing: run it again" in capsys.readouterr().out


@pytest.mark.usefixtures("_no_coverage_data")
def test_hardware_files_are_passed_on(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a file whose tests need absent hardware counts against the gate."""
    leave(project, "one", "skipped", "gpu")
    assert merge.main([]) == 0
    assert "needs hardware that no session had: tests/unit/test_a.py\n" in capsys.readouterr().out


def test_no_receipt_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a merge of nothing succeeds."""
    assert project.contract.state == ".matrix"
    assert merge.main([]) == ExitStatus.MERGE
    assert capsys.readouterr().out.startswith("Refused:\n- there is no receipt at all: run a session")


def test_command_outside_of_a_project_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: called in the wrong folder, the command ends with a traceback, or with success."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merge"])
    # Run as a program, it is a module of its own beside the imported one.
    monkeypatch.delitem(sys.modules, "tests.skipproof.merge")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("tests.skipproof.merge", run_name="__main__")
    assert caught.value.code == 2
    assert capsys.readouterr().out.startswith("error: ")
