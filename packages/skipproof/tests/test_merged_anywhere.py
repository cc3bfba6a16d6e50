"""Real runs of one project in two folders, merged in a third, and as far as possible on another machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from coverage import CoverageData

from skipproof import merge, records, report
from skipproof.exits import ExitStatus
from skipproof.matrix import Matrix
from support.project import PYPROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Each branch is reached by a process that starts in another folder: the project's, below, above and beside it.
CODE = """
import sys


def answer(text):
    if text == "0":
        return "zero"
    if text == "1":
        return "one"
    if text == "2":
        return "two"
    return "many"


print(answer(sys.argv[1]))
"""
TEST = """
import os
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import Coverage

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("number", "folder"), list(enumerate([".", "src/package", "..", "elsewhere"])))
def test_a(number, folder, tmp_path):
    where = tmp_path if folder == "elsewhere" else ROOT / folder
    subprocess.run([sys.executable, ROOT / "src" / "package" / "code.py", str(number)], cwd=where, check=True)


def test_b(tmp_path, monkeypatch):
    # Another Coverage object tells the one that measures this process what paths are relative to.
    monkeypatch.chdir(tmp_path)
    Coverage(data_file=None).get_data().close(force=True)
"""
MEASURED = '[tool.coverage.run]\nbranch = true\nsource_dirs = ["src", "tests"]\npatch = ["_exit", "subprocess"]\n'
# A separate process sees everything that is installed here, and the project's lock names nothing.
CONFTEST = "from skipproof import search_path as s\ns.folders = s.libraries = list\n"
SESSIONS = {"one": "bare", "two": "slim"}


def create(root: Path) -> Path:
    """Write the project into a folder."""
    table = PYPROJECT.replace("[tool.coverage.run]\nbranch = true\n", MEASURED)
    table = table.replace('"setup.py"]', '"src"]').replace("bare = []\n", "bare = []\nslim = []\n")
    files = {
        "pyproject.toml": table.replace('"tests/unit", "tests/real"', '"tests/unit"'),
        "conftest.py": CONFTEST,
        "src/package/code.py": CODE,
        "tests/unit/test_a.py": TEST,
        "locks/bare.txt": "",
        "locks/slim.txt": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def prove(root: Path, session: str) -> None:
    """Run a session of the project for real, in its folder, measured."""
    data = ["--data-file", f".matrix/coverage/.coverage.{session}", "--context", SESSIONS[session]]
    named = ["-p", "skipproof.plugin", "--skipproof", SESSIONS[session], "--skipproof-session", session]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTEST_"))}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "coverage", "run", *data, "-m", "pytest", "-q", *named]
    ended = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""


def carry(root: Path, into: Path, archive: Path) -> None:
    """Carry what a session left to another folder in a zip file, as an artifact does."""
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (root / ".matrix").rglob("*"):
            packed.write(path, path.relative_to(root))
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(into)


@pytest.fixture(scope="module")
def merged_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name that got the results of two other folders, which are gone."""
    folder = tmp_path_factory.mktemp("anywhere")
    place = create(folder / "a third place")
    for session in SESSIONS:
        root = create(folder / session)
        prove(root, session)
        carry(root, place, folder / f"{session}.zip")
        shutil.rmtree(root)
    return place


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple[int, str]]:
    """Merge in a folder; return the exit status and the output."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def merge_in(root: Path) -> tuple[int, str]:
        monkeypatch.chdir(root)
        return merge.main(["--expect", *SESSIONS]), capsys.readouterr().out

    return merge_in


def test_two_folders_are_merged_in_a_third(merged_in: Path, said: Callable[[Path], tuple[int, str]]) -> None:
    """Coverage measured in other folders, by processes started in other folders, counts in full."""
    status, out = said(merged_in)
    assert (status, out.splitlines()[-1]) == (0, "Proved: 2 sessions agree, and the gate of 100 % is reached.")
    assert report.main(["--expect", *SESSIONS]) == 0
    matrix = records.read(Matrix, records.parsed((merged_in / ".matrix" / "report" / "matrix.json").read_bytes()))
    assert (matrix.coverage, matrix.environments) == (100, {"bare": 100, "slim": 100})
    assert [file.path for file in matrix.files] == ["src/package/code.py", "tests/unit/test_a.py"]


def test_the_same_is_said_in_any_folder(
    merged_in: Path, tmp_path: Path, said: Callable[[Path], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge gives the same numbers in any folder."""
    here = said(merged_in)
    there = tmp_path / "somebody else's" / "folder"
    shutil.copytree(merged_in, there)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(tmp_path))
        assert said(there) == here


def test_no_path_of_the_machine_is_left(merged_in: Path) -> None:
    """Coverage data and receipts contain no path of the folder they were made in."""
    for session in SESSIONS:
        left = [path.name for path in (merged_in / ".matrix" / "coverage").glob(f".coverage.{session}*")]
        assert left == [f".coverage.{session}"]
        with closing(CoverageData(basename=str(merged_in / ".matrix" / "coverage" / left[0]))) as data:
            data.read()
            assert data.measured_files() == {"src/package/code.py", "tests/unit/test_a.py"}
        receipt = (merged_in / ".matrix" / "receipts" / f"{session}.json").read_text(encoding="utf-8")
        assert str(merged_in.parent) not in receipt


def test_coverage_that_is_lost_on_the_way_is_red(
    merged_in: Path, tmp_path: Path, said: Callable[[Path], tuple[int, str]]
) -> None:
    """A session that lost its processes' lines on the way is red."""
    place = tmp_path / "place"
    shutil.copytree(merged_in, place)
    path = place / ".matrix" / "coverage" / ".coverage.two"
    with closing(CoverageData(basename=str(path))) as data:
        data.read()
        data.purge_files(["src/package/code.py"])
    status, out = said(place)
    assert status == ExitStatus.MERGE
    assert "- two: coverage data .coverage.two lost 10 of the " in out
    assert "lines that its run measured, 10 of them in src/package/code.py: run it again with coverage run " in out
