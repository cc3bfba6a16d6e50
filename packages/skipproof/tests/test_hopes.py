"""Promises with "?": kept where the machine has what they name, and reported as unproven elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipproof import session_checks
from skipproof.contract import Capability, ContractError
from skipproof.detection import disagreements, leftover_parts, missing_parts, settled
from skipproof.exits import ExitStatus
from skipproof.session_checks import Session
from skipproof.table import read_contract
from support.project import PYPROJECT, Project
from support.runs import REAL, violations
from support.samples import PASSED, current, result

SERVER = 'server = { variable = "SKIPPROOF_SERVER", install = "SKIPPROOF_SERVER=<address>" }\n'
DATA = 'data = { paths = ["~/nothing/*", "~/data/*.db"], install = "fetch data" }\n'
TABLE = PYPROJECT.replace("gpu = {", f"{SERVER}{DATA}gpu = {{").replace("bare = []", 'bare = ["server?", "data?"]')
NEEDS_SERVER = "import pytest\n\n@pytest.mark.requires('server')\ndef test_r(): pass\n"
R = f"{REAL}::test_r"


@pytest.fixture
def hoping(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose bare environment promises a server and data with "?", on a machine that has neither."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("SKIPPROOF_SERVER", raising=False)
    project.write("pyproject.toml", TABLE)
    project.write(REAL, NEEDS_SERVER)
    return project


def test_one_of_the_paths_is_enough(hoping: Project) -> None:
    """A capability has its paths if at least one of them matches."""
    data = hoping.contract.capabilities["data"]
    assert missing_parts(data) == ["path ~/nothing/* or ~/data/*.db"]
    (Path.home() / "data").mkdir()
    assert missing_parts(data) == ["path ~/nothing/* or ~/data/*.db"]
    (Path.home() / "data" / "one.db").touch()
    assert missing_parts(data) == []
    assert leftover_parts(data) == []


def test_variable_has_to_hold_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable counts as set only if it is not empty."""
    server = Capability("server", "x", variable="SKIPPROOF_SERVER")
    for value, missing in (("", ["variable SKIPPROOF_SERVER"]), ("http://x", [])):
        monkeypatch.setenv("SKIPPROOF_SERVER", value)
        assert missing_parts(server) == missing
    assert leftover_parts(server) == []
    assert server.depends_on_machine


def test_hope_is_kept_where_the_machine_keeps_it(hoping: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment has what it promises with "?" exactly where the machine has it."""
    assert hoping.contract.promised("bare") == ()
    assert settled(hoping.contract, "bare").promised("bare") == ()
    assert disagreements(settled(hoping.contract, "bare"), "bare") == []
    monkeypatch.setenv("SKIPPROOF_SERVER", "http://x")
    assert settled(hoping.contract, "bare").promised("bare") == ("server",)
    assert settled(hoping.contract, "bare").promised("full") == ("alpha", "beta")
    assert disagreements(settled(hoping.contract, "bare"), "bare") == []


def test_test_skips_where_its_hope_fails(hoping: Project) -> None:
    """Without the server, its tests skip with the derived reason and the run is green."""
    ran = hoping.run("--skipproof", "bare", "tests/real")
    ran.assert_outcomes(skipped=1)
    assert ran.ret == pytest.ExitCode.OK
    receipt = hoping.receipt("bare")
    assert receipt.capabilities == []
    assert receipt.tests[R].reason == "needs server: SKIPPROOF_SERVER=<address>"


def test_test_runs_where_its_hope_holds(hoping: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server, its tests run, and the receipt says that the environment had it."""
    monkeypatch.setenv("SKIPPROOF_SERVER", "http://x")
    hoping.run("--skipproof", "bare", "tests/real").assert_outcomes(passed=1)
    assert hoping.receipt("bare").capabilities == ["server"]


def test_skip_where_the_hope_holds_is_red(hoping: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip is a violation where the machine has what the test needs, even if promised with "?"."""
    monkeypatch.setenv("SKIPPROOF_SERVER", "http://x")
    hoping.write(REAL, NEEDS_SERVER.replace("pass", "pytest.skip('later')"))
    [violation] = violations(hoping.run("--skipproof", "bare", "tests/real"), hoping, "bare")
    assert violation.startswith(f"{R}: skipped ('later') although the environment has all it needs")


def test_promise_is_no_hope(hoping: Project) -> None:
    """What is promised without "?" may not be missing."""
    hoping.write("pyproject.toml", TABLE.replace('"server?"', '"server"'))
    ran = hoping.run("--skipproof", "bare", "tests/real")
    assert ran.ret == ExitStatus.PREFLIGHT
    fact = "bare promises server, but variable SKIPPROOF_SERVER is missing; what it takes: SKIPPROOF_SERVER=<address>"
    assert fact in ran.stderr.str()


@pytest.mark.parametrize("had", [[], ["server"], ["data", "server"]], ids=str)
def test_receipt_may_have_what_is_hoped_for(hoping: Project, had: list[str]) -> None:
    """A receipt is not stale because machines differ in what is promised with "?"."""
    assert session_checks._staleness(hoping.contract, current(hoping, "unit", capabilities=had), {}) == []  # noqa: SLF001


def test_receipt_may_not_have_what_nobody_promised(hoping: Project) -> None:
    """A receipt with a capability that its environment no longer promises is stale."""
    had = current(hoping, "unit", capabilities=["server", "gpu"])
    *_, problem = session_checks._staleness(hoping.contract, had, {})  # noqa: SLF001
    assert problem.startswith("ran when bare had server, gpu, but the table now promises nothing")


def test_hope_that_failed_everywhere_is_unproven(hoping: Project) -> None:
    """A test that no machine could run is unproven; one that a machine could run has to run somewhere."""
    tests = {"tests/unit/test_a.py::test_a": PASSED, R: result("skipped", "server")}
    receipts = [current(hoping, "unit", tests=tests), current(hoping, "all", "full", tests=tests)]
    sessions = [Session(each.session, "proved", each) for each in receipts]
    assert session_checks.refusals(hoping.contract, sessions) == []
    assert session_checks.absent_from_machines(hoping.contract, receipts) == {"server", "data", "gpu"}
    assert session_checks.lacking(hoping.contract, receipts, ["server"]) == [
        "server is required, but no session had it: run one that has it, on SKIPPROOF_SERVER=<address>"
    ]
    receipts[0].capabilities = ["server"]
    [problem] = session_checks.refusals(hoping.contract, sessions)
    assert problem.startswith(f"1 test ran in no session ({R})")


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ('"data?"]', '"dota?"]', "environments] bare: no capability is called 'dota' (did you mean 'data'?)"),
        ('"data?"]', '"data?", "data"]', "environments] bare names 'data' with '?' and without: keep one"),
        ('"data?"]', '"alpha?"]', "environments] bare promises 'alpha?', which an installation gives: remove the '?'"),
        (
            '"~/nothing/*"',
            '"~nobody-here/*"',
            "data paths is '~nobody-here/*': begin it with '~/', or write an absolute",
        ),
        ('"~/nothing/*"', '"nothing/*"', "data paths is 'nothing/*': begin it with '~/', or write an absolute path"),
        ('variable = "SKIPPROOF_SERVER"', "variable = 7", "server variable is 7: write a string"),
        ('variable = "SKIPPROOF_SERVER"', "paths = []", "server has nothing to look for: add 'modules', "),
        (', "data?"]', "]", "capabilities] data is promised by no environment"),
    ],
)
def test_wrong_hope_is_named(hoping: Project, old: str, new: str, fact: str) -> None:
    """A "?" on what an installation provides, or next to the same promise without it, is refused."""
    assert old in TABLE
    hoping.write("pyproject.toml", TABLE.replace(old, new))
    with pytest.raises(ContractError) as caught:
        read_contract(hoping.root)
    assert fact in str(caught.value)
