"""What the files define, parsed without importing them, and where collected functions come from."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from skipproof.definitions import Definition, definitions
from skipproof.origins import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.project import Project

UNIT = "tests/unit/test_a.py"
PASSES = "def test_a(): pass\n"
NOT_COLLECTED = (
    "is defined but was not collected; define it without a condition, "
    "in a class without __init__ and without __test__ = False"
)


def is_test(name: str) -> bool:
    """Return whether pytest takes a name for a test by default."""
    return name.startswith("test")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def test_a(): pass", [("test_a", 1)]),
        ("async def test_a(): pass", [("test_a", 1)]),
        ("\n@one\n@two(\n  3)\ndef test_a(): pass", [("test_a", 2)]),
        ("def helper():\n  def test_a(): pass", []),
        ("class TestIt:\n  class TestIn:\n    def test_a(self): pass", [("TestIt::TestIn::test_a", 3)]),
        ("if X:\n  def test_a(): pass\nelse:\n  def test_b(): pass", [("test_a", 2), ("test_b", 4)]),
        ("try:\n  def test_a(): pass\nexcept ImportError:\n  def test_b(): pass", [("test_a", 2), ("test_b", 4)]),
        ("match X:\n  case 1:\n    class TestIt:\n      def test_a(self): pass", [("TestIt::test_a", 4)]),
        ("for x in y:\n  with x:\n    def test_a(): pass", [("test_a", 3)]),
        ("test_a = lambda: None\nassert test_a", []),
    ],
)
def test_definitions_are_found_wherever_they_stand(source: str, expected: list[tuple[str, int]]) -> None:
    """Every test that a file defines is found, and no helper."""
    assert definitions(source.encode(), is_test) == [Definition(*each) for each in expected]


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as one should."""

    @functools.wraps(function)
    def call() -> Any:
        return function()

    return call


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate without ``wraps``."""

    def call() -> Any:
        return function()

    return call


def plain() -> int:
    """Be the function that is decorated."""
    return 7


class Holder:
    """Has a method."""

    def method(self) -> int:
        """Be the method that is collected."""
        return 7


@pytest.mark.parametrize(
    ("function", "origin"),
    [
        (plain, plain),
        (wrapped(plain), plain),
        (hidden(hidden(plain)), plain),
        (functools.partial(plain), plain),
        (Holder().method, Holder.method),
    ],
    ids=["plain", "wrapped", "hidden", "partial", "method"],
)
def test_decorators_are_looked_behind(function: Callable[..., Any], origin: Callable[..., Any]) -> None:
    """A decorated test counts as collected."""
    assert function() == 7
    assert (__file__, origin.__code__.co_firstlineno) in set(sources(function))


def test_what_is_no_function_comes_from_nowhere() -> None:
    """An item of another plugin without a function has no source, and does not stop the run."""
    assert list(sources(None)) == []


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


def test_file_that_is_not_python_is_red(project: Project) -> None:
    """A file in a suite that is not Python is a violation."""
    project.write(UNIT, PASSES)
    project.write("tests/unit/check_b.py", "def test_b(:\n")
    project.run("--skipproof", "bare")
    [violation] = project.receipt("bare").violations
    assert violation.startswith("tests/unit/check_b.py: a file under tests/ that cannot be read (")


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
    assert violation.startswith("tests/unit/test_b.py: no test of it was collected; remove --ignore or collect_ignore")


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
    project.write("test_a.py", PASSES)
    project.write("lib/check_c.py", PASSES)
    project.run("--skipproof", "bare")
    [violation] = project.receipt("bare").violations
    assert violation.startswith("lib/check_c.py: a test file under ")
