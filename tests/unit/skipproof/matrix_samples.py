"""Matrices to look at in a browser, and what is measured there."""

from __future__ import annotations

from tests.skipproof.matrix import Cell, FileCoverage, Matrix, Proof, SessionRow, TestRow, Unproven
from tests.skipproof.receipts import Trace

DIGEST = "0123456789abcdef" * 4
SKIP = "needs llm: pip install 'sample[llm]'"
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\"'&amp;\u2028{{data}}"

# What the grid shows, as its page tells it.
SHOWN_TESTS = """() => [...document.querySelectorAll("#grid tbody tr:not(.file)")]
    .filter((row) => row.checkVisibility()).map((row) => row.cells[0].innerText)"""
SHOWN_SESSIONS = """() => [...document.querySelectorAll("#grid thead tr:last-child th")]
    .filter((cell) => cell.checkVisibility()).map((cell) => cell.innerText).slice(1, -1)"""
CELLS = """() => Object.fromEntries([...document.querySelectorAll("#grid tr:not(.file):has(td)")].map((row) => [
    row.cells[0].textContent, [...row.cells].slice(1, -1).map((cell) => [cell.dataset.outcome, cell.innerText])]))"""
HIDDEN_HEIGHT = """() => {
    const { clientHeight, scrollHeight } = document.querySelector("#grid-box");
    return scrollHeight - clientHeight; }"""
# Every text that is painted on a colour it cannot be read on, with both colours; gradients count with each of theirs.
POOR_CONTRAST = """
() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (channel) => (channel <= 10 ? channel / 3294.6 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const backgrounds = (element) => {
    if (!element) return [[255, 255, 255]];
    const style = getComputedStyle(element);
    const colours = [style.backgroundColor, ...(style.backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? [])]
      .map(channels);
    const painted = colours.filter((colour) => (colour[3] ?? 1) > 0);
    const covers = (channels(style.backgroundColor)[3] ?? 1) > 0;
    return covers ? painted : [...painted, ...backgrounds(element.parentElement)];
  };
  const poor = [];
  const judge = (element, colour, text) => {
    for (const background of backgrounds(element)) {
      if (ratio(channels(colour), background) < 4.5) poor.push(`${text}: ${colour} on ${background}`);
    }
  };
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (text && element.checkVisibility()) judge(element, getComputedStyle(element).color, text);
    if (element.placeholder) judge(element, getComputedStyle(element, "::placeholder").color, element.placeholder);
  }
  return poor;
}
"""


def session(name: str, environment: str | None = "bare", **facts: object) -> SessionRow:
    """Make a session that is proved, with these facts."""
    return SessionRow.model_validate({"name": name, "environment": environment, "state": "proved", **facts})


def everything() -> Matrix:
    """Make a small matrix that has one of everything the page can show."""
    trace = Trace(model=DIGEST, tokens=1, seconds=0.25)
    return Matrix(
        project="sample",
        generated="2026-01-02T03:04:05+00:00",
        sessions=[
            session(
                "unit-3.11",
                python="3.11.7",
                ran=4,
                seconds=12.5,
                lock=DIGEST,
                commit=DIGEST[:40] + "+",
                coverage=99.996,
            ),
            session(
                "llm",
                "full",
                ran=6,
                failed=1,
                skipped=1234,
                state="red",
                problems=["is red: mend it"],
                violations=["v1", "v2"],
            ),
            session("unit-3.12"),
            session("gone", None, state="missing", problems=["no receipt of it is here: run this session"]),
        ],
        tests=[
            TestRow(
                id="tests/test_b.py::test_slow",
                requires=["llm"],
                cells={
                    "unit-3.11": Cell(outcome="skipped", reason=SKIP, seconds=0.001),
                    "llm": Cell(outcome="passed", seconds=7.5, traces=[trace]),
                },
            ),
            TestRow(id="tests/test_b.py::test_fails", cells={"llm": Cell(outcome="failed", message="boom", seconds=1)}),
            TestRow(
                id="tests/test_a.py::TestA::test_other[a::b]",
                cells={
                    "unit-3.11": Cell(outcome="passed", seconds=2, violation="ran, although it should not"),
                    "unit-3.12": Cell(outcome="xfailed", reason="known", seconds=0.5),
                    "llm": Cell(outcome="xpassed", seconds=0.5),
                },
            ),
            TestRow(id="tests/test_a.py::test_lost", cells={"unit-3.11": Cell(outcome="missing")}),
        ],
        files=[
            FileCoverage(
                path="sample/part.py",
                statements=1200,
                percent=97.5,
                missing=["3-7", "9->12"],
                environments={"bare": 60.0, "full": 97.5},
                only={"full": ["20-31", "40"], "bare": [f"{line}" for line in range(100, 120, 2)]},
            ),
            FileCoverage(path="sample/whole.py", statements=3, percent=100, environments={"full": 100}),
        ],
        coverage=98.25,
        gate=100,
        partial=True,
        environments={"bare": 61.0, "full": 97.0},
        unproven=[
            Unproven(
                id="tests/test_g.py::test_gpu",
                needs=["cuda"],
                last=Proof(session="integration-cuda", finished="2025-12-24T18:00:00+00:00", commit=DIGEST[:40]),
            ),
            Unproven(id="tests/test_g.py::test_never", needs=["cuda", "llm"]),
        ],
        problems=["llm: is red: mend it", "the coverage is too low: test more"],
        notes=["one file does not count"],
    )


def hostile() -> Matrix:
    """Make a matrix in which every text that comes from a project tries to become markup."""
    cell = Cell(
        outcome="failed",
        reason=HOSTILE,
        message=HOSTILE,
        violation=HOSTILE,
        traces=[Trace(model=HOSTILE, tokens=2, seconds=1)],
    )
    return Matrix(
        project=HOSTILE,
        generated=HOSTILE,
        sessions=[
            session(
                HOSTILE, HOSTILE, python=HOSTILE, lock=HOSTILE, commit=HOSTILE, violations=[HOSTILE], problems=[HOSTILE]
            ),
            session("plain"),
        ],
        tests=[TestRow(id=f"{HOSTILE}::{HOSTILE}", requires=[HOSTILE], cells={HOSTILE: cell})],
        files=[FileCoverage(path=HOSTILE, statements=1, percent=0, missing=[HOSTILE], environments={HOSTILE: 1})],
        unproven=[Unproven(id=HOSTILE, needs=[HOSTILE])],
        problems=[HOSTILE],
        notes=[HOSTILE],
    )


def wide() -> Matrix:
    """Make a matrix of twelve sessions with long names, and of tests with long ids and reasons."""
    names = [f"a-session-with-a-rather-long-name-{number}" for number in range(12)]
    cells = {name: Cell(outcome="skipped", reason="word " * 3000) for name in names}
    return Matrix(
        project="a-project-with-a-name-" * 5,
        generated="2026-01-02T03:04:05+00:00",
        sessions=[session(name, f"environment-of-{name}") for name in names],
        tests=[TestRow(id=f"tests/{'folder/' * 30}test_a.py::test_{'x' * 5000}", cells=cells)],
        files=[FileCoverage(path="folder/" * 40, statements=1, percent=1, missing=[f"{n}" for n in range(900)])],
        unproven=[Unproven(id="x" * 500, needs=["cuda"])],
        problems=["x" * 500],
    )
