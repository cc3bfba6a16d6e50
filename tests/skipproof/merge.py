"""Merge what the sessions proved: ``python -m tests.skipproof.merge [--expect SESSION ...]``, in the project's root.

Prints the grid of test files and sessions, refuses receipts that prove nothing, then merges the coverage data and
gates it. Exits with 0 when everything is proved, with 2 when called wrongly, else as exits.py says.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import audit, cover, grid
from .contract import ContractError, read_contract
from .exits import ExitStatus
from .receipts import shown_violations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Contract
    from .receipts import Receipt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.skipproof.merge", description="Merge what the sessions proved."
    )
    parser.add_argument(
        "--expect",
        action="extend",
        nargs="+",
        default=[],
        metavar="SESSION",
        help="sessions that must have left a receipt; only these are merged (default: all that are there)",
    )
    expected = parser.parse_args(arguments).expect
    try:
        contract = read_contract(Path.cwd())
    except ContractError as error:
        _say(f"error: {error}")
        return 2
    receipts, problems = audit.load(contract, expected)
    _show_matrix(contract, receipts)
    problems += audit.refusals(contract, receipts)
    problems += [problem for receipt in receipts for problem in cover.data_problems(contract, receipt)]
    if problems:
        return _refuse(ExitStatus.MERGE, problems)
    result = cover.merge(contract, receipts, audit.hardware_only_files(contract, receipts))
    _say(f"\n{cover.as_text(result)}\n")
    _summarise(f"### Coverage\n\n{cover.as_markdown(result)}\n")
    if result.refusal is not None:
        return _refuse(ExitStatus.COVERAGE, [result.refusal])
    _say(f"Proved: {len(receipts)} sessions agree, and the gate of {result.gate:g} % is reached.")
    return 0


def _show_matrix(contract: Contract, receipts: Sequence[Receipt]) -> None:
    """Print the grid and every failed test, also of a red run: it is what one needs then."""
    if not receipts:
        return
    failed = [f"FAILED in {receipt.session}: {name}" for receipt in receipts for name in audit.failed_tests(receipt)]
    failed += [
        f"VIOLATION in {receipt.session}: {fact}"
        for receipt in receipts
        for fact in shown_violations(contract, receipt)
    ]
    _say("\n".join([grid.as_text(receipts), "", *failed]))
    _summarise(
        "\n".join(["### Tests and sessions", "", grid.as_markdown(receipts), "", *(f"- {line}" for line in failed)])
    )


def _refuse(status: ExitStatus, problems: Sequence[str]) -> int:
    lines = "\n".join(f"- {problem}" for problem in problems)
    _say(f"Refused:\n{lines}")
    _summarise(f"### Refused\n\n{lines}\n")
    return status


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _summarise(markdown: str) -> None:
    """Append to the summary of the workflow's step, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(f"{markdown}\n")


if __name__ == "__main__":
    sys.exit(main())
