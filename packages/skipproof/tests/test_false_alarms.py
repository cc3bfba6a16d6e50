"""What real projects do, and what is no fault in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof.outcomes import Needs, TestRecord
from skipproof.receipts import write_receipt
from support.runs import PASSES, UNIT
from support.samples import PASSED, current

if TYPE_CHECKING:
    from support.project import Project

# As hypothesis, wrapt, decorator and others do: what pytest calls is defined in a file of the library.
LIBRARY = """
def given(function):
    # The wrapper is compiled for this one test: its globals are of no file, but it names the test's file and line.
    here = {"function": function}
    exec(compile("def wrapper(): return function()", function.__code__.co_filename, "exec"), here)
    wrapper = here["wrapper"]
    wrapper.__code__ = wrapper.__code__.replace(co_firstlineno=function.__code__.co_firstlineno)
    return wrapper


def keeping(function):
    def wrapper(): return wrapper.inner[0]()
    wrapper.inner = [function]
    return wrapper


def made(function, value):
    return lambda self: function(self, value)


def cases(*values):
    def decorate(owner):
        for name, function in list(vars(owner).items()):
            if name.startswith("test"):
                delattr(owner, name)
                for value in values:
                    setattr(owner, f"{name}_{value}", made(function, value))
        return owner
    return decorate


class Suite:
    def test_of_the_library(self): pass
"""
CONSTRUCTS = {
    "a wrapper of another file": "@lib.given\ndef test_b(): pass\n\n@lib.keeping\ndef test_c(): pass",
    "a decorated method": "class TestB:\n    @staticmethod\n    @lib.given\n    def test_b(): pass",
    "tests made by a class decorator": "@lib.cases(1, 2)\nclass TestB:\n    def test_b(self, x): assert x",
    "tests made in a loop": (
        "class TestB: pass\n\ndef make(n):\n    def test(self): assert n\n    return test\n\n"
        "for n in (1, 2): setattr(TestB, f'test_{n}', make(n))"
    ),
    "a base class of a library": "class TestB(lib.Suite): pass",
    "patched tests": (
        "from unittest import mock\n\n@mock.patch('os.getcwd')\ndef test_b(x): pass\n\n"
        "@mock.patch('os.getcwd')\nclass TestB:\n    def test_b(self, x): pass"
    ),
    "an abstract test": (
        "class Base:\n    def test_b(self): raise NotImplementedError\n\n"
        "class TestB(Base):\n    def test_b(self): pass\n\nclass TestC(TestB): pass"
    ),
    "a base class that is deleted": "class Base:\n    def test_b(self): pass\n\nclass TestB(Base): pass\n\ndel Base",
    "a fixture": "@pytest.fixture\ndef test_client(): return 1\n\ndef test_b(test_client): assert test_client",
    "a fixture under another name": "shared = pytest.fixture\n\n@shared\ndef test_client(): return 1",
    "a property": (
        "class TestB:\n    @property\n    def test_url(self): return 1\n    def test_b(self): assert self.test_url"
    ),
    "a property under another name": (
        "computed = property\n\nclass TestB:\n    @computed\n    def test_url(self): return 1"
    ),
    "static and class methods": (
        "class Client:\n    @staticmethod\n    def test_it(): return 1\n"
        "    @classmethod\n    def test_me(cls): return 1\n\ndef test_b(): assert Client.test_it() + Client.test_me()"
    ),
    "a helper that says it is no test": (
        "def test_equal(x): return x\n\ntest_equal.__test__ = False\n\ndef test_b(): assert test_equal(1)"
    ),
}


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_constructs_of_real_projects_are_no_alarm(project: Project, construct: str) -> None:
    """What a test is made of, and what only looks like a test, is told apart."""
    project.install("skipproof-lib", "1.0", {"skipproof_lib.py": LIBRARY})
    project.write("locks/bare.txt", "skipproof-lib==1.0\n")
    project.write(UNIT, f"import pytest\nimport skipproof_lib as lib\n\n{PASSES}\n{CONSTRUCTS[construct]}\n")
    result = project.run("--skipproof", "bare", "-W", "ignore")
    assert (int(result.ret), project.receipt("bare").violations) == (0, [])


@pytest.mark.parametrize(
    ("name", "text", "user"),
    [
        ("tests/unit/base_test.py", "class Base:\n    pass\n", "from base_test import Base"),
        ("tests/unit/helpers.py", "def test_connection(): return 1\n", "import helpers\nhelpers.test_connection()"),
        ("tests/unit/fixtures.py", "import pytest\n\n@pytest.fixture\ndef test_client(): return 1\n", ""),
        ("tests/typing/api.py", "from typing import assert_type\n\ndef test_it(): assert_type(1, int)\n", ""),
        ("lib/testing.py", "def test_roundtrip(x): return x\n", ""),
        ("lib/.venv/lib/test_b.py", PASSES, ""),
        ("lib/env/lib/test_b.py", PASSES, ""),
        ("build/lib/test_b.py", PASSES, ""),
        ("lib/node_modules/test_b.py", PASSES, ""),
        ("tests/unit/data.py", "this is no Python", ""),
    ],
)
def test_files_that_hold_no_tests_are_no_alarm(project: Project, name: str, text: str, user: str) -> None:
    """Helpers that tests import, modules of the project, and other people's files are not lost tests."""
    settings = project.root / "pyproject.toml"
    text_of_settings = settings.read_text().replace('"tests/unit", "tests/real"]', '"."]\npythonpath = ["tests/unit"]')
    settings.write_text(text_of_settings.replace('sources = ["tests"', 'sources = [".", "tests"'))
    project.write("lib/env/pyvenv.cfg", "")
    project.write(name, text)
    project.write(UNIT, f"{user}\n\n{PASSES}")
    result = project.run("--skipproof", "bare")
    assert (int(result.ret), project.receipt("bare").violations) == (0, [])


def test_syntax_that_this_python_lacks_is_left_to_another(project: Project) -> None:
    """A file that is left out, and that this Python cannot read, is noted in the receipt for the merge to judge."""
    project.write("tests/unit/conftest.py", "collect_ignore = ['test_new.py']\n")
    project.write("tests/unit/test_new.py", "def test_new(): 1 new 2\n")
    project.write("tests/unit/helper_new.py", "def test_new(): 1 new 2\n")
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", "bare")
    found = project.receipt("bare")
    assert (int(result.ret), found.violations, found.unread) == (0, [], ["tests/unit/test_new.py"])
    result.stdout.fnmatch_lines(["*; left to a Python that can read it: tests/unit/test_new.py"])


def test_what_another_python_read_is_not_missed_here(project: Project) -> None:
    """Tests that another session collected from a file that this Python cannot read are not missing here."""
    project.write("tests/unit/conftest.py", "collect_ignore = ['test_new.py']\n")
    project.write("tests/unit/test_new.py", "def test_new(): 1 new 2\n")
    project.write(UNIT, PASSES)
    tests = {f"{UNIT}::test_a": PASSED, "tests/unit/test_new.py::test_new": PASSED}
    write_receipt(project.contract, current(project, "newer", suites=["tests/unit", "tests/real"], tests=tests))
    project.run("--skipproof", "bare")
    assert project.receipt("bare").violations == []


@pytest.mark.parametrize("outcome", ["rerun", "retried"])
def test_a_try_that_is_repeated_is_not_the_outcome(outcome: str) -> None:
    """What pytest-rerunfailures and pytest-retry report before the last try does not count."""
    record = TestRecord(Needs())
    report = pytest.TestReport("a", ("a", 1, "a"), {}, outcome, None, "call")  # type: ignore[arg-type]
    record.add(report)
    assert record.outcome == "missing"


def test_collected_doctests_are_no_alarm(project: Project) -> None:
    """Doctests that pytest collects are tests like others, whatever unittest would load besides."""
    loads = "import doctest\n\ndef load_tests(loader, tests, pattern): return doctest.DocTestSuite()\n\n"
    project.write(UNIT, f"'''Is tested.\n\n>>> 1\n1\n'''\n{loads}{PASSES}")
    project.write("tests/unit/test_page.md", ">>> 1\n1\n")
    result = project.run("--skipproof", "bare", "--doctest-modules", "--doctest-glob=*.md")
    assert (int(result.ret), project.receipt("bare").violations) == (0, [])
    result.assert_outcomes(passed=3)


def test_examples_that_are_data_or_documentation_are_no_alarm(project: Project) -> None:
    """A helper's docstring and a document that is not named as a test are not doctests."""
    project.write(UNIT, f"{PASSES}\ndef helper():\n    '''\n    >>> 1\n    '''\n")
    project.write("tests/unit/example.md", ">>> 1\n1\n")
    project.write("tests/unit/__init__.py", "def load_tests(loader, x, y): return loader.discover('.')\n")
    project.run("--skipproof", "bare")
    assert project.receipt("bare").violations == []


HOOKS = """
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    assert item.tries == 1  # what the plugin gives to every test that runs
    return report


def pytest_runtest_protocol(item):
    item.tries = 1
"""


def test_other_plugins_do_not_meet_the_canaries(project: Project) -> None:
    """Plugins that expect their own notes on every test, such as pytest-rerunfailures and allure, can stay."""
    project.write("conftest.py", HOOKS)
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", "bare")
    assert (int(result.ret), project.receipt("bare").violations) == (0, [])


def test_a_run_without_what_reports_skips_is_refused(project: Project) -> None:
    """Without pytest's own plugin for skips, a run ends with a sentence."""
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", "bare", "-p", "no:skipping")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *needs pytest's own plugin for skips: drop -p no:skipping"])
