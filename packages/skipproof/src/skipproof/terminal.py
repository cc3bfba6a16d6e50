"""Show the matrix in a terminal: sessions by environment, what is wrong, what is unproven; in colour where possible."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .merged_coverage import percent
from .summary import (
    coverage_line,
    duration,
    failures,
    incomplete_files,
    known_failures,
    last_proof,
    left_out,
    machines,
    reach,
    sessions_by_environment,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .matrix import Matrix, SessionRow

_STYLES = {
    "proved": "green",
    "red": "bold red",
    "unfinished": "bold red",
    "damaged": "bold red",
    "missing": "bold red",
    "stale": "bold yellow",
}


def show(matrix: Matrix, *, brief: bool = False) -> None:
    """Print the matrix: in colour on a terminal (NO_COLOR and FORCE_COLOR are respected), otherwise one fact per line.

    With ``brief``, print only the sessions, the notes, and whatever keeps the matrix from being proved.
    """
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(_table(matrix))
        if not brief:
            _print_details(console, matrix)
        _section(console, "Notes", "bold", matrix.notes)
        _section(console, "Not covered", "bold yellow", incomplete_files(matrix))
        _section(console, "What is wrong", "bold red", matrix.problems)
        console.print()
        console.print(Text(verdict(matrix), style="bold red" if matrix.problems else "bold green"), soft_wrap=True)
    encoding = sys.stdout.encoding or "utf-8"
    # A test's id may contain characters that the terminal cannot write.
    sys.stdout.write(capture.get().encode(encoding, "backslashreplace").decode(encoding))


def _print_details(console: Console, matrix: Matrix) -> None:
    _section(console, "Machines", "bold", machines(matrix))
    _section(console, "Failed", "bold red", failures(matrix))
    groups: dict[str, list[str]] = {}
    for entry in matrix.unproven:
        groups.setdefault(f"needs {', '.join(entry.needs)}; {last_proof(entry)}", []).append(entry.id)
    for heading, ids in groups.items():
        _section(console, f"Unproven ({heading})", "bold yellow", ids)
    _section(console, "Known failures", "bold yellow", known_failures(matrix))
    _section(console, "Lines that one environment alone reaches", "bold", reach(matrix))
    _section(console, "Left out of coverage by a pragma or a setting", "bold", left_out(matrix))


def _table(matrix: Matrix) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("session", overflow="fold", min_width=17)
    for name in ("ran", "skipped", "failed", "time", "covered"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("lock", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for environment, rows in sessions_by_environment(matrix):
        covered = matrix.environments.get(environment)
        share = "" if covered is None else percent(covered)
        table.add_row(Text(environment, style="bold"), "", "", "", "", Text(share, style="bold"), "", "")
        for row in rows:
            table.add_row(*_cells(row))
    table.add_section()
    table.add_row(Text("all together", style="bold"), "", "", "", "", Text(coverage_line(matrix), style="bold"), "", "")
    return table


def _cells(row: SessionRow) -> list[Text]:
    shown = [str(row.ran), str(row.skipped), str(row.failed), duration(row.seconds)]
    known = shown if row.environment is not None else ["-"] * len(shown)
    failed = "bold red" if row.failed else ""
    covered = "-" if row.coverage is None else percent(row.coverage)
    return [
        Text(f"  {row.name}" + (f" ({row.subset})" if row.subset else "")),
        Text(known[0]),
        Text(known[1]),
        Text(known[2], style=failed),
        Text(known[3]),
        Text(covered),
        Text((row.lock or "-")[:8], style="dim"),
        Text(row.state, style=_STYLES[row.state]),
    ]


def _section(console: Console, heading: str, style: str, lines: Iterable[str]) -> None:
    """Print a heading and its lines, or nothing when there are no lines."""
    lines = list(lines)
    if not lines:
        return
    console.print()
    console.print(Text(f"{heading}:", style=style), soft_wrap=not console.is_terminal)
    for line in lines:
        if console.is_terminal and max(map(len, line.split()), default=0) <= console.width - 2:
            bullet = Table.grid(padding=(0, 1, 0, 0))
            bullet.add_row("-", Text(line, overflow="fold"))
            console.print(bullet)
        else:
            # On one line, so that a log can be searched for it and a long id can be copied.
            console.print(Text(f"- {line}"), soft_wrap=True)
