"""The sessions' coverage data: checked, merged, reported for the whole and for each environment, and gated."""

from __future__ import annotations

import io
import re
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageException

from .receipts import coverage_base, coverage_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .contract import Contract
    from .receipts import Receipt


@dataclass(slots=True)
class CoverageResult:
    """What the merge came to.

    Attributes:
        total: lines and branches covered, in percent, over everything that was not left out.
        gate: the percentage that has to be reached.
        environments: percent covered in each environment alone.
        left_out: test files that needed hardware which was not there.
    """

    total: float
    gate: float
    environments: dict[str, float]
    left_out: list[str] = field(default_factory=list)

    @property
    def refusal(self) -> str | None:
        """Why the gate stays shut, with the next step, or None."""
        if not self.gate:
            return "coverage has no gate: set fail_under in [tool.coverage.report]"
        if self.total < self.gate:
            return (
                f"coverage is {_percent(self.total)}, under {self.gate:g} %: test, or remove, the lines under Missing"
            )
        return None


def data_problems(contract: Contract, receipt: Receipt) -> list[str]:
    """Return why a session's coverage data cannot be used, with the next step; empty when it can."""
    base = coverage_base(contract, receipt.session).relative_to(contract.root).as_posix()
    again = f"run it again with coverage run --data-file={base} --context={receipt.environment}"
    if receipt.coverage is None:
        return [f"{receipt.session}: its coverage was not measured: {again}"]
    own, problems = False, []
    for path in coverage_files(contract, receipt.session):
        is_own = path.name == f".coverage.{receipt.session}" or f".pid{receipt.process}." in path.name
        own |= is_own
        problem = _file_problem(path, receipt.environment, is_own=is_own)
        if problem is not None:
            problems.append(f"{receipt.session}: coverage data {path.name} {problem}: {again}")
    if not own:
        problems.append(f"{receipt.session}: coverage data {base} is missing: {again}")
    return problems


def merge(contract: Contract, receipts: Sequence[Receipt], left_out: Sequence[str]) -> CoverageResult:
    """Merge the data of all sessions, print the table, and write the HTML, XML and JSON reports.

    Everything is written into the folder of the coverage data; what an earlier merge left there is replaced.
    """
    folder = coverage_base(contract, "").parent
    (folder / ".coverage").unlink(missing_ok=True)
    coverage = Coverage(data_file=folder / ".coverage", config_file=str(contract.root / "pyproject.toml"))
    files = [str(path) for receipt in receipts for path in coverage_files(contract, receipt.session)]
    coverage.combine(files, strict=True, keep=True)
    coverage.save()
    with closing(coverage.get_data()):
        return _report(coverage, folder, receipts, left_out)


def _report(coverage: Coverage, folder: Path, receipts: Sequence[Receipt], left_out: Sequence[str]) -> CoverageResult:
    omit = [*cast("list[str]", coverage.get_option("report:omit") or []), *left_out]
    total = coverage.report(omit=omit)
    coverage.html_report(directory=str(folder / "html"), omit=omit)
    coverage.xml_report(outfile=str(folder / "coverage.xml"), omit=omit)
    coverage.json_report(outfile=str(folder / "coverage.json"), omit=omit)
    environments = {
        name: coverage.report(contexts=[f"^{re.escape(name)}$"], omit=omit, file=io.StringIO())
        for name in dict.fromkeys(receipt.environment for receipt in receipts)
    }
    gate = float(str(coverage.get_option("report:fail_under")))
    return CoverageResult(total, gate, environments, list(left_out))


def as_text(result: CoverageResult) -> str:
    """Return the percentages and what was left out, for a terminal."""
    width = max(map(len, [*result.environments, "all together"]))
    lines = [f"{name:<{width}}  {_percent(percent):>8}" for name, percent in result.environments.items()]
    lines.append(f"{'all together':<{width}}  {_percent(result.total):>8}")
    return "\n".join([*lines, *_left_out(result)])


def as_markdown(result: CoverageResult) -> str:
    """Return the same as a markdown table."""
    lines = ["| environment | covered |", "|---|---:|"]
    lines += [f"| {name} | {_percent(percent)} |" for name, percent in result.environments.items()]
    lines.append(f"| **all together** | **{_percent(result.total)}** |")
    return "\n".join([*lines, "", *_left_out(result)])


def _left_out(result: CoverageResult) -> list[str]:
    return [f"left out, every test in it needs hardware that no session had: {name}" for name in result.left_out]


def _percent(value: float) -> str:
    # Cut, not rounded: only everything may read as 100.
    return f"{int(value * 100) / 100:.2f} %"


def _file_problem(path: Path, environment: str, *, is_own: bool) -> str | None:
    with closing(CoverageData(basename=str(path))) as data:
        try:
            data.read()
            contexts = data.measured_contexts()
            empty = not any(data.lines(file) for file in data.measured_files())
        except CoverageException as error:
            return f"cannot be read ({error})"
    if is_own and empty:
        return "is empty"
    if contexts - {environment}:
        return f"is of context {', '.join(sorted(map(repr, contexts)))}, not {environment!r}"
    return None
