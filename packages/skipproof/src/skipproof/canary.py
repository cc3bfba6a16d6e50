"""Faults that every named run plants: a gate that does not find them is blind, and stops the run.

The reports come from pytest's own ``pytest_runtest_makereport``, so a pytest that reports a skip or an xfail
differently stops the run here, instead of slipping past the gate. The plugin's own tests cover what does not depend on
pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .outcomes import Needs, TestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REASON = "needs canary: a canary"


class _Canary(pytest.Item):
    """A test that is never collected; each fault brings its own body."""

    def runtest(self) -> None:
        """Do nothing: a test that runs where it should skip."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Return only the exception's name: nobody reads a traceback of a planted fault."""
        del style
        return excinfo.typename


def blind_spots(session: pytest.Session) -> list[str]:
    """Return what a gate failed to see, or saw where nothing was; empty when all gates work."""
    return [
        f"canary: {fact}; the proof cannot be trusted until that is fixed"
        for fact, holds in canaries(session)
        if not holds
    ]


def canaries(session: pytest.Session) -> Iterator[tuple[str, bool]]:
    """Plant every fault; yield what would be wrong with the gate, and whether the gate works."""
    item = _Canary.from_parent(session, name="canary")
    lenient = _Canary.from_parent(session, name="canary")
    lenient.add_marker(pytest.mark.xfail(strict=False))
    # pytest's own plugin "skipping" notes the mark before a test runs.
    skipping: Any = session.config.pluginmanager.get_plugin("skipping")
    skipping.pytest_runtest_setup(lenient)
    runs, skips = Needs(), Needs(("canary",), _REASON)
    faults: tuple[tuple[str, pytest.Item, Needs, Callable[[], object]], ...] = (
        ("a skip where the test has to run", item, runs, lambda: pytest.skip("canary")),
        ("an xfail where the test has to run", item, runs, lambda: pytest.xfail("canary")),
        ("an xfail mark on a test that passes", lenient, runs, item.runtest),
        ("a test that runs where it has to skip", item, skips, item.runtest),
        ("a skip for another reason", item, skips, lambda: pytest.skip("canary")),
    )
    for fact, which, needs, body in faults:
        yield f"{fact} was not seen", _judge(which, needs, body) is not None
    for fact, needs, body in (
        ("a test that runs as it has to", runs, item.runtest),
        ("a skip with the derived reason", skips, lambda: pytest.skip(_REASON)),
    ):
        complaint = _judge(item, needs, body)
        yield f"{fact} was called a violation ({complaint})", complaint is None


def _judge(item: pytest.Item, needs: Needs, body: Callable[[], object]) -> str | None:
    """Return what the gate says about a test with this body."""
    call = pytest.CallInfo.from_call(body, when="call")
    record = TestRecord(needs)
    record.add(_makereport(item.config)(item=item, call=call))
    return record.violation()


def _makereport(config: pytest.Config) -> Callable[..., pytest.TestReport]:
    """Return pytest's own hook, without what other plugins expect of a real test."""
    manager = config.pluginmanager
    own = [manager.get_plugin(name) for name in ("runner", "skipping", "unittest")]
    others = [plugin for plugin in manager.get_plugins() if plugin not in own]
    return manager.subset_hook_caller("pytest_runtest_makereport", others)
