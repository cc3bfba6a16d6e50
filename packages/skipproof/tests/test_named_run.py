"""Runs in a named environment: every way to prove less than everything makes the run red, with a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import named_run
from skipproof.exits import ExitStatus
from support.runs import NEEDS_ALPHA, PASSES, REAL, REASON, UNIT, violations

if TYPE_CHECKING:
    from support.project import Project


@pytest.fixture
def full(project: Project) -> Project:
    """A project whose environment "full" has what it promises."""
    project.install_alpha()
    project.install_beta()
    return project


def test_everything_runs_where_it_can(full: Project) -> None:
    """A run that keeps the whole contract is green."""
    full.write(UNIT, PASSES)
    full.write(REAL, NEEDS_ALPHA)
    result = full.run("--skipproof", "full")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["full: 2 tests ran, 0 skipped with exactly the derived reason, none is missing; every canary was found"]
    )


def test_everything_skips_where_it_cannot(project: Project) -> None:
    """In an environment without extras, the planned skips are green."""
    project.write(REAL, NEEDS_ALPHA)
    result = project.run("--skipproof", "bare", "--skipproof-session", "check", "tests/real")
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
    """Every way in pytest not to run a test is a violation where its needs are met."""
    full.write(UNIT, f"import pytest\n\n{code}\n")
    [violation] = violations(full.run("--skipproof", "full"), full, "full")
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
    """A skip for any other reason than the derived one is a violation."""
    project.write(REAL, f"import pytest\n\npytestmark = pytest.mark.requires('alpha')\n\n{code}\n")
    result = project.run("--skipproof", "bare")
    if fact is None:
        # The mark comes before the body, which is never reached.
        assert result.ret == pytest.ExitCode.OK
        assert project.receipt("bare").tests[f"{REAL}::test_alpha"].reason == REASON
        return
    [violation] = violations(result, project, "bare")
    assert violation.startswith(f"{REAL}::test_alpha: {fact} the contract derives {REASON!r}")


def test_running_where_not_capable_is_red(project: Project) -> None:
    """A test that runs where its needs are not met is a violation."""
    project.write(REAL, "import pytest\n\n@pytest.mark.requires('alpha')\ndef test_alpha(): pass\n")
    project.write(
        "tests/real/conftest.py",
        "import pytest\n\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session):\n"
        "    session.items[0].own_markers.clear()\n",
    )
    result = project.run("--skipproof", "bare")
    [violation] = violations(result, project, "bare")
    assert violation.startswith(
        f"{REAL}::test_alpha: passed where it has to skip with {REASON!r}; correct its @pytest.mark.requires"
    )


@pytest.mark.parametrize("option", [["-k", "test_b"], ["-m", "slow"], ["--deselect", f"{UNIT}::test_a"]])
def test_deselection_is_red(project: Project, option: list[str]) -> None:
    """Every deselected test is a violation."""
    project.write("tests/real/test_b.py", "import pytest\n\n@pytest.mark.slow\ndef test_b(): pass\n")
    project.write("conftest.py", "def pytest_configure(config):\n    config.addinivalue_line('markers', 'slow')\n")
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", "bare", *option)
    result.assert_outcomes(passed=1, deselected=1)
    [violation] = violations(result, project, "bare")
    assert violation.startswith(f"{UNIT}::test_a: was deselected; leave -k, -m, --deselect and --lf to runs without")
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
    """A test file from which nothing is collected is a violation."""
    project.write(UNIT, PASSES)
    project.write(f"tests/unit/{name}", code)
    assert violations(project.run("--skipproof", "bare", *option), project, "bare") == [
        (
            f"tests/unit/{name}: no test of it was collected; correct --ignore, collect_ignore or norecursedirs, "
            "add a test to it, or delete it"
        )
    ]


def test_skip_while_collecting_is_red(full: Project) -> None:
    """A file that skips during collection is a violation."""
    full.write(UNIT, PASSES)
    full.write(REAL, "import pytest\n\npytest.importorskip('skipproof_none')\n\ndef test_b(): pass\n")
    [violation] = violations(full.run("--skipproof", "full"), full, "full")
    assert violation.startswith(
        f"{REAL}: was skipped as a whole during collection (\"could not import 'skipproof_none'"
    )
    assert violation.endswith("; import inside the tests and mark them with @pytest.mark.requires")


def test_collection_error_is_red_and_unfinished(project: Project) -> None:
    """A file that cannot be imported is the only violation, and the run is unfinished."""
    project.write(UNIT, "import skipproof_none\n")
    project.write(REAL, NEEDS_ALPHA)
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    complaint = f"{UNIT}: could not be collected; fix the error that pytest shows"
    result.stdout.fnmatch_lines([complaint])
    receipt = project.receipt("bare")
    assert receipt.finished is None
    assert receipt.violations == [complaint]


def test_collection_error_that_is_passed_over_is_red(project: Project) -> None:
    """A file that cannot be imported is a violation under --continue-on-collection-errors too."""
    project.write(UNIT, PASSES)
    project.write("tests/unit/test_b.py", "def test_b(:\n")
    assert violations(project.run("--skipproof", "bare", "--continue-on-collection-errors"), project, "bare") == [
        "tests/unit/test_b.py: could not be collected; fix the error that pytest shows"
    ]


def test_empty_collection_is_red(project: Project) -> None:
    """A run without a test is a violation."""
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        "tests/unit, tests/real: no test was collected; a run without tests proves nothing"
    ]


def test_duplicates_are_red(project: Project) -> None:
    """Two tests with one id are a violation."""
    project.write(UNIT, PASSES)
    project.write("conftest.py", "def pytest_collection_modifyitems(items):\n    items.append(items[0])\n")
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        f"{UNIT}::test_a: was collected more than once; give each test a name of its own"
    ]


@pytest.mark.parametrize("option", [["-x"], ["--setup-only"], ["--collect-only"]])
def test_test_without_outcome_is_red(project: Project, option: list[str]) -> None:
    """A test that the run never reached is a violation."""
    project.write(UNIT, "def test_a(): assert False\n\ndef test_b(): pass\n")
    found = violations(project.run("--skipproof", "bare", *option), project, "bare")
    assert f"{UNIT}::test_b: was collected but has no outcome" in found[-1]


def test_test_that_vanishes_is_red(project: Project) -> None:
    """A test that a hook removes is a violation."""
    project.write(UNIT, f"{PASSES}\ndef test_b(): pass\n")
    project.write("conftest.py", "def pytest_collection_modifyitems(items):\n    del items[0]\n")
    [violation] = violations(project.run("--skipproof", "bare"), project, "bare")
    assert violation.startswith(f"{UNIT}::test_a: was collected but has no outcome")


@pytest.mark.parametrize(
    ("alpha", "environment", "fact"),
    [
        ("", "bare", "contaminated: bare does not promise alpha, but module skipproof_alpha is here; sync it with"),
        (
            "raise OSError('libcudart')",
            "full",
            "full promises alpha, but module skipproof_alpha is installed but broken (",
        ),
        (None, "full", "full promises alpha, but module skipproof_alpha is missing; sync it with its lock"),
        ("", "big", "big promises gpu, but hardware cuda is missing"),
    ],
)
def test_wrong_environment_stops_before_the_first_test(
    project: Project, alpha: str | None, environment: str, fact: str
) -> None:
    """An environment that does not match its name stops the run before the first test."""
    if alpha is not None:
        project.install_alpha(alpha)
    project.install_beta()
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", environment)
    assert result.ret == ExitStatus.PREFLIGHT
    assert fact in result.stderr.str()
    result.stdout.no_fnmatch_line("*collected*")
    assert project.receipt(environment).finished is None


def test_blind_detector_stops_before_the_first_test(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary that was not found stops the run before the first test."""
    monkeypatch.setattr(named_run, "blind_spots", lambda _session: ["canary: a skip was not seen"])
    result = project.run("--skipproof", "bare")
    assert result.ret == ExitStatus.CANARY
    result.stderr.fnmatch_lines(["Exit: canary: a skip was not seen"])
