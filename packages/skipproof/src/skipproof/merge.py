"""Merge what the sessions proved: ``skipproof merge [--expect SESSION ...]``, in the project's root.

Shows the sessions, refuses receipts and coverage data that prove nothing, then writes the merged data and gates it.
Exits with 0 when everything is proved, with 4 on a usage error or without any receipt, otherwise as exits.py says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import command_line, merged_coverage, terminal
from .exits import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    contract, found = command_line.collected(
        "merge", "Merge what the sessions proved, and refuse what they did not.", arguments
    )
    matrix = found.matrix
    # The other notes are the report's.
    terminal.show(replace(matrix, notes=found.hints), brief=True)
    if matrix.problems and matrix.problems != [found.gate_problem]:
        return ExitStatus.MERGE
    merged_coverage.write_reports(contract, found.measured, found.left_out)
    return ExitStatus.COVERAGE if matrix.problems else 0
