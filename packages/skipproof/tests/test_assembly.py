"""Building one matrix from receipts and coverage data."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from coverage.exceptions import CoverageException

from skipproof import merged_coverage, records, session_coverage
from skipproof.assembly import Asked, collect
from skipproof.matrix import FileCoverage, Proof
from skipproof.merged_coverage import Measured
from skipproof.receipts import ReceiptError, TestResult, Trace, write_receipt
from support.samples import PASSED, current, receipt, result, write_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skipproof.contract import Contract
    from skipproof.receipts import Outcome, Receipt
    from support.project import Project

A, B, G = (f"tests/unit/test_a.py::test_{name}" for name in "abg")
FILE = FileCoverage(path="code.py", statements=4, percent=75, missing=["4"])
TRACE = Trace(model="a" * 64, tokens=7, seconds=0.1)


@pytest.fixture
def _sound_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage data that is sound and complete; test_merged_coverage.py tests the rest."""

    def measure(_contract: Contract, receipts: Sequence[Receipt], _left_out: Sequence[str]) -> Measured:
        return Measured(100, 100, {"bare": 75}, {each.session: 50 for each in receipts}, [FILE])

    monkeypatch.setattr(session_coverage, "data_problems", lambda _contract, _receipt: [])
    monkeypatch.setattr(merged_coverage, "measure", measure)


def leave(project: Project, session: str, environment: str = "bare", **tests: TestResult) -> Receipt:
    """Leave the receipt of a finished run."""
    named = {f"tests/unit/test_a.py::test_{name}": test for name, test in tests.items()}
    each = current(project, session, environment, tests=named, exit_status=0)
    write_receipt(project.contract, each)
    return each


@pytest.mark.usefixtures("_sound_data")
def test_whole_matrix_is_told(project: Project) -> None:
    """Everything in receipts and data reaches the matrix, in its own session and test."""
    leave(project, "one", a=PASSED, b=result("skipped", "alpha"))
    traced = TestResult(outcome="passed", duration=0.25, requires=["alpha"], traces=[TRACE])
    leave(project, "two", "full", a=PASSED, b=traced)
    found = collect(project.contract, Asked(["two", "one"]))
    matrix = found.matrix
    assert (matrix.problems, matrix.partial, matrix.coverage, matrix.gate) == ([], False, 100, 100)
    assert (matrix.environments, matrix.files, matrix.unproven, matrix.notes) == ({"bare": 75}, [FILE], [], found.hints)
    two, one = matrix.sessions
    assert (two.name, two.environment, two.state, two.coverage, two.seconds) == ("two", "full", "proved", 50, 0.35)
    assert (one.ran, one.skipped, one.failed, one.lock is not None) == (1, 1, 0, True)
    row = matrix.tests[1]
    assert (row.id, row.requires) == (B, ["alpha"])
    assert {name: cell.outcome for name, cell in row.cells.items()} == {"two": "passed", "one": "skipped"}
    assert (row.cells["two"].seconds, row.cells["two"].traces) == (0.25, [TRACE])
    assert [each.session for each in found.measured] == ["two", "one"]


@pytest.mark.usefixtures("_sound_data")
def test_half_a_matrix_is_told(project: Project) -> None:
    """A missing or damaged receipt hides nothing of the others, and the coverage of the rest is marked as partial."""
    leave(project, "one", a=PASSED)
    project.write(".matrix/receipts/two.json", "{")
    matrix = collect(project.contract, Asked(["one", "two", "three"])).matrix
    assert [(row.name, row.environment, row.state) for row in matrix.sessions] == [
        ("one", "bare", "proved"),
        ("two", None, "damaged"),
        ("three", None, "missing"),
    ]
    assert (matrix.coverage, matrix.partial) == (100, True)
    assert [problem.partition(": ")[0] for problem in matrix.problems] == ["two", "three"]


@pytest.mark.usefixtures("_sound_data")
def test_violations_stand_at_their_tests(project: Project) -> None:
    """A violation is shown in the cell of its test."""
    odd = replace(PASSED, violation="was deselected")
    each = current(project, "one", tests={f"{A}[1]": odd, A: PASSED}, violations=["a"], exit_status=12)
    write_receipt(project.contract, each)
    [first, second] = collect(project.contract, Asked()).matrix.tests
    assert (first.cells["one"].violation, second.cells["one"].violation) == ("was deselected", None)


@pytest.mark.usefixtures("_sound_data")
def test_data_of_a_stale_run_is_left_out(project: Project) -> None:
    """Coverage data of a stale run does not count."""
    leave(project, "one", a=PASSED)
    write_receipt(project.contract, receipt("old"))
    found = collect(project.contract, Asked())
    assert [each.session for each in found.measured] == ["one"]
    assert found.matrix.partial


def test_data_that_lacks_makes_its_session_red(project: Project) -> None:
    """A session whose coverage data is missing is red, and without any data coverage is unknown."""
    data = write_data(project, "one", file="pyproject.toml")
    leave(project, "one", a=PASSED)
    assert collect(project.contract, Asked()).matrix.sessions[0].state == "proved"
    data.unlink()
    matrix = collect(project.contract, Asked()).matrix
    assert (matrix.sessions[0].state, matrix.coverage, matrix.partial) == ("red", None, True)
    assert matrix.problems[0].startswith("one: coverage data .matrix/coverage/.coverage.one is missing: ")


@pytest.mark.usefixtures("_sound_data")
def test_shut_gate_is_a_problem_of_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage under the gate, and data that cannot be merged, are each a problem."""
    leave(project, "one", a=PASSED)
    leave(project, "two", "full", a=PASSED)
    monkeypatch.setattr(merged_coverage, "measure", lambda *_arguments: Measured(99, 100))
    found = collect(project.contract, Asked())
    assert found.gate_problem is not None
    assert found.matrix.problems == [found.gate_problem]

    def fail(*_arguments: object) -> Measured:
        message = "no source for gone.py"
        raise CoverageException(message)

    monkeypatch.setattr(merged_coverage, "measure", fail)
    found = collect(project.contract, Asked())
    assert (found.gate_problem, found.matrix.coverage) == (None, None)
    assert found.matrix.problems == [
        "the coverage data cannot be merged (no source for gone.py): run the sessions again"
    ]


@pytest.mark.usefixtures("_sound_data")
def test_unproven_tests_are_listed(project: Project) -> None:
    """A test that no machine could run is listed as unproven, with its last proof."""
    for session, environment in (("one", "bare"), ("two", "full")):
        leave(project, session, environment, a=PASSED, g=result("skipped", "alpha", "gpu"))
    matrix = collect(project.contract, Asked()).matrix
    assert [(each.id, each.needs, each.last) for each in matrix.unproven] == [(G, ["gpu"], None)]
    assert matrix.problems == []
    required = collect(project.contract, Asked(required=["gpu"])).matrix
    assert [problem.partition(":")[0] for problem in required.problems] == ["gpu is required, but no session had it"]


@pytest.mark.usefixtures("_sound_data")
def test_file_that_no_machine_could_run_is_noted(project: Project) -> None:
    """A file that is left out of the coverage is named in the notes."""
    leave(project, "one", g=result("skipped", "gpu"))
    leave(project, "two", "full", g=result("skipped", "gpu"))
    found = collect(project.contract, Asked())
    assert found.left_out == ["tests/unit/test_a.py"]
    assert found.matrix.notes == [
        "tests/unit/test_a.py does not count for coverage: no machine here could run its tests",
        *found.hints,
    ]


def old_receipt(
    folder: Path, session: str, finished: str | None, violation: str | None = None, **tests: Outcome
) -> Path:
    """Write a receipt of an earlier day into a folder of its own."""
    results = {
        f"tests/unit/test_a.py::test_{name}": replace(result(outcome), violation=violation)
        for name, outcome in tests.items()
    }
    each = receipt(session, finished=finished, commit="abc+", tests=results)
    return write_into(folder, each)


def write_into(folder: Path, each: Receipt) -> Path:
    """Write a receipt where no contract looks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{each.session}.json"
    path.write_text(json.dumps(records.document(each)))
    return path


@pytest.mark.usefixtures("_sound_data")
def test_last_proof_is_the_latest_pass(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last proof is the latest pass in a finished run, and an unreadable receipt is noted and ignored."""
    monkeypatch.setattr("skipproof.receipts._seal", lambda _receipt: None)
    gpu = result("skipped", "gpu")
    leave(project, "one", a=PASSED, b=gpu, g=gpu)
    old = project.root / "old"
    old_receipt(old / "1", "cuda", "2025-01-02T00:00:00+00:00", a="passed", g="passed", b="failed")
    old_receipt(old / "2", "cuda", "2025-01-03T00:00:00+00:00", g="failed")
    old_receipt(old / "3", "cuda", None, g="passed")
    old_receipt(old / "4", "cuda", "2025-01-04T00:00:00+00:00", "left no trace", g="passed")
    old_receipt(old / "5", "cuda", "2025-01-01T00:00:00+00:00", g="passed")
    document = json.loads((old / "1" / "cuda.json").read_text()) | {"format": 1}
    (old / "older.json").write_text(json.dumps(document))
    matrix = collect(project.contract, Asked(["one"], last=[old, old / "2" / "cuda.json"])).matrix
    assert {each.id: each.last for each in matrix.unproven} == {
        B: None,
        G: Proof(session="cuda", finished="2025-01-02T00:00:00+00:00", commit="abc+"),
    }
    assert matrix.notes[0].startswith("an earlier receipt was ignored: older.json has format 1, and this plugin ")


@pytest.mark.usefixtures("_sound_data")
def test_what_was_only_tried_is_noted(project: Project) -> None:
    """The report shows a session's notes on what may fail, and the matrix is still proved."""
    leave(project, "one", a=PASSED)
    project.write(".matrix/notes/newest.txt", "red on 2026-01-01 with torch 3.0\n")
    found = collect(project.contract, Asked())
    matrix = found.matrix
    assert matrix.notes == ["newest: red on 2026-01-01 with torch 3.0", *found.hints]
    assert not [problem for problem in matrix.problems if "newest" in problem]


def test_last_proof_that_is_nowhere_is_a_usage_error(project: Project) -> None:
    """A path of earlier receipts that does not exist is a usage error."""
    leave(project, "one", a=PASSED)
    with pytest.raises(ReceiptError, match=r"^--last gone does not exist: name a receipt, or a folder of receipts$"):
        collect(project.contract, Asked(last=[project.root.relative_to(project.root) / "gone"]))


@pytest.mark.usefixtures("_sound_data")
def test_project_is_named(project: Project) -> None:
    """The matrix has the project's name, or else its folder's."""
    leave(project, "one", a=PASSED)
    assert collect(project.contract, Asked()).matrix.project == project.root.name
    text = (project.root / "pyproject.toml").read_text()
    project.write("pyproject.toml", f'[project]\nname = "sample"\n{text}')
    assert collect(project.contract, Asked()).matrix.project == "sample"
