"""The exit statuses of the gates: each gate has its own, so that a script can tell what went red."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a run or a merge ends with when a gate stays shut; pytest's own (0 to 5) mean what they always mean."""

    PREFLIGHT = 10
    """The environment is not what its name, its table or its lock says. No test ran."""
    CANARY = 11
    """A planted fault was not found, so a gate is blind. No test ran."""
    RUN = 12
    """A test did something else than the contract says, or is missing."""
    MERGE = 13
    """The receipts, or the coverage data, of the sessions do not prove the matrix."""
    COVERAGE = 14
    """Everything is proved, but the merged coverage is under its gate."""
