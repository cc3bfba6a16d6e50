"""The exit statuses of the gates, one for each, so that a script can tell which gate failed."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit status of a run or a merge when a gate fails; pytest's own (0 to 5) keep their meaning."""

    PREFLIGHT = 10
    """The environment does not match its name, its table or its lock. No test ran."""
    CANARY = 11
    """A planted fault was not found, so a gate is blind. No test ran."""
    RUN = 12
    """A test broke the contract, or is missing."""
    MERGE = 13
    """The sessions' receipts or coverage data do not prove the matrix."""
    COVERAGE = 14
    """Everything is proved, but the merged coverage is under its gate."""
