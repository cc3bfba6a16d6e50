"""The page as text; tests/integration/test_report_browser.py looks at it in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from skipproof import records
from skipproof.matrix import Cell, Matrix, SessionRow, TestRow
from skipproof.page import render
from support.matrix_samples import everything, hostile, wide

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = 'script type="application/json" id="data"'


def matrix(**changes: Any) -> Matrix:
    """Make a matrix of one test in one session, with these changes."""
    values: dict[str, Any] = {
        "project": "sample",
        "generated": "2026-01-01T00:00:00+00:00",
        "sessions": [SessionRow(name="unit", environment="bare", state="proved", ran=1)],
        "tests": [TestRow(id="tests/test_a.py::test_a", cells={"unit": Cell(outcome="passed", seconds=0.5)})],
    }
    return Matrix(**(values | changes))


def part(page: str, kind: str) -> str:
    """Return the content of the page's only element that opens like this."""
    [found] = re.findall(rf"<{kind}>(.*?)</{kind.split(maxsplit=1)[0]}>", page, re.DOTALL)
    return str(found)


def embedded(page: str) -> object:
    """Return the data of the page as its script will read it."""
    return json.loads(part(page, DATA))


def test_page_holds_the_whole_matrix() -> None:
    """The page contains the whole matrix."""
    made = matrix(problems=["it is red: fix it"], coverage=99.5, gate=100)
    assert records.read(Matrix, embedded(render(made))) == made


@pytest.mark.parametrize("make", [everything, wide, hostile])
def test_texts_cannot_leave_their_place(make: Callable[[], Matrix]) -> None:
    """A test's name or reason cannot end the page's script, or become a part of the page."""
    made = make()
    page = render(made)
    assert records.read(Matrix, embedded(page)) == made
    assert page.count("<script") == render(matrix()).count("<script")
    assert not {*"<>&\u2028\u2029"} & {*part(page, DATA)}


@pytest.mark.parametrize("kind", ["script", "style"])
def test_policy_allows_exactly_what_the_page_holds(kind: str) -> None:
    """The page's policy allows its own script and style, and no others."""
    page = render(matrix())
    text = part(page, "style" if kind == "style" else 'script type="module"')
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert f"{kind}-src 'sha256-{digest}'" in policy.split("; ")
    assert "default-src 'none'" in policy.split("; ")


def test_page_names_no_other_place() -> None:
    """The page loads nothing from elsewhere."""
    assert re.findall(r"(?:https?:)?//[a-z]|@import|url\(", render(matrix())) == []


@pytest.mark.parametrize(("problems", "verdict"), [([], "sample: proved"), (["red: fix it"], "sample: not proved")])
def test_title_says_the_verdict(problems: list[str], verdict: str) -> None:
    """The page's title says the verdict."""
    assert f"<title>{verdict}</title>" in render(matrix(problems=problems))
