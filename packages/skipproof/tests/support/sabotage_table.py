"""The sabotage table in the plugin's README: the tests assert what it says about each deceit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from skipproof.exits import ExitStatus

README = Path(__file__).parents[2] / "README.md"
# The exit status of a run or a merge when the gate fails.
STATUS = {
    "usage": int(pytest.ExitCode.USAGE_ERROR),
    "pytest": int(pytest.ExitCode.TESTS_FAILED),
    "collection": int(pytest.ExitCode.INTERRUPTED),
    "repaired": int(pytest.ExitCode.OK),
    **{status.name.lower(): int(status) for status in ExitStatus},
}
_ROW = re.compile(
    r"^\| (?P<deceit>.+?) \| (?P<gate>[\w -]+) \| `(?P<message>.+)` \| (?P<proof>[\w ]+) \|$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Row:
    """One deceit of the table.

    Attributes:
        deceit: what is planted.
        gate: which gate has to catch it.
        message: what it has to print; "…" stands for anything within the line.
        proof: "plugin" when the plugin's own tests show it, "real sessions" when this project's sessions do.
    """

    deceit: str
    gate: str
    message: str
    proof: str

    def is_said_in(self, output: str) -> bool:
        """Return whether a line of the output contains the row's message."""
        parts = self.message.replace(r"\|", "|").split("…")
        return re.search(".*".join(map(re.escape, parts)), output) is not None


def rows(proof: str) -> dict[str, Row]:
    """Return the table's rows with one kind of proof, by deceit."""
    found = [Row(**match.groupdict()) for match in _ROW.finditer(README.read_text(encoding="utf-8"))]
    assert len({row.deceit for row in found}) == len(found), "the table has a deceit twice"
    return {row.deceit: row for row in found if row.proof == proof}
