"""One test's reports, checked against what it must do."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from skipproof.outcomes import Needs, TestRecord, duplicates

WHERE = ("test_a.py", 1, "test_a")
REASON = "needs alpha: pip install alpha"
RUNS, SKIPS = Needs(), Needs(("alpha",), REASON)

Phase = Literal["setup", "call", "teardown"]


def report(
    outcome: Literal["passed", "failed", "skipped"], when: Phase = "call", reason: str | None = None, **extra: str
) -> pytest.TestReport:
    """Make the report of one phase, as pytest would."""
    longrepr: Any = ("test_a.py", 2, f"Skipped: {reason}") if reason is not None else None
    made = pytest.TestReport("test_a.py::test_a", WHERE, {}, outcome, longrepr, when, duration=0.25)
    vars(made).update(extra)
    return made


def record(needs: Needs, *reports: pytest.TestReport) -> TestRecord:
    """Make the record of a test with these reports."""
    made = TestRecord(needs)
    for each in reports:
        made.add(each)
    return made


SETUP, PASSED, TEARDOWN = report("passed", "setup"), report("passed"), report("passed", "teardown")


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [
        ([SETUP, PASSED, TEARDOWN], "passed"),
        ([SETUP, TEARDOWN], "missing"),
        ([], "missing"),
        ([report("failed", "setup"), TEARDOWN], "failed"),
        ([SETUP, report("failed"), TEARDOWN], "failed"),
        ([SETUP, PASSED, report("failed", "teardown")], "failed"),
        ([report("skipped", "setup", "why"), TEARDOWN], "skipped"),
        ([SETUP, report("skipped", "call", "why"), TEARDOWN], "skipped"),
        ([SETUP, PASSED, report("skipped", "teardown", "why")], "skipped"),
        ([SETUP, report("skipped", "call", "part"), PASSED, TEARDOWN], "skipped"),
        ([SETUP, report("skipped", wasxfail="bug 7"), TEARDOWN], "xfailed"),
        ([SETUP, report("passed", wasxfail="bug 7"), TEARDOWN], "xpassed"),
    ],
)
def test_outcome_is_the_worst_phase(reports: list[pytest.TestReport], outcome: str) -> None:
    """A test's outcome is the worst of its phases and parts."""
    assert record(RUNS, *reports).outcome == outcome


def test_durations_are_added() -> None:
    """A test's duration includes setup and teardown."""
    assert record(RUNS, SETUP, PASSED, TEARDOWN).duration == pytest.approx(0.75)


@pytest.mark.parametrize("reports", [[SETUP, PASSED, TEARDOWN], [SETUP, report("failed"), TEARDOWN]])
def test_running_where_capable_keeps_the_contract(reports: list[pytest.TestReport]) -> None:
    """A test that runs as it must is not a violation."""
    assert record(RUNS, *reports).violation() is None


@pytest.mark.parametrize(
    ("reports", "fact", "step"),
    [
        (
            [report("skipped", "setup", "later")],
            "skipped ('later') although the environment has all",
            "make it run, or",
        ),
        ([SETUP, report("skipped", wasxfail="bug 7")], "xfailed ('bug 7') where it has to pass", "remove the xfail"),
        ([SETUP, report("passed", wasxfail="bug 7")], "xpassed ('bug 7') where it has to pass", "remove the xfail"),
        ([SETUP, TEARDOWN], "was collected but has no outcome", "--setup-only or a hook that drops tests"),
    ],
)
def test_not_running_where_capable_is_a_violation(reports: list[pytest.TestReport], fact: str, step: str) -> None:
    """A test that does not run although its needs are met is a violation."""
    complaint = record(RUNS, *reports).violation()
    assert complaint is not None
    assert complaint.startswith(fact)
    assert step in complaint


def test_skip_for_the_derived_reason_keeps_the_contract() -> None:
    """A skip with the derived reason is not a violation."""
    assert record(SKIPS, report("skipped", "setup", REASON), TEARDOWN).violation() is None


@pytest.mark.parametrize(
    ("reports", "fact"),
    [
        ([report("skipped", "setup", "no alpha")], f"skipped with 'no alpha' where the contract derives {REASON!r}"),
        ([SETUP, PASSED, TEARDOWN], f"passed where it has to skip with {REASON!r}"),
        ([SETUP, report("failed"), TEARDOWN], f"failed where it has to skip with {REASON!r}"),
        ([SETUP, report("skipped", wasxfail=REASON)], f"xfailed where it has to skip with {REASON!r}"),
        ([], f"missing where it has to skip with {REASON!r}"),
    ],
)
def test_anything_else_where_not_capable_is_a_violation(reports: list[pytest.TestReport], fact: str) -> None:
    """Running, or skipping for another reason, is a violation where needs are not met."""
    complaint = record(SKIPS, *reports).violation()
    assert complaint is not None
    assert complaint.startswith(f"{fact}; ")


def test_duplicates_are_named_once() -> None:
    """Each id that occurs twice is named once."""
    assert duplicates(["a", "b", "a", "c", "a", "b"]) == ["a", "b"]
