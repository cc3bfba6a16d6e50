"""Runs in a named environment: each way to prove less than everything makes the run red, and says so."""

from __future__ import annotations

import hashlib
import platform
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.skipproof import named_run
from tests.skipproof.exits import ExitStatus

if TYPE_CHECKING:
    from .conftest import Project

REASON = "needs alpha: pip install alpha"
UNIT = "tests/unit/test_a.py"
REAL = "tests/real/test_real.py"
PASSES = "def test_a(): pass\n"
NEEDS_ALPHA = """
    import pytest


    @pytest.mark.requires("alpha")
    def test_alpha():
        import skipproof_alpha
"""


@pytest.fixture
def full(project: Project) -> Project:
    """A project whose environment "full" holds what it promises."""
    project.install_alpha()
    project.install_beta()
    return project


def violations(result: pytest.RunResult, project: Project, session: str) -> list[str]:
    """Return the violations of a red run; the summary and the receipt must list the same ones."""
    found = project.receipt(session).violations
    assert result.ret == ExitStatus.RUN
    start = next(
        number for number, line in enumerate(result.outlines) if line.startswith("====") and "skipproof:" in line
    )
    count = "1 violation" if len(found) == 1 else f"{len(found)} violations"
    assert f"skipproof: {count} in {project.receipt(session).environment}" in result.outlines[start]
    assert result.outlines[start + 1 : start + 1 + len(found)] == found
    return found


def test_everything_runs_where_it_can(full: Project) -> None:
    """Broken: a run that keeps the whole contract is red."""
    full.write(UNIT, PASSES)
    full.write(REAL, NEEDS_ALPHA)
    result = full.run("--environment", "full")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["full: 2 tests ran, 0 skipped with exactly the derived reason, none is missing; every canary was found"]
    )


def test_everything_skips_where_it_cannot(project: Project) -> None:
    """Broken: the planned skips of an environment without extras make its run red."""
    project.write(REAL, NEEDS_ALPHA)
    result = project.run("--environment", "bare", "--session", "check", "tests/real")
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["bare: 0 tests ran, 1 skipped with exactly the derived reason, none is missing; *"])


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("def test_a():\n    pytest.skip('later')", "skipped ('later')"),
        ("@pytest.mark.skip(reason='later')\ndef test_a():\n    assert True", "skipped ('later')"),
        ("@pytest.mark.skipif(True, reason='later')\ndef test_a():\n    assert True", "skipped ('later')"),
        ("@pytest.fixture\ndef x():\n    pytest.skip('later')\n\ndef test_a(x):\n    assert True", "skipped ('later')"),
        (
            "@pytest.fixture\ndef x():\n    yield\n    pytest.skip('later')\n\ndef test_a(x):\n    assert True",
            "skipped (",
        ),
        ("def test_a():\n    pytest.importorskip('skipproof_none')", "skipped (\"could not import 'skipproof_none'"),
        ("def test_a(subtests):\n    with subtests.test():\n        pytest.skip('later')", "skipped ('later')"),
        ("@pytest.mark.xfail(reason='bug 7')\ndef test_a():\n    assert False", "xfailed ('bug 7')"),
        ("@pytest.mark.xfail(reason='bug 7')\ndef test_a():\n    assert True", "xpassed ('bug 7')"),
        ("def test_a():\n    pytest.xfail('bug 7')", "xfailed ('bug 7')"),
        (
            "import unittest\n\nclass TestX(unittest.TestCase):\n    def test_a(self):\n        self.skipTest('x')",
            "skipped ('x')",
        ),
    ],
    ids=[
        "body",
        "mark",
        "condition",
        "fixture",
        "finalizer",
        "importorskip",
        "subtest",
        "xfail",
        "xpass",
        "xfail-in-body",
        "unittest",
    ],
)
def test_not_running_where_capable_is_red(full: Project, code: str, outcome: str) -> None:
    """Broken: pytest's own ways not to run a test go unseen where everything it needs is here."""
    full.write(UNIT, f"import pytest\n\n{code}\n")
    [violation] = violations(full.run("--environment", "full"), full, "full")
    assert violation.startswith(f"{UNIT}::")
    assert f"test_a: {outcome}" in violation


@pytest.mark.parametrize(
    ("code", "fact"),
    [
        ("@pytest.mark.skipif(True, reason='no alpha')\ndef test_alpha():\n    pass", "skipped with 'no alpha' where"),
        ("def test_alpha():\n    pytest.skip('no alpha')", None),
    ],
    ids=["mark", "body"],
)
def test_only_the_derived_reason_counts(project: Project, code: str, fact: str | None) -> None:
    """Broken: a test that lacks something skips for a reason of its own, which nobody can tell from a mistake."""
    project.write(REAL, f"import pytest\n\npytestmark = pytest.mark.requires('alpha')\n\n{code}\n")
    result = project.run("--environment", "bare")
    if fact is None:
        # The mark comes before the body, which is never reached.
        assert result.ret == pytest.ExitCode.OK
        assert project.receipt("bare").tests[f"{REAL}::test_alpha"].reason == REASON
        return
    [violation] = violations(result, project, "bare")
    assert violation.startswith(f"{REAL}::test_alpha: {fact} the contract derives {REASON!r}")


def test_running_where_not_capable_is_red(project: Project) -> None:
    """Broken: a test runs, and passes, in an environment that lacks what it says it needs."""
    project.write(REAL, "import pytest\n\n@pytest.mark.requires('alpha')\ndef test_alpha(): pass\n")
    project.write(
        "tests/real/conftest.py",
        "import pytest\n\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session):\n"
        "    session.items[0].own_markers.clear()\n",
    )
    result = project.run("--environment", "bare")
    [violation] = violations(result, project, "bare")
    assert violation.startswith(
        f"{REAL}::test_alpha: passed where it has to skip with {REASON!r}; correct its requires"
    )


@pytest.mark.parametrize("option", [["-k", "test_b"], ["-m", "slow"], ["--deselect", f"{UNIT}::test_a"]])
def test_deselection_is_red(project: Project, option: list[str]) -> None:
    """Broken: a run that leaves tests out by an option passes for a whole one."""
    project.write("tests/real/test_b.py", "import pytest\n\n@pytest.mark.slow\ndef test_b(): pass\n")
    project.write("conftest.py", "def pytest_configure(config):\n    config.addinivalue_line('markers', 'slow')\n")
    project.write(UNIT, PASSES)
    result = project.run("--environment", "bare", *option)
    result.assert_outcomes(passed=1, deselected=1)
    assert violations(result, project, "bare") == [
        f"{UNIT}::test_a: was deselected; leave -k, -m, --deselect and --lf to runs without --environment"
    ]
    assert project.receipt("bare").tests[f"{UNIT}::test_a"].outcome == "missing"


@pytest.mark.parametrize(
    ("name", "code", "option"),
    [
        ("test_b.py", PASSES, ["--ignore", "tests/unit/test_b.py"]),
        ("test_b.py", PASSES, ["--ignore-glob", "*/test_b.py"]),
        ("test_b.py", "VALUE = 1\n", []),
        ("deeper/b_test.py", "VALUE = 1\n", []),
    ],
)
def test_file_without_a_collected_test_is_red(project: Project, name: str, code: str, option: list[str]) -> None:
    """Broken: a test file is left out, or holds no test that pytest finds, and nobody hears of it."""
    project.write(UNIT, PASSES)
    project.write(f"tests/unit/{name}", code)
    assert violations(project.run("--environment", "bare", *option), project, "bare") == [
        (
            f"tests/unit/{name}: no test of it was collected; take --ignore or collect_ignore away, "
            "put a test into it, or remove it"
        )
    ]


def test_skip_while_collecting_is_red(full: Project) -> None:
    """Broken: importorskip at the top of a file turns its tests into one nameless skip."""
    full.write(UNIT, PASSES)
    full.write(REAL, "import pytest\n\npytest.importorskip('skipproof_none')\n\ndef test_b(): pass\n")
    [violation] = violations(full.run("--environment", "full"), full, "full")
    assert violation.startswith(
        f"{REAL}: was skipped as a whole while it was collected (\"could not import 'skipproof_none'"
    )
    assert violation.endswith("; import inside the tests and mark them with @pytest.mark.requires")


def test_collection_error_is_red_and_unfinished(project: Project) -> None:
    """Broken: a file that cannot be imported takes its tests out, or its error drowns among all that never ran."""
    project.write(UNIT, "import skipproof_none\n")
    project.write(REAL, NEEDS_ALPHA)
    result = project.run("--environment", "bare")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    complaint = f"{UNIT}: could not be collected; mend the error that pytest shows for it"
    result.stdout.fnmatch_lines([complaint])
    receipt = project.receipt("bare")
    assert receipt.finished is None
    assert receipt.violations == [complaint]


def test_empty_collection_is_red(project: Project) -> None:
    """Broken: a run without a single test proves the matrix."""
    assert violations(project.run("--environment", "bare"), project, "bare") == [
        "tests/unit, tests/real: no test was collected; a run without tests proves nothing"
    ]


def test_duplicates_are_red(project: Project) -> None:
    """Broken: two tests of one id mask each other's outcome."""
    project.write(UNIT, PASSES)
    project.write("conftest.py", "def pytest_collection_modifyitems(items):\n    items.append(items[0])\n")
    assert violations(project.run("--environment", "bare"), project, "bare") == [
        f"{UNIT}::test_a: was collected more than once; give each test a name of its own"
    ]


@pytest.mark.parametrize("option", [["-x"], ["--setup-only"], ["--collect-only"]])
def test_test_without_outcome_is_red(project: Project, option: list[str]) -> None:
    """Broken: tests that a run never reached count as proved."""
    project.write(UNIT, "def test_a(): assert False\n\ndef test_b(): pass\n")
    found = violations(project.run("--environment", "bare", *option), project, "bare")
    assert f"{UNIT}::test_b: was collected but has no outcome" in found[-1]


def test_test_that_vanishes_is_red(project: Project) -> None:
    """Broken: a hook that takes a test out without a word makes it disappear from the proof."""
    project.write(UNIT, f"{PASSES}\ndef test_b(): pass\n")
    project.write("conftest.py", "def pytest_collection_modifyitems(items):\n    del items[0]\n")
    [violation] = violations(project.run("--environment", "bare"), project, "bare")
    assert violation.startswith(f"{UNIT}::test_a: was collected but has no outcome")


def test_leaving_early_with_status_zero_is_red(project: Project) -> None:
    """Broken: a test that ends the run, and calls it a success, is believed."""
    project.write(UNIT, "import pytest\n\ndef test_a():\n    pytest.exit('bye', returncode=0)\n")
    assert violations(project.run("--environment", "bare"), project, "bare") == [
        (
            "tests/unit, tests/real: pytest.exit broke the run off, with the exit status 0 of a run that came to its "
            "end; take it away, or give it another returncode"
        )
    ]
    assert project.receipt("bare").finished is None


@pytest.mark.parametrize("step", ["session.exitstatus = 0", "pytest.exit('bye', returncode=0)"], ids=["set", "exit"])
def test_verdict_stands(project: Project, step: str) -> None:
    """Broken: a hook that comes last turns a red run green."""
    project.write(UNIT, "import pytest\n\ndef test_a():\n    pytest.skip('later')\n")
    project.write(
        "conftest.py",
        f"import pytest\n\n@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session):\n    {step}\n",
    )
    assert project.run("--environment", "bare").ret != pytest.ExitCode.OK
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
    """Broken: a hook that calls failed and skipped tests passed is believed."""
    project.write(UNIT, "import pytest\n\ndef test_a(): assert False\n\ndef test_b(): pytest.skip('later')\n")
    project.write("conftest.py", f"import pytest\n\n{hook}")
    step = "and was reported as passed; take away the hook or plugin that swaps outcomes"
    assert violations(project.run("--environment", "bare"), project, "bare") == [
        f"{UNIT}::test_a: raised AssertionError {step}",
        f"{UNIT}::test_b: raised Skipped {step}",
    ]


def test_fewer_tests_than_another_session_had_is_red(project: Project) -> None:
    """Broken: ids that vanish when a library is missing are missed only when all sessions are merged, or not at all."""
    project.write(
        UNIT,
        "import os\nimport pytest\n\n@pytest.mark.parametrize('x', os.environ.get('IDS', 'a b').split())\n"
        "def test_x(x): pass\n",
    )
    project.write(REAL, NEEDS_ALPHA)
    for session, suite in (("first", "tests"), ("other", "tests/real")):
        assert project.run("--environment", "bare", "--session", session, suite).ret == pytest.ExitCode.OK
    project.write(".matrix/receipts/damaged.json", "{")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDS", "a")
        result = project.run("--environment", "bare", "--session", "second", "tests/unit")
        again = project.run("--environment", "bare", "--session", "first")
    assert violations(result, project, "second") == [
        (
            f"{UNIT}::test_x[b]: was collected in first, from the same sources, and not here; "
            "collect the same tests in every environment, and mark them with requires"
        )
    ]
    assert again.ret == pytest.ExitCode.OK, "its own last receipt is no other session's"


def test_receipts_of_other_sources_are_not_compared(project: Project) -> None:
    """Broken: a test that was removed is missed for ever, because an old receipt has it."""
    project.write(UNIT, f"{PASSES}\ndef test_b(): pass\n")
    project.run("--environment", "bare", "--session", "first")
    project.write(UNIT, PASSES)
    assert project.run("--environment", "bare", "--session", "second").ret == pytest.ExitCode.OK


def test_receipts_that_are_unfinished_are_not_compared(project: Project) -> None:
    """Broken: a run that came to no end says what the others must have."""
    project.write(UNIT, "import os, pytest\n\ndef test_a():\n    'STOP' in os.environ and pytest.exit('bye')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOP", "1")
        project.run("--environment", "bare", "--session", "first")
    assert project.receipt("first").finished is None
    assert project.run("--environment", "bare", "--session", "second").ret == pytest.ExitCode.OK


def test_changed_sources_are_red(project: Project) -> None:
    """Broken: a run whose sources were edited meanwhile proves something that no longer exists."""
    project.write(UNIT, "from pathlib import Path\n\ndef test_a():\n    Path('tests/new.py').touch()\n")
    assert violations(project.run("--environment", "bare"), project, "bare") == [
        "tests, pyproject.toml, setup.py: were changed while the run went on; run it again"
    ]


@pytest.mark.parametrize(
    ("alpha", "environment", "fact"),
    [
        ("", "bare", "contaminated: bare does not promise alpha, but module skipproof_alpha is here; make it exactly"),
        (
            "raise OSError('libcudart')",
            "full",
            "full promises alpha, but module skipproof_alpha is installed but broken (",
        ),
        (None, "full", "full promises alpha, but module skipproof_alpha is missing; make it exactly its lock again"),
        ("", "big", "big promises gpu, but hardware cuda is missing"),
    ],
)
def test_wrong_environment_stops_before_the_first_test(
    project: Project, alpha: str | None, environment: str, fact: str
) -> None:
    """Broken: tests run in an environment that is not what its name says."""
    if alpha is not None:
        project.install_alpha(alpha)
    project.install_beta()
    project.write(UNIT, PASSES)
    result = project.run("--environment", environment)
    assert result.ret == ExitStatus.PREFLIGHT
    assert fact in result.stderr.str()
    result.stdout.no_fnmatch_line("*collected*")
    assert project.receipt(environment).finished is None


def test_blind_detector_stops_before_the_first_test(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a canary that was not found is not heard."""
    monkeypatch.setattr(named_run, "blind_spots", lambda _session: ["canary: a skip was not seen"])
    result = project.run("--environment", "bare")
    assert result.ret == ExitStatus.CANARY
    result.stderr.fnmatch_lines(["Exit: canary: a skip was not seen"])


def test_receipt_tells_the_whole_run(project: Project) -> None:
    """Broken: the receipt loses what the report needs to trust it."""
    project.write("locks/bare.txt", "# nothing\n")
    project.write(UNIT, "def test_a(): pass\n\ndef test_b(): assert False\n")
    project.write(REAL, NEEDS_ALPHA)
    result = project.run("--environment", "bare", "--session", "unit-3.99", "tests")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    receipt = project.receipt("unit-3.99")
    assert (receipt.session, receipt.environment, receipt.capabilities) == ("unit-3.99", "bare", [])
    assert (receipt.python, receipt.platform) == (platform.python_version(), platform.platform())
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


def test_interrupted_run_leaves_an_unfinished_receipt(project: Project) -> None:
    """Broken: a run that was broken off looks like one that came to its end."""
    project.write(UNIT, PASSES)
    project.run("--environment", "bare")
    assert project.receipt("bare").finished is not None
    project.write(UNIT, "def test_a():\n    raise KeyboardInterrupt\n")
    result = project.run("--environment", "bare")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (project.receipt("bare").finished, project.receipt("bare").violations) == (None, [])
    result.stdout.fnmatch_lines(["bare: the run did not come to its end and proves nothing"])
    result.stdout.no_fnmatch_line("*every canary was found*")


def test_verdict_stands_below_everything_else(project: Project) -> None:
    """Broken: the one line that matters stands above a page of pytest's own summary."""
    project.write(UNIT, "import pytest\n\ndef test_a():\n    pytest.skip('later')\n")
    result = project.run("--environment", "bare", "-ra")
    result.stdout.fnmatch_lines(
        ["*short test summary info*", "SKIPPED*", "*1 violation in bare*", f"{UNIT}::test_a: *"]
    )


def test_failed_run_is_not_called_proved(project: Project) -> None:
    """Broken: a run with a failed test ends with a green line that says that everything ran."""
    project.write(UNIT, "def test_a(): assert False\n")
    result = project.run("--environment", "bare")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*every canary was found*")


def test_running_test_finds_its_receipt_unfinished(project: Project) -> None:
    """Broken: a run that dies without a word leaves the finished receipt of the run before it."""
    project.write(
        UNIT,
        """
        import json
        from pathlib import Path

        def test_a():
            assert json.loads(Path(".matrix/receipts/bare.json").read_text())["finished"] is None
        """,
    )
    project.run("--environment", "bare").assert_outcomes(passed=1)


@pytest.mark.parametrize(("file", "claimed"), [(".coverage.bare", ".matrix/coverage/.coverage.bare"), (".other", None)])
def test_coverage_data_is_claimed_and_old_data_removed(
    project: Project, monkeypatch: pytest.MonkeyPatch, file: str, claimed: str | None
) -> None:
    """Broken: data of an earlier run is merged with this one's, or another program's data is removed."""
    old = project.write(".matrix/coverage/.coverage.bare.host.pid1.Xx", "old")
    other = project.write(".matrix/coverage/.coverage.bareness.host.pid1.Xx", "other")
    running = SimpleNamespace(get_option=lambda _name: f".matrix/coverage/{file}")
    fake = SimpleNamespace(Coverage=SimpleNamespace(current=lambda: running))
    monkeypatch.setitem(sys.modules, "coverage", fake)
    project.write(UNIT, PASSES)
    project.run("--environment", "bare")
    assert project.receipt("bare").coverage == claimed
    assert old.exists() is (claimed is None)
    assert other.exists()


def test_run_without_coverage_claims_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the plugin needs coverage to be installed."""
    monkeypatch.delitem(sys.modules, "coverage", raising=False)
    project.write(UNIT, PASSES)
    project.run("--environment", "bare").assert_outcomes(passed=1)
    assert project.receipt("bare").coverage is None
