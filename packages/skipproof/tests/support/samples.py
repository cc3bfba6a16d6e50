"""Receipts to build tests from."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from coverage import CoverageData

from skipproof.receipts import Outcome, Receipt, TestResult, coverage_base, lock_digest
from skipproof.session_coverage import described
from skipproof.sources import digests

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from .project import Project

# What coverage sees of the project's code.py when all of it runs.
ARCS = frozenset({(-1, 1), (1, -1), (-1, 2), (2, 3), (3, -1), (2, 4), (4, -1)})
PASSED = TestResult(outcome="passed", duration=0.1)


def result(outcome: Outcome, *requires: str) -> TestResult:
    """Make the result of one test."""
    return TestResult(outcome=outcome, duration=0.1, requires=list(requires))


def receipt(session: str, **changes: Any) -> Receipt:
    """Make the receipt of a finished, green run of tests/unit in the environment "bare", with these changes."""
    values: dict[str, Any] = {
        "environment": "bare",
        "capabilities": [],
        "python": "3.11.7",
        "platform": "Linux",
        "lock": "lock",
        "sources": {"tests/unit/test_a.py": "digest"},
        "suites": ["tests/unit"],
        "coverage": f".matrix/coverage/.coverage.{session}",
        "process": 7,
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:01+00:00",
        "exit_status": 0,
        "tests": {"tests/unit/test_a.py::test_a": PASSED},
    }
    return Receipt(session=session, **(values | changes))


def current(
    project: Project, session: str, environment: str = "bare", settings: str | None = None, **changes: Any
) -> Receipt:
    """Make a receipt that belongs to the project's sources, lock, table and data as they are, with these changes."""
    contract = project.contract
    data = coverage_base(contract, session)
    values = {
        "environment": environment,
        "capabilities": list(contract.promised(environment)),
        "sources": digests(contract, ["tests/unit"], settings),
        "lock": lock_digest(contract, environment),
        "gathered": described(data) if data.exists() else None,
    }
    return receipt(session, **(values | changes))


def write_data(
    project: Project, name: str, context: str = "bare", arcs: Collection[tuple[int, int]] = ARCS, file: str = "code.py"
) -> Path:
    """Write a coverage data file, as a session would, and return its path."""
    folder = project.root / ".matrix" / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    with closing(CoverageData(basename=str(folder / f".coverage.{name}"))) as data:
        data.read()
        data.set_context(context)
        data.add_arcs({file: arcs})
        data.write()
    return folder / f".coverage.{name}"
