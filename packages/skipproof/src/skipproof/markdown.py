"""The matrix as markdown, for a workflow's step summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .merged_coverage import percent
from .summary import (
    UNKNOWN,
    coverage_line,
    duration,
    failures,
    known_failures,
    last_proof,
    left_out,
    machines,
    missing_lines,
    reach,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .matrix import Matrix, SessionRow

_FILES_SHOWN = 100
_HEADING = ("session", "environment", "ran", "skipped", "failed", "time", "covered", "lock", "state")


def render(matrix: Matrix) -> str:
    """Return the matrix in GitHub's markdown."""
    parts = [
        f"## {'Not proved' if matrix.problems else 'Proved'}: {_plain(matrix.project)}",
        _plain(verdict(matrix)),
        *_listed("What is wrong", matrix.problems),
        _table(_HEADING, [_session(row) for row in matrix.sessions], left=2),
        f"Covered by all together: **{coverage_line(matrix)}**{_by_environment(matrix)}",
        *_listed("Machines", machines(matrix)),
        *_listed("Failed", failures(matrix)),
        *_unproven(matrix),
        *_listed("Known failures", known_failures(matrix)),
        *_files(matrix),
        *_listed("Left out of coverage by a pragma or a setting", left_out(matrix)),
        *_listed("Notes", matrix.notes),
    ]
    return "\n\n".join(parts) + "\n"


def _session(row: SessionRow) -> tuple[str, ...]:
    mark = ":white_check_mark:" if row.state == "proved" else ":x:"
    covered = "-" if row.coverage is None else percent(row.coverage)
    state, lock = f"{mark} {row.state}", (row.lock or "-")[:8]
    if row.environment is None:
        return (row.name, UNKNOWN, "-", "-", "-", "-", covered, lock, state)
    counts = (str(row.ran), str(row.skipped), str(row.failed), duration(row.seconds))
    environment = row.environment + (f" ({row.subset})" if row.subset else "")
    return (row.name, environment, *counts, covered, lock, state)


def _by_environment(matrix: Matrix) -> str:
    return "".join(f", by {name} alone: {percent(value)}" for name, value in matrix.environments.items())


def _unproven(matrix: Matrix) -> list[str]:
    if not matrix.unproven:
        return []
    rows = [(_code(entry.id), ", ".join(entry.needs), last_proof(entry)) for entry in matrix.unproven]
    heading = f"### {len(rows)} unproven: no machine had what they need"
    return [heading, _table(("test", "needs", "last"), rows, left=3)]


def _files(matrix: Matrix) -> list[str]:
    """Show the files that are not fully covered, and fold what each environment adds."""
    # When a session's data is missing, its lines would fill the list and add no information.
    incomplete = [] if matrix.partial else [file for file in matrix.files if file.percent < 100][:_FILES_SHOWN]
    parts = []
    if incomplete:
        rows = [(_code(file.path), percent(file.percent), missing_lines(file)) for file in incomplete]
        parts += ["### Not covered", _table(("file", "covered", "missing"), rows, left=1)]
    only = [
        (_code(file.path), name, ", ".join(lines))
        for file in matrix.files
        for name, lines in file.only.items()
        if not file.path.startswith("tests/")
    ][:_FILES_SHOWN]
    if only:
        head = f"<details><summary>Lines that one environment alone reaches ({'; '.join(reach(matrix))})</summary>"
        parts += [head, _table(("file", "environment", "lines"), only, left=3), "</details>"]
    return parts


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return [f"### {heading}", "\n".join(f"- {_plain(line)}" for line in lines)] if lines else []


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    rule = ["---" if number < left else "---:" for number in range(len(heading))]
    return "\n".join(f"| {' | '.join(_one_cell(cell) for cell in row)} |" for row in (heading, rule, *rows))


def _one_cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _code(text: str) -> str:
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}{text}{' ' if text.endswith('`') else ''}{fence}"


def _plain(text: str) -> str:
    """Escape what markdown or HTML would interpret, so that a message reads as written."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", re.sub(r"\s+", " ", text))
