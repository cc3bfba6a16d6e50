"""Coverage data: checked before it is merged, told apart by environment, and gated."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from coverage import CoverageData
from coverage.files import set_relative_directory

from tests.skipproof import cover
from tests.skipproof.cover import CoverageResult

from .samples import receipt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from .conftest import Project

CODE = "def answer(x):\n    if x:\n        return 1\n    return 2\n"
ARCS = {(-1, 1), (1, -1), (-1, 2), (2, 3), (3, -1), (2, 4), (4, -1)}
BARE, FULL = receipt("unit"), receipt("full", environment="full")


@pytest.fixture
def _relative_names() -> Iterator[None]:
    """Undo what a Coverage object in another folder does to the one that measures this very run."""
    yield
    set_relative_directory()


@pytest.fixture
def measured(project: Project, _relative_names: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with one source file, and in its folder."""
    project.write("code.py", CODE)
    with monkeypatch.context() as patch:
        patch.chdir(project.root)
        yield project


def write_data(
    project: Project,
    name: str,
    context: str = "bare",
    arcs: Collection[tuple[int, int]] = frozenset(ARCS),
    file: str = "code.py",
) -> Path:
    """Write a coverage data file, as a session would."""
    folder = project.root / ".matrix" / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    with closing(CoverageData(basename=str(folder / f".coverage.{name}"))) as data:
        data.set_context(context)
        data.add_arcs({file: arcs})
        data.write()
    return folder / f".coverage.{name}"


def test_sound_data_has_no_problem(project: Project) -> None:
    """Broken: the data of a sound session, or of a process that it started and that measured nothing, is refused."""
    write_data(project, "unit.host.pid7.Xa")
    write_data(project, "unit.host.pid8.Xb", arcs=[])
    assert cover.data_problems(project.contract, BARE) == []


def test_data_without_a_process_in_its_name_is_the_sessions_own(project: Project) -> None:
    """Broken: where coverage does not follow processes, its only data file is not recognised."""
    write_data(project, "unit")
    assert cover.data_problems(project.contract, BARE) == []


AGAIN = "run it again with coverage run --data-file=.matrix/coverage/.coverage.unit --context=bare"


def test_session_that_measured_nothing_is_refused(project: Project) -> None:
    """Broken: a session that ran without coverage is merged as if it had been measured."""
    assert cover.data_problems(project.contract, receipt("unit", coverage=None)) == [
        f"unit: its coverage was not measured: {AGAIN}"
    ]


def test_missing_data_is_refused(project: Project) -> None:
    """Broken: the data of a session is gone, that of a process it started is there, and nobody notices."""
    write_data(project, "unit.host.pid8.Xb")
    assert cover.data_problems(project.contract, BARE) == [
        f"unit: coverage data .matrix/coverage/.coverage.unit is missing: {AGAIN}"
    ]


def test_empty_data_is_refused(project: Project) -> None:
    """Broken: a session whose data holds no line is merged as if it had covered something."""
    write_data(project, "unit.host.pid7.Xa", arcs=[])
    assert cover.data_problems(project.contract, BARE) == [
        f"unit: coverage data .coverage.unit.host.pid7.Xa is empty: {AGAIN}"
    ]


def test_unreadable_data_is_refused(project: Project) -> None:
    """Broken: half a data file is passed over, and what it held is lost."""
    path = write_data(project, "unit.host.pid7.Xa")
    path.write_bytes(path.read_bytes()[:100])
    [problem] = cover.data_problems(project.contract, BARE)
    assert problem.startswith("unit: coverage data .coverage.unit.host.pid7.Xa cannot be read (")


def test_data_of_another_environment_is_refused(project: Project) -> None:
    """Broken: what one environment covered is counted for another."""
    write_data(project, "unit.host.pid7.Xa", context="full")
    assert cover.data_problems(project.contract, BARE) == [
        f"unit: coverage data .coverage.unit.host.pid7.Xa is of context 'full', not 'bare': {AGAIN}"
    ]


def test_data_is_merged_and_told_apart(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: the sessions' data does not add up, or an environment is credited with what another one covered."""
    write_data(measured, "unit.host.pid7.Xa", arcs=ARCS - {(2, 3), (3, -1)})
    write_data(measured, "full.host.pid7.Xa", context="full", arcs=ARCS - {(2, 4), (4, -1)})
    stale = write_data(measured, "x", file="gone.py").rename(measured.root / ".matrix" / "coverage" / ".coverage")
    result = cover.merge(measured.contract, [BARE, FULL], [])
    assert result.total == pytest.approx(100)
    assert result.environments == {"bare": pytest.approx(100 * 4 / 6), "full": pytest.approx(100 * 4 / 6)}
    assert result.refusal is None
    assert "code.py       4      0      2      0   100%" in capsys.readouterr().out
    folder = stale.parent
    assert (folder / "html" / "index.html").is_file()
    assert 'filename="code.py"' in (folder / "coverage.xml").read_text()
    assert list(json.loads((folder / "coverage.json").read_text())["files"]) == ["code.py"]
    # The sessions' own data stays, so that the merge can be run again.
    assert len(list(folder.glob(".coverage.*.host.*"))) == 2


def test_file_that_is_left_out_does_not_count(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a test file that needs absent hardware shuts the gate, or it is left out without being named."""
    write_data(measured, "unit.host.pid7.Xa")
    measured.write("tests/real/test_gpu.py", CODE)
    write_data(measured, "unit.host.pid8.Xb", file="tests/real/test_gpu.py", arcs={(-1, 1), (1, -1)})
    open_gate = cover.merge(measured.contract, [BARE], ["tests/real/test_gpu.py"])
    assert open_gate.refusal is None
    assert "test_gpu" not in capsys.readouterr().out
    notice = "left out, every test in it needs hardware that no session had: tests/real/test_gpu.py"
    assert cover.as_text(open_gate).splitlines()[-1] == cover.as_markdown(open_gate).splitlines()[-1] == notice
    shut_gate = cover.merge(measured.contract, [BARE], [])
    assert shut_gate.refusal is not None


def test_percentages_are_shown_for_each_environment() -> None:
    """Broken: the report does not tell what each environment covered."""
    result = CoverageResult(100, 100, {"bare": 50.0, "full-size": 66.666})
    assert cover.as_text(result).splitlines() == [
        "bare           50.00 %",
        "full-size      66.66 %",
        "all together  100.00 %",
    ]
    assert cover.as_markdown(result).splitlines()[2:] == [
        "| bare | 50.00 % |",
        "| full-size | 66.66 % |",
        "| **all together** | **100.00 %** |",
    ]


def test_almost_everything_is_not_everything() -> None:
    """Broken: 99.999 % is rounded to 100 %, and the gate opens."""
    refusal = CoverageResult(99.9999, 100, {}).refusal
    assert refusal == "coverage is 99.99 %, under 100 %: test, or remove, the lines under Missing"


def test_missing_gate_is_refused() -> None:
    """Broken: without fail_under, any coverage at all is enough."""
    assert CoverageResult(100, 0, {}).refusal == "coverage has no gate: set fail_under in [tool.coverage.report]"
