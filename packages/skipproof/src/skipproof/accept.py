"""Write down what the sessions proved: ``skipproof accept [--expect SESSION ...]``, in the project's root.

Writes the accepted list, which ``skipproof merge`` holds the next sessions against, and prints what it takes off. When
a session does not count, it writes nothing and exits with 13; on a usage error, or a list that cannot be read, with 4.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import accepted_checks, command_line
from .accepted import Accepted, AcceptedError, Excluded, counts, places, read_list, write_list
from .contract import counted
from .exits import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    contract, found = command_line.collected("accept", "Write down what the sessions proved.", arguments)
    name = contract.accepted
    if name is None:
        sys.stderr.write(f'skipproof accept: error: {contract.heading} names no list: add accepted = "accepted.txt"\n')
        return command_line.USAGE
    try:
        before = read_list(contract, name) if (contract.root / name).exists() else Accepted()
    except AcceptedError as error:
        sys.stderr.write(f"skipproof accept: error: {error}\n")
        return command_line.USAGE
    others = [problem for problem in found.matrix.problems if problem not in (*found.lost, found.gate_problem)]
    if others:
        sys.stdout.write("".join(f"- {problem}\n" for problem in others))
        sys.stdout.write(f"{name} was not written: correct what is wrong first.\n")
        return ExitStatus.MERGE
    now = accepted_checks.seen(contract, found.receipts)
    after = accepted_checks.updated(contract, before, now, found.matrix.files, found.left_out)
    write_list(contract, name, after)
    sys.stdout.write("".join(f"{line}\n" for line in _changes(before, after)))
    sys.stdout.write(
        f"{name}: {counted(len(after.tests), 'test', 'tests')}; review what changed in it, and commit it.\n"
    )
    return 0


def _changes(before: Accepted, after: Accepted) -> Iterator[str]:
    """Yield what a reviewer has to look at: what is on the list no more, and what says less or more than it did."""
    for function, old in before.tests.items():
        new = after.tests.get(function)
        if new != old:
            yield f"- {function}: {places(old)}" + (f" -> {places(new)}" if new else " -> gone")
    for path in sorted(before.excluded.keys() | after.excluded.keys()):
        old_counts, new_counts = (counts(each.excluded.get(path, Excluded())) for each in (before, after))
        if new_counts != old_counts:
            yield f"- coverage leaves out of {path}: {old_counts or 'nothing'} -> {new_counts or 'nothing'}"
