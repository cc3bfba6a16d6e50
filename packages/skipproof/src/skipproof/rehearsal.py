"""A named run that ends with its collection, which doctor starts with ``--collect-only -p skipproof.rehearsal``.

It says what the run would complain of before its first test, and what each test would do. It runs nothing, leaves no
receipt, and so replaces none. Without ``-p``, a run that only collects is red: its tests have no outcome.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from .exits import ExitStatus
from .named_run import ENDS, NamedRun
from .observation import gathered
from .violations import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADING = "skipproof: a run would say"


def is_asked_for(config: pytest.Config) -> bool:
    """Say whether this run is a rehearsal."""
    return bool(config.option.collectonly) and config.pluginmanager.has_plugin(__name__)


class Rehearsal(NamedRun):
    """Judges the collection of a run, and nothing else."""

    _is_whole = False

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Open no receipt, and leave the state of the environment to doctor."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Iterator[None]:
        """Make a collection with violations red."""
        self._is_whole = exitstatus not in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR)
        self._complain(gathered(self._seen.observations()))
        if self._violations and exitstatus in ENDS:
            session.exitstatus = ExitStatus.RUN
        yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Print the violations, and what each test would do, below everything else that pytest prints."""
        yield
        if not self._is_whole:
            return
        terminalreporter.section(HEADING)
        records = gathered(self._seen.observations())
        for line in listed(list(self._violations), records):
            terminalreporter.line(f"to correct: {line}")
        fates: Counter[str] = Counter()
        deselected = set().union(*(seen.deselected for seen in self._seen.observations()))
        for name, [record, *_] in records.items():
            if name in deselected:
                continue
            if record.outcome == "deselected":
                fates["would be left to others"] += 1
            elif record.needs.expected_reason is None:
                fates["would fail, as is known" if record.needs.known_failure else "would run"] += 1
            else:
                fates[f"would skip with {record.needs.expected_reason!r}"] += 1
        for fate, count in sorted(fates.items()):
            terminalreporter.line(f"tests: {count} {fate}")
