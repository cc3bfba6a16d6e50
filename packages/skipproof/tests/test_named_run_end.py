"""How a named run ends: whose verdict stands, what its receipt says, and what it is compared with."""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import sys
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from skipproof import machine
from skipproof.exits import ExitStatus
from skipproof.session_coverage import described
from support.runs import NEEDS_ALPHA, PASSES, REAL, REASON, UNIT, violations
from support.samples import write_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.project import Project


def test_leaving_early_with_status_zero_is_red(project: Project) -> None:
    """A test that ends the run with exit status 0 makes it red."""
    project.write(UNIT, "import pytest\n\ndef test_a():\n    pytest.exit('bye', returncode=0)\n")
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        (
            "tests/unit, tests/real: pytest.exit stopped the run with exit status 0, as if it had finished; "
            "remove it, or give it another returncode"
        )
    ]
    assert project.receipt("bare").finished is None


@pytest.mark.parametrize(("controller", "status"), [("Controller()", 4), ("None", 0)])
def test_pytest_cov_does_not_measure_a_named_run(project: Project, controller: str, status: int) -> None:
    """A run under pytest-cov is refused, with the command that measures it; with --no-cov, pytest-cov does nothing."""
    project.write(
        "conftest.py",
        "class Controller:\n    def pause(self): print('paused')\n\n"
        f"class Cov: cov_controller = {controller}\n\n"
        "def pytest_configure(config): config.pluginmanager.register(Cov(), '_cov')\n",
    )
    project.write(UNIT, PASSES)
    ran = project.run("--skipproof", "bare", "--skipproof-session", "unit")
    assert ran.ret == status
    step = "add --no-cov, and start it by coverage run --data-file=.matrix/coverage/.coverage.unit --context=bare -m"
    assert (step in ran.stderr.str()) == bool(status)
    assert ("paused" in ran.stdout.str()) == bool(status)


@pytest.mark.parametrize("step", ["session.exitstatus = 0", "pytest.exit('bye', returncode=0)"], ids=["set", "exit"])
def test_verdict_stands(project: Project, step: str) -> None:
    """A hook that runs last cannot turn a red run green."""
    project.write(UNIT, "import pytest\n\ndef test_a():\n    pytest.skip('later')\n")
    project.write(
        "conftest.py",
        f"import pytest\n\n@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session):\n    {step}\n",
    )
    assert project.run("--skipproof", "bare").ret != pytest.ExitCode.OK
    assert project.receipt("bare").exit_status == ExitStatus.RUN


@pytest.mark.parametrize(
    "hook",
    [
        (
            "@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport():\n    report = yield\n"
            "    report.outcome = 'passed'\n    return report\n"
        ),
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_logreport(report):\n    report.outcome = 'passed'\n",
    ],
    ids=["makereport", "logreport"],
)
def test_swapped_outcome_is_red(project: Project, hook: str) -> None:
    """A hook that reports failed and skipped tests as passed makes the run red."""
    project.write(UNIT, "import pytest\n\ndef test_a(): assert False\n\ndef test_b(): pytest.skip('later')\n")
    project.write("conftest.py", f"import pytest\n\n{hook}")
    step = "and was reported as passed; remove the hook or plugin that swaps outcomes"
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        f"{UNIT}::test_a: raised AssertionError {step}",
        f"{UNIT}::test_b: raised Skipped {step}",
    ]


def test_forged_report_is_red(project: Project) -> None:
    """A hook that reports a test as passed without running it makes the run red."""
    project.write(UNIT, "def test_a(): assert False\n")
    project.write(
        "conftest.py",
        """
        import pytest

        def pytest_runtest_protocol(item):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            report = pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "call")
            item.ihook.pytest_runtest_logreport(report=report)
            return True
        """,
    )
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        (f"{UNIT}::test_a: was reported as passed but never ran; remove the hook or plugin that reports for it")
    ]


def test_fewer_tests_than_another_session_had_is_red(project: Project) -> None:
    """A run misses each test that other sessions collected from the same sources once, and names all of them."""
    project.write(
        UNIT,
        "import os\nimport pytest\n\n@pytest.mark.parametrize('x', os.environ.get('IDS', 'a b').split())\n"
        "def test_x(x): pass\n",
    )
    project.write(REAL, NEEDS_ALPHA)
    for session, suite in (("first", "tests"), ("other", "tests/real"), ("third", "tests/unit")):
        assert project.run("--skipproof", "bare", "--skipproof-session", session, suite).ret == pytest.ExitCode.OK
    project.write(".matrix/receipts/damaged.json", "{")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDS", "a")
        result = project.run("--skipproof", "bare", "--skipproof-session", "second", "tests/unit")
        (project.root / ".matrix" / "receipts" / "third.json").unlink()
        again = project.run("--skipproof", "bare", "--skipproof-session", "first")
    assert violations(result, project, "second") == [
        (
            f"{UNIT}::test_x[b]: was collected in first and third, from the same sources, but not here; "
            "collect the same tests in every environment, and mark them with @pytest.mark.requires"
        )
    ]
    assert again.ret == pytest.ExitCode.OK, "its own last receipt is no other session's"


def test_file_whose_name_is_no_text_is_the_same_file(project: Project) -> None:
    """A test file whose name is not UTF-8 is compared by the name that a receipt can hold."""
    project.write("tests/unit/test_\udce9.py", PASSES)
    for session in ("first", "second"):
        assert project.run("--skipproof", "bare", "--skipproof-session", session).ret == pytest.ExitCode.OK


def test_receipts_of_other_sources_are_not_compared(project: Project) -> None:
    """A test that only a receipt of other sources has is not missed."""
    project.write(UNIT, f"{PASSES}\ndef test_b(): pass\n")
    project.run("--skipproof", "bare", "--skipproof-session", "first")
    project.write(UNIT, PASSES)
    assert project.run("--skipproof", "bare", "--skipproof-session", "second").ret == pytest.ExitCode.OK


def test_receipts_that_are_unfinished_are_not_compared(project: Project) -> None:
    """A test that only an unfinished receipt has is not missed."""
    project.write(UNIT, "import os, pytest\n\ndef test_a():\n    'STOP' in os.environ and pytest.exit('bye')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOP", "1")
        project.run("--skipproof", "bare", "--skipproof-session", "first")
    assert project.receipt("first").finished is None
    assert project.run("--skipproof", "bare", "--skipproof-session", "second").ret == pytest.ExitCode.OK


def test_receipt_tells_the_whole_run(project: Project) -> None:
    """The receipt has everything that the report needs."""
    project.write("locks/bare.txt", "# nothing\n")
    project.write(UNIT, "def test_a(): pass\n\ndef test_b(): assert False\n")
    project.write(REAL, NEEDS_ALPHA)
    result = project.run("--skipproof", "bare", "--skipproof-session", "unit-3.99", "tests")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    receipt = project.receipt("unit-3.99")
    assert (receipt.session, receipt.environment, receipt.capabilities) == ("unit-3.99", "bare", [])
    assert (receipt.python, receipt.platform) == (platform.python_version(), platform.platform())
    assert receipt.machine == machine.facts()
    assert receipt.lock == hashlib.sha256(b"# nothing\n").hexdigest()
    assert (receipt.suites, receipt.coverage) == (["tests/unit", "tests/real"], None)
    assert (receipt.exit_status, receipt.violations) == (1, [])
    assert receipt.finished is not None
    assert receipt.started <= receipt.finished
    outcomes = {name: (test.outcome, test.reason, test.requires) for name, test in receipt.tests.items()}
    assert outcomes == {
        f"{UNIT}::test_a": ("passed", None, []),
        f"{UNIT}::test_b": ("failed", None, []),
        f"{REAL}::test_alpha": ("skipped", REASON, ["alpha"]),
    }
    assert all(test.duration > 0 for test in receipt.tests.values())


def test_receipt_tells_what_the_project_knows_of_the_machine(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts from the project's libraries, known only once they are loaded, are in header and receipt."""
    monkeypatch.setenv("KERNELS", "unknown")
    project.write(
        "conftest.py",
        """
        import os

        def pytest_skipproof_facts():
            return {"library": "2.1", "kernels": os.environ["KERNELS"]}
        """,
    )
    project.write(UNIT, "import os\n\ndef test_a():\n    os.environ['KERNELS'] = 'AVX2'\n")
    result = project.run("--skipproof", "bare")
    result.stdout.fnmatch_lines(["skipproof: processor: *; library: 2.1; kernels: unknown"])
    assert project.receipt("bare").machine == machine.facts() | {"library": "2.1", "kernels": "AVX2"}


def test_interrupted_run_leaves_an_unfinished_receipt(project: Project) -> None:
    """An interrupted run leaves an unfinished receipt."""
    project.write(UNIT, PASSES)
    project.run("--skipproof", "bare")
    assert project.receipt("bare").finished is not None
    project.write(UNIT, "def test_a():\n    raise KeyboardInterrupt\n")
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (project.receipt("bare").finished, project.receipt("bare").violations) == (None, [])
    result.stdout.fnmatch_lines(["bare: the run did not finish and proves nothing"])
    result.stdout.no_fnmatch_line("*every canary was found*")


def test_verdict_stands_below_everything_else(project: Project) -> None:
    """The verdict comes below pytest's own summary."""
    project.write(UNIT, "import pytest\n\ndef test_a():\n    pytest.skip('later')\n")
    result = project.run("--skipproof", "bare", "-ra")
    result.stdout.fnmatch_lines(
        ["*short test summary info*", "SKIPPED*", "*1 violation in bare*", f"{UNIT}::test_a: *"]
    )


def test_failed_run_is_not_called_proved(project: Project) -> None:
    """A run with a failed test has no green verdict."""
    project.write(UNIT, "def test_a(): assert False\n")
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*every canary was found*")


def test_running_test_finds_its_receipt_unfinished(project: Project) -> None:
    """While a run goes on, its receipt is unfinished, so that of an earlier run is gone."""
    project.write(
        UNIT,
        """
        import json
        from pathlib import Path

        def test_a():
            assert json.loads(Path(".matrix/receipts/bare.json").read_text())["finished"] is None
        """,
    )
    project.run("--skipproof", "bare").assert_outcomes(passed=1)


class Running:
    """Measures a run, as far as the plugin can tell."""

    def __init__(self, data_file: str, *, relative: bool = False) -> None:
        self._options: dict[str, Any] = {
            "run:data_file": f".matrix/coverage/{data_file}",
            "run:relative_files": relative,
            "run:disable_warnings": [],
        }
        self.get_option, self.set_option = self._options.__getitem__, self._options.__setitem__
        self.last_acts: list[Callable[[], None]] = []

    def save(self) -> None:
        """Have everything saved already."""

    def measure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be what measures the runs in this test, and keep what they would do when this process ends."""
        fake = SimpleNamespace(Coverage=SimpleNamespace(current=lambda: self))
        monkeypatch.setitem(sys.modules, "coverage", fake)
        monkeypatch.setattr(atexit, "register", lambda act, *arguments: self.last_acts.append(partial(act, *arguments)))


@pytest.mark.parametrize(("file", "claimed"), [(".coverage.bare", ".matrix/coverage/.coverage.bare"), (".other", None)])
def test_coverage_data_is_claimed_and_old_data_removed(
    project: Project, monkeypatch: pytest.MonkeyPatch, file: str, claimed: str | None
) -> None:
    """A run removes old coverage data of its own session, and no other program's."""
    old = project.write(".matrix/coverage/.coverage.bare.host.pid1.Xx", "old")
    other = project.write(".matrix/coverage/.coverage.bareness.host.pid1.Xx", "other")
    running = Running(file)
    running.measure(monkeypatch)
    project.write(UNIT, PASSES)
    project.run("--skipproof", "bare")
    assert project.receipt("bare").coverage == claimed
    assert old.exists() is (claimed is None)
    assert other.exists()
    assert len(running.last_acts) == (claimed is not None)


def test_last_act_of_a_run_is_to_gather_its_coverage_data(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a run ends, its processes' coverage data is in one file with relative paths."""
    running = Running(".coverage.bare")
    running.measure(monkeypatch)
    project.write(UNIT, PASSES)
    project.run("--skipproof", "bare")
    assert project.receipt("bare").gathered is None
    write_data(project, "bare.host.pid7.Xa", file=str(project.root / UNIT))
    [gather] = running.last_acts
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: 1)
        gather()
        assert project.receipt("bare").gathered is None
    gather()
    gathered = described(project.root / ".matrix" / "coverage" / ".coverage.bare")
    assert project.receipt("bare").gathered == gathered
    assert gathered.lines == {UNIT: 4}


def test_run_that_came_to_no_end_gathers_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished run leaves its coverage data uncombined."""
    running = Running(".coverage.bare")
    running.measure(monkeypatch)
    project.write(UNIT, "def test_a():\n    raise KeyboardInterrupt\n")
    project.run("--skipproof", "bare")
    [gather] = running.last_acts
    gather()
    assert (project.receipt("bare").finished, project.receipt("bare").gathered) == (None, None)


def test_relative_files_are_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relative_files setting of coverage is refused."""
    Running(".coverage.bare", relative=True).measure(monkeypatch)
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*relative_files makes paths relative to wherever each process starts: *"])


def test_run_without_coverage_claims_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without coverage claims no coverage data."""
    monkeypatch.delitem(sys.modules, "coverage", raising=False)
    project.write(UNIT, PASSES)
    project.run("--skipproof", "bare").assert_outcomes(passed=1)
    assert project.receipt("bare").coverage is None


def test_data_that_cannot_be_removed_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage data of an earlier run that cannot be removed ends the run with a sentence."""
    Running(".coverage.bare").measure(monkeypatch)
    project.write(".matrix/coverage/.coverage.bare.1/kept", "")
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: coverage data of an earlier run cannot be removed (*): correct what is there"])
