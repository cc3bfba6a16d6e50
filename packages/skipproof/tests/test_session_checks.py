"""Every reason to refuse receipts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from skipproof import session_checks
from skipproof.contract import ContractError
from skipproof.receipts import Receipt, ReceiptError, TestResult, Trace, write_receipt
from skipproof.session_checks import Session
from support.samples import PASSED, current, receipt, result

if TYPE_CHECKING:
    from support.project import Project

A, B = "tests/unit/test_a.py::test_a", "tests/unit/test_a.py::test_b"
R, G = "tests/real/test_r.py::test_r", "tests/real/test_g.py::test_g"

UNKNOWN = "no capability is called"
AGAIN = "run this session again"
TABLE = "ran with a table that differs from the one in pyproject.toml now"


def judged(project: Project, *receipts: Receipt) -> list[str]:
    """Return what these receipts together fail to prove."""
    return session_checks.refusals(project.contract, [Session(each.session, "proved", each) for each in receipts])


def one(project: Project, each: Receipt) -> Session:
    """Return what is wrong with one receipt."""
    write_receipt(project.contract, each)
    [session] = session_checks.load(project.contract, [each.session])
    return session


def test_sound_receipts_are_accepted(project: Project) -> None:
    """A complete, green matrix is accepted."""
    receipts = [
        current(project, "unit"),
        current(project, "check", suites=["tests/real"], tests={R: result("skipped", "alpha")}),
        current(
            project, "all", "full", suites=["tests/unit", "tests/real"], tests={A: PASSED, R: result("passed", "alpha")}
        ),
    ]
    assert [(one(project, each).state, one(project, each).problems) for each in receipts] == [("proved", [])] * 3
    assert judged(project, *receipts) == []


def test_expected_receipts_are_loaded(project: Project) -> None:
    """With sessions named, only their receipts are loaded; otherwise all are."""
    for session in ("unit", "check", "old"):
        write_receipt(project.contract, receipt(session))
    assert [each.name for each in session_checks.load(project.contract, ["unit", "check", "unit"])] == ["unit", "check"]
    assert [each.name for each in session_checks.load(project.contract, [])] == ["check", "old", "unit"]


@pytest.mark.parametrize(
    ("name", "hint"), [("check", ""), ("old-one", ", or correct its name (did you mean 'old-ones'?)")]
)
def test_missing_receipt_is_refused(project: Project, name: str, hint: str) -> None:
    """A session without a receipt is refused, with a suggestion if its name may be misspelt."""
    for session in ("unit", "old-ones"):
        write_receipt(project.contract, current(project, session))
    found, missed = session_checks.load(project.contract, ["unit", name])
    assert (found.state, missed.state, missed.receipt) == ("proved", "missing", None)
    assert missed.problems == [f"has no receipt: run this session{hint}"]


def test_no_receipt_at_all_is_a_usage_error(project: Project) -> None:
    """No receipt at all is a usage error."""
    with pytest.raises(ReceiptError, match=r"^\.matrix/receipts holds no receipt: run a session, such as pytest"):
        session_checks.load(project.contract, ["unit"])


def test_name_that_no_session_can_have_is_a_usage_error(project: Project) -> None:
    """A session name that is a path is a usage error."""
    write_receipt(project.contract, receipt("unit"))
    with pytest.raises(ReceiptError, match=r"a session cannot be called '\.\./unit'"):
        session_checks.load(project.contract, ["../unit"])


def test_unreadable_receipt_is_refused(project: Project) -> None:
    """A damaged receipt is refused, and its session is not missing."""
    project.write(".matrix/receipts/unit.json", "{")
    [session] = session_checks.load(project.contract, [])
    assert (session.state, session.receipt) == ("damaged", None)
    assert session.problems[0].startswith("unit.json is not a receipt (")


@pytest.mark.parametrize(
    ("changes", "state", "problem"),
    [
        (
            {"finished": None, "exit_status": None},
            "unfinished",
            "its run did not finish: run this session again",
        ),
        (
            {"finished": None, "exit_status": 2, "violations": ["x: y"]},
            "unfinished",
            (
                "its run was stopped (exit status 2, 0 failed tests, 1 violation): fix what stopped it, and run this "
                "session again"
            ),
        ),
        (
            {"exit_status": 1, "tests": {A: result("failed")}},
            "red",
            "is red (exit status 1, 1 failed test, 0 violations): fix what it shows, and run this session again",
        ),
        (
            {"violations": ["x: y"]},
            "red",
            "is red (exit status 0, 0 failed tests, 1 violation): fix what it shows, and run this session again",
        ),
        (
            {"sources": {"pyproject.toml": "other"}},
            "stale",
            f"ran on sources that differ from those here now (pyproject.toml changed, setup.py appeared): {AGAIN}",
        ),
        (
            {"lock": "other"},
            "stale",
            "ran with a lock that differs from locks/bare.txt as it is now: run this session again",
        ),
        (
            {"environment": "bear"},
            "stale",
            f"{TABLE} (no environment is called 'bear' (did you mean 'bare'?); there are: bare, full, big): {AGAIN}",
        ),
        (
            {"tests": {A: result("skipped", "alfa")}},
            "stale",
            f"{TABLE} ({A}: {UNKNOWN} 'alfa' (did you mean 'alpha'?); there are: alpha, beta, gpu): {AGAIN}",
        ),
        (
            {"capabilities": ["alpha", "beta"]},
            "stale",
            "ran when bare had alpha, beta, but the table now promises nothing: run this session again",
        ),
    ],
)
def test_receipt_that_proves_nothing_is_refused(
    project: Project, changes: dict[str, Any], state: str, problem: str
) -> None:
    """A receipt of a run that is unfinished, red or out of date is refused."""
    session = one(project, replace(current(project, "unit"), **changes))
    assert (session.state, session.problems) == (state, [problem])


def test_environment_without_lock_is_refused(project: Project) -> None:
    """A receipt of an environment without a lock is refused."""
    (project.root / "locks" / "bare.txt").unlink()
    assert one(project, current(project, "unit")).problems == [
        "its environment has no lock: compile locks/bare.txt, and run this session again"
    ]


def test_ids_that_differ_are_refused(project: Project) -> None:
    """Sessions that collected different ids in one suite are refused."""
    more = [f"tests/unit/test_a.py::test_{number}" for number in range(6)]
    remedy = "collect the same tests everywhere, and let marks decide what runs"
    assert judged(
        project,
        current(project, "one", tests={A: PASSED, B: PASSED}),
        current(project, "two", "full", tests={A: PASSED} | dict.fromkeys(more, PASSED)),
    ) == [
        f"one and two: ids in tests/unit differ, only two collected {', '.join(more[:5])} and 1 more: {remedy}",
        f"one and two: ids in tests/unit differ, only one collected {B}: {remedy}",
    ]


def test_a_file_that_only_some_can_read_is_compared_among_those(project: Project) -> None:
    """Tests of a file that a session's Python cannot read are missed only where it can be read, and once it is."""
    new, newer = "tests/unit/test_new.py::test_a", "tests/unit/test_new.py::test_b"
    old = current(project, "old", unread=["tests/unit/test_new.py"])
    one = current(project, "one", tests={A: PASSED, new: PASSED})
    two = current(project, "two", "full", tests={A: PASSED, new: PASSED, newer: PASSED})
    assert judged(project, old, one, current(project, "all", "full", tests=one.tests)) == []
    [problem] = judged(project, old, one, two)
    assert problem.startswith(f"one and two: ids in tests/unit differ, only two collected {newer}: ")
    alone = current(project, "alone", "full", unread=["tests/unit/test_new.py"])
    remedy = "fix it, or run a session with a Python that can read it"
    assert judged(project, old, alone) == [f"tests/unit/test_new.py could be read in no session: {remedy}"]


def test_ids_of_different_suites_may_differ(project: Project) -> None:
    """A session is not refused for tests of a suite that it does not run."""
    real: dict[str, Any] = {"suites": ["tests/real"], "tests": {R: PASSED}}
    assert (
        judged(
            project,
            current(project, "one"),
            current(project, "two", "full"),
            current(project, "three", **real),
            current(project, "four", "full", **real),
        )
        == []
    )


def test_suite_with_nothing_to_compare_is_refused(project: Project) -> None:
    """A suite that only one environment ran is refused."""
    fact = "tests/unit ran only in the environment bare, so its ids cannot be compared"
    sessions = [current(project, "unit-1"), current(project, "unit-2")]
    assert judged(project, *sessions) == [f"{fact}: run it in another environment too"]


def test_tests_are_not_missed_where_their_session_is(project: Project) -> None:
    """While a session has no receipt, the tests that it would have run are not listed as missing."""
    tests = {A: PASSED, R: result("skipped", "alpha")}
    sessions = [Session("unit", "proved", current(project, "unit", tests=tests)), Session("full", "missing")]
    assert session_checks.refusals(project.contract, sessions) == []
    dead = current(project, "full", "full", finished=None)
    assert session_checks.refusals(project.contract, [sessions[0], Session("full", "unfinished", dead)]) == []


def test_test_that_ran_nowhere_is_refused(project: Project) -> None:
    """A test that skipped in every session is refused."""
    tests = {A: PASSED, R: result("skipped", "alpha")}
    assert judged(project, current(project, "unit", tests=tests), current(project, "all", "full", tests=tests)) == [
        f"1 test ran in no session ({R}): run a session whose environment has what they need"
    ]


def test_different_models_are_refused(project: Project) -> None:
    """A test that two environments proved with different weights is refused."""

    def traced(*models: str) -> dict[str, TestResult]:
        traces = [Trace(model=model * 64, tokens=1, seconds=0.1) for model in models]
        return {A: TestResult(outcome="passed", duration=0.1, traces=traces)}

    bare = current(project, "unit", tests=traced("a", "b"))
    assert judged(project, bare, current(project, "full", "full", tests=traced("b", "a"))) == []
    used = f"{'a' * 12}, {'b' * 12} in unit and {'c' * 12} in full"
    remedy = "give every session the same weights, and run them again"
    assert judged(project, bare, current(project, "full", "full", tests=traced("c"))) == [
        f"{A} used different models ({used}): {remedy}"
    ]


def test_absent_hardware_excuses_only_its_own_tests(project: Project) -> None:
    """Only tests that need a capability no machine had may run nowhere."""
    tests = {A: PASSED, R: result("passed", "alpha"), G: result("skipped", "gpu", "alpha")}
    bare = current(project, "unit", tests=tests)
    without = current(project, "all", "full", tests=tests)
    assert judged(project, bare, without) == []
    assert judged(project, bare, without, current(project, "gpu", "big", tests=tests)) == [
        f"1 test ran in no session ({G}): run a session whose environment has what they need"
    ]


def test_only_files_that_are_all_hardware_are_left_out(project: Project) -> None:
    """A file is left out of the coverage only if none of its tests could run."""
    mixed = "tests/real/test_r.py::test_gpu"
    tests = {A: PASSED, R: PASSED, mixed: result("skipped", "gpu"), G: result("skipped", "gpu", "alpha")}
    here = current(project, "all", "full", tests=tests)
    assert session_checks.unprovable_files(project.contract, [here]) == ["tests/real/test_g.py"]
    there = current(project, "gpu", "big", tests=tests)
    assert session_checks.unprovable_files(project.contract, [here, there]) == []


def test_required_capability_that_nobody_had_is_refused(project: Project) -> None:
    """A required capability that no session had is refused, and so is an unknown one."""
    receipts = [current(project, "all", "full")]
    assert session_checks.lacking(project.contract, receipts, ["alpha", "gpu", "gpu"]) == [
        "gpu is required, but no session had it: run one that has it, on a machine with a GPU"
    ]
    with pytest.raises(ContractError, match=r"^--require: no capability is called 'gpo' \(did you mean 'gpu'\?\)"):
        session_checks.lacking(project.contract, receipts, ["gpo"])


def test_a_receipt_follows_the_settings_that_its_run_had(project: Project) -> None:
    """A receipt becomes stale when the file that its run took pytest's settings from changes."""
    settings = project.write("ci.ini", "[pytest]\n")
    write_receipt(project.contract, current(project, "unit", settings="ci.ini"))
    write_receipt(project.contract, current(project, "full"))
    assert [each.state for each in session_checks.load(project.contract, ["unit", "full"])] == ["proved", "proved"]
    settings.write_text("[pytest]\naddopts = -q\n")
    assert [each.state for each in session_checks.load(project.contract, ["unit", "full"])] == ["stale", "proved"]
