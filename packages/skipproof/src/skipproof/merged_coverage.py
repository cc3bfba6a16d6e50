"""The sessions' coverage data: merged, split by environment and session, and gated."""

from __future__ import annotations

import io
import json
import os
import re
import tokenize
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from coverage import Coverage, CoverageData

from . import exclusions
from .matrix import FileCoverage
from .receipts import coverage_base
from .sources import ignored, names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from coverage.plugin import FileReporter

    from .contract import Contract
    from .receipts import Receipt


@dataclass(slots=True)
class Measured:
    """The coverage of some sessions.

    Attributes:
        total: lines and branches covered, in percent, of everything that was not left out.
        gate: the percentage required.
        environments: percent covered in each environment alone.
        sessions: percent covered in each session alone.
        files: every file, by path.
    """

    total: float
    gate: float
    environments: dict[str, float] = field(default_factory=dict)
    sessions: dict[str, float] = field(default_factory=dict)
    files: list[FileCoverage] = field(default_factory=list)

    @property
    def refusal(self) -> str | None:
        """Why the gate fails, with the next step, or None."""
        if not self.gate:
            return "coverage has no gate: set fail_under in [tool.coverage.report]"
        if self.total < self.gate:
            return f"coverage is {percent(self.total)}, under {self.gate:g} %: test or remove the lines that are named"
        return None


@dataclass(frozen=True, slots=True)
class _Reached:
    """What one environment covers of one file: its lines, and the number of lines and branches, covered and in all."""

    lines: set[int]
    covered: int
    coverable: int


class _ParsedOnce(Coverage):
    """Coverage that shares parsed source files between reports; otherwise each report would parse all of them again.

    It overrides a method of coverage's; if that is renamed, this goes unused, and the figures stay the same.
    """

    def __init__(self, sources: dict[str, FileReporter], **options: Any) -> None:
        super().__init__(**options)
        self._sources = sources

    def _get_file_reporter(self, morf: Any) -> FileReporter:
        # Coverage passes over a page whose blocks of code were run, because it does not parse; one that is shared would
        # be taken for parsed the second time.
        if not str(morf).endswith(".py"):
            return super()._get_file_reporter(morf)
        if morf not in self._sources:
            self._sources[morf] = super()._get_file_reporter(morf)
        return self._sources[morf]

    def left_out(self, path: str) -> tuple[list[int], list[int]]:
        """Return the statements of a file that are excluded, and the lines of which not every branch is asked for."""
        file = self._get_file_reporter(path)
        excluded, unbranched = file.excluded_lines(), file.no_branch_lines()
        return exclusions.left_out(file.source(), excluded, unbranched) if excluded or unbranched else ([], [])


def percent(value: float) -> str:
    """Return a percentage as text, truncated, not rounded: only full coverage may read as 100."""
    return f"{int(round(value * 100, 6)) / 100:.2f} %"


def foreign_settings(contract: Contract) -> list[str]:
    """Return that the environment names settings of coverage that no receipt is tied to, with the next step, if so."""
    named = os.environ.get("COVERAGE_RCFILE")
    if not named or Path(os.path.relpath(named, contract.root)).as_posix() in names(contract, []):
        return []
    fact = f"COVERAGE_RCFILE has coverage take its settings from {named}, which no receipt is tied to"
    return [f"{fact}: unset it, or name a file among the sources"]


def measure(contract: Contract, receipts: Sequence[Receipt], left_out: Sequence[str]) -> Measured:
    """Return what the sessions cover, together and each alone.

    Raises:
        CoverageException: the data cannot be merged, or a source file that it names is gone.
    """
    sources: dict[str, FileReporter] = {}
    with _combined(contract, receipts, sources) as together:
        omit = _omit(together, left_out)
        whole = _analysis(together, omit)
        each = dict.fromkeys(receipt.environment for receipt in receipts)
        apart = {name: _reached(together, name, whole["files"]) for name in each}
        left = {path: together.left_out(path) for path in whole["files"]}
        folders = _folders(together, contract)
    environments = {name: _share(files.values()) for name, files in apart.items()}
    measured = [
        _file(path, entry, {name: files[path] for name, files in apart.items()}, left[path])
        for path, entry in whole["files"].items()
    ]
    passed_over = _passed_over(contract, receipts, folders, {*left_out, *(file.path for file in measured)})
    crowds = Counter(receipt.environment for receipt in receipts)
    return Measured(
        total=whole["totals"]["percent_covered"],
        gate=float(str(together.get_option("report:fail_under"))),
        environments=environments,
        # A session that has its environment to itself is known already, and each pass over the data takes time.
        sessions={
            receipt.session: environments[receipt.environment]
            if crowds[receipt.environment] == 1
            else _percent(contract, receipt, sources, omit)
            for receipt in receipts
        },
        files=sorted([*measured, *passed_over], key=attrgetter("path")),
    )


def write_reports(contract: Contract, receipts: Sequence[Receipt], left_out: Sequence[str]) -> Path:
    """Write the merged data and coverage's own HTML, XML and JSON reports beside the sessions' data.

    Replaces what an earlier merge left there. Returns the folder.
    """
    folder = coverage_base(contract, "").parent
    (folder / ".coverage").unlink(missing_ok=True)
    with _combined(contract, receipts, {}, folder / ".coverage") as coverage:
        coverage.save()
        omit = _omit(coverage, left_out)
        coverage.html_report(directory=str(folder / "html"), omit=omit)
        coverage.xml_report(outfile=str(folder / "coverage.xml"), omit=omit)
        coverage.json_report(outfile=str(folder / "coverage.json"), omit=omit)
    return folder


def ranges(lines: Iterable[int]) -> list[str]:
    """Return line numbers as ranges, such as "3-7"."""
    found: list[list[int]] = []
    for line in sorted(lines):
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


def _folders(coverage: Coverage, contract: Contract) -> list[str]:
    """Return the folders that coverage is to measure, relative to the root and with "/" at the end; "" for the root."""
    folders, either = (
        cast("list[str] | None", coverage.get_option(f"run:{option}")) or [] for option in ("source_dirs", "source")
    )
    named = [*folders, *filter(os.path.isdir, either)]  # a source may also be a package's name
    inside = [os.path.relpath(name, contract.root) for name in named]
    return ["" if name == os.curdir else f"{Path(name).as_posix()}/" for name in inside]


def _passed_over(
    contract: Contract, receipts: Sequence[Receipt], folders: Sequence[str], known: set[str]
) -> list[FileCoverage]:
    """Return the Python files in these folders that are not known and had no test, as if each line had a pragma.

    Coverage looks for files that nothing imports only in packages, and passes over what its settings omit.
    """
    suites = {suite for receipt in receipts for suite in receipt.suites}
    tests = {name.partition("::")[0] for receipt in receipts for name in receipt.tests}
    there = {name for name in names(contract, suites) - tests - known if name.endswith(".py")}
    below = {name for name in there if name.startswith(tuple(folders))}
    found = []
    for name in sorted(below - ignored(contract.root, below)):
        try:
            with tokenize.open(contract.root / name) as file:
                lines = exclusions.all_of(file.read())
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # no Python of this version, such as data of the tests
        if lines:
            found.append(FileCoverage(path=name, statements=0, percent=100.0, excluded=ranges(lines)))
    return found


def _reached(coverage: Coverage, environment: str, files: Iterable[str]) -> dict[str, _Reached]:
    """Return what one environment alone covers of these files; a JSON report would take three times as long."""
    coverage.get_data().set_query_contexts([rf"^{re.escape(environment)}(\||$)"])  # "|" and the test: dynamic_context
    found = {}
    for path in files:
        _, statements, _, missing, _ = coverage.analysis2(path)
        lines = set(statements).difference(missing)
        branches = coverage.branch_stats(path).values()
        found[path] = _Reached(
            lines,
            covered=len(lines) + sum(taken for _, taken in branches),
            coverable=len(statements) + sum(exits for exits, _ in branches),
        )
    return found


def _share(files: Collection[_Reached]) -> float:
    """Return lines and branches covered, in percent, as coverage counts them."""
    covered, coverable = sum(file.covered for file in files), sum(file.coverable for file in files)
    return 100 * covered / coverable if coverable else 100.0


def _file(
    path: str, whole: Mapping[str, Any], apart: Mapping[str, _Reached], left: tuple[list[int], list[int]]
) -> FileCoverage:
    only = {
        name: ranges(file.lines.difference(*(other.lines for key, other in apart.items() if key != name)))
        for name, file in apart.items()
        if len(apart) > 1
    }
    return FileCoverage(
        path=Path(path).as_posix(),
        statements=whole["summary"]["num_statements"],
        percent=whole["summary"]["percent_covered"],
        missing=[*ranges(whole["missing_lines"]), *_half_branches(whole)],
        excluded=ranges(left[0]),
        unbranched=ranges(left[1]),
        environments={name: _share([file]) for name, file in apart.items()},
        only={name: lines for name, lines in only.items() if lines},
    )


def _half_branches(entry: Mapping[str, Any]) -> list[str]:
    """Return the branches never taken from lines that were reached; an exit is a line below 0."""
    branches = entry.get("missing_branches", [])
    reached = set(entry["executed_lines"])
    return [f"{here}->{there if there > 0 else 'exit'}" for here, there in branches if here in reached]


def _percent(contract: Contract, receipt: Receipt, sources: dict[str, FileReporter], omit: list[str]) -> float:
    with _combined(contract, [receipt], sources) as alone:
        return alone.report(omit=omit, file=io.StringIO())


@contextmanager
def _combined(
    contract: Contract, receipts: Sequence[Receipt], sources: dict[str, FileReporter], file: Path | None = None
) -> Iterator[_ParsedOnce]:
    """Merge the sessions' data into a file or in memory, without changing their own files."""
    # Its settings are where the sessions found theirs: in whichever file coverage picks in the project's folder.
    coverage = _ParsedOnce(sources, data_file=file, config_file=True)
    # The data's paths are relative to the root already. combine would guess at them: where there is a tests/test_a.py,
    # it takes src/tests/test_a.py for that file.
    coverage.set_option("run:relative_files", value=True)
    try:
        for receipt in receipts:
            with closing(CoverageData(str(coverage_base(contract, receipt.session)))) as data:
                coverage.get_data().update(data)
        yield coverage
    finally:
        # Python 3.13 warns about a database left open, and one in memory closes only with force.
        coverage.get_data().close(force=True)


def _analysis(coverage: Coverage, omit: list[str]) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "coverage.json")
        coverage.json_report(outfile=str(path), omit=omit)
        return cast("dict[str, Any]", json.loads(path.read_bytes()))


def _omit(coverage: Coverage, left_out: Sequence[str]) -> list[str]:
    return [*cast("list[str]", coverage.get_option("report:omit") or []), *left_out]
