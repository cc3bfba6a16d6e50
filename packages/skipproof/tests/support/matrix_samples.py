"""Matrices to render as pages: one with everything, a hostile one, and one that is hard to fit on a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skipproof.matrix import Cell, FileCoverage, Matrix, Proof, SessionRow, TestRow, Unproven
from skipproof.receipts import Trace

if TYPE_CHECKING:
    from skipproof.matrix import State

DIGEST = "0123456789abcdef" * 4
SKIP = "needs llm: pip install 'sample[llm]'"
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\"'&amp;\u2028{{data}}"


def session(name: str, environment: str | None = "bare", state: State = "proved", **facts: Any) -> SessionRow:
    """Make a proved session with these facts."""
    return SessionRow(name=name, environment=environment, state=state, **facts)


def everything() -> Matrix:
    """Make a small matrix with one of everything that the page can show."""
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
                machine={"processor": "a processor", "features": "avx2"},
            ),
            session(
                "llm",
                "full",
                ran=6,
                failed=1,
                skipped=1234,
                state="red",
                problems=["is red: fix it"],
                violations=["v1", "v2"],
            ),
            session("unit-3.12", machine={"processor": "a processor", "features": "avx2"}),
            session("gone", None, state="missing", problems=["has no receipt: run this session"]),
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
        problems=["llm: is red: fix it", "the coverage is too low: test more"],
        notes=["one file does not count"],
    )


def hostile() -> Matrix:
    """Make a matrix in which every string from a project tries to become markup."""
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
    """Make a matrix of twelve sessions with long names, and tests with long ids and reasons."""
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
