"""Receipts to build tests from."""

from __future__ import annotations

from typing import Any

from tests.skipproof.receipts import Outcome, Receipt, TestResult

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
        "sources": "sources",
        "suites": ["tests/unit"],
        "coverage": f".matrix/coverage/.coverage.{session}",
        "process": 7,
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:01+00:00",
        "exit_status": 0,
        "tests": {"tests/unit/test_a.py::test_a": PASSED},
    }
    return Receipt(session=session, **(values | changes))
