"""The pytest hooks of a run in a named environment: nothing may go missing, and the receipt says how it went."""

from __future__ import annotations

import atexit
import os
import platform
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .canary import blind_spots
from .contract import counted
from .detection import disagreements
from .exits import ExitStatus
from .machine import run_facts
from .observation import gathered, running_coverage, worst
from .receipts import (
    RAN,
    Receipt,
    ReceiptError,
    Shard,
    TestResult,
    Trace,
    checked_out,
    coverage_base,
    coverage_files,
    left_out,
    lock_digest,
    read_receipt,
    receipts_folder,
    shard_name,
    shown_violations,
    write_receipt,
)
from .records import spelt
from .sources import changes, digests
from .subsets import subset_of
from .suites import all_suites, chosen_suites, in_suites
from .violations import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .contract import Contract
    from .observation import Observer
    from .outcomes import TestRecord
    from .workers import Workers

# What pytest exits with when a run has finished; after any other status the receipt stays unfinished.
ENDS = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class NamedRun:
    """Gates one run, from the state of its environment to the outcome of its last test.

    What happens to the tests is seen by an observer in this process or, under pytest-xdist, in each worker.
    """

    def __init__(
        self, config: pytest.Config, contract: Contract, environment: str, session: str, seen: Observer | Workers
    ) -> None:
        share = seen.share
        self._config = config
        self._contract = contract
        self._seen = seen
        self._suites = chosen_suites(config)
        self._broken_off = self._stopped_at_failures = False
        self._violations: dict[tuple[str, str], None] = {}  # each once, in order: workers find the same
        subset = subset_of(config, contract)
        self._receipt = Receipt(
            session=session if share is None else shard_name(session, share.number, share.count),
            shard=None if share is None else Shard(number=share.number, count=share.count),
            environment=environment,
            capabilities=list(contract.promised(environment)),
            python=platform.python_version(),
            platform=platform.platform(),
            machine=run_facts(config),
            lock=lock_digest(contract, environment),
            sources=digests(contract, self._suites, _settings(config)),
            commit=checked_out(contract),
            suites=self._suites,
            subset=None if subset is None else subset.name,
            coverage=None,
            process=os.getpid(),
            started=_now(),
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Open the receipt, plant the canaries, and check the environment against the contract."""
        self._receipt.coverage = self._claim_coverage_data()
        try:
            write_receipt(self._contract, self._receipt)
        except ReceiptError as error:
            raise pytest.UsageError(str(error)) from error
        _stop_for(ExitStatus.CANARY, blind_spots(session))
        _stop_for(ExitStatus.PREFLIGHT, disagreements(self._contract, self._receipt.environment, self._suites))
        self._seen.begin(measured=self._receipt.coverage is not None)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that the run was stopped: pytest.exit can do so with the exit status of a finished run."""
        self._stopped_at_failures = self._seen.is_full(excinfo)
        self._broken_off = not self._stopped_at_failures

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Iterator[None]:
        """Give the verdict, close the receipt, and make sure that no other hook overrides the verdict."""
        self._seen.end()
        self._close(session, exitstatus)
        with suppress(pytest.exit.Exception) if session.exitstatus else nullcontext():
            yield
        session.exitstatus = session.exitstatus or self._receipt.exit_status or pytest.ExitCode.OK

    def _close(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge every test, make a run with violations red, and close the receipt of a finished run."""
        if self._stopped_at_failures:  # -x and --maxfail: in one process, pytest ends so
            exitstatus = session.exitstatus = pytest.ExitCode.TESTS_FAILED
        ended = exitstatus in ENDS and not self._broken_off
        records = gathered(self._seen.observations())
        self._receipt.unread = sorted(set().union(*(seen.unread for seen in self._seen.observations())))
        for seen in self._seen.observations():
            if self._receipt.shard is not None and seen.split:
                self._receipt.shard.split, self._receipt.shard.elsewhere = seen.split, seen.elsewhere
        self._complain(records)
        of_collection = len(self._violations)
        if ended and self._seen.ran():
            self._judge(records)
        elif not ended and exitstatus in ENDS:
            fact = f"pytest.exit stopped the run with exit status {int(exitstatus)}, as if it had finished"
            self._blame(", ".join(self._suites), f"{fact}; remove it, or give it another returncode")
        now = digests(self._contract, self._suites, _settings(self._config))
        for name, fate in changes(self._contract, self._receipt.sources, now).items():
            step = (
                "write it elsewhere, such as into tmp_path, or have git ignore it"
                if fate == "appeared"
                else "run it again"
            )
            self._blame(name, f"{fate} during the run; {step}")
        if self._violations and exitstatus in ENDS:
            session.exitstatus = ExitStatus.RUN
        # At the start of the run nothing was imported yet, so the project could tell less.
        self._receipt.machine = self._seen.machine()
        found = list(self._violations)
        self._receipt.violations = listed(found[:of_collection], records) + listed(found[of_collection:], records)
        breaches = dict(found)
        self._receipt.tests = {name: _result(worst(seen), breaches.get(name)) for name, seen in records.items()}
        self._receipt.exit_status = int(session.exitstatus)
        self._receipt.finished = _now() if ended else None
        write_receipt(self._contract, self._receipt)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Print the verdict below everything else that pytest prints."""
        yield
        receipt = self._receipt
        if receipt.violations:
            count = f"{len(receipt.violations)} violation{'s' if len(receipt.violations) > 1 else ''}"
            terminalreporter.section(f"skipproof: {count} in {receipt.environment}", red=True)
            for line in shown_violations(self._contract, receipt):
                terminalreporter.line(line)
        elif receipt.finished is None:
            terminalreporter.section("skipproof", red=True)
            terminalreporter.line(f"{receipt.environment}: the run did not finish and proves nothing")
        elif receipt.exit_status == pytest.ExitCode.OK:
            terminalreporter.section("skipproof", green=True)
            terminalreporter.line(_proof(receipt))

    def _complain(self, records: Mapping[str, list[TestRecord]]) -> None:
        """Blame what went wrong with the collection, and with the processes."""
        collected = {*records, *(name for seen in self._seen.observations() for name in seen.elsewhere)}
        for seen in self._seen.observations():
            for name, complaint in seen.complaints:
                self._blame(name, complaint)
        for name, complaint in (*self._absent(collected), *self._needless(collected), *self._seen.losses()):
            self._blame(name, complaint)

    def _absent(self, collected: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the tests that another session collected from the same sources and suites, and this one did not."""
        where: dict[str, list[str]] = {}
        collected = set(map(spelt, collected))
        for receipt in self._comparable():
            for name in receipt.ids():
                if in_suites(name, self._suites) and name not in collected and not left_out(name, self._receipt):
                    where.setdefault(name, []).append(receipt.session)
        for name, sessions in where.items():
            fact = f"was collected in {' and '.join(sessions)}, from the same sources, but not here"
            step = "collect the same tests in every environment, and mark them with @pytest.mark.requires"
            yield name, f"{fact}; {step}"

    def _needless(self, collected: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the known failures that name no test of the suites that run, and those outside every suite."""
        others = set(all_suites(self._config)) - set(self._suites)
        # What could not be collected is a complaint of its own.
        broken = {name for seen in self._seen.observations() for name, _ in seen.complaints}
        for known in self._contract.known_failures:
            file = known.tests.partition("::")[0]
            elsewhere = in_suites(file, others) or left_out(file, self._receipt) or file in broken
            if not elsewhere and not any(map(known.names, collected)):
                yield known.tests, "is listed in known_failures, but names no test; correct it, or remove it"

    def _comparable(self) -> Iterator[Receipt]:
        for path in sorted(receipts_folder(self._contract).glob("*.json")):
            # A damaged receipt is a problem of its own run, and the merge reports it.
            with suppress(ReceiptError):
                receipt = read_receipt(path)
                if (
                    receipt.session != self._receipt.session
                    and receipt.finished is not None
                    and not changes(self._contract, receipt.sources, self._receipt.sources)
                ):
                    yield receipt

    def _judge(self, records: Mapping[str, list[TestRecord]]) -> None:
        deselected = set().union(*(seen.deselected for seen in self._seen.observations()))
        for name, found in records.items():
            if name not in deselected:
                for complaint in filter(None, (record.violation() for record in found)):
                    self._blame(name, complaint)

    def _blame(self, name: str, complaint: str) -> None:
        if self._contract.mark != "requires":
            complaint = complaint.replace("@pytest.mark.requires", f"@pytest.mark.{self._contract.mark}")
        self._violations[name, complaint] = None

    def _claim_coverage_data(self) -> str | None:
        """Return the base path of the run's coverage data, and remove data that an earlier run left there."""
        base = coverage_base(self._contract, self._receipt.session)
        where = base.relative_to(self._contract.root).as_posix()
        measures = getattr(self._config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
        if measures is not None:
            measures.pause()  # or coverage's own complaints at exit would bury ours
            command = f"coverage run --data-file={where} --context={self._receipt.environment} -m pytest"
            message = (
                f"pytest-cov measures this run, and its data names no context: add --no-cov, and start it by {command}"
            )
            raise pytest.UsageError(message)
        running = running_coverage()
        if running is None or Path(str(running.get_option("run:data_file"))).absolute() != base:
            return None
        if running.get_option("run:relative_files"):
            fact = "[tool.coverage.run] relative_files makes paths relative to wherever each process starts"
            message = f"{fact}: remove it; the receipt's data gets paths relative to the project's folder all the same"
            raise pytest.UsageError(message)
        for path in coverage_files(self._contract, self._receipt.session):
            try:
                path.unlink()
            except OSError as error:
                message = f"coverage data of an earlier run cannot be removed ({error}): correct what is there"
                raise pytest.UsageError(message) from error
        # A controller of workers measures nothing itself; where no process did, the merge is red.
        quiet = [*running.get_option("run:disable_warnings"), "no-data-collected"]
        running.set_option("run:disable_warnings", quiet)
        # By exit, pytest has ended, and so have the processes that it started.
        atexit.register(self._gather_coverage_data, running.save)
        return where

    def _gather_coverage_data(self, save: Callable[[], object]) -> None:
        """Combine the coverage data of all processes, and describe it in the receipt."""
        # A fork of this process has the same exit handlers, but is not the run.
        if self._receipt.finished is None or os.getpid() != self._receipt.process:
            return
        from .session_coverage import gather  # noqa: PLC0415 - a run that is not measured needs no coverage

        save()
        self._receipt.gathered = gather(self._contract, self._receipt.session)
        write_receipt(self._contract, self._receipt)


def _stop_for(status: ExitStatus, problems: Sequence[str]) -> None:
    """End the run before its first test, with the gate's own exit status, if there are problems."""
    if problems:
        pytest.exit("\n".join(problems), returncode=status)


def _settings(config: pytest.Config) -> str | None:
    path = config.inipath
    return None if path is None else Path(os.path.relpath(path, config.rootpath)).as_posix()


def _result(record: TestRecord, violation: str | None) -> TestResult:
    return TestResult(
        outcome=record.outcome,
        reason=record.reason,
        duration=round(record.duration, 6),
        requires=list(record.needs.requires),
        message=record.message,
        traces=[
            Trace(model=each.model, tokens=each.tokens, seconds=round(each.seconds, 6)) for each in record.generations
        ],
        untraced=record.needs.untraced,
        known_failure=str(record.needs.known_failure) if record.needs.known_failure else None,
        violation=violation,
        unasserted=record.unasserted,
    )


def _proof(receipt: Receipt) -> str:
    outcomes = [test.outcome for test in receipt.tests.values()]
    ran = sum(outcome in RAN for outcome in outcomes)
    known = f"{outcomes.count('xfailed')} failed as listed, " if "xfailed" in outcomes else ""
    others = f"; left to a Python that can read it: {', '.join(receipt.unread)}" if receipt.unread else ""
    known += f"{outcomes.count('deselected')} left to other subsets, " if "deselected" in outcomes else ""
    return (
        f"{receipt.environment}: {counted(ran, 'test', 'tests')} ran, "
        f"{outcomes.count('skipped')} skipped with exactly the derived reason, "
        f"{known}none is missing; every canary was found{others}"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
