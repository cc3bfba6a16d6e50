"""The whole matrix as data: what the report shows, and what other programs read in ``matrix.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .receipts import Outcome, Trace  # noqa: TC001 - whoever reads a matrix resolves the types of its fields

State = Literal["proved", "red", "unfinished", "stale", "damaged", "missing"]


@dataclass(slots=True, kw_only=True)
class SessionRow:
    """One session, which is one column of the grid.

    Attributes:
        name: the session's name.
        environment: the environment it ran in; None when its receipt is missing or cannot be read.
        subset: the subset of the suites that it ran; None for all.
        state: "stale" when sources, lock or table have changed since its run; "damaged" when its receipt cannot be
            read or was edited; "missing" when there is no receipt.
        python: version of the interpreter.
        platform: operating system and machine.
        machine: its processor and how the project's libraries use it, by fact.
        capabilities: what the environment had.
        ran: tests that ran, including those that failed.
        skipped: tests that were skipped.
        failed: tests that failed.
        seconds: of all its tests together.
        coverage: lines and branches that this session covers alone, in percent; None when unknown.
        lock: digest of its lock.
        commit: the commit it ran on, with "+" when files differed from it.
        started: time in ISO 8601, UTC.
        violations: every breach of the contract; a test's own are in its cell too.
        problems: why it does not count as proof, each with its next step.
    """

    name: str
    environment: str | None = None
    subset: str | None = None
    state: State
    python: str | None = None
    platform: str | None = None
    machine: dict[str, str] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    ran: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    coverage: float | None = None
    lock: str | None = None
    commit: str | None = None
    started: str | None = None
    violations: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Cell:
    """What became of one test in one session.

    Attributes:
        outcome: how it ended.
        reason: why it was skipped or xfailed, or None.
        seconds: setup, call and teardown together.
        message: where it failed and the first line, or None.
        violation: how it broke the contract there, or None.
        traces: the real inference that happened while it ran.
    """

    outcome: Outcome
    reason: str | None = None
    seconds: float = 0.0
    message: str | None = None
    violation: str | None = None
    traces: list[Trace] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class TestRow:
    """One test, which is one row of the grid; a session that did not collect it has no cell."""

    # pytest would take the class for a test case by its name.
    __test__ = False

    id: str
    requires: list[str] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class FileCoverage:
    """The coverage of one file.

    Attributes:
        path: relative to the project's root.
        statements: how many statements it has.
        percent: lines and branches covered by all sessions together, in percent.
        missing: lines that nothing covers, as ranges such as "3-7", and branches never taken, such as "9->12".
        environments: the same percentage for each environment alone.
        excluded: lines that coverage does not ask for, although they could run, as ranges.
        unbranched: lines of which it does not ask for every branch, as ranges.
        only: for each environment, the lines that nothing else reaches, as ranges.
    """

    path: str
    statements: int
    percent: float
    missing: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    unbranched: list[str] = field(default_factory=list)
    environments: dict[str, float] = field(default_factory=dict)
    only: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Proof:
    """When, where and at which commit a test was last proved."""

    session: str
    finished: str
    commit: str | None


@dataclass(slots=True, kw_only=True)
class Unproven:
    """A test that ran nowhere, because no machine had what it needs; ``last`` is None when no receipt proves it."""

    id: str
    needs: list[str]
    last: Proof | None = None


@dataclass(slots=True, kw_only=True)
class Known:
    """A test that failed as the table says, why that is so, and in which sessions; there it proves nothing."""

    id: str
    reason: str
    sessions: list[str]


@dataclass(slots=True, kw_only=True)
class Matrix:
    """Everything in the receipts and the coverage data of one project.

    Attributes:
        format: version of this schema.
        project: the project's name.
        generated: time in ISO 8601, UTC.
        sessions: in the order in which they were requested.
        tests: in the order of collection.
        files: by path; empty when there is no usable coverage data.
        coverage: lines and branches covered by the sessions together, in percent; None when unknown.
        partial: True when the data of some session is unusable, so ``coverage`` and ``files`` are incomplete.
        environments: lines and branches that each environment covers alone, in percent.
        gate: the percentage required, or None.
        unproven: tests that no machine could run this time.
        known_failures: tests that failed as the table says.
        problems: every reason why the matrix is not proved, each with its next step; empty when it is proved.
        notes: what was left out or ignored without affecting the proof.
    """

    format: Literal[1] = 1
    project: str
    generated: str
    sessions: list[SessionRow] = field(default_factory=list)
    tests: list[TestRow] = field(default_factory=list)
    files: list[FileCoverage] = field(default_factory=list)
    coverage: float | None = None
    partial: bool = False
    environments: dict[str, float] = field(default_factory=dict)
    gate: float | None = None
    unproven: list[Unproven] = field(default_factory=list)
    known_failures: list[Known] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
