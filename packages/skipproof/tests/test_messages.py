"""The line in which a test failed, on its way from pytest to the receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof.outcomes import crash_line

if TYPE_CHECKING:
    from support.project import Project

TESTS = """
import pytest

@pytest.fixture
def broken(): raise ValueError("no\\nmore")

def test_fine(): pass

def test_plain(): assert 1 == 2

def test_set_up(broken): pass

def test_long(): raise RuntimeError("x" * 600)

def test_odd(): raise RuntimeError("half \\ud800")

def test_twice(request):
    request.addfinalizer(lambda: 1 / 0)
    assert 1 == 3
"""


def test_first_line_of_a_failure_is_kept(project: Project) -> None:
    """The receipt keeps the first line of each failure, whatever characters it contains."""
    project.write("tests/unit/test_a.py", TESTS)
    project.write("tests/real/test_b.py", "def test_b(): pass")
    assert project.run("--skipproof", "bare").ret != 0
    tests = project.receipt("bare").tests
    messages = {name.partition("::")[2]: test.message for name, test in tests.items()}
    assert messages.pop("test_long") == f"test_a.py:13: RuntimeError: {'x' * 600}"[:500]
    assert messages == {
        "test_fine": None,
        "test_b": None,
        "test_plain": "test_a.py:9: assert 1 == 2",
        "test_set_up": "test_a.py:5: ValueError: no",
        "test_odd": r"test_a.py:15: RuntimeError: half \ud800",
        "test_twice": "test_a.py:19: assert 1 == 3",
    }


@pytest.mark.parametrize(("text", "line"), [("Error: one\ntwo", "Error: one"), ("", "failed")])
def test_failure_without_a_place_has_a_line_too(text: str, line: str) -> None:
    """A failure that a plugin reports in its own way has its line too."""
    where = ("test_a.py", 1, "test_a")
    report = pytest.TestReport("test_a.py::test_a", where, {}, "failed", text, "call")
    assert crash_line(report) == line
