"""Known failures: listed with their reason, they must fail, and prove nothing by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import junit, markdown, session_checks, terminal
from skipproof.assembly import Asked, collect
from skipproof.contract import ContractError, KnownFailure
from skipproof.receipts import write_receipt
from skipproof.session_checks import Session
from skipproof.summary import verdict
from support.project import PYPROJECT
from support.readme import block
from support.runs import REAL, UNIT, violations
from support.samples import PASSED, current, result

if TYPE_CHECKING:
    from support.project import Project

A, R = f"{UNIT}::test_a", f"{REAL}::test_r"
KNOWN = 'reason = "no lists yet", issue = "https://example.org/7"'
TEXT = "no lists yet (https://example.org/7)"


def listing(project: Project, *lines: str) -> None:
    """Write the project's table with these known failures, and one test that passes."""
    head, tail = PYPROJECT.split("[tool.skipproof.environments]")
    listed = "\n".join(("[tool.skipproof.known_failures]", *lines))
    project.write("pyproject.toml", f"{head}{listed}\n\n[tool.skipproof.environments]{tail}")
    project.write(REAL, "def test_r(): pass\n")


def breach(project: Project, code: str) -> str:
    """Run a test file, which has to break the contract once; return how."""
    project.write(UNIT, f"import pytest\n\n{code}\n")
    [violation] = violations(project.run("--skipproof", "bare"), project, "bare")
    return violation


@pytest.mark.parametrize(
    "code",
    [
        "def test_a(): assert [] == 1",
        "@pytest.mark.xfail\ndef test_a(): assert [] == 1",
        "@pytest.mark.xfail(run=False, reason='mine', strict=False)\ndef test_a(): assert [] == 1",
        "def test_a():\n    pytest.xfail('not yet')\n    assert [] == 1",
        "@pytest.fixture\ndef x(): pytest.xfail('not yet')\n\ndef test_a(x): assert [] == 1",
        "import unittest\n\nclass Test(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 2)",
        "import unittest\n\nclass Test(unittest.TestCase):\n    @unittest.expectedFailure\n    def test_a(self): 1 / 0",
        "def test_a(subtests):\n    with subtests.test('x'): assert 0\n    assert 0",
    ],
)
def test_a_known_failure_that_fails_keeps_the_contract(project: Project, code: str) -> None:
    """A listed test that fails is counted: its file needs no mark, but may have one, or call pytest.xfail."""
    name = f"{UNIT}::Test::test_a" if "unittest" in code else A
    listing(project, f'"{name}" = {{ {KNOWN} }}')
    project.write(UNIT, f"import pytest\n\n{code}\n")
    ran = project.run("--skipproof", "bare")
    assert ran.ret == pytest.ExitCode.OK, ran.stdout.str()
    ran.assert_outcomes(passed=1, xfailed=1)
    assert "bare: 1 test ran, 0 skipped with exactly the derived reason, 1 failed as listed, none is missing" in (
        ran.stdout.str()
    )
    test = project.receipt("bare").tests[name]
    assert (test.outcome, test.known_failure) == ("xfailed", TEXT)
    assert test.reason == ("" if "expectedFailure" in code else f"known failure: {TEXT}")
    project.run(UNIT).assert_outcomes(xfailed=1)


@pytest.mark.parametrize(
    "code",
    [
        "def test_a(): pass",
        "@pytest.mark.xfail(strict=False)\ndef test_a(): pass",
        "import unittest\n\nclass Test(unittest.TestCase):\n    @unittest.expectedFailure\n    def test_a(self): pass",
    ],
)
def test_a_known_failure_that_passes_is_red(project: Project, code: str) -> None:
    """A listed test that passes has to leave the list, whatever its own mark would let pass."""
    name = f"{UNIT}::Test::test_a" if "unittest" in code else A
    listing(project, f'"{name}" = {{ {KNOWN} }}')
    assert breach(project, code) == (
        f"{name}: passed although it is listed as a known failure, {TEXT}; remove it from known_failures"
    )
    if "unittest" not in code:  # without an environment, unittest's own mark decides
        assert project.run(UNIT).ret == pytest.ExitCode.TESTS_FAILED


def test_a_known_failure_whose_mark_is_removed_is_red(project: Project) -> None:
    """A hook that removes the mark cannot let a listed test pass."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    code = "@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session): session.items[0].own_markers.clear()"
    project.write("conftest.py", f"import pytest\n\n{code}\n")
    assert breach(project, "def test_a(): pass").startswith(f"{A}: passed although it is listed as a known failure")


@pytest.mark.parametrize(
    ("code", "fact"),
    [
        ("@pytest.fixture\ndef x(): 1 / 0\n\ndef test_a(x): assert 0", "failed before its body ran, although it is"),
        (
            "@pytest.fixture\ndef x():\n    yield\n    1 / 0\n\ndef test_a(x): assert 0",
            "failed in its teardown, although",
        ),
        ("from pytest import xfail\n\ndef test_a(): xfail('no')", "did not fail by itself, although it is listed as a"),
        (
            "def test_a(subtests):\n    with subtests.test('x'): assert 0",
            "failed in subtests only, although it is listed",
        ),
        ("def test_a(): pytest.skip('no')", "skipped ('no') although the environment has all it needs; make it run"),
    ],
)
def test_a_known_failure_has_to_fail_in_its_body(project: Project, code: str, fact: str) -> None:
    """A fixture that fails, a skip, or an xfail that stops the body, says nothing about the known failure."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    assert breach(project, code).startswith(f"{A}: {fact}")


def test_a_hook_that_swallows_a_known_failure_is_named(project: Project) -> None:
    """A listed test that fails, and that a hook reports as passed, is not said to pass."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    project.write(
        "conftest.py",
        "import pytest\n\n@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_runtest_makereport():\n"
        "    report = yield\n"
        "    report.outcome = 'passed'\n    vars(report).pop('wasxfail', None)\n    return report\n",
    )
    assert breach(project, "def test_a(): assert False").startswith(f"{A}: raised AssertionError and was reported as")


def test_a_known_failure_without_its_mark_is_a_failure(project: Project) -> None:
    """A listed test whose mark a hook removed, and that fails, is red like any other."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    code = "@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session): session.items[0].own_markers.clear()"
    project.write("conftest.py", f"import pytest\n\n{code}\n")
    project.write(UNIT, "def test_a(): assert False\n")
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.TESTS_FAILED
    assert project.receipt("bare").violations == []


@pytest.mark.parametrize(
    ("raises", "body", "fact"),
    [
        ('"ZeroDivisionError"', "1 / 0", None),
        ('"ArithmeticError"', "1 / 0", None),
        ('"builtins.ZeroDivisionError"', "1 / 0", None),
        ('["KeyError", "LookupError"]', "{}[1]", None),
        (
            '"AssertionError"',
            "1 / 0",
            "raised ZeroDivisionError, where AssertionError is listed; fix it",
        ),
        (
            '["a.KeyError", "ValueError"]',
            "1 / 0",
            "raised ZeroDivisionError, where a.KeyError or ValueError is",
        ),
    ],
)
def test_another_failure_than_the_known_one_is_red(project: Project, raises: str, body: str, fact: str | None) -> None:
    """With ``raises``, a listed test has to fail with one of those exceptions, or a subclass."""
    listing(project, f'"{A}" = {{ {KNOWN}, raises = {raises} }}')
    if fact is not None:
        assert breach(project, f"def test_a(): {body}").startswith(f"{A}: {fact}")
    else:
        project.write(UNIT, f"def test_a(): {body}\n")
        assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK


def test_an_xfail_that_is_not_listed_is_red_and_says_how_to_list_it(project: Project) -> None:
    """An xfail outside the list stays a violation."""
    listing(project, f'"{R}" = {{ {KNOWN} }}')
    project.write(REAL, "def test_r(): assert 0\n")
    assert breach(project, "@pytest.mark.xfail(reason='bug 7')\ndef test_a(): assert 0") == (
        f"{A}: xfailed ('bug 7') where it has to pass; fix it and remove the xfail, or list it in known_failures"
    )


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("test_a.py::test_a", "test_a.py::test_a", True),
        ("test_a.py::test_a", "test_a.py::test_a[x]", False),
        ("test_a.py::test_a[*]", "test_a.py::test_a[x]", True),
        ("test_a.py::test_a[*-wo]", "test_a.py::test_a[a\nb-wo]", True),
        ("test_a.py::test_a[*-wo]", "test_a.py::test_a[ab-with]", False),
        ("test_a.py::test_a[x?]", "test_a.py::test_a[xy]", False),
        ("test_a.py::*", "test_a.py::Test::test_b", True),
    ],
)
def test_a_listing_names_tests_by_id(pattern: str, name: str, *, fits: bool) -> None:
    """Only "*" stands for anything: the brackets of parameters are part of an id."""
    assert KnownFailure(pattern, "x", "y").names(name) == fits


@pytest.mark.parametrize("name", [f"{UNIT}::test_gone", "tests/more/test_b.py::test_b"])
def test_a_listing_without_a_test_is_red(project: Project, name: str) -> None:
    """A listing that names no test, or one outside every suite, has to be corrected."""
    listing(project, f'"{name}" = {{ {KNOWN} }}')
    assert breach(project, "def test_a(): pass") == (
        f"{name}: is listed in known_failures, but names no test; correct it, or remove it"
    )


def test_a_listing_in_a_file_that_is_broken_is_no_second_fault(project: Project) -> None:
    """A listing says nothing about a file that could not be collected."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    project.write(UNIT, "import skipproof_none\n")
    project.run("--skipproof", "bare", "--continue-on-collection-errors")
    assert [violation.partition(":")[0] for violation in project.receipt("bare").violations] == [UNIT]


def test_a_listing_in_a_file_of_another_python_is_left_to_it(project: Project) -> None:
    """A run says nothing about a listing in a file that its Python cannot read."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    project.write(UNIT, "def test_a(: assert 0\n")
    project.write("conftest.py", f"collect_ignore = [{UNIT!r}]\n")
    ran = project.run("--skipproof", "bare")
    assert (ran.ret, project.receipt("bare").unread) == (pytest.ExitCode.OK, [UNIT])


def test_a_listing_of_another_suite_is_left_to_its_run(project: Project) -> None:
    """A run of one suite says nothing about the listings of the others."""
    listing(project, f'"{UNIT}::test_gone" = {{ {KNOWN} }}')
    assert project.run("--skipproof", "bare", "tests/real").ret == pytest.ExitCode.OK


def test_a_failure_may_be_known_under_a_condition_only(project: Project) -> None:
    """Where one of the capabilities in ``where`` is missing, a listed test has to pass."""
    listing(project, f'"{A}" = {{ {KNOWN}, where = "alpha" }}')
    project.write(UNIT, "def test_a(): import skipproof_beta\n")
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.TESTS_FAILED
    project.write(UNIT, "def test_a(): assert False\n")
    project.install_alpha()
    project.install_beta()
    assert project.run("--skipproof", "full").ret == pytest.ExitCode.OK


def test_a_known_failure_that_lacks_what_it_needs_skips(project: Project) -> None:
    """A listed test skips with the derived reason where the environment lacks what it needs."""
    listing(project, f'"{A}" = {{ {KNOWN} }}')
    project.write(UNIT, "import pytest\n\n@pytest.mark.requires('alpha')\ndef test_a(): assert 0\n")
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK
    assert project.receipt("bare").tests[A].reason == "needs alpha: pip install alpha"


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        (f'"{A}" = {{ reason = "x" }}', f"{A} has no 'issue': a failure is known if somebody can read why"),
        (f'"{A}" = {{ issue = "x" }}', f"{A} has no 'reason': a failure is known if"),
        (f'"{A}" = {{ reason = "", issue = "x" }}', f"{A} reason is '': write a string that is not empty"),
        (f'"{A}" = "x"', f"{A} is 'x': write a table with 'reason' and 'issue'"),
        (f'"{A}" = {{ {KNOWN}, raise = "x" }}', f"{A}: no key is called 'raise' (did you mean 'raises'?)"),
        (f'"{A}" = {{ {KNOWN}, where = "gup" }}', f"{A} where: no capability is called 'gup' (did you mean 'gpu'?)"),
        (f'"{UNIT}" = {{ {KNOWN} }}', f"{UNIT} is not the id of a test: write FILE::TEST, where * stands"),
        (f'"tests/*::test_a" = {{ {KNOWN} }}', "tests/*::test_a is not the id of a test: write FILE::TEST, where"),
        ("", "known_failures] is {}: write a table with at least one entry, or none"),
    ],
)
def test_a_wrong_listing_is_named(project: Project, line: str, fact: str) -> None:
    """A listing without a reason, an issue or an id is refused."""
    listing(project, line)
    with pytest.raises(ContractError) as caught:
        _ = project.contract
    assert f"pyproject.toml: [tool.skipproof.known_failures{']' if 'known_failures]' not in fact else ''}" in str(
        caught.value
    )
    assert fact in str(caught.value)


def test_the_listings_of_the_readme_are_read(project: Project) -> None:
    """The README's known failures are valid."""
    listing(project, block("known_failures").replace("pypy", "gpu"))
    assert [known.tests.partition("::")[0] for known in project.contract.known_failures] == [
        "tests/test_json.py",
        "tests/test_gc.py",
    ]


def test_a_listing_reads_the_same_in_an_ini_file(project: Project) -> None:
    """A listing is the same in an INI file, where a test's id is in the heading."""
    listing(project, f'"{A}[*]" = {{ reason = "see #7", issue = "#7", raises = ["KeyError"], where = "alpha" }}')
    expected = project.contract.known_failures
    (project.root / "pyproject.toml").unlink()
    project.write(
        "tox.ini",
        f"""
        [skipproof]
        sources = tests
        locks = locks
        state = .matrix
        [skipproof:environments]
        bare = alpha
        [skipproof:capability:alpha]
        modules = skipproof_alpha
        install = pip install alpha
        [skipproof:known_failure:{A}[*]]
        reason = see #7
        issue = #7
        raises = KeyError
        where = alpha
        """,
    )
    assert project.contract.known_failures == expected


def test_a_known_failure_is_reported_and_proves_nothing(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that fails as known everywhere is no gap, no proof, and part of every report."""
    listing(measured, f'"{A}" = {{ {KNOWN} }}')
    failed = result("xfailed")
    failed.known_failure = TEXT
    tests = {A: failed, R: PASSED}
    for session, environment in (("unit", "bare"), ("other", "full")):
        had = list(measured.contract.promised(environment))
        made = current(
            measured, session, environment, tests=tests, suites=["tests/unit", "tests/real"], capabilities=had
        )
        write_receipt(measured.contract, made)
    matrix = collect(measured.contract, Asked()).matrix
    assert [(row.ran, row.failed) for row in matrix.sessions] == [(1, 0), (1, 0)]
    [known] = matrix.known_failures
    assert (known.id, known.reason, known.sessions) == (A, TEXT, ["other", "unit"])
    line = f"{A}: {TEXT}, in other, unit"
    terminal.show(matrix)
    assert f"Known failures:\n- {line}" in capsys.readouterr().out
    assert "### Known failures" in markdown.render(matrix)
    assert 'type="pytest.xfail"' in junit.render(matrix)["bare"]
    matrix.problems, matrix.gate = [], 100.0
    assert verdict(matrix) == "Proved: 2 sessions agree, and the gate of 100 % is reached; 1 test is known to fail."


def test_a_known_failure_that_passes_elsewhere_is_proved_there(project: Project) -> None:
    """A test that fails as known in one session and skips in the others is no test that ran nowhere."""
    receipts = [
        current(project, "unit", tests={A: result("xfailed")}),
        current(project, "other", "full", tests={A: result("skipped", "alpha")}),
    ]
    sessions = [Session(each.session, "proved", each) for each in receipts]
    assert session_checks.refusals(project.contract, sessions) == []
