"""What is defined in the files of the suites has to be collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.project import Project

UNIT = "tests/unit/test_a.py"
PASSES = "def test_a(): pass\n"
NOT_COLLECTED = (
    "is defined but was not collected; define it without a condition, "
    "in a class without __init__ and without __test__ = False, under decorators that use functools.wraps"
)


@pytest.mark.parametrize(
    ("code", "name", "fact"),
    [
        (
            f"{PASSES}\n\ndef test_a(): pass\n",
            "test_a",
            "(line 1) is defined again in line 4, and only one of them was collected; give each a name of its own",
        ),
        ("HAS = False\nif HAS:\n    def test_b(): pass\n", "test_b", f"(line 3) {NOT_COLLECTED}"),
        (
            "class TestB:\n    __test__ = False\n    def test_b(self): pass\n",
            "TestB::test_b",
            f"(line 3) {NOT_COLLECTED}",
        ),
        ("class Helper:\n    def test_b(self): pass\n", "Helper::test_b", f"(line 2) {NOT_COLLECTED}"),
        (
            "def test_b(): pass\ntest_b.__test__ = False\n",
            "test_b",
            f"(line 1) {NOT_COLLECTED}",
        ),
    ],
    ids=["twice", "condition", "switched off", "other class", "function switched off"],
)
def test_definition_that_is_not_collected_is_red(project: Project, code: str, name: str, fact: str) -> None:
    """A test that is defined but not collected is a violation."""
    project.write(UNIT, f"{code}\n\ndef test_other(): pass\n")
    project.run("--skipproof", "bare")
    assert project.receipt("bare").violations == [f"{UNIT}::{name}: {fact}"]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("if 0:\n    def \\\n  test_b(): pass\n", 2),
        ("if 0:\n    @mark.skipif(\n        False, reason='')\n    @mark.untraced('')\n    def test_b(): pass\n", 2),
        ("if 0:\n    async  def\ttest_b(): pass\n", 2),
        ("if 0:\n    def t\uff45st_b(): pass\n", 2),
        ("# coding: utf-8\nif 0:\n    def test_b(): pass\n", 3),
        ("'''class def test_a'''\nif 0: \n    \"def\";\n    def test_b(): pass\n", 4),
    ],
    ids=["continued", "decorated", "async", "another e", "coding", "in a text"],
)
def test_definition_is_missed_however_it_is_written(project: Project, code: str, line: int) -> None:
    """A test that is defined and not collected is a violation, wherever Python allows a break or another letter."""
    project.write(
        UNIT, f"{code}\nfrom pytest import mark\n\n@mark.skipif(\n    False, reason='')\ndef test_a(): pass\n"
    )
    project.run("--skipproof", "bare")
    assert project.receipt("bare").violations == [f"{UNIT}::test_b: (line {line}) {NOT_COLLECTED}"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_collected_definitions_are_no_violations(project: Project, end: str) -> None:
    """A file all of whose tests were collected is green: decorated, in classes, with any ends of lines."""
    code = """import pytest
text = 'def test_c(): class test_d'


@pytest.mark.skipif(
    False,
    reason="def",
)
@pytest.mark.parametrize("n", [1])
def test_a(n): assert n


class TestA:
    async_ = '\u00e9'
    def test_b(self): assert text
"""
    path = project.write(UNIT, "")
    path.write_bytes(code.replace("\n", end).encode())
    project.run("--skipproof", "bare")
    assert project.receipt("bare").violations == []


@pytest.mark.parametrize(
    ("setting", "code", "name"),
    [
        ('python_functions = ["test_a"]', "def test_b(): pass\n", "test_b"),
        ('python_functions = ["test", "*_works"]', "if 0:\n    def it_works(): pass\n", "it_works"),
        ('python_classes = ["Check"]', "class TestB:\n    def test_b(self): pass\n", "TestB::test_b"),
    ],
)
def test_setting_that_leaves_tests_out_is_red(project: Project, setting: str, code: str, name: str) -> None:
    """Whatever counts as a test, by pytest's default or by the project's setting, must be collected."""
    settings = project.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace("testpaths =", f"{setting}\ntestpaths ="))
    project.write(UNIT, f"{PASSES}\n{code}")
    project.run("--skipproof", "bare")
    [violation] = project.receipt("bare").violations
    assert violation.startswith(f"{UNIT}::{name}: (line ")
    assert violation.endswith(NOT_COLLECTED)


def test_class_with_init_is_red(project: Project) -> None:
    """A test class that pytest does not collect, because of its __init__, is a violation."""
    project.write(UNIT, f"{PASSES}\nclass TestB:\n    def __init__(self): pass\n\n    def test_b(self): pass\n")
    project.run("--skipproof", "bare", "-W", "ignore")
    assert project.receipt("bare").violations == [f"{UNIT}::TestB::test_b: (line 6) {NOT_COLLECTED}"]


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        (
            "tests/unit/check_b.py",
            "its name matches none of test_*.py, *_test.py; rename it, or have a test file inherit",
        ),
        ("tests/more/test_b.py", "it lies in no suite; move it into one of tests/unit, tests/real, or name its folder"),
        ("tests/check_b.py", "it lies in no suite; move it into one of tests/unit, tests/real, or name its folder"),
    ],
)
def test_file_that_no_suite_collects_is_red(project: Project, name: str, fact: str) -> None:
    """A test file that is renamed, or lies outside the suites, is a violation."""
    project.write(UNIT, PASSES)
    project.write(name, PASSES)
    project.run("--skipproof", "bare", "tests/unit")
    [violation] = project.receipt("bare").violations
    assert violation.startswith(f"{name}: a test file under tests/ that was not collected (1 defined in it): {fact}")


def test_suites_of_other_sessions_are_left_to_them(project: Project) -> None:
    """A session does not complain about tests in a suite that it does not run."""
    project.write(UNIT, PASSES)
    project.write("tests/real/check_b.py", PASSES)
    project.write("tests/helpers.py", "VALUE = 1\n")
    project.run("--skipproof", "bare", "tests/unit")
    assert project.receipt("bare").violations == []


@pytest.mark.parametrize("place", ["conftest", "addopts"])
def test_file_that_is_left_out_of_collection_is_red(project: Project, place: str) -> None:
    """A file that a setting leaves out of the collection is a violation."""
    project.write(UNIT, PASSES)
    project.write("tests/unit/test_b.py", PASSES)
    if place == "conftest":
        project.write("tests/unit/conftest.py", "collect_ignore = ['test_b.py']\n")
    else:
        settings = project.root / "pyproject.toml"
        settings.write_text(settings.read_text().replace("addopts = [", 'addopts = ["--ignore=tests/unit/test_b.py", '))
    project.run("--skipproof", "bare")
    [violation] = project.receipt("bare").violations
    assert violation.startswith("tests/unit/test_b.py: no test of it was collected; correct --ignore, ")


def test_inherited_and_decorated_tests_are_found(project: Project) -> None:
    """Tests from a base class in another file, or behind a decorator, count as collected."""
    project.write("tests/unit/contract_b.py", "class Contract:\n    def test_b(self): pass\n")
    project.write(
        UNIT,
        """
        import functools
        import unittest

        import pytest

        from contract_b import Contract


        def again(function):
            @functools.wraps(function)
            def call():
                function()
            return call


        @again
        @again
        def test_a(): pass


        @pytest.mark.parametrize("x", [1, 2])
        def test_x(x): pass


        class TestB(Contract):
            pass


        class TestOld(unittest.TestCase):
            def test_old(self): pass
        """,
    )
    settings = project.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace("testpaths =", 'pythonpath = ["tests/unit"]\ntestpaths ='))
    project.run("--skipproof", "bare").assert_outcomes(passed=5)
    assert project.receipt("bare").violations == []


def test_suites_at_the_top_are_enough(project: Project) -> None:
    """With suites at the top of a project, files outside them are not searched for tests."""
    settings = project.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace('"tests/unit", "tests/real"', '"unit", "real"'))
    project.write("unit/test_a.py", PASSES)
    project.write("real/check_b.py", PASSES)
    project.write("lib/check_c.py", PASSES)
    project.run("--skipproof", "bare", "unit")
    assert project.receipt("bare").violations == []


def test_what_lies_beside_suites_is_seen_in_each_part_of_a_project(project: Project) -> None:
    """A test file beside suites counts, even if another suite is in another folder of the root."""
    settings = project.root / "pyproject.toml"
    text = settings.read_text().replace('sources = ["tests"', 'sources = ["tests", "lib"')
    settings.write_text(text.replace('"tests/real"]', '"tests/real", "lib/tests"]'))
    project.write(UNIT, PASSES)
    project.write("lib/tests/test_b.py", PASSES)
    project.write("lib/check_c.py", PASSES)
    project.write("tests/more/test_d.py", PASSES)
    project.run("--skipproof", "bare")
    [violation] = project.receipt("bare").violations
    assert violation.startswith("tests/more/test_d.py: a test file under tests/ that was not collected")


def test_a_suite_may_be_the_whole_project(project: Project) -> None:
    """Every test file of a project whose one suite is its root has to be collected."""
    settings = project.root / "pyproject.toml"
    text = settings.read_text().replace('sources = ["tests"', 'sources = [".", "tests"')
    settings.write_text(text.replace('"tests/unit", "tests/real"', '"."'))
    project.write("lib/test_a.py", PASSES)
    project.write("lib/check_c.py", PASSES)
    project.run("--skipproof", "bare")
    [violation] = project.receipt("bare").violations
    assert violation.startswith("lib/check_c.py: a test file under ")
