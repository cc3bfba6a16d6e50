"""Whether tests contain an assertion, as the run, its receipt and the report say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof.assembly import Asked, collect
from skipproof.receipts import TestResult, write_receipt
from support.runs import UNIT
from support.samples import PASSED, current

if TYPE_CHECKING:
    from support.project import Project

ASSERTING = {
    "assert": "def test_a(): assert 1",
    "raise": "def test_a():\n    if str(): raise ValueError",
    "raises": "import pytest\n\ndef test_a():\n    with pytest.raises(ValueError): int('x')",
    "unittest": "import unittest\n\nclass TestIt(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 1)",
    "mock": "from unittest.mock import Mock\n\ndef test_a(): Mock().assert_not_called()",
    "nested": "def test_a():\n    def check(): assert 1\n    check()",
    "helper": "def helper(): assert 1\n\ndef test_a(): helper()",
    "module": "import skipproof_helpers\n\ndef test_a(): skipproof_helpers.helper()",
    "class": "class Checker:\n    def run(self): assert 1\n\ndef test_a(): Checker().run()",
    "static method": "class Checker:\n    @staticmethod\n    def run(): assert 1\n\ndef test_a(): Checker.run()",
    "object": "class Checker:\n    def run(self): assert 1\n\nCHECKER = Checker().run\n\ndef test_a(): CHECKER()",
    "partial": "from functools import partial\n\ndef run(x): assert x\n\nRUN = partial(run, 1)\n\ndef test_a(): RUN()",
    "table": "def run(x): assert x\n\nALL = {'a': [run]}\n\ndef test_a(): ALL['a'][0](1)",
    "attribute": "class Box: pass\n\nBOX = Box()\nBOX.run = lambda: helper()\n\n"
    "def helper(): assert 1\n\ndef test_a(): BOX.run()",
    "decorator": "def twice(test):\n    def run(): test(), test()\n    return run\n\n@twice\ndef test_a(): assert 1",
    "fixture": "import pytest\n\n@pytest.fixture\ndef check():\n    yield\n    assert 1\n\ndef test_a(check): pass",
    "parameter": "import pytest\n\n@pytest.mark.parametrize('run', [lambda: helper()], ids=['a'])\n"
    "def test_a(run): run()\n\ndef helper(): assert 1",
    "own class": "class TestIt:\n    def teardown_method(self): assert 1\n\n    def test_a(self): pass",
    "code of others": "from operator import not_\n\nclass TestIt:\n    test_a = staticmethod(lambda: helper())\n\n"
    "def helper(): assert 1",
}
NOT_ASSERTING = {
    "nothing": "def test_a(): pass",
    "a comparison": "import json\n\ndef test_a(): json.loads('1') == 1",
    "recursion": "def test_a(again=0): helper(1)\n\ndef helper(x): x and helper(0)",
    "a cell that is empty": "def make():\n    def test(): return later\n    if 0: later = 1\n"
    "    return lambda: test and None\n\ntest_a = make()",
}


def unasserted(project: Project, text: str) -> list[str]:
    """Run a project whose only test file has this text; return the tests that contain no assertion."""
    project.write("tests/skipproof_helpers.py", "def helper(): assert helper\n")
    project.write(UNIT, text)
    result = project.run("--skipproof", "bare", "--import-mode=prepend", "-o", "pythonpath=tests")
    tests = project.receipt("bare").tests
    assert [test.outcome for test in tests.values()] == ["passed"], result.stdout.str()
    return [name for name, test in tests.items() if test.unasserted]


@pytest.mark.parametrize("text", ASSERTING.values(), ids=ASSERTING)
def test_an_assertion_is_found(project: Project, text: str) -> None:
    """A test that can assert something, itself or by what it uses, is not named."""
    assert unasserted(project, text) == []


@pytest.mark.parametrize("text", NOT_ASSERTING.values(), ids=NOT_ASSERTING)
def test_a_test_without_assertion_is_named(project: Project, text: str) -> None:
    """A test that can only fail when something else raises is named."""
    assert unasserted(project, text) == [f"{UNIT}::test_a"]


def test_tests_without_assertion_are_noted_in_the_report(measured: Project) -> None:
    """The report notes which tests contain no assertion, once for all sessions."""
    empty = TestResult(outcome="passed", duration=0.1, unasserted=True)
    for session in ("unit", "other"):
        tests = {f"{UNIT}::test_a": PASSED, f"{UNIT}::test_b": empty}
        write_receipt(measured.contract, current(measured, session, tests=tests))
    note = "1 tests contain no assertion, so they pass as long as nothing raises: tests/unit/test_a.py::test_b"
    assert note in collect(measured.contract, Asked(["unit", "other"])).matrix.notes
