"""One of several runs that share a session's tests, so that as many machines prove it at once.

All of them collect everything, and each runs its share. A test file is in one of them as a whole, so that fixtures of
sessions and modules are set up once. Files go, the longest first, to the shard that has least to do: by what they took
in earlier receipts or, without one, by their number of tests. The same files and receipts give the same split anywhere.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .contract import ContractError, counted
from .receipts import Receipt, ReceiptError, read_receipt, receipt_path, shard_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .contract import Contract

_ASKED = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the shards a run is.

    Attributes:
        number: its own, from 1.
        count: how many there are.
        durations: microseconds that each test file took in earlier runs.
    """

    number: int
    count: int
    durations: Mapping[str, int] = field(default_factory=dict)

    def split(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the number of the shard that each test file belongs to, given the ids of all tests."""
        tests: dict[str, int] = {}
        for name in ids:
            file = file_of(name)
            tests[file] = tests.get(file, 0) + 1
        known = {file: self.durations[file] for file in tests if file in self.durations}
        # A new file takes as long, for its number of tests, as the others do.
        each = sum(known.values()) / sum(tests[file] for file in known) if known else 1.0
        weights = {file: known.get(file, round(count * each)) for file, count in tests.items()}
        # Where nothing takes any time, the number of files counts.
        loads = [(0, 0, number) for number in range(1, self.count + 1)]
        found: dict[str, int] = {}
        for file in sorted(weights, key=lambda file: (-weights[file], file)):
            load, files, found[file] = heapq.heappop(loads)
            heapq.heappush(loads, (load + weights[file], files + 1, found[file]))
        return found


def file_of(nodeid: str) -> str:
    """Return the test file of a test, by its id."""
    return nodeid.partition("::")[0]


def digest(split: Mapping[str, int]) -> str:
    """Return the SHA-256 of a split, in hexadecimal."""
    return hashlib.sha256(json.dumps(sorted(split.items())).encode()).hexdigest()


def asked(contract: Contract, environment: str, session: str, text: str, places: Sequence[Path]) -> Share:
    """Return the share that a run is asked for as "2/4", with the durations in these receipts or folders of them.

    Without any place, the receipt of a whole run of the session counts, if there is one.

    Raises:
        ContractError: it is not a share, or a place has no receipt of the environment.
        ReceiptError: a receipt cannot be read.
    """
    match = _ASKED.fullmatch(text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        message = f"--skipproof-shard {text!r} is not a share: write it as 2/4, which is the second of four"
        raise ContractError(message)
    return Share(number, count, _durations(contract, environment, session, places))


def _durations(contract: Contract, environment: str, session: str, places: Sequence[Path]) -> dict[str, int]:
    receipts = [receipt for place in places for receipt in _receipts(place, environment)]
    if not places:
        with suppress(ReceiptError, OSError):  # it is there by chance; the shards' receipts show when it differs
            receipts = [read_receipt(receipt_path(contract, session))]
    found: dict[str, int] = {}
    for receipt in sorted(receipts, key=lambda receipt: (receipt.finished or "", receipt.session)):
        here: dict[str, int] = {}
        for name, test in receipt.tests.items():
            here[file_of(name)] = here.get(file_of(name), 0) + round(test.duration * 1_000_000)
        found |= here  # the latest counts
    return found


def _receipts(place: Path, environment: str) -> list[Receipt]:
    paths = sorted(place.rglob("*.json")) if place.is_dir() else [place] if place.is_file() else []
    found = [receipt for receipt in map(read_receipt, paths) if receipt.environment == environment]
    if not found:
        message = (
            f"--skipproof-durations {place} has no receipt of {environment}: name one of an earlier run, or a folder"
        )
        raise ContractError(message)
    return found


def missing(receipts: Sequence[Receipt]) -> dict[str, str]:
    """Return the shards that these receipts are not of, but belong to, each with what it is one of."""
    present = {receipt.session for receipt in receipts}
    wanted = {
        shard_name(session, number, count): f"{count} shards of {session}"
        for session, count in {(receipt.whole, receipt.shard.count) for receipt in receipts if receipt.shard}
        for number in range(1, count + 1)
    }
    return {name: fact for name, fact in sorted(wanted.items()) if name not in present}


def refusals(receipts: Sequence[Receipt]) -> list[str]:
    """Return what shards together fail to be: one whole session, with each test in one of them."""
    groups: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        if receipt.shard is not None:
            groups.setdefault(receipt.whole, []).append(receipt)
    whole = {receipt.session for receipt in receipts if receipt.shard is None}
    problems = []
    for session, group in sorted(groups.items()):
        if session in whole:
            problems.append(f"{session} left a receipt as a whole beside those of its shards: delete the older ones")
        problems += _differences(session, group)
    return problems


def _differences(session: str, group: Sequence[Receipt]) -> list[str]:
    names = ", ".join(receipt.session for receipt in group)
    facts = {
        "counts": {str(receipt.shard.count) for receipt in group if receipt.shard},
        "environments": {receipt.environment for receipt in group},
        "subsets": {str(receipt.subset) for receipt in group},
        "Pythons": {".".join(receipt.python.split(".")[:2]) for receipt in group},
    }
    problems = [
        f"{session}: its shards ran with different {what} ({', '.join(sorted(found))}: {names}): run them again, alike"
        for what, found in facts.items()
        if len(found) > 1
    ]
    if not problems and len({receipt.shard.split for receipt in group if receipt.shard}) > 1:
        fact = f"{session}: its shards ({names}) split the tests in different ways"
        problems.append(f"{fact}: collect the same everywhere, give all the same --skipproof-durations, run them again")
    return [*problems, *_holes(session, group)]


def _holes(session: str, group: Sequence[Receipt]) -> list[str]:
    """Return the tests that two shards had, and those that each left to another one."""
    ran: dict[str, int] = {}
    for name, test in (pair for receipt in group for pair in receipt.tests.items()):
        if test.outcome != "deselected":  # it is in no shard of a subset
            ran[name] = ran.get(name, 0) + 1
    twice = [name for name, count in ran.items() if count > 1]
    left = dict.fromkeys(name for receipt in group if receipt.shard for name in receipt.shard.elsewhere)
    none = [name for name in left if name not in ran]
    complete = len(group) == max(receipt.shard.count for receipt in group if receipt.shard)
    facts = [("in two of its shards", twice), ("in none of its shards", none if complete else [])]
    return [
        f"{session}: {counted(len(names), 'test is', 'tests are')} {fact}, such as {names[0]}: run all shards again"
        for fact, names in facts
        if names
    ]
