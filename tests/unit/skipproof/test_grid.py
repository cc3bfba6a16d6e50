"""The matrix to look at."""

from __future__ import annotations

from tests.skipproof import grid

from .samples import PASSED, receipt, result

A, B = "tests/unit/test_a.py", "tests/real/test_b.py"
UNIT = receipt("unit", tests={f"{A}::test_1": PASSED, f"{A}::test_2[x::y]": PASSED, f"{A}::test_3": result("failed")})
FULL = receipt(
    "full",
    tests={
        f"{A}::test_1": result("missing"),
        f"{B}::test_1": result("skipped"),
        f"{B}::test_2": result("xfailed"),
        f"{B}::test_3": result("xpassed"),
    },
)
LEGEND = "12 passed, s skipped as derived, F failed, x xfailed, X xpassed, ? no outcome, - not in the session"


def test_text_shows_every_count() -> None:
    """Broken: the grid hides what became of some tests, or counts them in the wrong place."""
    assert grid.as_text([UNIT, FULL]).splitlines() == [
        "file                  unit         full",
        "---------------------------------------",
        "tests/real/test_b.py     -     s1 x1 X1",
        "tests/unit/test_a.py  2 F1           ?1",
        "---------------------------------------",
        "total                 2 F1  s1 x1 X1 ?1",
        LEGEND,
    ]


def test_wide_grid_numbers_its_sessions() -> None:
    """Broken: the grid is wider than a terminal, and its lines are broken into each other."""
    receipts = [receipt(f"a-session-with-a-long-name-{number}") for number in range(1, 6)]
    lines = grid.as_text(receipts).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["file", "[1]", "[2]", "[3]", "[4]", "[5]"]
    assert lines[-6:-1] == [f"[{number}] a-session-with-a-long-name-{number}" for number in range(1, 6)]


def test_markdown_is_a_table() -> None:
    """Broken: the summary of a workflow shows no table."""
    assert grid.as_markdown([UNIT, FULL]).splitlines() == [
        "| file | unit | full |",
        "| --- | ---: | ---: |",
        f"| {B} | - | s1 x1 X1 |",
        f"| {A} | 2 F1 | ?1 |",
        "| total | 2 F1 | s1 x1 X1 ?1 |",
        "",
        LEGEND,
    ]
