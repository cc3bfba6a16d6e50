"""Reasons to refuse a set of receipts: what was not proved, or was proved of something else than what is here now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .receipts import (
    RAN,
    Receipt,
    ReceiptError,
    lock_digest,
    read_receipt,
    receipt_path,
    receipts_folder,
    sources_digest,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .contract import Contract

_SHOWN = 5


def load(contract: Contract, expected: Sequence[str]) -> tuple[list[Receipt], list[str]]:
    """Return the receipts of the expected sessions (of all sessions, when none is named), and what is wrong with them.

    With sessions named, a receipt of any other is left alone: it may be of another day.
    """
    present = receipts_folder(contract).glob("*.json")
    names = list(dict.fromkeys(expected)) or sorted(path.stem for path in present)
    if not names:
        return [], ["there is no receipt at all: run a session, such as pytest --environment NAME"]
    receipts, problems = [], []
    for name in names:
        path = receipt_path(contract, name)
        if not path.is_file():
            problems.append(f"{name}: no receipt of it is here: run this session")
            continue
        try:
            receipts.append(read_receipt(path))
        except ReceiptError as error:
            problems.append(f"{name}: {error}")
    return receipts, problems


def refusals(contract: Contract, receipts: Sequence[Receipt]) -> list[str]:
    """Return every reason, with its next step, why these receipts do not prove the matrix; empty when they do."""
    sources = sources_digest(contract)
    problems = [problem for receipt in receipts for problem in _own_problems(contract, receipt, sources)]
    finished = [receipt for receipt in receipts if receipt.finished is not None]
    return problems + _differing_ids(finished) + _never_ran(contract, finished)


def failed_tests(receipt: Receipt) -> list[str]:
    """Return the ids of the tests that failed."""
    return [name for name, test in receipt.tests.items() if test.outcome == "failed"]


def absent_hardware(contract: Contract, receipts: Iterable[Receipt]) -> set[str]:
    """Return the hardware capabilities that no session here had."""
    had = {name for receipt in receipts for name in receipt.capabilities}
    return {name for name, capability in contract.capabilities.items() if capability.depends_on_machine} - had


def hardware_only_files(contract: Contract, receipts: Sequence[Receipt]) -> list[str]:
    """Return the test files of which every test needs hardware that no session here had."""
    absent = absent_hardware(contract, receipts)
    runnable: dict[str, bool] = {}
    for receipt in receipts:
        for name, test in receipt.tests.items():
            file = name.partition("::")[0]
            runnable[file] = runnable.get(file, False) or absent.isdisjoint(test.requires)
    return sorted(file for file, can_run in runnable.items() if not can_run)


def _own_problems(contract: Contract, receipt: Receipt, sources: str) -> list[str]:
    again = "run this session again"
    problems = []
    if receipt.finished is None:
        problems.append(f"its run did not come to its end: {again}")
    elif receipt.exit_status != 0 or receipt.violations:
        counts = f"{len(failed_tests(receipt))} failed tests, {len(receipt.violations)} violations"
        problems.append(f"is red (exit status {receipt.exit_status}, {counts}): mend what it shows, and {again}")
    if receipt.sources != sources:
        problems.append(f"was run with other sources than are here now: {again}")
    lock = lock_digest(contract, receipt.environment)
    where = contract.lock(receipt.environment).relative_to(contract.root).as_posix()
    if lock is None:
        problems.append(f"its environment has no lock: compile {where}, and {again}")
    elif receipt.lock != lock:
        problems.append(f"was run with another lock than {where} is now: {again}")
    return [f"{receipt.session}: {problem}" for problem in problems]


def _differing_ids(receipts: Sequence[Receipt]) -> list[str]:
    """Compare the ids of each suite in every session with those in the first session that ran the suite."""
    first: dict[str, Receipt] = {}
    problems = []
    for receipt in receipts:
        for suite in receipt.suites:
            other = first.setdefault(suite, receipt)
            mine, theirs = _ids(receipt, suite), _ids(other, suite)
            for here, names in ((receipt, mine - theirs), (other, theirs - mine)):
                if names:
                    pair = f"{other.session} and {receipt.session}"
                    fact = f"{pair}: ids in {suite} differ, only {here.session} collected {_listed(names)}"
                    problems.append(f"{fact}: collect the same tests everywhere, and let marks decide what runs")
    return problems


def _ids(receipt: Receipt, suite: str) -> set[str]:
    return {name for name in receipt.tests if name.startswith(f"{suite}/")}


def _never_ran(contract: Contract, receipts: Sequence[Receipt]) -> list[str]:
    absent = absent_hardware(contract, receipts)
    tests = {name: test for receipt in receipts for name, test in receipt.tests.items()}
    ran = {name for receipt in receipts for name, test in receipt.tests.items() if test.outcome in RAN}
    idle = [name for name, test in tests.items() if name not in ran and absent.isdisjoint(test.requires)]
    if not idle:
        return []
    fact = f"{len(idle)} tests ran in no session ({_listed(idle)})"
    return [f"{fact}: run a session whose environment has what they need"]


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
