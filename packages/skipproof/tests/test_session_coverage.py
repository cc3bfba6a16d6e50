"""A session's coverage data: its processes' data combined, described, and checked later."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from coverage import CoverageData
from coverage.exceptions import CoverageException

from skipproof.session_coverage import data_problems, described, gather
from support.project import CODE
from support.samples import ARCS, current, receipt, write_data

if TYPE_CHECKING:
    from support.project import Project

AGAIN = "run it again with coverage run --data-file=.matrix/coverage/.coverage.unit --context=bare"
HALF = ARCS - {(2, 3), (3, -1)}


def problems(project: Project) -> list[str]:
    """Return what is wrong with data that is checked against its own description."""
    return data_problems(project.contract, current(project, "unit"))


def test_processes_are_put_together(measured: Project) -> None:
    """The data of all processes is combined, with paths relative to the project."""
    measured.write("lib/other.py", CODE)
    for process, file, arcs in ((7, "code.py", HALF), (8, "code.py", ARCS - HALF), (9, "lib/other.py", HALF)):
        write_data(measured, f"unit.host.pid{process}.X", arcs=arcs, file=str(measured.root / file))
    measured.write(".matrix/coverage/.coverage.unit.host.pid10.X", "")
    gathered = gather(measured.contract, "unit")
    folder = measured.root / ".matrix" / "coverage"
    assert [path.name for path in folder.iterdir()] == [".coverage.unit"]
    assert gathered == described(folder / ".coverage.unit")
    assert gathered.lines == {"code.py": 4, "lib/other.py": 3}
    with closing(CoverageData(basename=str(folder / ".coverage.unit"))) as data:
        data.read()
        assert set(data.arcs("code.py") or ()) == ARCS
        assert data.measured_contexts() == {"bare"}
    assert problems(measured) == []


def test_only_data_is_put_together_too(measured: Project) -> None:
    """The data of a single process gets relative paths too."""
    write_data(measured, "unit", file=str(measured.root / "code.py"))
    assert gather(measured.contract, "unit").lines == {"code.py": 4}
    assert problems(measured) == []


def test_paths_of_the_configuration_are_heeded(measured: Project) -> None:
    """[tool.coverage.paths] maps an installed package to its sources."""
    text = (measured.root / "pyproject.toml").read_text()
    measured.write("pyproject.toml", f'{text}\n[tool.coverage.paths]\nsource = ["lib", "*/site-packages"]\n')
    measured.write("lib/code.py", CODE)
    write_data(measured, "unit.host.pid7.X", file="/somewhere/site-packages/code.py")
    assert gather(measured.contract, "unit").lines == {"lib/code.py": 4}


def test_project_behind_a_link_is_found(measured: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths become relative when the project is reached through a symbolic link."""
    link = measured.root.with_name("link")
    link.symlink_to(measured.root)
    write_data(measured, "unit.host.pid7.X", file=os.path.realpath("code.py"))
    monkeypatch.setattr(measured, "root", link)
    assert gather(measured.contract, "unit").lines == {"code.py": 4}


def test_damaged_data_of_a_process_is_an_error(measured: Project) -> None:
    """Damaged data of a process is an error."""
    write_data(measured, "unit.host.pid7.X", file=str(measured.root / "code.py"))
    path = write_data(measured, "unit.host.pid8.X", file=str(measured.root / "code.py"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CoverageException, match=r"pid8"):
        gather(measured.contract, "unit")


def test_data_that_comes_late_is_no_part_of_the_proof(measured: Project) -> None:
    """Data that a process writes after the run does not count."""
    write_data(measured, "unit", file="code.py")
    write_data(measured, "unit.host.pid8.X", context="other")
    assert problems(measured) == []


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"coverage": None}, "its coverage was not measured"),
        (
            {"gathered": None},
            "its processes' coverage data was not combined, because the run's own process died first",
        ),
    ],
)
def test_data_that_nobody_describes_is_refused(measured: Project, changes: dict[str, None], fact: str) -> None:
    """Data that the receipt does not describe is refused."""
    write_data(measured, "unit")
    assert data_problems(measured.contract, receipt("unit", **changes)) == [f"{fact}: {AGAIN}"]


def test_missing_data_is_refused(measured: Project) -> None:
    """A session without its own data is refused, even if data of its processes is there."""
    each = current(measured, "unit", gathered=described(write_data(measured, "unit.host.pid8.X")))
    assert data_problems(measured.contract, each) == [
        f"coverage data .matrix/coverage/.coverage.unit is missing: {AGAIN}"
    ]


@pytest.mark.parametrize(
    ("content", "fact"),
    [(0, "is empty"), (100, "cannot be read (")],
)
def test_truncated_data_is_refused(measured: Project, content: int, fact: str) -> None:
    """Truncated data is refused."""
    path = write_data(measured, "unit")
    each = current(measured, "unit")
    path.write_bytes(path.read_bytes()[:content])
    [problem] = data_problems(measured.contract, each)
    assert problem.startswith(f"coverage data .coverage.unit {fact}")


def test_loss_is_told_by_line_and_file(measured: Project) -> None:
    """Data that lost lines is refused, with how many and in which file."""
    measured.write("lib/other.py", CODE)
    write_data(measured, "unit")
    path = write_data(measured, "unit", file="lib/other.py")
    each = current(measured, "unit")
    path.unlink()
    write_data(measured, "unit", arcs=HALF)
    assert data_problems(measured.contract, each) == [
        f"coverage data .coverage.unit lost 5 of the 8 lines that its run measured, 4 of them in lib/other.py: {AGAIN}"
    ]


def test_data_that_grew_is_refused(measured: Project) -> None:
    """Data that was added to after the run is refused."""
    write_data(measured, "unit", arcs=HALF)
    each = current(measured, "unit")
    write_data(measured, "unit")
    assert data_problems(measured.contract, each) == [
        f"coverage data .coverage.unit was changed after its run sealed it: {AGAIN}"
    ]


def test_data_without_a_line_is_refused(measured: Project) -> None:
    """Data without a line is refused."""
    write_data(measured, "unit", arcs=[])
    assert problems(measured) == [f"coverage data .coverage.unit is empty: {AGAIN}"]


def test_data_of_another_environment_is_refused(measured: Project) -> None:
    """Data of another environment is refused."""
    write_data(measured, "unit", context="full")
    assert problems(measured) == [f"coverage data .coverage.unit is of context 'full', not 'bare': {AGAIN}"]


@pytest.mark.parametrize("absolute", [True, False])
def test_measured_file_that_is_not_here_is_refused(measured: Project, *, absolute: bool) -> None:
    """Data of a file that does not exist in this folder is refused."""
    name = f"{measured.root}/code.py" if absolute else "lib/code.py"
    write_data(measured, "unit", file=name)
    [problem] = problems(measured)
    fact = f"has no source in this folder for 1 of its files, such as {name}; "
    assert problem.startswith(f"coverage data .coverage.unit {fact}")


def test_paths_of_windows_are_understood(measured: Project) -> None:
    """Paths in data from Windows find their sources."""
    measured.write("lib/code.py", CODE)
    assert described(write_data(measured, "unit", file="lib\\code.py")).lines == {"lib/code.py": 4}
    assert problems(measured) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("setup.cfg", "[coverage:paths]\nsource =\n    lib\n    */site-packages\n"),
        ("tox.ini", "[coverage:paths]\nsource =\n    lib\n    */site-packages\n"),
        (".coveragerc", "[paths]\nsource =\n    lib\n    */site-packages\n"),
        (".coveragerc.toml", "[tool.coverage.paths]\nsource = ['lib', '*/site-packages']\n"),
    ],
)
def test_a_project_without_pyproject_has_its_coverage(
    measured: Project, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    """Coverage's settings are found where coverage finds them, whatever folder the last test left."""
    contract = measured.contract
    (measured.root / "pyproject.toml").unlink()
    measured.write(file, text)
    measured.write("lib/code.py", CODE)
    write_data(measured, "unit.host.pid7.X", file="/somewhere/site-packages/code.py")
    monkeypatch.chdir("lib")
    assert gather(contract, "unit").lines == {"lib/code.py": 4}
