"""Sees what happens in the process that runs the tests: in a plain run the only one, under pytest-xdist each worker.

Nothing here judges. What was seen is data, which a worker sends to the process that does (workers.py): with each report
the notes of its test, and at the end all of it. A worker that dies has lost only what was seen after its last report.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pytest

from .bodies import Witness
from .inventory import Inventory
from .machine import run_facts
from .outcomes import WORST_FIRST, Needs, TestRecord, duplicates, skip_reason
from .provenance import Provenance
from .reading import Reader
from .shards import digest, file_of
from .subsets import subset_of, takes
from .suites import chosen_suites, in_suites
from .trace import Listener, added_up

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from .contract import Contract
    from .shards import Share

_ID = pytest.StashKey[str]()
_UNKNOWN = Needs()
# Where a report carries the notes of its test to another process.
_NOTES = "_skipproof_notes"


@dataclass(slots=True)
class Observation:
    """What one process saw.

    Attributes:
        records: what became of each test, by id, in the order of collection.
        complaints: what went wrong with the collection, each with the name that it is of.
        deselected: the tests that were deselected.
        unread: test files that were left out, and that this Python cannot read.
        elsewhere: the tests that are left to other shards, in the order of collection.
        split: a digest of which shard has which test file; empty when the run is whole.
        aliases: ids that pytest-xdist changed (``--dist loadgroup`` appends the group), and what they were.
    """

    records: dict[str, TestRecord] = field(default_factory=dict)
    complaints: list[tuple[str, str]] = field(default_factory=list)
    deselected: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    elsewhere: list[str] = field(default_factory=list)
    split: str = ""
    aliases: dict[str, str] = field(default_factory=dict)

    def record(self, report: pytest.TestReport, *, last: bool = True) -> TestRecord:
        """Return the record that a report is of, with the notes that it brings; the last reader removes them."""
        sent = report.__dict__.pop(_NOTES, None) if last else getattr(report, _NOTES, None)
        name, notes = pickle.loads(sent) if sent else (report.nodeid, {})  # noqa: S301 - from a process of this run
        record = self.expect(self.aliases.get(name, name))
        record.take(notes)
        return record

    def expect(self, name: str) -> TestRecord:
        """Return the record of a test, which has not run until its body was seen to."""
        record = self.records.get(name)
        if record is None:
            record = self.records[name] = TestRecord(_UNKNOWN, forged=True)
        return record

    def complete(self, whole: Observation) -> None:
        """Take over all that the process of these records saw, in its order."""
        known = self.records
        self.records = {name: known.pop(name, record) for name, record in whole.records.items()} | known
        for name, record in whole.records.items():
            self.records[name].take(record.notes())
        for each in fields(self):
            if each.name != "records":
                setattr(self, each.name, getattr(whole, each.name))

    def complain(self, name: str, complaint: str) -> None:
        """Note what went wrong with the collection."""
        self.complaints.append((name, complaint))


class Observer:
    """The hooks of the process that runs the tests."""

    def __init__(
        self,
        config: pytest.Config,
        contract: Contract,
        environment: str,
        needs: Callable[[pytest.Item], Needs],
        share: Share | None,
    ) -> None:
        self.seen = Observation()
        self.share = share
        self._config = config
        self._contract = contract
        self._suites = chosen_suites(config)
        self._needs = needs
        self._subset = subset_of(config, contract)
        self._inventory = Inventory(config, self._suites)
        self._listener = Listener(
            capability.trace
            for capability in map(contract.capabilities.__getitem__, contract.promised(environment))
            if capability.trace is not None
        )
        self._promised = contract.promised(environment)
        self._provenance: Provenance | None = None
        # Before this object, so that what it notes is there when a report takes it to another process.
        reader = Reader(config.rootpath, self._suites)
        self._witness = Witness(lambda item: self.seen.records[collected_id(item)], reader.asserts)
        config.pluginmanager.register(self._witness, "skipproof-witness")
        self._is_worker = hasattr(config, "workerinput")
        self._process = os.getpid()

    def begin(self, *, measured: bool) -> None:
        """Listen from now on; whether coverage is measured matters to workers only."""
        del measured
        self._provenance = Provenance(self._contract, self._suites, self._config)
        self._listener.listen()

    def end(self) -> None:
        """Listen no longer, and note what was heard last."""
        self._listener.stop()
        self._note_traces()
        # Without it the run was refused.
        self.seen.complaints += self._provenance.complaints(self._promised) if self._provenance is not None else []

    def observations(self) -> list[Observation]:
        """Return what was seen here, which is all there is."""
        return [self.seen]

    def losses(self) -> Iterator[tuple[str, str]]:
        """Yield nothing: this process is the run."""
        yield from ()

    def ran(self) -> bool:
        """Return True: tests that were collected here are run here."""
        return True

    def machine(self) -> dict[str, str]:
        """Return how the project's libraries used the machine, by fact."""
        return run_facts(self._config)

    def is_full(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        """Return False: where no worker runs, pytest does not stop at so many failures by an interrupt."""
        del excinfo
        return False

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note every test before anything can remove it."""
        item.stash[_ID] = item.nodeid
        self._inventory.add(item)
        self.seen.expect(item.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave the tests of other shards to them, once nothing else changes what is run."""
        if self.share is None:
            return
        split = self.share.split(map(collected_id, items))
        others = [item for item in items if split[file_of(collected_id(item))] != self.share.number]
        self.seen.split = digest(split)
        self.seen.elsewhere = [collected_id(item) for item in others]
        for name in self.seen.elsewhere:
            self.seen.records.pop(name, None)
        items[:] = [item for item in items if split[file_of(collected_id(item))] == self.share.number]
        if others:
            config.hook.pytest_deselected(items=others)
        if others and not items:
            step = f"use at most {len(split)} shards"
            self.seen.complain(
                ", ".join(self._suites), f"has {len(split)} test files, none is left for this shard; {step}"
            )

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Record every deselection as a violation, but for what is not in the run's subset, or in another shard."""
        elsewhere = set(self.seen.elsewhere)
        for item in (item for item in items if collected_id(item) not in elsewhere):
            if self._subset is not None and not takes(self._config, self._subset, item):
                record = TestRecord(self._needs(item), deselected=True)
                self.seen.records[collected_id(item)] = record
                continue
            self.seen.deselected.add(collected_id(item))
            self.seen.complain(
                collected_id(item),
                "was deselected; leave -k, -m, --deselect and --lf to runs without --skipproof, "
                "or list -k or -m in subsets",
            )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a violation when a file or class fails or skips during collection: its tests have no ids."""
        if report.passed:
            return
        # One complaint is enough: it implies that none of the file's tests was collected.
        self._inventory.excuse(self._contract.root / report.nodeid.partition("::")[0])
        if report.failed:
            self.seen.complain(report.nodeid, "could not be collected; fix the error that pytest shows")
        else:
            fact = f"was skipped as a whole during collection ({skip_reason(report)!r})"
            step = "import inside the tests and mark them with @pytest.mark.requires"
            self.seen.complain(report.nodeid, f"{fact}; {step}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what each test must do, and what should have been collected but was not."""
        collected = [collected_id(item) for item in session.items]
        for name, item in zip(collected, session.items, strict=True):
            record = self.seen.expect(name)
            record.needs, record.deselected = self._needs(item), False
            self.seen.aliases |= {item.nodeid: name} if name != item.nodeid else {}
        for name in duplicates(collected):
            self.seen.complain(name, "was collected more than once; give each test a name of its own")
        files = {file_of(name) for name in collected}
        outside = {file for file in files if not in_suites(file, self._suites)}
        for name in collected if outside else ():
            if file_of(name) in outside:
                suites = ", ".join(self._suites)
                self.seen.complain(name, f"lies in none of the suites ({suites}); name its folder in testpaths")
        if not collected and not self.seen.elsewhere:
            self.seen.complain(", ".join(self._suites), "no test was collected; a run without tests proves nothing")
        self.seen.complaints += self._inventory.complaints()
        self.seen.unread = self._inventory.unread

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Assign what is heard from now on to this test."""
        self._note_traces()
        self._listener.begin(self.seen.aliases.get(nodeid, nodeid))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note what a phase raised and a stub that stands for a library; send the notes where another process reads.

        All before another hook can change the report, and in one hook: each takes time in every phase of every test.
        """
        tries = self._witness.tries
        report = yield
        self._witness.note_phase(item, call, report, tries)
        # A fork of this process is one that pytest-forked makes for a test.
        is_read_elsewhere = self._is_worker or os.getpid() != self._process
        record = self.seen.records.get(collected_id(item)) if call.when == "call" or is_read_elsewhere else None
        # Before fixtures are torn down, and with them what they put among the modules.
        if record is not None and call.when == "call" and record.needs.requires and self._provenance is not None:
            record.hollow = record.hollow or next(self._provenance.strays(record.needs.requires), None)
        if record is not None and is_read_elsewhere:
            self._note_traces()
            setattr(report, _NOTES, pickle.dumps((collected_id(item), record.notes())))
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """Note one phase of one test, as every other hook has left it."""
        record = self.seen.record(report, last=not self._is_worker)
        result = yield
        record.add(report)
        return result

    def _note_traces(self) -> None:
        heard = self._listener.by_test()
        for name in heard.keys() & self.seen.records.keys():
            record = self.seen.records[name]
            record.generations = added_up([*record.generations, *heard[name]])


def running_coverage() -> Any:
    """Return what measures the coverage of this process, or None."""
    coverage = sys.modules.get("coverage")
    return coverage.Coverage.current() if coverage is not None else None


def gathered(observations: Iterable[Observation]) -> dict[str, list[TestRecord]]:
    """Return the records of each test, in the order of collection: with ``--dist each`` every worker ran it."""
    observations = list(observations)
    aliases = {alias: name for seen in observations for alias, name in seen.aliases.items()}
    found: dict[str, list[TestRecord]] = {}
    for seen in observations:
        for name, record in seen.records.items():
            found.setdefault(aliases.get(name, name), []).append(record)
    # A worker collects what others run.
    return {
        name: all_ if len(all_) == 1 else [each for each in all_ if each.outcome != "missing"] or all_[:1]
        for name, all_ in found.items()
    }


def worst(records: Sequence[TestRecord]) -> TestRecord:
    """Return the record that counts: one that broke the contract, or the worst outcome."""
    if len(records) == 1:
        return records[0]
    return min(records, key=lambda record: (record.violation() is None, WORST_FIRST.index(record.outcome)))


def collected_id(item: pytest.Item) -> str:
    """Return a test's id as it was collected, whatever pytest-xdist has appended since."""
    try:
        return item.stash[_ID]  # a new text each time from pytest, and Stash.get calls this
    except KeyError:
        return item.nodeid
