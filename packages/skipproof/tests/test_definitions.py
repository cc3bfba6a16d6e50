"""What the text of a file defines as tests, uses, and tests by examples."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from skipproof.definitions import Definition, Uses, definitions, doctests, loader


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
        ("@pytest.fixture\ndef test_a(): pass\n@lib.async_fixture(scope='x')\ndef test_b(): pass", []),
        ("class TestIt:\n  @property\n  def test_a(self): pass\n  @test_a.setter\n  def test_a(self, x): pass", []),
        ("class TestIt:\n  @functools.cached_property\n  def test_a(self): pass", []),
        ("@typing.overload\ndef test_a(x): ...\n@abc.abstractmethod\ndef test_b(): ...", []),
        ("@mark[0]\ndef test_a(): pass", [("test_a", 1)]),
    ],
)
def test_definitions_are_found_wherever_they_stand(source: str, expected: list[tuple[str, int]]) -> None:
    """Every test that a file defines is found, and no helper."""
    assert definitions(ast.parse(source), is_test) == [Definition(*each) for each in expected]


@pytest.mark.parametrize(
    ("here", "there", "holds"),
    [
        ("test_a()", "", True),
        ("def other(): x.test_a()", "", True),
        ("", "from lib import a\na.test_a()", True),
        ("", "from lib.a import test_a", True),
        ("", "import lib.a as b\nb.test_a()", True),
        ("", "other.test_a()", False),
        ("", "def test_a(): from a import x", False),
        ("", "from a import x\ntest_a(:", False),
        ("def test_a(): test_a()", "", False),
        ("class T:\n  def test_a(self): super().test_a()", "", False),
        ("if __name__ == '__main__': test_a()", "", False),
        ("if __name__: pass\nif x == 3: test_a()", "", True),
        ("test_a.__test__ = False", "", False),
        ("test_a = skip(test_a)", "", False),
        ("[test_b, test_a] = None, x(test_a)", "", False),
        ("'test_a'", "", False),
    ],
)
def test_a_function_that_code_uses_is_a_helper(here: str, there: str, *, holds: bool) -> None:
    """A function is used where other code names it: in its own file, or in one that imports that."""
    uses = Uses({Path("lib/a.py"): here.encode(), Path("test_b.py"): there.encode()})
    assert uses.of("test_a", Path("lib/a.py")) is holds


@pytest.mark.parametrize(
    ("file", "there", "holds"),
    [
        ("lib/base_test.py", "from .base_test import x", True),
        ("lib/base_test.py", "from . import base_test", True),
        ("lib/base_test.py", "import lib.base_test", True),
        ("lib/__init__.py", "import lib", True),
        ("lib/base_test.py", "base_test = 1", False),
    ],
)
def test_a_module_that_another_file_imports_is_used(file: str, there: str, *, holds: bool) -> None:
    """A module is used where another file imports it, however it does."""
    uses = Uses({Path(file): b"import base_test, lib", Path("test_b.py"): there.encode()})
    assert uses.of_module(Path(file)) is holds


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''>>> 1'''", [""]),
        ("def test_a():\n  '''Add.\n\n  >>> 1\n  1\n  '''", ["test_a"]),
        ("class TestA:\n  '''>>> 1'''\n  def test_b(self):\n    '''>>> 1'''", ["TestA", "TestA::test_b"]),
        ("def helper():\n  '''>>> 1'''\nclass Helper:\n  '''>>> 1'''", []),
        ("def test_a():\n  '''x >>> 1'''\n  a >> 1", []),
    ],
)
def test_examples_in_docstrings_of_tests_are_found(source: str, expected: list[str]) -> None:
    """Examples in the docstring of a file, of a test or of a test class are tests; a helper's are documentation."""
    assert doctests(ast.parse(source), is_test) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def other(): pass", None),
        ("def load_tests(a, b, c): b.addTests(doctest.DocTestSuite(lib)); return b", "doctests"),
        ("from doctest import DocFileSuite\ndef load_tests(a, b, c): return DocFileSuite('x')", "doctests"),
        ("def load_tests(a, b, c): return a.discover('x')", None),
        ("def load_tests(a, b, c): return a.loadTestsFromModule(lib)", None),
        ("def load_tests(a, b, c): b.addTest(Case(3)); return b", "tests"),
        ("load_tests = load_tests_apply_scenarios", "tests"),
    ],
)
def test_what_load_tests_adds_is_told_apart(source: str, expected: str | None) -> None:
    """Doctests and tests made by hand are told apart from those that lie in files, which pytest finds itself."""
    assert loader(ast.parse(source)) == expected
