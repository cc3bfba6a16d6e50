"""The sentences and groupings that terminal and markdown share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .contract import counted
from .machine import told
from .merged_coverage import percent

if TYPE_CHECKING:
    from .matrix import FileCoverage, Matrix, SessionRow, Unproven

UNKNOWN = "unknown"
_SHOWN = 20


def sessions_by_environment(matrix: Matrix) -> list[tuple[str, list[SessionRow]]]:
    """Return the sessions of each environment; those without a readable receipt come last, as "unknown"."""
    groups: dict[str, list[SessionRow]] = {}
    for row in sorted(matrix.sessions, key=lambda row: row.environment is None):
        groups.setdefault(row.environment or UNKNOWN, []).append(row)
    return list(groups.items())


def machines(matrix: Matrix) -> list[str]:
    """Return each machine with the names of its sessions first, then its facts."""
    groups: dict[str, list[str]] = {}
    for row in matrix.sessions:
        if row.machine:
            groups.setdefault(told(row.machine), []).append(row.name)
    return [f"{', '.join(names)}: {facts}" for facts, names in groups.items()]


def failures(matrix: Matrix) -> list[str]:
    """Return every failed test with its message, and the violations of each session."""
    lines = [
        f"{test.id} in {session}" + (f": {cell.message}" if cell.message else "")
        for test in matrix.tests
        for session, cell in test.cells.items()
        if cell.outcome == "failed"
    ]
    for row in matrix.sessions:
        rest = len(row.violations) - _SHOWN
        lines += [f"violation in {row.name}: {violation}" for violation in row.violations[:_SHOWN]]
        lines += [f"and {counted(rest, 'more violation', 'more violations')} in {row.name}"] if rest > 0 else []
    return lines


def known_failures(matrix: Matrix) -> list[str]:
    """Return every test that failed as known, with the reason and its sessions."""
    return [f"{known.id}: {known.reason}, in {', '.join(known.sessions)}" for known in matrix.known_failures]


def last_proof(entry: Unproven) -> str:
    """Return when, where and at which commit a test was last proved."""
    if entry.last is None:
        return "no receipt here says that it ever passed"
    commit = f" at {entry.last.commit[:12]}" if entry.last.commit else ""
    changed = " with changes" if (entry.last.commit or "").endswith("+") else ""
    return f"last proved {entry.last.finished[:10]} in {entry.last.session}{commit}{changed}"


def reach(matrix: Matrix) -> list[str]:
    """Return how many lines each environment alone reaches."""
    lines = []
    for environment in matrix.environments:
        counts = [sum(map(_length, file.only[environment])) for file in matrix.files if environment in file.only]
        if counts:
            lines.append(f"{environment}: {sum(counts)} lines in {len(counts)} files")
    return lines


def left_out(matrix: Matrix) -> list[str]:
    """Return the files of which coverage leaves something out, each with the lines."""
    lines = []
    for file in matrix.files:
        branches = [f"{each} (branch)" for each in file.unbranched]
        if file.excluded or branches:
            lines.append(f"{file.path}  {', '.join([*file.excluded, *branches])}")
    return lines


def incomplete_files(matrix: Matrix) -> list[str]:
    """Return the files that are not fully covered, with their lines, cut to a readable length.

    Empty when a session's data is missing: its lines would fill the list and add no information.
    """
    if matrix.partial:
        return []
    files = [file for file in matrix.files if file.percent < 100]
    lines = [f"{file.path}  {percent(file.percent)}  {missing_lines(file)}" for file in files[:_SHOWN]]
    rest = len(files) - _SHOWN
    return [*lines, f"and {counted(rest, 'more file', 'more files')}"] if rest > 0 else lines


def missing_lines(file: FileCoverage) -> str:
    """Return the first lines that nothing covers."""
    rest = len(file.missing) - _SHOWN
    return ", ".join([*file.missing[:_SHOWN], *([f"and {rest} more"] if rest > 0 else [])])


def coverage_line(matrix: Matrix) -> str:
    """Return the merged percentage, in brackets when it is partial."""
    if matrix.coverage is None:
        return UNKNOWN
    return f"({percent(matrix.coverage)})" if matrix.partial else percent(matrix.coverage)


def verdict(matrix: Matrix) -> str:
    """Return the last sentence."""
    if not matrix.problems:
        agree = counted(len(matrix.sessions), "session agrees", "sessions agree")
        unproven = counted(len(matrix.unproven), "test is unproven", "tests are unproven")
        known = counted(len(matrix.known_failures), "test is known to fail", "tests are known to fail")
        rest = f"; {unproven}" if matrix.unproven else ""
        rest += f"; {known}" if matrix.known_failures else ""
        return f"Proved: {agree}, and the gate of {matrix.gate:g} % is reached{rest}."
    wrong = counted(len(matrix.problems), "thing is wrong", "things are wrong")
    if matrix.coverage is None or not matrix.partial:
        return f"Not proved: {wrong}."
    part = f"The {percent(matrix.coverage)} in brackets is not the total: some sessions' data does not count"
    return f"Not proved: {wrong}. {part}."


def duration(seconds: float) -> str:
    """Return a readable duration."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"


def _length(lines: str) -> int:
    first, _, last = lines.partition("-")
    return int(last or first) - int(first) + 1
