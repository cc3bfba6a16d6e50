"""Coverage data: merged, split by environment, and gated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from coverage.parser import PythonParser

from skipproof import merged_coverage
from skipproof.merged_coverage import Measured
from skipproof.session_coverage import gather
from support.project import CODE
from support.samples import ARCS, receipt, write_data

if TYPE_CHECKING:
    from support.project import Project

BARE, FULL = receipt("unit"), receipt("full", environment="full")


def test_data_is_merged_and_told_apart(measured: Project) -> None:
    """The sessions' data adds up, and each environment is credited with its own part only."""
    write_data(measured, "unit", arcs=ARCS - {(2, 3), (3, -1)})
    write_data(measured, "full", context="full", arcs=ARCS - {(2, 4), (4, -1)})
    result = merged_coverage.measure(measured.contract, [BARE, FULL], [])
    assert result.total == pytest.approx(100)
    share = pytest.approx(100 * 4 / 6)
    assert result.environments == {"bare": share, "full": share}
    assert result.sessions == {"unit": share, "full": share}
    assert result.refusal is None
    [file] = result.files
    assert (file.path, file.statements, file.percent, file.missing) == ("code.py", 4, 100, [])
    assert file.environments == {"bare": share, "full": share}
    assert file.only == {"bare": ["4"], "full": ["3"]}


@pytest.mark.parametrize(("named", "foreign"), [("pyproject.toml", 0), ("tests/rc", 0), ("rc", 1), ("", 0)])
def test_settings_that_the_environment_names_are_sources(
    measured: Project, monkeypatch: pytest.MonkeyPatch, named: str, foreign: int
) -> None:
    """COVERAGE_RCFILE may name a file that the receipts are tied to, and no other."""
    measured.write("tests/rc", "[report]\n")
    measured.write("rc", "[report]\n")
    monkeypatch.setenv("COVERAGE_RCFILE", named and str(measured.root / named))
    assert len(merged_coverage.foreign_settings(measured.contract)) == foreign


def test_contexts_of_tests_count_for_their_environment(measured: Project) -> None:
    """A dynamic_context adds the test to the context: the data is the environment's all the same."""
    for context, arcs in (("bare", {(-1, 1), (1, -1)}), ("bare|test_a.test_a", ARCS)):
        write_data(measured, "unit", context, arcs)
    write_data(measured, "full", "full", {(-1, 1), (1, -1)})
    gathered = gather(measured.contract, "unit")
    assert gathered.contexts == ["bare"]
    [file] = merged_coverage.measure(measured.contract, [BARE, FULL], []).files
    assert file.environments["bare"] == 100


def test_paths_are_taken_as_they_are(measured: Project) -> None:
    """Files in two folders named tests are not confused, as they are by coverage's own combine."""
    for name, arcs in (("tests/code.py", ARCS), ("src/tests/code.py", {(-1, 1), (1, -1)})):
        measured.write(name, CODE)
        write_data(measured, "unit", file=name, arcs=arcs)
    files = merged_coverage.measure(measured.contract, [BARE], []).files
    assert {file.path: file.missing for file in files} == {"src/tests/code.py": ["2-4"], "tests/code.py": []}


def test_sessions_of_one_environment_are_told_apart(measured: Project) -> None:
    """Each session of an environment is credited with what it covered itself."""
    write_data(measured, "unit", arcs=ARCS - {(2, 3), (3, -1)})
    write_data(measured, "check", arcs={(-1, 1), (1, -1)})
    result = merged_coverage.measure(measured.contract, [BARE, receipt("check")], [])
    assert result.environments == {"bare": pytest.approx(100 * 4 / 6)}
    assert result.sessions == {"unit": pytest.approx(100 * 4 / 6), "check": pytest.approx(100 * 1 / 6)}


def test_each_source_is_parsed_once(measured: Project) -> None:
    """Each source is parsed once for all environments, sessions and reports."""
    for name, context in (("unit", "bare"), ("check", "bare"), ("full", "full")):
        write_data(measured, name, context)
    sessions = [BARE, receipt("check"), FULL]
    with patch.object(PythonParser, "parse_source", autospec=True, side_effect=PythonParser.parse_source) as parse:
        merged_coverage.measure(measured.contract, sessions, [])
        assert parse.call_count == 1
        merged_coverage.write_reports(measured.contract, sessions, [])
        assert parse.call_count == 2


def test_a_page_whose_code_was_run_is_passed_over(measured: Project) -> None:
    """A page that tests took code from is no source, in whichever report it is met again."""
    measured.write("page.md", "# Not Python\n\nNor is this.\n")
    for name in ("unit", "check"):
        write_data(measured, name)
        write_data(measured, name, file="page.md", arcs={(-1, 1), (1, -1)})
    sessions = [BARE, receipt("check")]
    result = merged_coverage.measure(measured.contract, sessions, [])
    assert [file.path for file in result.files] == ["code.py"]
    assert result.sessions == {"unit": 100, "check": 100}
    assert merged_coverage.write_reports(measured.contract, sessions, []).is_dir()


def test_file_without_a_statement_is_covered(measured: Project) -> None:
    """A file without statements is fully covered."""
    measured.write("empty.py", "")
    write_data(measured, "unit")
    write_data(measured, "unit", file="empty.py", arcs={(-1, 1), (1, -1)})
    found = merged_coverage.measure(measured.contract, [BARE], []).files
    assert [(file.path, file.environments) for file in found] == [
        ("code.py", {"bare": 100}),
        ("empty.py", {"bare": 100}),
    ]


def test_one_environment_reaches_nothing_alone(measured: Project) -> None:
    """With only one environment, no line is said to need it."""
    write_data(measured, "unit", arcs=ARCS - {(2, 3), (3, -1)})
    [file] = merged_coverage.measure(measured.contract, [BARE], []).files
    assert (file.missing, file.only) == (["3", "2->3"], {})


def test_branch_that_ends_a_function_is_named(measured: Project) -> None:
    """A branch that leaves its function is shown as an exit."""
    measured.write("code.py", "def answer(x):\n    if x:\n        print(x)\n")
    write_data(measured, "unit", arcs={(-1, 1), (1, -1), (-1, 2), (2, 3), (3, -1)})
    [file] = merged_coverage.measure(measured.contract, [BARE], []).files
    assert file.missing == ["2->exit"]


def test_reports_of_coverage_are_written(measured: Project) -> None:
    """A merge replaces the merged data of an earlier one, and keeps the sessions' own data."""
    write_data(measured, "unit")
    stale = write_data(measured, "x", file="gone.py").rename(measured.root / ".matrix" / "coverage" / ".coverage")
    folder = merged_coverage.write_reports(measured.contract, [BARE], [])
    assert folder == stale.parent
    assert (folder / "html" / "index.html").is_file()
    assert 'filename="code.py"' in (folder / "coverage.xml").read_text()
    assert list(json.loads((folder / "coverage.json").read_text())["files"]) == ["code.py"]
    assert (folder / ".coverage.unit").is_file()


def test_file_that_is_left_out_does_not_count(measured: Project) -> None:
    """A test file that needs what no machine had does not count."""
    write_data(measured, "unit")
    measured.write("tests/real/test_gpu.py", CODE)
    write_data(measured, "unit", file="tests/real/test_gpu.py", arcs={(-1, 1), (1, -1)})
    assert merged_coverage.measure(measured.contract, [BARE], ["tests/real/test_gpu.py"]).refusal is None
    assert merged_coverage.measure(measured.contract, [BARE], []).refusal is not None


def test_lines_are_shown_as_ranges() -> None:
    """Line numbers are shown as ranges."""
    assert merged_coverage.ranges([7, 1, 2, 3, 9, 10]) == ["1-3", "7", "9-10"]
    assert merged_coverage.ranges([]) == []


def test_almost_everything_is_not_everything() -> None:
    """99.999 % is not shown as 100 %, and does not pass a gate of 100 %."""
    refusal = Measured(99.9999, 100).refusal
    assert refusal == "coverage is 99.99 %, under 100 %: test or remove the lines that are named"


def test_missing_gate_is_refused() -> None:
    """Coverage without fail_under is refused."""
    assert Measured(100, 0).refusal == "coverage has no gate: set fail_under in [tool.coverage.report]"
