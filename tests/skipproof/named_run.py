"""The pytest hooks of a run in a named environment: nothing may go missing, and the receipt says how it went."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .canary import blind_spots
from .detection import disagreements
from .exits import ExitStatus
from .gate import Needs, TestRecord, duplicates, skip_reason
from .receipts import (
    RAN,
    Receipt,
    TestResult,
    checked_out,
    coverage_base,
    coverage_files,
    lock_digest,
    shown_violations,
    sources_digest,
    write_receipt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .contract import Contract

# What pytest exits with when a run came to its end; after any other the receipt stays unfinished.
_ENDS = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class NamedRun:
    """Gates one run, from the state of its environment to the last test's outcome."""

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
        self._suites = _suites(config)
        self._records: dict[str, TestRecord] = {}
        self._collected: list[str] = []
        self._deselected: set[str] = set()
        self._files: set[Path] = set()
        self._violations: list[str] = []
        self._receipt = Receipt(
            session=session,
            environment=environment,
            capabilities=list(contract.promised(environment)),
            python=platform.python_version(),
            platform=platform.platform(),
            lock=lock_digest(contract, environment),
            sources=sources_digest(contract),
            commit=checked_out(contract),
            suites=self._suites,
            coverage=None,
            process=os.getpid(),
            started=_now(),
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Open the receipt, then hold detection, its canaries and the environment against the contract."""
        self._receipt.coverage = self._claim_coverage_data()
        write_receipt(self._contract, self._receipt)
        _stop_for(ExitStatus.CANARY, blind_spots(session))
        _stop_for(ExitStatus.PREFLIGHT, disagreements(self._contract, self._receipt.environment))

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note every test before anything can take it out again."""
        self._files.add(item.path)
        self._records.setdefault(item.nodeid, TestRecord(Needs()))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Call every deselection a violation."""
        for item in items:
            self._deselected.add(item.nodeid)
            self._blame(item.nodeid, "was deselected; leave -k, -m, --deselect and --lf to runs without --environment")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Call a file or class that fails or skips while it is collected a violation: its tests have no ids."""
        if report.passed:
            return
        # One complaint is enough: that none of the file's tests was collected follows from it.
        self._files.add(self._contract.root / report.nodeid.partition("::")[0])
        if report.failed:
            self._blame(report.nodeid, "could not be collected; mend the error that pytest shows for it")
        else:
            fact = f"was skipped as a whole while it was collected ({skip_reason(report)!r})"
            self._blame(report.nodeid, f"{fact}; import inside the tests and mark them with @pytest.mark.requires")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what each test has to do, and what should have been collected but was not."""
        self._collected = [item.nodeid for item in session.items]
        for item in session.items:
            self._records[item.nodeid] = TestRecord(self._needs(item))
        for name in duplicates(self._collected):
            self._blame(name, "was collected more than once; give each test a name of its own")
        if not self._collected:
            self._blame(", ".join(self._suites), "no test was collected; a run without tests proves nothing")
        for path in sorted(_test_files(self._config, self._suites) - self._files):
            name = path.relative_to(self._contract.root).as_posix()
            self._blame(name, "no test of it was collected; take --ignore away, put a test into it, or remove it")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of one test."""
        self._records[report.nodeid].add(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge every test, make a run with violations red, and close the receipt of a run that came to its end."""
        if exitstatus in _ENDS:
            self._judge()
        if sources_digest(self._contract) != self._receipt.sources:
            self._blame(", ".join(self._contract.sources), "were changed while the run went on; run it again")
        if self._violations and exitstatus in _ENDS:
            session.exitstatus = ExitStatus.RUN
        self._receipt.violations = self._violations
        self._receipt.tests = {name: _result(record) for name, record in self._records.items()}
        self._receipt.exit_status = int(session.exitstatus)
        self._receipt.finished = _now() if exitstatus in _ENDS else None
        write_receipt(self._contract, self._receipt)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Give the verdict, below everything else that pytest has to say."""
        yield
        receipt = self._receipt
        if self._violations:
            count = f"{len(self._violations)} violation{'s' if len(self._violations) > 1 else ''}"
            terminalreporter.section(f"skipproof: {count} in {receipt.environment}", red=True)
            for line in shown_violations(self._contract, receipt):
                terminalreporter.line(line)
        elif receipt.finished is None:
            terminalreporter.section("skipproof", red=True)
            terminalreporter.line(f"{receipt.environment}: the run did not come to its end and proves nothing")
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

    def _judge(self) -> None:
        for name, record in self._records.items():
            complaint = record.violation()
            if complaint is not None and name not in self._deselected:
                self._blame(name, complaint)

    def _blame(self, name: str, complaint: str) -> None:
        self._violations.append(f"{name}: {complaint}")

    def _claim_coverage_data(self) -> str | None:
        """Return what the run's coverage data begins with, and remove data that an earlier run left there."""
        base = coverage_base(self._contract, self._receipt.session)
        coverage = sys.modules.get("coverage")
        running = coverage.Coverage.current() if coverage is not None else None
        if running is None or Path(str(running.get_option("run:data_file"))).absolute() != base:
            return None
        for path in coverage_files(self._contract, self._receipt.session):
            path.unlink()
        return base.relative_to(self._contract.root).as_posix()


def _stop_for(status: ExitStatus, problems: Sequence[str]) -> None:
    """End the run before its first test, with the gate's own exit status, when there is a problem."""
    if problems:
        pytest.exit("\n".join(problems), returncode=status)


def _suites(config: pytest.Config) -> list[str]:
    """Return the suites that the arguments name; anything less than a whole one is a usage error."""
    suites = config.getini("testpaths")
    chosen = []
    for argument in config.args:
        path = config.invocation_params.dir / argument
        whole = [suite for suite in suites if (config.rootpath / suite).is_relative_to(path)]
        if not whole:
            named = ", ".join(suites) or "name them in testpaths"
            message = f"--environment runs whole suites ({named}), not {argument}; without it, a part can be run"
            raise pytest.UsageError(message)
        chosen += whole
    return list(dict.fromkeys(chosen))


def _test_files(config: pytest.Config, suites: list[str]) -> set[Path]:
    patterns = config.getini("python_files")
    return {path for suite in suites for pattern in patterns for path in (config.rootpath / suite).rglob(pattern)}


def _result(record: TestRecord) -> TestResult:
    return TestResult(
        outcome=record.outcome,
        reason=record.reason,
        duration=round(record.duration, 6),
        requires=list(record.needs.requires),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
