"""Builds the matrix that the merge judges and the report shows from receipts and coverage data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coverage.exceptions import CoverageException

from . import accepted_checks, merged_coverage, session_checks, session_coverage
from .contract import ContractError
from .matrix import Cell, Known, Matrix, Proof, SessionRow, TestRow, Unproven
from .receipts import RAN, Receipt, ReceiptError, read_receipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .contract import Contract
    from .session_checks import Session


@dataclass(slots=True)
class Asked:
    """What the caller requires of the matrix.

    Attributes:
        expected: sessions that must have left a receipt; when empty, all that did.
        required: capabilities that some session must have had.
        last: receipts of earlier runs, or folders of them, that show when a test was last proved.
    """

    expected: Sequence[str] = ()
    required: Sequence[str] = ()
    last: Sequence[Path] = ()


@dataclass(slots=True)
class Collected:
    """The matrix, and what it was built from.

    Attributes:
        matrix: everything known.
        measured: the receipts whose coverage data was used.
        left_out: test files that do not count for coverage, because no machine here could run them.
        receipts: those of the sessions that left a readable one.
        lost: what the accepted list says was proved and is not any more, all of it among the matrix's problems.
        hints: what the list says nothing of, all of it among the matrix's notes.
        gate_problem: why the coverage gate fails, which is one of the matrix's problems, or None.
    """

    matrix: Matrix
    measured: list[Receipt] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    gate_problem: str | None = None


def collect(contract: Contract, asked: Asked) -> Collected:
    """Return the matrix, as far as receipts and coverage data allow.

    Raises:
        ReceiptError: there is no receipt, a name is not valid for a session, or a path in ``last`` does not exist.
        ContractError: a required capability is not in the table.
    """
    sessions = session_checks.load(contract, asked.expected)
    receipts = [session.receipt for session in sessions if session.receipt is not None]
    required = session_checks.lacking(contract, receipts, asked.required)
    proofs, notes = _last_proofs(asked.last)
    measured = _with_sound_data(contract, sessions)
    left_out = session_checks.unprovable_files(contract, receipts)
    matrix = Matrix(
        project=_project(contract),
        generated=datetime.now(UTC).isoformat(timespec="seconds"),
        sessions=[_row(session) for session in sessions],
        tests=_tests(receipts),
        partial=len(measured) < len(sessions),
        unproven=_unproven(contract, receipts, proofs),
        known_failures=_known_failures(receipts),
        notes=[
            *notes,
            *_tried(contract),
            *session_checks.without_assertions(receipts),
            *(f"{name} does not count for coverage: no machine here could run its tests" for name in left_out),
        ],
    )
    unusable, gate = _fill_coverage(contract, matrix, measured, left_out)
    alone = [f"{session.name}: {problem}" for session in sessions for problem in session.problems]
    together = session_checks.refusals(contract, sessions)
    held = accepted_checks.Held()
    if all(session.receipt is not None and session.receipt.finished is not None for session in sessions):
        # While a session is missing, what no other one proved only follows from that.
        files = None if matrix.partial or unusable else matrix.files
        held = accepted_checks.held(contract, receipts, files, left_out)
    matrix.notes += held.hints
    foreign = merged_coverage.foreign_settings(contract)
    matrix.problems = [*alone, *together, *required, *held.problems, *unusable, *foreign, *filter(None, [gate])]
    return Collected(matrix, measured, left_out, receipts, held.problems, held.hints, gate)


def _with_sound_data(contract: Contract, sessions: Iterable[Session]) -> list[Receipt]:
    """Return the receipts whose coverage data counts, and note on the other sessions why theirs does not."""
    sound: list[Receipt] = []
    for session in sessions:
        # Line numbers of other sources mean nothing here, and an unfinished run may still be writing.
        if session.receipt is None or session.state not in ("proved", "red"):
            continue
        problems = session_coverage.data_problems(contract, session.receipt)
        if problems:
            session.state = "red"
            session.problems += problems
        else:
            sound.append(session.receipt)
    return sound


def _fill_coverage(
    contract: Contract, matrix: Matrix, measured: Sequence[Receipt], left_out: Sequence[str]
) -> tuple[list[str], str | None]:
    """Add the coverage to the matrix; return why the data cannot be used, and why the gate fails."""
    if not measured:
        return [], None
    try:
        result = merged_coverage.measure(contract, measured, left_out)
    except CoverageException as error:
        return [f"the coverage data cannot be merged ({error}): run the sessions again"], None
    matrix.coverage, matrix.gate = result.total, result.gate
    matrix.environments, matrix.files = result.environments, result.files
    for row in matrix.sessions:
        row.coverage = result.sessions.get(row.name)
    # Data known to be incomplete says nothing about the gate.
    return [], None if matrix.partial else result.refusal


def _row(session: Session) -> SessionRow:
    row = SessionRow(name=session.name, state=session.state, problems=session.problems)
    receipt = session.receipt
    if receipt is None:
        return row
    outcomes = [test.outcome for test in receipt.tests.values()]
    row.environment, row.capabilities = receipt.environment, receipt.capabilities
    row.subset = receipt.subset
    row.python, row.platform, row.machine = receipt.python, receipt.platform, receipt.machine
    row.lock, row.commit, row.started = receipt.lock, receipt.commit, receipt.started
    row.ran = sum(outcome in RAN for outcome in outcomes)
    row.skipped, row.failed = outcomes.count("skipped"), outcomes.count("failed")
    row.seconds = round(sum(test.duration for test in receipt.tests.values()), 3)
    row.violations = receipt.violations
    return row


def _tests(receipts: Iterable[Receipt]) -> list[TestRow]:
    rows: dict[str, TestRow] = {}
    for receipt in receipts:
        for name, test in receipt.tests.items():
            row = rows.setdefault(name, TestRow(id=name, requires=test.requires))
            row.cells[receipt.session] = Cell(
                outcome=test.outcome,
                reason=test.reason,
                seconds=test.duration,
                message=test.message,
                violation=test.violation,
                traces=test.traces,
            )
    return list(rows.values())


def _unproven(contract: Contract, receipts: Sequence[Receipt], proofs: Mapping[str, Proof]) -> list[Unproven]:
    absent = session_checks.absent_from_machines(contract, receipts)
    return [
        Unproven(id=name, needs=[need for need in requires if need in absent], last=proofs.get(name))
        for name, requires in session_checks.never_ran(receipts).items()
        if not absent.isdisjoint(requires)
    ]


def _known_failures(receipts: Iterable[Receipt]) -> list[Known]:
    found: dict[tuple[str, str], Known] = {}
    for receipt in receipts:
        for name, test in receipt.tests.items():
            if test.outcome == "xfailed" and test.known_failure is not None:
                known = Known(id=name, reason=test.known_failure, sessions=[])
                found.setdefault((name, test.known_failure), known).sessions.append(receipt.session)
    return list(found.values())


def _tried(contract: Contract) -> list[str]:
    """Return the notes of sessions that prove nothing of the matrix, because what they try may fail."""
    folder = contract.root / contract.state / "notes"
    return [f"{path.stem}: {_text(path)}" for path in sorted(folder.glob("*.txt"))]


def _text(note: Path) -> str:
    return note.read_text(encoding="utf-8", errors="backslashreplace").strip()


def _last_proofs(places: Iterable[Path]) -> tuple[dict[str, Proof], list[str]]:
    """Return when each test last passed in these receipts, and which receipts could not be read."""
    proofs: dict[str, Proof] = {}
    notes = []
    for path in (path for place in places for path in _receipts_at(place)):
        try:
            receipt = read_receipt(path)
        except ReceiptError as error:
            notes.append(f"an earlier receipt was ignored: {error}")
            continue
        for name, proof in _proofs_in(receipt):
            if name not in proofs or proofs[name].finished < proof.finished:
                proofs[name] = proof
    return proofs, notes


def _receipts_at(place: Path) -> list[Path]:
    if not place.exists():
        message = f"--last {place} does not exist: name a receipt, or a folder of receipts"
        raise ReceiptError(message)
    return sorted(filter(Path.is_file, place.rglob("*.json"))) if place.is_dir() else [place]


def _proofs_in(receipt: Receipt) -> list[tuple[str, Proof]]:
    if receipt.finished is None:
        return []
    proof = Proof(session=receipt.session, finished=receipt.finished, commit=receipt.commit)
    return [(name, proof) for name, test in receipt.tests.items() if (test.outcome, test.violation) == ("passed", None)]


def _project(contract: Contract) -> str:
    path = contract.root / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project") if path.is_file() else None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"pyproject.toml is not TOML ({error}): correct it, the project's name is read there"
        raise ContractError(message) from error
    return str(project.get("name", contract.root.name)) if isinstance(project, dict) else contract.root.name
