"""What broke the contract, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skipproof.violations import listed
from support.runs import UNIT, violations

if TYPE_CHECKING:
    from support.project import Project

A, B = "tests/test_a.py::test_a", "tests/test_b.py::TestB::test_b"


def test_parameters_of_one_function_are_one_violation() -> None:
    """What is true of several parameters of a function is said once, with how many there are."""
    ids = [*(f"{A}[{number}]" for number in range(31)), f"{A}[x::y[1]]", B]
    found = [*((name, "was deselected") for name in ids), (f"{A}[1]", "raised"), (B, "raised")]
    assert listed(found, ids) == [
        f"{A}: 32 of its 32 parameters: was deselected",
        f"{A}[1]: raised",
        f"{B}: was deselected",
        f"{B}: raised",
    ]
    assert listed([(f"{A}[1]", "raised"), (f"{A}[2]", "raised")], ids) == [f"{A}: 2 of its 32 parameters: raised"]


def test_violations_of_a_file_stand_together() -> None:
    """Violations are in the order of the files' names, and of one file in the order they were found in."""
    found = [(B, "x"), ("tests/b[1].py", "y"), (A, "z"), ("tests/test_b.py::test_z", "x"), ("tests/test_b.py", "x")]
    assert listed(found, []) == [
        "tests/b[1].py: y",
        f"{A}: z",
        f"{B}: x",
        "tests/test_b.py::test_z: x",
        "tests/test_b.py: x",
    ]


def test_what_was_not_collected_comes_first(project: Project) -> None:
    """What went wrong with the collection stands before the outcomes, and each test's violation at its result."""
    skip = "import pytest\n\n@pytest.mark.parametrize('x', range(40))\ndef test_a(x): pytest.skip('later')\n"
    project.write(UNIT, skip)
    project.write("tests/unit/test_z.py", "class Lost:\n    def test_z(self): pass\n\ndef test_b(): pass\n")
    lost, skipped = violations(project.run("--skipproof", "bare"), project, "bare")
    assert lost.startswith("tests/unit/test_z.py::Lost::test_z: (line 2) is defined but was not collected")
    assert skipped.startswith(f"{UNIT}::test_a: 40 of its 40 parameters: skipped ('later') although")
    tests = project.receipt("bare").tests
    assert (tests[f"{UNIT}::test_a[7]"].violation or "").startswith("skipped ('later') although")
    assert tests["tests/unit/test_z.py::test_b"].violation is None
