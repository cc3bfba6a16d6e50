"""The hooks of a run in a project with a table: the requires mark, the header, and skips with the derived reason."""

from __future__ import annotations

import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from . import rehearsal, workers
from .contract import Contract, ContractError
from .detection import BrokenInstallError, lacking, settled, versions
from .machine import run_facts, told
from .named_run import NamedRun
from .observation import Observer, collected_id
from .outcomes import Needs
from .receipts import ReceiptError, check_session_name
from .shards import Share, asked
from .subsets import subset_of
from .table import read_contract
from .workers import Worker, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from .contract import Capability, KnownFailure, Subset

_TRIED = "tried although it "
_NEEDS = pytest.StashKey[Needs]()
_NOTHING = Needs()


def register(config: pytest.Config, environment: str | None, session: str | None, also: Sequence[str]) -> None:
    """Read the contract, and register the hooks of this run: of all runs, and those of one with an environment named.

    Raises:
        pytest.UsageError: the table is wrong, or a name that an option gives.
    """
    with _usage_errors():
        task = workers.task(config)
        contract = read_contract(config.rootpath, config.inipath) if task is None else task.contract
        mark = f"{contract.mark}(*capabilities): run only where the environment has these capabilities"
        config.addinivalue_line("markers", mark)
        if environment is not None and task is None:
            contract = settled(contract, environment)
        contract.check_capabilities(also, "--skipproof-also-requires")
        requirements = Requirements(contract, environment, also, tries=config.getoption("skipproof_try"))
        config.pluginmanager.register(requirements, "skipproof-requirements")
        if contract.known_failures:
            config.pluginmanager.register(KnownFailures(requirements.needs), "skipproof-known-failures")
        if environment is not None:
            check_session_name(session or environment)
            if not config.pluginmanager.has_plugin("skipping"):
                message = f"--skipproof {environment} needs pytest's own plugin for skips: drop -p no:skipping"
                raise pytest.UsageError(message)
            for name, plugin in _of_named_run(config, contract, environment, session or environment, requirements):
                config.pluginmanager.register(plugin, f"skipproof-{name}")


def _of_named_run(
    config: pytest.Config, contract: Contract, environment: str, session: str, requirements: Requirements
) -> Iterator[tuple[str, object]]:
    """Yield what sees and what judges a named run; in a worker, what sees, and what tells the controller."""
    task = workers.task(config)
    share = _share(config, contract, environment, session) if task is None else task.share
    if task is None and workers.are_asked_for(config):
        hub = Workers(contract, share)
        yield from (("workers", hub), ("judge", NamedRun(config, contract, environment, session, hub)))
        return
    observer = Observer(config, contract, environment, requirements.needs, share)
    yield "observer", observer
    if task is None:
        judge = rehearsal.Rehearsal if rehearsal.is_asked_for(config) else NamedRun
        yield "judge", judge(config, contract, environment, session, observer)
    else:
        yield "worker", Worker(config, observer, measured=task.measured)


def _share(config: pytest.Config, contract: Contract, environment: str, session: str) -> Share | None:
    text, places = config.getoption("skipproof_shard"), config.getoption("skipproof_durations")
    if text is None:
        return None
    return asked(contract, environment, session, text, [config.invocation_params.dir / place for place in places])


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except (BrokenInstallError, ContractError, ReceiptError) as error:
        raise pytest.UsageError(str(error)) from error


def _untraced(item: pytest.Item, mark: pytest.Mark | None, traced: Collection[Capability]) -> str | None:
    """Return why a test need leave no trace, or None when its mark does not say.

    Raises:
        ContractError: no reason is given, or nothing that the test needs leaves traces.
    """
    if mark is None:
        return None
    match mark.args:
        case (str(reason),) if reason.strip() and not mark.kwargs:
            if traced:
                return reason
            fact = f"{item.nodeid}: @pytest.mark.untraced({reason!r}) excuses nothing"
            message = f"{fact}, because no capability that the test requires has a 'trace': remove the mark"
        case _:
            fact = f"{item.nodeid}: @pytest.mark.untraced takes one reason, not {mark.args} {mark.kwargs}"
            message = f"{fact}; say why the test needs no real inference"
    raise ContractError(message)


def _no_xfail(*_: object, **__: object) -> None:
    """Stand in for ``pytest.xfail`` where a failure is known."""


# As pytest's own stand-in has it.
_no_xfail.Exception = pytest.xfail.Exception  # type: ignore[attr-defined]


class KnownFailures:
    """The hook of a run whose table lists known failures."""

    def __init__(self, needs: Callable[[pytest.Item], Needs]) -> None:
        self._needs = needs

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Let ``pytest.xfail(...)`` in a known failure do nothing, as --runxfail does: it has to fail by itself."""
        if self._needs(item).known_failure is None:
            return (yield)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pytest, "xfail", _no_xfail)
            return (yield)


class Requirements:
    """Knows what each test needs and what is here, and skips each test that needs more.

    In a named environment, what is here is what it promises (named_run.py makes sure of that). Otherwise it is
    detected, and only for capabilities that a selected test asks for.
    """

    def __init__(
        self, contract: Contract, environment: str | None, also: Sequence[str], *, tries: bool = False
    ) -> None:
        self._contract = contract
        self._also = also
        self._environment = environment
        self._tries = tries
        self._has: dict[str, bool] = {}
        if environment is not None:
            promised = contract.promised(environment)
            self._has = {name: name in promised for name in contract.capabilities}

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        """Return the environment, what it has, in which versions, and the machine."""
        return [*self._where(subset_of(config, self._contract)), f"skipproof: {told(run_facts(config))}"]

    def _where(self, subset: Subset | None) -> list[str]:
        python = f"skipproof: python {platform.python_version()} ({platform.platform()})"
        if self._environment is None:
            return ["skipproof: no environment named, capabilities are detected for the tests that ask", python]
        promised = self._contract.promised(self._environment)
        part = "" if subset is None else f", subset {subset.name}"
        lines = [
            f"skipproof: environment {self._environment}{part}, has {', '.join(promised) or 'no extra capability'}",
            python,
        ]
        found = versions(self._contract.capabilities[name] for name in promised)
        return [*lines, f"skipproof: {', '.join(found)}"] if found else lines

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Mark every test that needs more than is here, so that pytest skips it before it sets up any fixture."""
        if self._environment is None and session.config.option.collectonly:
            return
        for item in session.items:
            needs = self.needs(item)
            if needs.expected_reason is not None and self._tries:
                item.add_marker(pytest.mark.xfail(reason=_TRIED + needs.expected_reason, strict=False), append=False)
            elif needs.expected_reason is not None:
                # Last in the list of marks, so that another skip mark shows and becomes a violation.
                item.add_marker(pytest.mark.skip(reason=needs.expected_reason))
            elif needs.known_failure is not None:
                # First, so that a lenient mark of the test's own does not decide.
                reason = f"known failure: {needs.known_failure}"
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True), append=False)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List the tests that passed without what they require, where they were tried, and note them for the report."""
        if not self._tries:
            return
        passed = [each for each in terminalreporter.getreports("xpassed") if each.wasxfail.startswith(_TRIED)]
        lines = [f"{each.nodeid} {each.wasxfail.removeprefix(_TRIED)}" for each in passed]
        fact = f"{len(lines)} tests pass without what they require: their marks ask for too much"
        terminalreporter.section("skipproof")
        for line in [fact, *lines]:
            terminalreporter.line(line)
        note = self._contract.root / self._contract.state / "notes" / "try.txt"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("\n".join([fact, *lines]) + "\n", encoding="utf-8")

    def needs(self, item: pytest.Item) -> Needs:
        """Return what a test needs and what it must do here.

        Raises:
            pytest.UsageError: a mark names nothing, or something that is not in the table; or a capability it asks for
                is installed but broken.
        """
        try:
            return item.stash[_NEEDS]
        except KeyError:
            with _usage_errors():
                needs = item.stash[_NEEDS] = self._read_needs(item)
            return needs

    def _read_needs(self, item: pytest.Item) -> Needs:
        asked = set(self._also)
        marks = list(item.iter_markers())  # once: it asks every node above the test
        if not marks and not asked and not self._contract.known_failures:
            return _NOTHING
        for mark in (mark for mark in marks if mark.name == self._contract.mark):
            if mark.kwargs or not mark.args or not all(isinstance(name, str) for name in mark.args):
                fact = f"{item.nodeid}: @pytest.mark.{mark.name} takes capabilities, not {mark.args} {mark.kwargs}"
                message = f"{fact}; there are: {', '.join(self._contract.capabilities)}"
                raise ContractError(message)
            self._contract.check_capabilities(mark.args, item.nodeid)
            asked.update(mark.args)
        requires = tuple(name for name in self._contract.capabilities if name in asked)
        missing = self._missing(requires)
        capabilities = (self._contract.capabilities[name] for name in requires)
        traced = tuple(capability for capability in capabilities if capability.trace is not None)
        untraced = _untraced(item, next((mark for mark in marks if mark.name == "untraced"), None), traced)
        reason = self._contract.reason(missing) if missing else None
        return Needs(requires, reason, () if untraced else traced, untraced, self._known_failure(collected_id(item)))

    def _known_failure(self, test: str) -> KnownFailure | None:
        known = (each for each in self._contract.known_failures if each.names(test) and not self._missing(each.where))
        return next(known, None)

    def _missing(self, requires: Collection[str]) -> list[str]:
        for name in requires:
            if name not in self._has:
                self._has[name] = not lacking(self._contract, name)
        return [name for name in requires if not self._has[name]]
