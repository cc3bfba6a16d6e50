"""The matrix in a terminal and in a log."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest

from skipproof import terminal
from skipproof.matrix import Cell, FileCoverage, Matrix, Proof, SessionRow, TestRow, Unproven

LONG = f"unit: {'a sentence that goes on ' * 9}: run it again"


def red_matrix(**changes: Any) -> Matrix:
    """Make a matrix with something wrong everywhere."""
    values: dict[str, Any] = {
        "project": "sample",
        "generated": "2026-01-01T00:00:00+00:00",
        "sessions": [
            SessionRow(
                name="unit-3.11",
                environment="bare",
                state="proved",
                ran=12,
                skipped=3,
                seconds=61.4,
                coverage=66.666,
                lock="0123456789abcdef",
                machine={"processor": "a [fast] one", "dtype": "float32"},
            ),
            SessionRow(name="a-session-with-a-name-that-is-long", environment="full", state="red", ran=1, failed=1),
            SessionRow(name="gone", state="missing"),
        ],
        "tests": [
            TestRow(
                id="tests/test_a.py::test_[bold]",
                cells={
                    "unit-3.11": Cell(outcome="passed"),
                    "full": Cell(outcome="failed", message="assert 'café' == 'tea'"),
                },
            )
        ],
        "files": [
            FileCoverage(path="a.py", statements=9, percent=66.666, missing=["3-7", "9->12"], only={"bare": ["1-3"]}),
            FileCoverage(path="b.py", statements=9, percent=100, only={"bare": ["5"]}),
        ],
        "coverage": 80.0,
        "partial": True,
        "environments": {"bare": 66.666, "full": 50.0},
        "gate": 100.0,
        "unproven": [Unproven(id="tests/test_g.py::test_g", needs=["gpu"])],
        "problems": [LONG, "gone: no receipt"],
        "notes": ["one was passed over"],
    }
    return Matrix(**(values | changes))


def shown(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is printed for a matrix."""
    terminal.show(matrix)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting for colours or widths comes from where the tests run."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_everything_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A red run shows every session, failure and cause."""
    out = shown(red_matrix(), capsys)
    table, _, rest = out.partition("\n\n")
    assert [line.split() for line in table.splitlines()[2:5]] == [
        ["bare", "66.66", "%"],
        ["unit-3.11", "12", "3", "0", "1:01", "min", "66.66", "%", "01234567", "proved"],
        ["full", "50.00", "%"],
    ]
    assert re.search(r"^  gone  .* missing$", table, re.MULTILINE)
    assert re.search(r"^all together +\(80\.00 %\) *$", table, re.MULTILINE)
    assert "Failed:\n- tests/test_a.py::test_[bold] in full: assert 'café' == 'tea'\n" in rest
    assert "Unproven (needs gpu; no receipt here says that it ever passed):\n- tests/test_g.py::test_g\n" in rest
    assert "Not covered" not in rest
    assert "Lines that one environment alone reaches:\n- bare: 4 lines in 2 files\n" in rest
    assert "Notes:\n- one was passed over\n" in rest
    assert f"What is wrong:\n- {LONG}\n- gone: no receipt\n" in rest
    part = "The 80.00 % in brackets is not the total: some sessions' data does not count."
    assert rest.endswith(f"Not proved: 2 things are wrong. {part}\n")


def test_proved_matrix_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    """A green run has no empty sections."""
    sessions = [SessionRow(name="unit", environment="bare", state="proved")]
    matrix = Matrix(project="p", generated="", sessions=sessions, coverage=100, gate=100)
    _, _, rest = shown(matrix, capsys).partition("\n\n")
    assert rest == "Proved: 1 session agrees, and the gate of 100 % is reached.\n"


def test_many_files_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    """A long list of files is cut, and does not push the problems out of sight."""
    files = [FileCoverage(path=f"{number}.py", statements=1, percent=0, missing=["1"]) for number in range(23)]
    files[0].missing = [str(2 * number) for number in range(22)]
    out = shown(red_matrix(files=files, partial=False), capsys)
    assert "Not covered:\n- 0.py  0.00 %  0, 2, 4, " in out
    assert ", 36, 38, and 2 more\n- 1.py  0.00 %  1\n" in out
    assert "- 19.py  0.00 %  1\n- and 3 more files\n" in out
    assert "and 1 more file\n" in shown(red_matrix(files=files[:21], partial=False), capsys)


def test_what_coverage_leaves_out_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines and branches that a pragma or a setting excludes are shown by file."""
    file = FileCoverage(path="a.py", statements=3, percent=100, excluded=["3-4"], unbranched=["7"])
    out = shown(red_matrix(files=[file]), capsys)
    assert "Left out of coverage by a pragma or a setting:\n- a.py  3-4, 7 (branch)\n" in out


def test_brief_is_what_decides(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``brief``, only the sessions, the notes and the problems are shown."""
    terminal.show(red_matrix(partial=False), brief=True)
    _, _, rest = capsys.readouterr().out.partition("\n\n")
    assert rest.startswith(
        f"Notes:\n- one was passed over\n\nNot covered:\n- a.py  66.66 %  3-7, 9->12\n\nWhat is wrong:\n- {LONG}\n"
    )


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_is_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, coloured: bool
) -> None:
    """Colour is for terminals, or for those who force it; a log has none."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # Colours only: NO_COLOR does not affect bold text.
    assert (re.search(r"\x1b\[[\d;]*3[0-7]m", shown(red_matrix(), capsys)) is not None) is coloured


def test_terminal_of_80_columns_is_enough(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns the table fits, and no word is cut."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    name = f"tests/test_g.py::test_{'g' * 99}"
    matrix = red_matrix(unproven=[Unproven(id=name, needs=["gpu"])])
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown(matrix, capsys)).splitlines()
    assert [line for line in lines[:-1] if len(line) > 80] == [f"- {name}"]
    [first] = [number for number, line in enumerate(lines) if line.startswith("- unit: a sentence")]
    assert lines[first + 1].startswith("  ")
    assert set(" ".join(lines[first : first + 3]).split()) <= set(f"- {LONG}".split())


def test_terminal_without_unicode_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the terminal cannot write are escaped."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    terminal.show(red_matrix())
    text = written.getvalue().decode("ascii")
    assert r"assert 'caf\xe9' == 'tea'" in text
    assert r"\u2500" not in text


def test_last_proof_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """An unproven test has its last proof."""
    proofs = [
        Proof(session="cuda", finished="2026-01-02T03:04:05+00:00", commit="0123456789abcdef+"),
        Proof(session="cuda", finished="2026-01-02T03:04:05+00:00", commit=None),
    ]
    unproven = [Unproven(id=f"test_{number}", needs=["gpu"], last=proof) for number, proof in enumerate(proofs)]
    out = shown(red_matrix(unproven=unproven), capsys)
    assert "Unproven (needs gpu; last proved 2026-01-02 in cuda at 0123456789ab with changes):\n- test_0\n" in out
    assert "Unproven (needs gpu; last proved 2026-01-02 in cuda):\n- test_1\n" in out


def test_violations_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    """A long list of violations is cut for each session."""
    sessions = [
        SessionRow(name="one", environment="bare", state="red", violations=[f"{number}: x" for number in range(23)]),
        SessionRow(name="two", environment="bare", state="red", violations=["y: z"]),
    ]
    out = shown(red_matrix(sessions=sessions, coverage=None, problems=["one"]), capsys)
    assert "- violation in one: 19: x\n- and 3 more violations in one\n- violation in two: y: z\n" in out
    assert out.endswith("Not proved: 1 thing is wrong.\n")
    assert re.search(r"^all together +unknown *$", out, re.MULTILINE)
