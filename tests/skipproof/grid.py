"""The matrix to look at: test files down, sessions across, and in each cell what became of the tests there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .receipts import Receipt

# A number alone is tests that passed; these letters stand before the others.
_LETTERS = {"failed": "F", "skipped": "s", "xfailed": "x", "xpassed": "X", "missing": "?"}
_LEGEND = "12 passed, s skipped as derived, F failed, x xfailed, X xpassed, ? no outcome, - not in the session"
_WIDTH = 100

Row = tuple[str, ...]


def rows(receipts: Sequence[Receipt]) -> list[Row]:
    """Return a heading, one row per test file, and totals; the first cell of each row is the file."""
    counts: dict[str, list[Counter[str]]] = {}
    totals: list[Counter[str]] = [Counter() for _ in receipts]
    for column, receipt in enumerate(receipts):
        for name, test in receipt.tests.items():
            file = name.partition("::")[0]
            counts.setdefault(file, [Counter() for _ in receipts])[column][test.outcome] += 1
            totals[column][test.outcome] += 1
    body = [(file, *map(_cell, counts[file])) for file in sorted(counts)]
    return [("file", *(receipt.session for receipt in receipts)), *body, ("total", *map(_cell, totals))]


def as_text(receipts: Sequence[Receipt]) -> str:
    """Return the grid for a terminal; sessions become numbers where their names would make it too wide."""
    table = rows(receipts)
    keys: list[str] = []
    if sum(_widths(table)) + 2 * len(receipts) > _WIDTH:
        numbers = [f"[{number}]" for number in range(1, len(receipts) + 1)]
        keys = [f"{number} {receipt.session}" for number, receipt in zip(numbers, receipts, strict=True)]
        table[0] = ("file", *numbers)
    widths = _widths(table)
    rule = "-" * (sum(widths) + 2 * len(receipts))
    lines = [_line(row, widths) for row in table]
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *keys, _LEGEND])


def as_markdown(receipts: Sequence[Receipt]) -> str:
    """Return the grid as a markdown table."""
    heading, *body = rows(receipts)
    rule = ("---", *("---:" for _ in receipts))
    return "\n".join([*(f"| {' | '.join(row)} |" for row in (heading, rule, *body)), "", _LEGEND])


def _cell(counter: Counter[str]) -> str:
    parts = [str(counter["passed"])] if counter["passed"] else []
    parts += [f"{letter}{counter[outcome]}" for outcome, letter in _LETTERS.items() if counter[outcome]]
    return " ".join(parts) or "-"


def _widths(table: Sequence[Row]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _line(row: Row, widths: Sequence[int]) -> str:
    file, *cells = row
    right = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
    return "  ".join([file.ljust(widths[0]), *right])
