"""Makes up a large matrix, the same one for the same seed, for looking at the report and timing it.

    python benchmarks/sample_matrix.py FOLDER [--tests 1000] [--environments 5] [--seed 1]

writes ``FOLDER/index.html``, and the receipts it could have come from to ``FOLDER/receipts``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from pathlib import Path

# A script's own folder is on the path, the project's root is not.
sys.path.insert(0, str(Path(__file__).parent.parent))
from skipproof import records
from skipproof.matrix import Cell, FileCoverage, Matrix, Proof, SessionRow, TestRow, Unproven
from skipproof.page import render
from skipproof.receipts import Outcome, Receipt, TestResult, Trace

TESTS_PER_FILE = 25
MOSTLY = 0.8
NOW = "2026-01-01T12:00:00+00:00"
WORDS = (
    "stream",
    "close",
    "load",
    "cancel",
    "config",
    "memory",
    "digest",
    "retry",
    "usage",
    "prompt",
    "unicode",
    "queue",
)
CAPABILITIES = {
    "llm": "pip install 'sample[llm]'",
    "server": "pip install 'sample[server]'",
    "gpu": "a machine with a GPU",
}


def main() -> None:
    """Write the page and the receipts, and print the page's size."""
    parser = argparse.ArgumentParser(description="Make a large sample of the matrix.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--environments", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    matrix = sample(options.tests, options.environments, options.seed)
    receipts = options.folder / "receipts"
    receipts.mkdir(parents=True, exist_ok=True)
    for session in matrix.sessions:
        path = receipts / f"{session.name}.json"
        path.write_text(json.dumps(records.document(receipt(matrix, session)), indent=1), encoding="utf-8")
    page = options.folder / "index.html"
    page.write_text(render(matrix), encoding="utf-8")
    sys.stdout.write(f"{page}: {page.stat().st_size / 1e3:.0f} kB\n")


def sample(tests: int, environments: int, seed: int) -> Matrix:
    """Return a matrix of this size: most of it green, a little of everything else."""
    dice = random.Random(seed)  # noqa: S311 - a sample has to be repeatable, not secret
    sessions = [session_row(number, dice) for number in range(environments)]
    rows = [test_row(number, sessions, dice) for number in range(tests)]
    for session in sessions:
        cells = [row.cells[session.name] for row in rows]
        session.ran = sum(cell.outcome != "skipped" for cell in cells)
        session.skipped = len(cells) - session.ran
        session.failed = sum(cell.outcome == "failed" for cell in cells)
        session.seconds = sum(cell.seconds for cell in cells)
        session.state = "red" if session.failed else "proved"
    idle = [row for row in rows if all(cell.outcome == "skipped" for cell in row.cells.values())]
    last = Proof(session="session-gpu", finished=NOW, commit=digest("old")[:40])
    return Matrix(
        project="sample",
        generated=NOW,
        sessions=sessions,
        tests=rows,
        files=[file_coverage(number, sessions, dice) for number in range(tests // TESTS_PER_FILE)],
        coverage=98.5,
        gate=100,
        unproven=[
            Unproven(id=row.id, needs=row.requires, last=last if dice.random() < MOSTLY else None) for row in idle
        ],
        problems=[
            "the coverage is 98.5 %, and 100 % are asked for: test what it shows as missing",
            *(
                f"{session.name}: is red (exit status 1, {session.failed} failed tests): fix them, and run it again"
                for session in sessions
                if session.failed
            ),
        ],
    )


def session_row(number: int, dice: random.Random) -> SessionRow:
    """Return a session, with more capabilities the later it comes; its counts are not yet known."""
    names = list(CAPABILITIES)
    return SessionRow(
        name=f"session-{number}",
        environment=f"environment-{number}",
        state="proved",
        python=f"3.{11 + number % 4}.7",
        platform="Linux x86_64",
        machine={"processor": "a processor", "features": "avx2 avx512f" if number % 2 else "avx2"},
        capabilities=names[: number % len(names)],
        coverage=round(dice.uniform(70, 95), 2),
        lock=digest(f"lock {number}"),
        commit=digest("commit")[:40],
        started=NOW,
    )


def test_row(number: int, sessions: list[SessionRow], dice: random.Random) -> TestRow:
    """Return a test, with its outcome in each session."""
    words = "_".join(dice.sample(WORDS, 3))
    # One capability for some tests, as in a project whose unit tests need none.
    needs = dice.choices(([], *([name] for name in CAPABILITIES)), weights=(70, 18, 10, 2))[0]
    name = f"tests/unit/area_{number // TESTS_PER_FILE:02}/test_part.py::test_{words}_{number}"
    return TestRow(id=name, requires=needs, cells={session.name: cell(needs, session, dice) for session in sessions})


def cell(needs: list[str], session: SessionRow, dice: random.Random) -> Cell:
    """Return a test's outcome in one session: a skip for the derived reason, a failure, or most often a pass."""
    missing = [name for name in needs if name not in session.capabilities]
    if missing:
        reason = f"needs {', '.join(missing)}: {CAPABILITIES[missing[0]]}"
        return Cell(outcome="skipped", reason=reason, seconds=0.0001)
    traces = [Trace(model=digest("model"), tokens=dice.randint(2, 90), seconds=dice.random() * 4)] if needs else []
    outcomes: tuple[Outcome, ...] = ("passed", "failed")
    return Cell(
        outcome=dice.choices(outcomes, weights=(999, 1))[0],
        seconds=round(dice.lognormvariate(-4, 1.5), 4),
        traces=traces,
    )


def file_coverage(number: int, sessions: list[SessionRow], dice: random.Random) -> FileCoverage:
    """Return one file's coverage."""
    part = {f"{session.environment}": round(dice.uniform(60, 100), 2) for session in sessions}
    line = dice.randint(5, 80)
    return FileCoverage(
        path=f"sample/area_{number:02}/part.py",
        statements=dice.randint(20, 300),
        percent=100 if dice.random() < MOSTLY else 97.5,
        missing=[] if dice.random() < MOSTLY else [f"{line}-{line + 4}", str(line + 9)],
        environments=part,
        only={f"{sessions[-1].environment}": [f"{line + 20}-{line + 31}", str(line + 40)]}
        if dice.random() > MOSTLY
        else {},
    )


def receipt(matrix: Matrix, session: SessionRow) -> Receipt:
    """Return the receipt of a session of the matrix."""
    results = {
        row.id: TestResult(
            outcome=row.cells[session.name].outcome,
            reason=row.cells[session.name].reason,
            duration=row.cells[session.name].seconds,
            requires=row.requires,
            traces=row.cells[session.name].traces,
        )
        for row in matrix.tests
    }
    return Receipt(
        session=session.name,
        environment=f"{session.environment}",
        capabilities=session.capabilities,
        python=f"{session.python}",
        platform=f"{session.platform}",
        machine=session.machine,
        lock=session.lock,
        sources={"tests/unit/test_a.py": digest("sources")},
        commit=session.commit,
        suites=["tests/unit"],
        coverage=f".matrix/coverage/.coverage.{session.name}",
        process=1,
        started=NOW,
        finished=NOW,
        exit_status=1 if session.failed else 0,
        tests=results,
    )


def digest(text: str) -> str:
    """Return a digest, as if of something."""
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
