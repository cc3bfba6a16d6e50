"""A run under pytest-xdist: the workers see, and the controller, which runs no test, gathers what they saw and judges.

What a worker is to do travels in ``config.workerinput``, what it saw in its reports and in ``config.workeroutput``,
both pickled: a field that is added to a record travels by itself. This module imports nothing of pytest-xdist.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from .machine import run_facts
from .observation import Observation, Observer, running_coverage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .contract import Contract
    from .shards import Share

_KEY = "skipproof"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Task:
    """What the controller tells each worker.

    Attributes:
        contract: the table, settled on this machine.
        share: which part of the session the run is, or None.
        measured: True when the controller's coverage is measured for the receipt.
    """

    contract: Contract
    share: Share | None = None
    measured: bool = False


@dataclass(slots=True)
class Testimony:
    """What a worker tells the controller when it ends.

    Attributes:
        seen: what it saw.
        machine: how the project's libraries used the machine in it, by fact.
        refused: the usage error that ended it, or None.
        left: True when ``pytest.exit`` or an interrupt ended it.
    """

    seen: Observation = field(default_factory=Observation)
    machine: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    left: bool = False


def are_asked_for(config: pytest.Config) -> bool:
    """Say whether pytest-xdist is here and will distribute the tests.

    Raises:
        pytest.UsageError: they would run in another interpreter, or on another machine.
    """
    specs: list[str] = config.getoption("tx", default=[])
    if config.getoption("dist", default="no") == "no" or not specs or config.getoption("collectonly"):
        return False
    others = [spec for spec in specs if spec.rpartition("*")[2] != "popen"]
    if others:
        message = f"--tx {others[0]}: the lock says nothing of another interpreter or machine; use -n, or --tx popen"
        raise pytest.UsageError(message)
    return True


def task(config: pytest.Config) -> Task | None:
    """Return what the controller told this worker, or None in any other process."""
    sent = getattr(config, "workerinput", {}).get(_KEY)
    return None if sent is None else pickle.loads(sent)  # noqa: S301 - from the process that started this one


class Worker:
    """The hooks of a worker, which tells the controller what its observer saw."""

    def __init__(self, config: pytest.Config, observer: Observer, *, measured: bool) -> None:
        self._config = config
        self._observer = observer
        self._measured = measured
        self._told = Testimony(observer.seen)

    def pytest_sessionstart(self) -> None:
        """Begin to observe."""
        self._observer.begin(measured=self._measured)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """End the worker where its coverage is not measured, although the controller's is."""
        if self._measured and running_coverage() is None:
            fact = "coverage measures this process, but not the workers of pytest-xdist"
            self._refuse(f'{fact}: add "subprocess" to patch in [tool.coverage.run]')

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self) -> Generator[None, Any, Any]:
        """End the worker where a mark is wrong: to pytest-xdist, an error is a crash, and a reason to try again."""
        try:
            return (yield)
        except pytest.UsageError as error:
            self._refuse(str(error))

    def pytest_keyboard_interrupt(self) -> None:
        """Note that the run was stopped here."""
        self._told.left = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Tell the controller what was seen, once the last fixture is torn down, and save the coverage data."""
        self._observer.end()
        self._told.machine = run_facts(self._config)
        running = running_coverage()
        if running is not None:
            running.save()  # as far as it is: pytest-xdist kills a worker that ends slowly
        workeroutput: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
        workeroutput[_KEY] = pickle.dumps(self._told)

    def _refuse(self, message: str) -> NoReturn:
        """End the worker with a usage error of the whole run."""
        self._told.refused = message
        pytest.exit(message, pytest.ExitCode.USAGE_ERROR)


class Workers:
    """The hooks of the controller, which hears all workers.

    Attributes:
        told: what each worker that came to its end told, by its name.
        seen: what was seen, by the worker's name: of one that died, only what its reports brought.
    """

    def __init__(self, contract: Contract, share: Share | None) -> None:
        self.told: dict[str, Testimony] = {}
        self.seen: dict[str, Observation] = {}
        self.share = share
        self._task = Task(contract, share)
        self._died: dict[str, str] = {}
        self._apart: list[tuple[str, str]] = []

    def begin(self, *, measured: bool) -> None:
        """Let the workers measure their coverage if the controller does."""
        self._task = replace(self._task, measured=measured)

    def end(self) -> None:
        """Do nothing: every worker has ended."""

    def observations(self) -> list[Observation]:
        """Return what the workers saw, first what is in the order of collection."""
        return [self.seen[name] for name in sorted(self.seen, key=lambda name: name not in self.told)]

    def ran(self) -> bool:
        """Say whether any test was given to a worker."""
        return not self._apart

    def machine(self) -> dict[str, str]:
        """Return how the project's libraries used the machine in the workers, by fact; where they differ, each way."""
        found: dict[str, dict[str, None]] = {}
        for worker in self.seen:
            for name, text in self.told.get(worker, Testimony()).machine.items():
                found.setdefault(name, {})[text] = None
        return {name: " / ".join(texts) for name, texts in found.items()}

    def is_full(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        """Say whether pytest-xdist stopped the run because of -x or --maxfail; these words are the only sign."""
        return excinfo.typename == "Interrupted" and str(excinfo.value).startswith("stopping after ")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker what to do."""
        self.seen[node.gateway.id] = Observation()
        node.workerinput[_KEY] = pickle.dumps(self._task)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Note what a worker collected, in case that it dies."""
        for name in ids:
            self.seen[node.gateway.id].expect(name)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """Note one phase of one test, as every other hook has left it."""
        node: Any = getattr(report, "node", None)
        record = self.seen.setdefault(node.gateway.id if node else "", Observation()).record(report)
        result = yield
        record.add(report)
        return result

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a worker that collected other tests, which pytest-xdist reports by its name: then it runs none."""
        if report.nodeid in self.seen:
            fact = "this worker did not collect the same tests in the same order as the first one, so none ran"
            step = "sort what parameters are made of, and let nothing depend on the process"
            self._apart.append((report.nodeid, f"{fact}; {step}"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker told, or note that it died; end the run as the worker's was ended.

        Raises:
            pytest.UsageError: a mark in a test is wrong.
            pytest.exit.Exception: a test called ``pytest.exit``.
        """
        name = node.gateway.id
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        if _KEY not in output:
            self._died[name] = str(error or "its session ended early").strip().splitlines()[-1]
            return
        told: Testimony = pickle.loads(output[_KEY])  # noqa: S301 - from a process of this run
        self.told[name] = told
        self.seen[name].complete(told.seen)
        if told.refused is not None:
            raise pytest.UsageError(told.refused)
        if told.left and output["exitstatus"] != pytest.ExitCode.INTERRUPTED:  # which pytest-xdist passes on by itself
            pytest.exit(f"pytest.exit in {name}", output["exitstatus"])

    def losses(self) -> Iterator[tuple[str, str]]:
        """Yield the workers that collected other tests, and those that died, with the tests that each took along."""
        yield from self._apart
        for name, error in self._died.items():
            tests = [test for test, record in self.seen[name].records.items() if record.outcome != "missing"]
            shown = ", ".join(tests[-_SHOWN:]) + (f" and {len(tests) - _SHOWN} before" if len(tests) > _SHOWN else "")
            took = f"with what it knew of {len(tests)} of the tests ({shown})" if tests else "before its first test"
            yield name, f"this worker died ({error}) {took}; find what ends its process, and run it again"
