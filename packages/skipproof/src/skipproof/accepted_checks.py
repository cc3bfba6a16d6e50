"""What the accepted list says was proved, against what the sessions prove now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .accepted import Accepted, AcceptedError, Excluded, Place, file_of, function_of, read_list
from .receipts import RAN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .contract import Contract
    from .matrix import FileCoverage
    from .receipts import Receipt

_SHOWN = 5


@dataclass(slots=True)
class Seen:
    """What the sessions show of each function.

    Attributes:
        ids: by function, its ids.
        ran: by environment and id, what the id needed there of what only some machines have.
        had: by environment, the capabilities that its sessions had.
    """

    ids: dict[str, set[str]] = field(default_factory=dict)
    ran: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)
    had: dict[str, list[frozenset[str]]] = field(default_factory=dict)

    def places(self, function: str) -> Counter[Place]:
        """Return how many of a function's ids ran at each place; those that ran nowhere are at one without a name."""
        found: Counter[Place] = Counter()
        for test in self.ids[function]:
            each = [Place(name, tuple(sorted(ids[test]))) for name, ids in self.ran.items() if test in ids]
            found.update(each or [Place("")])
        return found

    def could_be(self, contract: Contract, place: Place) -> bool:
        """Return whether some session of that environment had what a test needed there."""
        # What the table does not leave to the machine any more is no excuse.
        needs = contract.may_vary(place.environment).intersection(place.needs)
        return any(had >= needs for had in self.had.get(place.environment, ()))


@dataclass(slots=True)
class Held:
    """How the list and the sessions agree.

    Attributes:
        problems: what was lost, or has grown, each with its next step.
        hints: what could not be compared, and what the list lacks.
    """

    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def held(
    contract: Contract, receipts: Iterable[Receipt], files: Sequence[FileCoverage] | None, unmeasured: Collection[str]
) -> Held:
    """Hold the sessions against the project's list, if it has one.

    Args:
        contract: the table.
        receipts: those of all sessions, all of them finished.
        files: the files that were measured; None when the coverage data is incomplete.
        unmeasured: test files that do not count for coverage, because no machine here could run them.
    """
    name = contract.accepted
    if name is None:
        begin = f'add accepted = "accepted.txt" to {contract.heading}, and run skipproof accept'
        return Held(hints=[f"no list says what was proved before, so a test that is deleted goes unnoticed: {begin}"])
    try:
        accepted = read_list(contract, name)
    except AcceptedError as error:
        return Held([str(error)])
    now = seen(contract, receipts)
    problems = [*lost(contract, name, accepted, now), *grown(name, accepted, files or ())]
    hints = uncompared(contract, accepted, now)
    if not problems and files is not None and updated(contract, accepted, now, files, unmeasured) != accepted:
        new = len(now.ids.keys() - accepted.tests.keys())
        fact = f"{_tests(new)} not on {name}" if new else f"{name} says less than was proved"
        hints.append(f"{fact}: run skipproof accept")
    return Held(problems, hints)


def seen(contract: Contract, receipts: Iterable[Receipt]) -> Seen:
    """Return what the receipts of finished runs show."""
    found = Seen()
    for receipt in receipts:
        found.had.setdefault(receipt.environment, []).append(frozenset(receipt.capabilities))
        ran = found.ran.setdefault(receipt.environment, {})
        vary = frozenset(contract.may_vary(receipt.environment))
        for name, test in receipt.tests.items():
            found.ids.setdefault(function_of(name), set()).add(name)
            if test.outcome in RAN:
                needs = vary.intersection(test.requires)
                # One session may have required more of every test than their marks do.
                ran[name] = ran.get(name, needs) & needs
    return found


def lost(contract: Contract, name: str, accepted: Accepted, now: Seen) -> Iterator[str]:
    """Yield what the list says was proved and is not any more, with the next step.

    Args:
        contract: the table.
        name: the list's file.
        accepted: the list.
        now: what the sessions show.
    """
    review = f"bring back what was lost, or review it and run skipproof accept, which takes it off {name}"
    gone: dict[str, list[str]] = {}
    fewer: dict[tuple[str, str], list[str]] = {}
    for function, places in accepted.tests.items():
        file = file_of(function)
        if function not in now.ids:
            gone.setdefault(file, []).append(function)
            continue
        for change, environments in _fewer(contract, function, places, now).items():
            fewer.setdefault((file, ", ".join(environments)), []).append(change)
    files = {file_of(function) for function in now.ids}
    for file, functions in gone.items():
        fact = f"{_listed(functions)} {'is' if len(functions) == 1 else 'are'} gone"
        whole = f"{file} is gone, with {_tests(len(functions))} on the list"
        yield f"{fact if file in files else whole}: {review}"
    for (_, where), changes in fewer.items():
        fact = f"no longer ran in {where}" if where else "lost ids"
        yield f"{_listed(changes)} {fact}: {review}"
    yield from _lost_environments(contract, name, accepted, now)


def uncompared(contract: Contract, accepted: Accepted, now: Seen) -> list[str]:
    """Return the environments on the list that need a machine of which there was none, each with what that leaves."""
    counts = _absent(accepted, now)
    return [
        f"{_tests(count)} on the accepted list ran in {name}, which this merge has no session of"
        for name, count in counts.items()
        if _needs_a_machine(contract, name)
    ]


def grown(name: str, accepted: Accepted, files: Iterable[FileCoverage]) -> Iterator[str]:
    """Yield the files of which coverage leaves out more than the list says, with the next step."""
    for file in files:
        before, now = accepted.excluded.get(file.path, Excluded()), _excluded(file)
        parts = [
            f"{_counted(count, one, many)} ({', '.join(lines)}), where {old} were accepted"
            for count, old, lines, one, many in (
                (now.lines, before.lines, file.excluded, "statement", "statements"),
                (now.branches, before.branches, file.unbranched, "branch", "branches"),
            )
            if count > old
        ]
        if parts:
            fact = f"coverage leaves out of {file.path} {' and '.join(parts)}"
            yield f"{fact}: test them, or review it and run skipproof accept, which notes it in {name}"


def updated(
    contract: Contract, accepted: Accepted, now: Seen, files: Sequence[FileCoverage], unmeasured: Collection[str]
) -> Accepted:
    """Return the list as the sessions have it now, with what only other machines could say kept as it was.

    Args:
        contract: the table.
        accepted: the list as it was.
        now: what the sessions show.
        files: the files that were measured.
        unmeasured: test files that do not count for coverage, because no machine here could run them.
    """
    tests: dict[str, dict[Place, int]] = {}
    for function in now.ids:
        found = now.places(function)
        kept = _kept(contract, accepted.tests.get(function, {}), now)
        # What ran nowhere here may be what ran elsewhere before.
        idle = found.pop(Place(""), 0) - max(kept.values(), default=0)
        tests[function] = {**kept, **found, **({Place(""): idle} if idle > 0 else {})}
    excluded = {file.path: _excluded(file) for file in files if any(_excluded(file))}
    others = {path: counts for path, counts in accepted.excluded.items() if path in unmeasured}
    return Accepted(tests, others | excluded)


def _fewer(contract: Contract, function: str, places: Mapping[Place, int], now: Seen) -> dict[str, list[str]]:
    """Return how many of a function's ids are left where fewer of them ran, each with these environments.

    No environment stands for the ids that ran nowhere.
    """
    ids = now.ids[function]
    wanted: Counter[str] = Counter()
    for place, count in places.items():
        if not place.environment or now.could_be(contract, place):
            wanted[place.environment] += count
    found: dict[str, list[str]] = {}
    for environment, count in sorted(wanted.items()):
        left = len(ids & now.ran[environment].keys()) if environment else len(ids)
        if left < count:
            change = function if count == 1 else f"{function} ({left} of {count} left)"
            found.setdefault(change, []).extend(filter(None, [environment]))
    return found


def _kept(contract: Contract, places: Mapping[Place, int], now: Seen) -> dict[Place, int]:
    """Return the places on the list that no session here could be, and that the table still has."""
    return {
        place: count
        for place, count in places.items()
        if place.environment in contract.environments and not now.could_be(contract, place)
    }


def _absent(accepted: Accepted, now: Seen) -> dict[str, int]:
    """Return the environments on the list that no session is of, with how many functions ran there."""
    counts = Counter(
        name
        for places in accepted.tests.values()
        for name in {place.environment for place in places}
        if name and name not in now.had
    )
    return dict(sorted(counts.items()))


def _lost_environments(contract: Contract, name: str, accepted: Accepted, now: Seen) -> Iterator[str]:
    for environment, count in _absent(accepted, now).items():
        ran = f"{_tests(count)} on the list ran in {environment}"
        if environment not in contract.environments:
            fact = f"{ran}, which the table does not have"
            yield f"{fact}: correct its name, or review it and run skipproof accept, which takes it off {name}"
        elif not _needs_a_machine(contract, environment):
            yield f"{ran}, and this merge has no session of it: run one"


def _needs_a_machine(contract: Contract, environment: str) -> bool:
    promised = contract.environments.get(environment, ())
    return any(contract.capabilities[name].depends_on_machine for name in promised)


def _excluded(file: FileCoverage) -> Excluded:
    return Excluded(*map(_count, (file.excluded, file.unbranched)))


def _count(ranges: Iterable[str]) -> int:
    return sum(int(last or first) - int(first) + 1 for first, _, last in (each.partition("-") for each in ranges))


def _tests(number: int) -> str:
    return _counted(number, "test", "tests")


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
