"""The pytest hooks of a run in a named environment: nothing may go missing, and the receipt says how it went."""

from __future__ import annotations

import atexit
import os
import platform
import sys
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .canary import blind_spots
from .detection import disagreements
from .exits import ExitStatus
from .inventory import Inventory
from .machine import run_facts
from .outcomes import Needs, TestRecord, duplicates, skip_reason
from .receipts import (
    RAN,
    Receipt,
    ReceiptError,
    TestResult,
    Trace,
    checked_out,
    coverage_base,
    coverage_files,
    lock_digest,
    read_receipt,
    receipts_folder,
    shown_violations,
    write_receipt,
)
from .sources import changes, digests
from .suites import chosen_suites, in_suites
from .trace import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from .contract import Contract

# What pytest exits with when a run has finished; after any other status the receipt stays unfinished.
_ENDS = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class NamedRun:
    """Gates one run, from the state of its environment to the outcome of its last test."""

    def __init__(
        self,
        config: pytest.Config,
        contract: Contract,
        environment: str,
        session: str,
        needs: Callable[[pytest.Item], Needs],
    ) -> None:
        self._config = config
        self._contract = contract
        self._needs = needs
        self._suites = chosen_suites(config)
        self._records: dict[str, TestRecord] = {}
        self._collected: list[str] = []
        self._called: set[str] = set()
        self._deselected: set[str] = set()
        self._inventory = Inventory(config, self._suites)
        self._listener = Listener(
            capability.trace
            for capability in map(contract.capabilities.__getitem__, contract.promised(environment))
            if capability.trace is not None
        )
        self._broken_off = False
        self._violations: list[str] = []
        self._receipt = Receipt(
            session=session,
            environment=environment,
            capabilities=list(contract.promised(environment)),
            python=platform.python_version(),
            platform=platform.platform(),
            machine=run_facts(config),
            lock=lock_digest(contract, environment),
            sources=digests(contract, self._suites, _settings(config)),
            commit=checked_out(contract),
            suites=self._suites,
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
        self._listener.listen()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note every test before anything can remove it."""
        self._inventory.add(item)
        self._records.setdefault(item.nodeid, TestRecord(Needs()))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Record every deselection as a violation."""
        for item in items:
            self._deselected.add(item.nodeid)
            self._blame(item.nodeid, "was deselected; leave -k, -m, --deselect and --lf to runs without --skipproof")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a violation when a file or class fails or skips during collection: its tests have no ids."""
        if report.passed:
            return
        # One complaint is enough: it implies that none of the file's tests was collected.
        self._inventory.excuse(self._contract.root / report.nodeid.partition("::")[0])
        if report.failed:
            self._blame(report.nodeid, "could not be collected; fix the error that pytest shows")
        else:
            fact = f"was skipped as a whole during collection ({skip_reason(report)!r})"
            self._blame(report.nodeid, f"{fact}; import inside the tests and mark them with @pytest.mark.requires")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what each test must do, and what should have been collected but was not."""
        self._collected = [item.nodeid for item in session.items]
        for item in session.items:
            self._records[item.nodeid] = TestRecord(self._needs(item))
        for name in duplicates(self._collected):
            self._blame(name, "was collected more than once; give each test a name of its own")
        for name in self._collected:
            if not in_suites(name, self._suites):
                self._blame(
                    name, f"lies in none of the suites ({', '.join(self._suites)}); name its folder in testpaths"
                )
        if not self._collected:
            self._blame(", ".join(self._suites), "no test was collected; a run without tests proves nothing")
        for name, complaint in (*self._inventory.complaints(), *self._absent()):
            self._blame(name, complaint)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Assign what is heard from now on to this test."""
        self._listener.begin(nodeid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note that a test's body ran, and that a phase raised, before another hook can change the report."""
        report = yield
        if call.when == "call":
            self._called.add(item.nodeid)
        if call.excinfo is not None and item.nodeid in self._records and not hasattr(report, "wasxfail"):
            self._records[item.nodeid].raised = call.excinfo.typename
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of one test."""
        self._records[report.nodeid].add(report)

    def pytest_keyboard_interrupt(self) -> None:
        """Note that the run was stopped: pytest.exit can do so with the exit status of a finished run."""
        self._broken_off = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Iterator[None]:
        """Give the verdict, close the receipt, and make sure that no other hook overrides the verdict."""
        self._listener.stop()
        self._close(session, exitstatus)
        with suppress(pytest.exit.Exception) if session.exitstatus else nullcontext():
            yield
        session.exitstatus = session.exitstatus or self._receipt.exit_status or pytest.ExitCode.OK

    def _close(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge every test, make a run with violations red, and close the receipt of a finished run."""
        ended = exitstatus in _ENDS and not self._broken_off
        if ended:
            self._judge()
        elif exitstatus in _ENDS:
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
        if self._violations and exitstatus in _ENDS:
            session.exitstatus = ExitStatus.RUN
        # At the start of the run nothing was imported yet, so the project could tell less.
        self._receipt.machine = run_facts(self._config)
        self._receipt.violations = self._violations
        self._receipt.tests = {name: _result(record) for name, record in self._records.items()}
        self._receipt.exit_status = int(session.exitstatus)
        self._receipt.finished = _now() if ended else None
        write_receipt(self._contract, self._receipt)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Print the verdict below everything else that pytest prints."""
        yield
        receipt = self._receipt
        if self._violations:
            count = f"{len(self._violations)} violation{'s' if len(self._violations) > 1 else ''}"
            terminalreporter.section(f"skipproof: {count} in {receipt.environment}", red=True)
            for line in shown_violations(self._contract, receipt):
                terminalreporter.line(line)
        elif receipt.finished is None:
            terminalreporter.section("skipproof", red=True)
            terminalreporter.line(f"{receipt.environment}: the run did not finish and proves nothing")
        elif receipt.exit_status == pytest.ExitCode.OK:
            terminalreporter.section("skipproof", green=True)
            terminalreporter.line(self._proof())

    def _proof(self) -> str:
        ran = sum(record.outcome in RAN for record in self._records.values())
        skipped = sum(record.outcome == "skipped" for record in self._records.values())
        return (
            f"{self._receipt.environment}: {ran} tests ran, {skipped} skipped with exactly the derived reason, "
            "none is missing; every canary was found"
        )

    def _absent(self) -> Iterator[tuple[str, str]]:
        """Yield the tests that another session collected from the same sources and suites, and this one did not."""
        for receipt in self._comparable():
            for name in receipt.tests:
                if in_suites(name, self._suites) and name not in self._records:
                    fact = f"was collected in {receipt.session}, from the same sources, but not here"
                    step = "collect the same tests in every environment, and mark them with @pytest.mark.requires"
                    yield name, f"{fact}; {step}"

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

    def _judge(self) -> None:
        heard = self._listener.by_test()
        for name, record in self._records.items():
            record.generations = heard.get(name, [])
            record.forged = name not in self._called
            complaint = record.violation()
            if complaint is not None and name not in self._deselected:
                self._blame(name, complaint)

    def _blame(self, name: str, complaint: str) -> None:
        if self._contract.mark != "requires":
            complaint = complaint.replace("@pytest.mark.requires", f"@pytest.mark.{self._contract.mark}")
        self._violations.append(f"{name}: {complaint}")

    def _claim_coverage_data(self) -> str | None:
        """Return the base path of the run's coverage data, and remove data that an earlier run left there."""
        base = coverage_base(self._contract, self._receipt.session)
        coverage = sys.modules.get("coverage")
        running = coverage.Coverage.current() if coverage is not None else None
        if running is None or Path(str(running.get_option("run:data_file"))).absolute() != base:
            return None
        if running.get_option("run:relative_files"):
            fact = "[tool.coverage.run] relative_files makes paths relative to wherever each process starts"
            message = f"{fact}: remove it; the receipt's data gets paths relative to the project's folder all the same"
            raise pytest.UsageError(message)
        for path in coverage_files(self._contract, self._receipt.session):
            path.unlink()
        # By exit, pytest has ended, and so have the processes that it started.
        atexit.register(self._gather_coverage_data, running.save)
        return base.relative_to(self._contract.root).as_posix()

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


def _result(record: TestRecord) -> TestResult:
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
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
