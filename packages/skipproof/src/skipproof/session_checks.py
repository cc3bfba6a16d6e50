"""Reasons to refuse a set of receipts: what they do not prove, or prove of something that has changed since."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

from . import shards
from .contract import ContractError, counted
from .receipts import (
    RAN,
    Receipt,
    ReceiptError,
    check_session_name,
    left_out,
    lock_digest,
    read_receipt,
    receipt_path,
    receipts_folder,
)
from .sources import changes, digests, told
from .suites import in_suites

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from .contract import Contract
    from .matrix import State
    from .receipts import TestResult

    # The digests of the current sources, given the suites of a run.
    _Digests = Callable[[tuple[str, ...]], dict[str, str]]

_SHOWN = 5
_AGAIN = "run this session again"


@dataclass(slots=True)
class Session:
    """One session that was asked for.

    Attributes:
        name: its name, which is its receipt's too.
        state: what its run is worth.
        receipt: what its run left, or None when that is missing or damaged.
        problems: why it does not count as proof, each with its next step.
    """

    name: str
    state: State
    receipt: Receipt | None = None
    problems: list[str] = field(default_factory=list)


def load(contract: Contract, expected: Sequence[str]) -> list[Session]:
    """Return the expected sessions, or every session that left a receipt, each with what is wrong with it.

    When sessions are named, receipts of others are ignored: they may be from another day.

    Raises:
        ReceiptError: there is no receipt, or a name is not valid for a session.
    """
    present = sorted(path.stem for path in receipts_folder(contract).glob("*.json"))
    if not present:
        where = receipts_folder(contract).relative_to(contract.root).as_posix()
        message = f"{where} holds no receipt: run a session, such as pytest --skipproof ENVIRONMENT"
        raise ReceiptError(message)
    for name in expected:
        check_session_name(name)
    sources = cache(partial(digests, contract))
    others = [name for name in present if name not in expected]
    names = [part for name in expected or present for part in _parts(name, present)]
    sessions = [_session(contract, name, sources, others) for name in dict.fromkeys(names)]
    lost = shards.missing([session.receipt for session in sessions if session.receipt is not None])
    known = {session.name for session in sessions}
    return sessions + [
        Session(name, "missing", None, [f"has no receipt, but is one of the {fact}: run this session"])
        for name, fact in lost.items()
        if name not in known
    ]


def refusals(contract: Contract, sessions: Sequence[Session]) -> list[str]:
    """Return what the sessions together fail to prove, with the next step."""
    finished = [each.receipt for each in sessions if each.receipt is not None and each.receipt.finished is not None]
    problems = [*shards.refusals(finished), *_differing_ids(finished), *_differing_models(finished)]
    if len(finished) == len(sessions):
        # While a session is missing, tests that no other session ran or compared only follow from that.
        problems += [*_left_out(contract, finished), *_without_comparison(finished), *_never_read(finished)]
        problems += _never_ran(contract, finished)
    return problems


def lacking(contract: Contract, receipts: Iterable[Receipt], required: Iterable[str]) -> list[str]:
    """Return which of the required capabilities no session had, with the next step.

    Raises:
        ContractError: a name is not in the table.
    """
    names = list(dict.fromkeys(required))
    contract.check_capabilities(names, "--require")
    had = {name for receipt in receipts for name in receipt.capabilities}
    return [
        f"{name} is required, but no session had it: run one that has it, on {contract.capabilities[name].install}"
        for name in names
        if name not in had
    ]


def failed_tests(receipt: Receipt) -> list[str]:
    """Return the ids of the tests that failed."""
    return [name for name, test in receipt.tests.items() if test.outcome == "failed"]


def absent_from_machines(contract: Contract, receipts: Iterable[Receipt]) -> set[str]:
    """Return the capabilities of machines that no session here had."""
    receipts = list(receipts)
    had = {name for receipt in receipts for name in receipt.capabilities}
    # Where an environment that promises it ran without it, a condition on Python or the platform did not hold.
    promised = {name for receipt in receipts for name in contract.environments.get(receipt.environment, ())}

    def absent(name: str) -> bool:
        capability = contract.capabilities[name]
        if capability.any_of:
            return all(map(absent, capability.any_of))
        foreign = capability.depends_on_platform and (capability.is_condition or name in promised)
        return name not in had and (capability.depends_on_machine or foreign or any(map(absent, capability.all_of)))

    return set(filter(absent, contract.capabilities))


def unprovable_files(contract: Contract, receipts: Sequence[Receipt]) -> list[str]:
    """Return the test files in which every test needs something that no session's machine had."""
    absent = absent_from_machines(contract, receipts)
    runnable: dict[str, bool] = {}
    for receipt in receipts:
        for name, test in receipt.tests.items():
            file = name.partition("::")[0]
            runnable[file] = runnable.get(file, False) or absent.isdisjoint(test.requires)
    return sorted(file for file, can_run in runnable.items() if not can_run)


def without_assertions(receipts: Iterable[Receipt]) -> list[str]:
    """Return one note on the tests that contain no assertion, or none."""
    found = {name for receipt in receipts for name, test in receipt.tests.items() if test.unasserted}
    if not found:
        return []
    return [f"{len(found)} tests contain no assertion, so they pass as long as nothing raises: {_listed(found)}"]


def never_ran(receipts: Iterable[Receipt]) -> dict[str, list[str]]:
    """Return the tests that ran in no session, not even to fail as known, each with what they need."""
    receipts = list(receipts)
    tests = _taken(receipts)
    ran = {name for receipt in receipts for name, test in receipt.tests.items() if test.outcome in (*RAN, "xfailed")}
    return {name: test.requires for name, test in tests.items() if name not in ran}


def _taken(receipts: Iterable[Receipt]) -> dict[str, TestResult]:
    """Return the tests that some session took into its subset, with what one of those says of them."""
    found = {}
    for receipt in receipts:
        found.update({name: test for name, test in receipt.tests.items() if test.outcome != "deselected"})
    return found


def _parts(name: str, present: Sequence[str]) -> list[str]:
    """Return the names of the receipts that a session left: its own, or those of its shards."""
    shard = re.compile(re.escape(name) + r"-\d+of\d+")
    found = [each for each in present if each == name or shard.fullmatch(each)]
    return found or [name]


def _session(contract: Contract, name: str, sources: _Digests, others: Sequence[str]) -> Session:
    path = receipt_path(contract, name)
    if not path.is_file():
        # A session that died before it wrote a receipt and a misspelt name look the same from here.
        close = difflib.get_close_matches(name, others, n=1)
        hint = f", or correct its name (did you mean {close[0]!r}?)" if close else ""
        return Session(name, "missing", None, [f"has no receipt: run this session{hint}"])
    return _judged(contract, path, sources)


def _judged(contract: Contract, path: Path, sources: _Digests) -> Session:
    try:
        receipt = read_receipt(path)
    except ReceiptError as error:
        return Session(path.stem, "damaged", None, [str(error)])
    unfinished = _unfinishedness(receipt)
    stale = _staleness(contract, receipt, sources(tuple(receipt.suites)))
    red = [] if unfinished else _redness(receipt)
    state: State = "unfinished" if unfinished else "stale" if stale else "red" if red else "proved"
    return Session(path.stem, state, receipt, [*unfinished, *red, *stale])


def _unfinishedness(receipt: Receipt) -> list[str]:
    if receipt.finished is not None:
        return []
    if receipt.exit_status is None:
        return [f"its run did not finish: {_AGAIN}"]
    # Such as by an error of the collection, which another run would meet again.
    return [f"its run was stopped ({_counts(receipt)}): fix what stopped it, and {_AGAIN}"]


def _redness(receipt: Receipt) -> list[str]:
    if receipt.exit_status == 0 and not receipt.violations:
        return []
    return [f"is red ({_counts(receipt)}): fix what it shows, and {_AGAIN}"]


def _counts(receipt: Receipt) -> str:
    failed = counted(len(failed_tests(receipt)), "failed test", "failed tests")
    violations = counted(len(receipt.violations), "violation", "violations")
    return f"exit status {receipt.exit_status}, {failed}, {violations}"


def _staleness(contract: Contract, receipt: Receipt, sources: Mapping[str, str]) -> list[str]:
    """Return how the run differs from what is here now."""
    problems = []
    changed = changes(contract, receipt.sources, sources)
    if changed:
        problems.append(f"ran on sources that differ from those here now ({told(changed)}): {_AGAIN}")
    try:
        promised = contract.promised(receipt.environment)
        for name, test in receipt.tests.items():
            contract.check_capabilities(test.requires, name)
    except ContractError as error:
        return [*problems, f"ran with a table that differs from the one in {contract.table} now ({error}): {_AGAIN}"]
    # What depends on the machine may differ from one run to the next.
    may_vary = contract.may_vary(receipt.environment)
    if set(receipt.capabilities) - may_vary != set(promised) - may_vary:
        had, has = (", ".join(names) or "nothing" for names in (receipt.capabilities, promised))
        fact = f"ran when {receipt.environment} had {had}, but the table now promises {has}"
        problems.append(f"{fact}: {_AGAIN}")
    lock = lock_digest(contract, receipt.environment)
    where = contract.locks[receipt.environment].file
    if lock is None:
        problems.append(f"its environment has no lock: compile {where}, and {_AGAIN}")
    elif receipt.lock != lock:
        problems.append(f"ran with a lock that differs from {where} as it is now: {_AGAIN}")
    return problems


def _left_out(contract: Contract, receipts: Sequence[Receipt]) -> list[str]:
    """Return the tests that every session left to another subset."""
    tests = list(dict.fromkeys(name for receipt in receipts for name in receipt.tests))
    taken = _taken(receipts)
    left = [name for name in tests if name not in taken]
    if not left:
        return []
    others = sorted(set(contract.subsets) - {receipt.subset for receipt in receipts})
    step = f"run a session of {' or '.join(others) or 'all of them'} too"
    fact = f"{counted(len(left), 'test is', 'tests are')} in no session's subset ({_listed(left)})"
    return [f"{fact}: {step}"]


def _without_comparison(receipts: Sequence[Receipt]) -> list[str]:
    """Return the suites that only one environment ran: if an id vanished there, nothing would show it."""
    where: dict[str, set[str]] = {}
    for receipt in receipts:
        for suite in receipt.suites:
            where.setdefault(suite, set()).add(receipt.environment)
    return [
        f"{suite} ran only in the environment {min(names)}, so its ids cannot be compared: "
        "run it in another environment too"
        for suite, names in where.items()
        if len(names) == 1
    ]


def _differing_ids(receipts: Sequence[Receipt]) -> list[str]:
    """Compare each suite's ids in every session with those in the first session that ran it."""
    first: dict[str, Receipt] = {}
    problems = []
    for receipt in sorted(receipts, key=lambda each: len(each.unread)):
        for suite in receipt.suites:
            other = first.setdefault(suite, receipt)
            mine, theirs = _ids(receipt, suite, other), _ids(other, suite, receipt)
            for here, names in ((receipt, mine - theirs), (other, theirs - mine)):
                if names:
                    pair = f"{other.session} and {receipt.session}"
                    fact = f"{pair}: ids in {suite} differ, only {here.session} collected {_listed(names)}"
                    problems.append(f"{fact}: collect the same tests everywhere, and let marks decide what runs")
    return problems


def _ids(receipt: Receipt, suite: str, other: Receipt) -> set[str]:
    """Return the ids of a suite that the other session has to have too."""
    return {name for name in receipt.ids() if in_suites(name, [suite]) and not left_out(name, other)}


def _never_read(receipts: Sequence[Receipt]) -> list[str]:
    """Return the test files that the Python of no session could read, among those that ran their suite."""
    return [
        f"{file} could be read in no session: fix it, or run a session with a Python that can read it"
        for file in sorted({file for receipt in receipts for file in receipt.unread})
        if all(file in receipt.unread for receipt in receipts if in_suites(file, receipt.suites))
    ]


def _never_ran(contract: Contract, receipts: Sequence[Receipt]) -> list[str]:
    absent = absent_from_machines(contract, receipts)
    idle = [name for name, requires in never_ran(receipts).items() if absent.isdisjoint(requires)]
    if not idle:
        return []
    fact = f"{counted(len(idle), 'test', 'tests')} ran in no session ({_listed(idle)})"
    return [f"{fact}: run a session whose environment has what they need"]


def _differing_models(receipts: Sequence[Receipt]) -> list[str]:
    """Return the tests that two environments proved with different weights."""
    models: dict[str, dict[frozenset[str], str]] = {}
    for receipt in receipts:
        for name, test in receipt.tests.items():
            if test.traces:
                digests = frozenset(trace.model for trace in test.traces)
                models.setdefault(name, {}).setdefault(digests, receipt.session)
    problems = []
    for name, sessions in models.items():
        if len(sessions) > 1:
            used = " and ".join(f"{', '.join(sorted(map(_short, used)))} in {who}" for used, who in sessions.items())
            fact = f"{name} used different models ({used})"
            problems.append(f"{fact}: give every session the same weights, and run them again")
    return problems


def _short(digest: str) -> str:
    return digest[:12]


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
