"""Every reason to refuse receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.skipproof import audit
from tests.skipproof.receipts import Receipt, lock_digest, sources_digest, write_receipt

from .samples import PASSED, receipt, result

if TYPE_CHECKING:
    from .conftest import Project

A, B = "tests/unit/test_a.py::test_a", "tests/unit/test_a.py::test_b"
R, G = "tests/real/test_r.py::test_r", "tests/real/test_g.py::test_g"


def current(project: Project, session: str, environment: str = "bare", **changes: Any) -> Receipt:
    """Make a receipt that belongs to the project's sources and lock as they are now."""
    contract = project.contract
    values = {
        "environment": environment,
        "capabilities": list(contract.promised(environment)),
        "sources": sources_digest(contract),
        "lock": lock_digest(contract, environment),
    }
    return receipt(session, **(values | changes))


def test_sound_receipts_are_accepted(project: Project) -> None:
    """Broken: a whole and green matrix is refused."""
    receipts = [
        current(project, "unit"),
        current(project, "check", suites=["tests/real"], tests={R: result("skipped", "alpha")}),
        current(
            project, "all", "full", suites=["tests/unit", "tests/real"], tests={A: PASSED, R: result("passed", "alpha")}
        ),
    ]
    assert audit.refusals(project.contract, receipts) == []


def test_expected_receipts_are_loaded(project: Project) -> None:
    """Broken: with sessions named, a receipt of another day is merged as well; with none, one that is here is not."""
    for session in ("unit", "check", "old"):
        write_receipt(project.contract, receipt(session))
    named, problems = audit.load(project.contract, ["unit", "check", "unit"])
    assert ([each.session for each in named], problems) == (["unit", "check"], [])
    everything, problems = audit.load(project.contract, [])
    assert ([each.session for each in everything], problems) == (["check", "old", "unit"], [])


def test_missing_receipt_is_refused(project: Project) -> None:
    """Broken: a session that never ran is not missed."""
    write_receipt(project.contract, receipt("unit"))
    receipts, problems = audit.load(project.contract, ["unit", "check"])
    assert [each.session for each in receipts] == ["unit"]
    assert problems == ["check: no receipt of it is here: run this session"]


def test_no_receipt_at_all_is_refused(project: Project) -> None:
    """Broken: nothing at all counts as proof."""
    assert audit.load(project.contract, []) == (
        [],
        ["there is no receipt at all: run a session, such as pytest --environment NAME"],
    )


def test_unreadable_receipt_is_refused(project: Project) -> None:
    """Broken: a damaged receipt is passed over, and its session is not missed."""
    project.write(".matrix/receipts/unit.json", "{")
    receipts, [problem] = audit.load(project.contract, [])
    assert receipts == []
    assert problem.startswith("unit: unit.json is no receipt (")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"finished": None, "exit_status": None}, "its run did not come to its end: run this session again"),
        (
            {"exit_status": 1, "tests": {A: result("failed")}},
            "is red (exit status 1, 1 failed tests, 0 violations): mend what it shows, and run this session again",
        ),
        (
            {"violations": ["x: y"]},
            "is red (exit status 0, 0 failed tests, 1 violations): mend what it shows, and run this session again",
        ),
        ({"sources": "other"}, "was run with other sources than are here now: run this session again"),
        ({"lock": "other"}, "was run with another lock than locks/bare.txt is now: run this session again"),
    ],
)
def test_receipt_that_proves_nothing_is_refused(project: Project, changes: dict[str, Any], problem: str) -> None:
    """Broken: a run that is unfinished, red, or of something else is taken for proof."""
    assert audit.refusals(project.contract, [current(project, "unit", **changes)]) == [f"unit: {problem}"]


def test_environment_without_lock_is_refused(project: Project) -> None:
    """Broken: an environment that follows no lock proves something that nobody can repeat."""
    (project.root / "locks" / "bare.txt").unlink()
    assert audit.refusals(project.contract, [current(project, "unit")]) == [
        "unit: its environment has no lock: compile locks/bare.txt, and run this session again"
    ]


def test_ids_that_differ_are_refused(project: Project) -> None:
    """Broken: a test that one session never heard of is not missed there."""
    more = [f"tests/unit/test_a.py::test_{number}" for number in range(6)]
    receipts = [
        current(project, "one", tests={A: PASSED, B: PASSED}),
        current(project, "two", tests={A: PASSED} | dict.fromkeys(more, PASSED)),
    ]
    remedy = "collect the same tests everywhere, and let marks decide what runs"
    assert audit.refusals(project.contract, receipts) == [
        f"one and two: ids in tests/unit differ, only two collected {', '.join(more[:5])} and 1 more: {remedy}",
        f"one and two: ids in tests/unit differ, only one collected {B}: {remedy}",
    ]


def test_ids_of_different_suites_may_differ(project: Project) -> None:
    """Broken: a session is refused for tests of a suite that it was never meant to run."""
    receipts = [current(project, "one"), current(project, "two", "full", suites=["tests/real"], tests={R: PASSED})]
    assert audit.refusals(project.contract, receipts) == []


def test_test_that_ran_nowhere_is_refused(project: Project) -> None:
    """Broken: a test skips in every session, each time correctly, and is never proved."""
    tests = {A: PASSED, R: result("skipped", "alpha")}
    assert audit.refusals(project.contract, [current(project, "unit", tests=tests)]) == [
        f"1 tests ran in no session ({R}): run a session whose environment has what they need"
    ]


def test_absent_hardware_excuses_only_its_own_tests(project: Project) -> None:
    """Broken: a machine without a GPU cannot be green, or one with a GPU may leave its tests out."""
    tests = {A: PASSED, R: result("passed", "alpha"), G: result("skipped", "gpu", "alpha")}
    without = current(project, "unit", "full", tests=tests)
    assert audit.refusals(project.contract, [without]) == []
    assert audit.refusals(project.contract, [without, current(project, "gpu", "big", tests=tests)]) == [
        f"1 tests ran in no session ({G}): run a session whose environment has what they need"
    ]


def test_only_files_that_are_all_hardware_are_left_out(project: Project) -> None:
    """Broken: a file is left out of the gate although some of its tests can run here."""
    mixed = "tests/real/test_r.py::test_gpu"
    tests = {A: PASSED, R: PASSED, mixed: result("skipped", "gpu"), G: result("skipped", "gpu", "alpha")}
    here = current(project, "all", "full", tests=tests)
    assert audit.hardware_only_files(project.contract, [here]) == ["tests/real/test_g.py"]
    there = current(project, "gpu", "big", tests=tests)
    assert audit.hardware_only_files(project.contract, [here, there]) == []
