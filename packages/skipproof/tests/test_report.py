"""The command that shows the matrix, whatever happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import records, report
from skipproof.__main__ import main
from skipproof.matrix import Matrix
from skipproof.receipts import write_receipt
from support.samples import current, result, write_data

if TYPE_CHECKING:
    from support.project import Project


def test_red_matrix_is_shown_whole(
    measured: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a red run the report is new and complete, and shows what is red."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    measured.write("summary.md", "before\n")
    failed = {"tests/unit/test_a.py::test_a": result("failed")}
    write_data(measured, "unit")
    write_receipt(measured.contract, current(measured, "unit", tests=failed, exit_status=1))
    measured.write(".matrix/report/junit-gone.xml", "of an earlier run")
    measured.write(".matrix/report/junit-bare.xml", "of an earlier run")
    measured.write(".matrix/report/notes.txt", "of somebody else")
    assert report.main(["--expect", "unit", "full"]) == 0
    out = capsys.readouterr().out
    assert "Failed:\n- tests/unit/test_a.py::test_a in unit\n" in out
    assert "- full: has no receipt: run this session\n" in out
    assert "Not proved: 2 things are wrong." in out
    assert out.endswith("Full report: .matrix/report/index.html\n")
    folder = measured.root / ".matrix" / "report"
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "junit-bare.xml",
        "junit-unknown.xml",
        "matrix.json",
        "notes.txt",
    }
    matrix = records.read(Matrix, records.parsed((folder / "matrix.json").read_bytes()))
    assert [row.state for row in matrix.sessions] == ["red", "missing"]
    assert (matrix.coverage, matrix.partial, matrix.files[0].path) == (100, True, "code.py")
    assert "test_a.py::test_a" in (folder / "index.html").read_text(encoding="utf-8")
    assert (measured.root / "summary.md").read_text().startswith("before\n## Not proved: ")
    assert "earlier" not in (folder / "junit-bare.xml").read_text()
    # Partial data is not merged data.
    assert not (measured.root / ".matrix" / "coverage" / "coverage.json").exists()


def test_proved_matrix_is_shown(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A green run's report says that it is proved, outside a workflow too."""
    for session, environment in (("one", "bare"), ("two", "full")):
        write_data(measured, session, environment)
        write_receipt(measured.contract, current(measured, session, environment))
    assert report.main([]) == 0
    assert "Proved: 2 sessions agree, and the gate of 100 % is reached.\n" in capsys.readouterr().out


def test_report_of_nothing_is_a_usage_error(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A report without any receipt is a usage error."""
    with pytest.raises(SystemExit) as caught:
        report.main([])
    assert caught.value.code == 4
    assert ".matrix/receipts holds no receipt: run a session" in capsys.readouterr().err
    assert not (measured.root / ".matrix").exists()


@pytest.mark.parametrize(
    ("variable", "place"), [("GITHUB_STEP_SUMMARY", "nowhere/summary.md"), ("NOTHING", ".matrix/report")]
)
def test_what_cannot_be_written_is_named(
    measured: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    place: str,
) -> None:
    """A folder that is not there, or a file in its way, is an error with its path, not a traceback."""
    monkeypatch.setenv(variable, place)
    write_receipt(measured.contract, current(measured, "unit"))
    measured.write(".matrix/report", "")
    if variable != "NOTHING":
        (measured.root / ".matrix" / "report").unlink()
    assert main(["report"]) == pytest.ExitCode.USAGE_ERROR
    error = capsys.readouterr().err
    assert error.startswith("skipproof report: error: ")
    assert f"{place}': correct what is there, or who may write it" in error


def test_the_report_reads_what_others_left(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A note that is not UTF-8, and a folder whose name looks like a receipt's, do not end the report."""
    write_receipt(measured.contract, current(measured, "unit"))
    measured.write(".matrix/notes/a.txt", "")
    (measured.root / ".matrix/notes/a.txt").write_bytes(b"caf\xe9")
    (measured.root / "earlier" / "old.json").mkdir(parents=True)
    assert report.main(["--last", "earlier"]) == 0
    assert "a: caf\\xe9" in capsys.readouterr().out
