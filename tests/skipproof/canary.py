"""Faults that every named run plants for its own detectors: one that does not find them is blind, and stops the run.

The reports come from pytest's own ``pytest_runtest_makereport``, so a pytest that words a skip or an xfail differently
is noticed here first, and not as a gate that silently lets everything through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .detection import BrokenInstallError, import_module
from .gate import Needs, TestRecord

if TYPE_CHECKING:
    from collections.abc import Callable

_REASON = "needs canary: a canary"
_ABSENT = "skipproof_canary_that_is_not_installed"
_BROKEN = f"{__package__}.canary_broken"


class _Canary(pytest.Item):
    """A test that is never collected; its body is whatever a fault needs."""

    def runtest(self) -> None:
        """Do nothing: a test that runs where it should skip."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Name the exception only; nobody reads the traceback that pytest would write at every run."""
        del style
        return excinfo.typename


def blind_spots(session: pytest.Session) -> list[str]:
    """Return what detection and gate failed to see; empty when they work."""
    return [f"canary: {fact}; the proof cannot be trusted until it is" for fact in (*_detection(), *_gate(session))]


def _detection() -> list[str]:
    found = []
    if import_module("pytest") is None:
        found.append("pytest, which is running, was not found to be installed")
    if import_module(_ABSENT) is not None:
        found.append(f"{_ABSENT}, which nobody has, was found to be installed")
    try:
        import_module(_BROKEN)
    except BrokenInstallError:
        return found
    return [*found, f"{_BROKEN}, which cannot be imported, was not found to be broken"]


def _gate(session: pytest.Session) -> list[str]:
    item = _Canary.from_parent(session, name="canary")
    runs, skips = Needs(), Needs(("canary",), _REASON)
    faults: tuple[tuple[str, Needs, Callable[[], object]], ...] = (
        ("a skip where the test has to run", runs, lambda: pytest.skip("canary")),
        ("an xfail where the test has to run", runs, lambda: pytest.xfail("canary")),
        ("a test that runs where it has to skip", skips, item.runtest),
        ("a skip for another reason", skips, lambda: pytest.skip("canary")),
    )
    found = [f"{fact} was not seen" for fact, needs, body in faults if _judge(item, needs, body) is None]
    for fact, needs, body in (
        ("a test that runs as it has to", runs, item.runtest),
        ("a skip with the derived reason", skips, lambda: pytest.skip(_REASON)),
    ):
        complaint = _judge(item, needs, body)
        if complaint is not None:
            found.append(f"{fact} was called a violation ({complaint})")
    return found


def _judge(item: pytest.Item, needs: Needs, body: Callable[[], object]) -> str | None:
    call = pytest.CallInfo.from_call(body, when="call")
    record = TestRecord(needs)
    record.add(item.ihook.pytest_runtest_makereport(item=item, call=call))
    return record.violation()
