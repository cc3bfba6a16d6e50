"""Receipts on disk, and the digests that tie them to sources and locks."""

from __future__ import annotations

import json
import subprocess
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from skipproof.contract import Contract
from skipproof.receipts import (
    Receipt,
    ReceiptError,
    TestResult,
    check_session_name,
    checked_out,
    coverage_files,
    lock_digest,
    read_receipt,
    shown_violations,
    write_receipt,
)
from support.project import PYPROJECT
from support.samples import receipt, result

if TYPE_CHECKING:
    from support.project import Project


def test_receipt_is_read_as_it_was_written(project: Project) -> None:
    """A receipt is read exactly as it was written."""
    written = receipt(
        "unit",
        tests={
            "tests/unit/test_a.py::test_a": TestResult(
                outcome="skipped", reason="why", duration=0.5, requires=["alpha"]
            )
        },
    )
    path = write_receipt(project.contract, written)
    assert read_receipt(path) == written
    assert [file.name for file in path.parent.iterdir()] == ["unit.json"]


def test_very_many_violations_are_shortened(project: Project) -> None:
    """Of very many violations the first are shown, with where the rest are."""
    many = [f"test {number}: was deselected" for number in range(22)]
    assert shown_violations(project.contract, receipt("unit", violations=many[:20])) == many[:20]
    assert shown_violations(project.contract, receipt("unit", violations=many)) == [
        *many[:20],
        "and 2 more, all of them in .matrix/receipts/unit.json",
    ]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("", "unit.json is not a receipt (it is not JSON: "),
        ("{}", "unit.json is not a receipt (session: is missing)"),
        ('{"tests": {"a": {"outcome": "great"}}}', "unit.json is not a receipt ("),
        ('{"format": 99}', "unit.json has format 99, and this plugin reads format 6"),
    ],
)
def test_damaged_receipt_is_refused(project: Project, content: str, fact: str) -> None:
    """A truncated receipt, or one of another version, is refused."""
    path = project.write("unit.json", content)
    with pytest.raises(ReceiptError) as caught:
        read_receipt(path)
    assert str(caught.value).startswith(fact)
    assert str(caught.value).endswith(": run its session again")


def test_edited_receipt_is_refused(project: Project) -> None:
    """A receipt that was edited is refused."""
    path = write_receipt(project.contract, receipt("unit", tests={"tests/unit/test_a.py::test_a": result("failed")}))
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    with pytest.raises(ReceiptError, match=r"unit\.json was changed after its run sealed it: run its session again"):
        read_receipt(path)


def test_receipt_under_another_name_is_refused(project: Project) -> None:
    """A copy of a receipt under another session's name is refused."""
    path = write_receipt(project.contract, receipt("unit"))
    copy = path.rename(path.with_name("real.json"))
    with pytest.raises(ReceiptError, match=r"real\.json is the receipt of 'unit', under another name"):
        read_receipt(copy)


def test_unfinished_receipt_has_no_closing_mark(project: Project) -> None:
    """An unfinished receipt has no seal."""
    path = write_receipt(project.contract, receipt("unit", finished=None))
    assert read_receipt(path).seal is None
    path = write_receipt(project.contract, receipt("unit"))
    assert read_receipt(path).seal is not None


def test_commit_is_the_one_that_is_checked_out(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is the one checked out, with "+" if files differ from it."""
    assert checked_out(project.contract) is None
    git = ["git", "-C", str(project.root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert checked_out(project.contract) is None
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    clean = checked_out(project.contract)
    assert clean is not None
    assert len(clean) == 40
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(project.root / "another"))
    assert checked_out(project.contract) == clean
    project.write("pyproject.toml", "changed = 1\n" + PYPROJECT)
    assert checked_out(Contract(project.root, {}, {}, (), {}, "")) == f"{clean}+"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", ".x", "a b"])
def test_session_name_has_to_be_a_file_name(name: str) -> None:
    """A session's name must be valid as a file name."""
    with pytest.raises(ReceiptError, match=r"a session cannot be called .*: use letters, digits"):
        check_session_name(name)


def test_lock_digest_follows_the_lock(project: Project) -> None:
    """The digest of a lock changes with the lock, and there is no digest without one."""
    before = lock_digest(project.contract, "full")
    project.write("locks/full.txt", "torch==2\n")
    assert lock_digest(project.contract, "full") not in {before, None}
    (project.root / "locks" / "full.txt").unlink()
    assert lock_digest(project.contract, "full") is None


def test_coverage_files_are_those_of_the_session(project: Project) -> None:
    """A session's coverage files are its own and its processes', and no other session's."""
    for session in ("unit", "unit.old"):
        write_receipt(project.contract, receipt(session))
    names = ["unit", "unit.host.pid1.Xa", "unit.host.pid2.Xb", "unit.old", "unit.old.host.pid3.Xc", "units"]
    for name in names:
        project.write(f".matrix/coverage/.coverage.{name}", "")
    found = {
        session: [path.name for path in coverage_files(project.contract, session)] for session in ("unit", "unit.old")
    }
    assert found == {
        "unit": [".coverage.unit", ".coverage.unit.host.pid1.Xa", ".coverage.unit.host.pid2.Xb"],
        "unit.old": [".coverage.unit.old", ".coverage.unit.old.host.pid3.Xc"],
    }


def test_receipt_is_plain_json(project: Project) -> None:
    """Other programs can read a receipt as plain JSON."""
    path = write_receipt(project.contract, receipt("unit", exit_status=0))
    document = json.loads(path.read_text())
    assert document["session"] == "unit"
    assert set(document) == {field.name for field in fields(Receipt)}
