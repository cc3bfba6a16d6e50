"""The matrix in a workflow's step summary."""

from __future__ import annotations

from dataclasses import replace

from skipproof import markdown
from skipproof.matrix import Cell, FileCoverage, Matrix, SessionRow, TestRow, Unproven

PROVED = Matrix(
    project="sample",
    generated="",
    sessions=[
        SessionRow(
            name="unit", environment="bare", state="proved", ran=2, skipped=1, seconds=3, coverage=50, lock="1" * 64
        )
    ],
    coverage=100,
    environments={"bare": 50, "full": 75},
    gate=100,
)


def test_proved_matrix_is_short() -> None:
    """The summary of a proved matrix shows what it proved, without empty sections."""
    assert markdown.render(PROVED).splitlines() == [
        "## Proved: sample",
        "",
        "Proved: 1 session agrees, and the gate of 100 % is reached.",
        "",
        "| session | environment | ran | skipped | failed | time | covered | lock | state |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| unit | bare | 2 | 1 | 0 | 3.0 s | 50.00 % | 11111111 | :white_check_mark: proved |",
        "",
        "Covered by all together: **100.00 %**, by bare alone: 50.00 %, by full alone: 75.00 %",
    ]


def test_machines_are_named_once() -> None:
    """Each machine is in the summary once, with the sessions that ran on it."""
    on = {"processor": "a <fast> one", "torch": "AVX2"}
    rows = [replace(PROVED.sessions[0], name=name, machine=on) for name in ("one", "two")]
    text = markdown.render(replace(PROVED, sessions=[*rows, *PROVED.sessions]))
    assert text.endswith("### Machines\n\n- one, two: processor: a \\<fast\\> one; torch: AVX2\n")


def test_red_matrix_says_what_is_wrong() -> None:
    """The summary of a red run says everything that is wrong."""
    test = TestRow(
        id="tests/test_a.py::test_[x]", cells={"unit": Cell(outcome="failed", message="assert <b> == 1\n| 2")}
    )
    files = [
        FileCoverage(path="a.py", statements=3, percent=66.6, missing=["3", "1->2"], only={"bare": ["1-2"]}),
        FileCoverage(path="tests/test_a.py", statements=3, percent=100, only={"bare": ["7"]}),
    ]
    matrix = replace(
        PROVED,
        sessions=[*PROVED.sessions, SessionRow(name="gone", state="missing")],
        tests=[test],
        files=files,
        unproven=[Unproven(id="tests/test_g.py::test_`x|y`", needs=["gpu"])],
        problems=["gone: no *receipt*"],
        notes=["passed over"],
    )
    text = markdown.render(matrix)
    assert text.startswith("## Not proved: sample\n\nNot proved: 1 thing is wrong.\n")
    part = markdown.render(replace(matrix, partial=True))
    assert part.startswith("## Not proved: sample\n\nNot proved: 1 thing is wrong. The 100.00 % in brackets is not ")
    assert "Not covered" not in part
    assert "### What is wrong\n\n- gone: no \\*receipt\\*\n" in text
    assert "| gone | unknown | - | - | - | - | - | - | :x: missing |\n" in text
    assert "### Failed\n\n- tests/test\\_a.py::test\\_\\[x\\] in unit: assert \\<b\\> == 1 \\| 2\n" in text
    assert "### 1 unproven: no machine had what they need\n" in text
    assert "| ``tests/test_g.py::test_`x\\|y` `` | gpu | no receipt here says that it ever passed |\n" in text
    assert (
        "### Not covered\n\n| file | covered | missing |\n| --- | ---: | ---: |\n| `a.py` | 66.60 % | 3, 1->2 |\n"
        in text
    )
    assert "<details><summary>Lines that one environment alone reaches (bare: 3 lines in 2 files)</summary>\n\n" in text
    assert "| `a.py` | bare | 1-2 |\n\n</details>\n" in text
    assert text.endswith("### Notes\n\n- passed over\n")


def test_what_coverage_leaves_out_is_listed() -> None:
    """Lines and branches that a pragma or a setting excludes are in the summary, by file."""
    file = FileCoverage(path="a_b.py", statements=3, percent=100, excluded=["3-4"], unbranched=["7"])
    text = markdown.render(replace(PROVED, files=[file, FileCoverage(path="b.py", statements=3, percent=100)]))
    assert text.endswith("### Left out of coverage by a pragma or a setting\n\n- a\\_b.py 3-4, 7 (branch)\n")
