"""Checks one test's reports against what the contract says it must do.

========================================  ===================================================================
the environment has what the test needs   the test must
========================================  ===================================================================
yes                                       run; a skip, an xfail or no outcome at all is a violation
no                                        skip with the derived reason; running, or another reason, is a violation
========================================  ===================================================================

A test that runs and fails is not a violation: pytest itself makes the run red. A test that passes must have left the
traces of real use that its capabilities demand, and must not owe its pass to a hook that swallowed an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

    from .contract import Capability, KnownFailure
    from .receipts import Outcome
    from .trace import Generation


@dataclass(frozen=True, slots=True)
class Needs:
    """What a test needs.

    Attributes:
        requires: every capability that its marks name, in the order of the table.
        expected_reason: the reason it must skip with here, or None when it must run.
        traced: capabilities that demand a trace when it runs.
        untraced: why it need not leave a trace although a capability demands one, or None.
        known_failure: the failure that it is listed with here, or None.
    """

    requires: tuple[str, ...] = ()
    expected_reason: str | None = None
    traced: tuple[Capability, ...] = ()
    untraced: str | None = None
    known_failure: KnownFailure | None = None


WORST_FIRST: tuple[Outcome, ...] = ("failed", "skipped", "xfailed", "xpassed", "passed", "missing", "deselected")
# What every process can tell from a test's reports; the other fields are known only to the one that runs it.
_FROM_REPORTS = frozenset({"reason", "duration", "message", "late", "_seen"})


@dataclass(slots=True)
class TestRecord:
    """What became of one test; its phases are added as pytest reports them.

    Attributes:
        needs: what the test needs.
        reason: why it was skipped or xfailed, or None.
        duration: seconds of setup, call and teardown together.
        message: where it first failed, and the first line of the failure; or None.
        raised: name of an exception that its body raised, or that any phase reported other than as an xfail; or None.
        forged: True when it was reported although its body never ran.
        unasserted: True when it passed and contains no assertion.
        hollow: why a pass of it proves nothing, as bodies.py saw it, or None.
        generations: the traces it left.
        deselected: True when the run is of a subset that it is not in.
        late: True when it failed in its teardown, which pytest takes for expected where any failure is.
        failure: names of the classes of the exception that its body raised.
    """

    # pytest would take the class for a test case by its name.
    __test__ = False

    needs: Needs
    reason: str | None = None
    duration: float = 0.0
    message: str | None = None
    raised: str | None = None
    forged: bool = False
    hollow: str | None = None
    unasserted: bool = False
    generations: list[Generation] = field(default_factory=list)
    failure: list[str] = field(default_factory=list)
    deselected: bool = False
    late: bool = False
    _seen: set[str] = field(default_factory=set)

    def add(self, report: pytest.TestReport) -> None:
        """Add the report of one phase."""
        self.duration += report.duration
        if hasattr(report, "wasxfail"):
            self._seen.add("xpassed" if report.passed else "xfailed")
            self.late = self.late or (report.skipped and report.when == "teardown")
            self.reason = report.wasxfail
        elif report.skipped:
            self._seen.add("skipped")
            self.reason = skip_reason(report)
        elif report.failed:
            self._seen.add("failed")
            self.message = self.message or crash_line(report)
        elif report.passed and report.when == "call":
            self._seen.add("passed")

    def notes(self) -> dict[str, Any]:
        """Return what only the process that runs the test knows of it, to be sent to the one that judges."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _FROM_REPORTS}

    def take(self, notes: Mapping[str, Any]) -> None:
        """Take over the notes of the process that ran the test; the latest ones are complete."""
        for name, value in notes.items():
            setattr(self, name, value)

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of any phase; "missing" when the test's body was never reached."""
        if self.deselected:
            return "deselected"
        for outcome in WORST_FIRST:
            if outcome in self._seen:
                return outcome
        return "missing"

    def violation(self) -> str | None:
        """Return how the test broke the contract, with the next step, or None if it did not."""
        if self.outcome == "deselected":
            return None
        expected = self.needs.expected_reason
        return self._breach_where_capable() if expected is None else self._breach_where_not(expected)

    def _breach_where_capable(self) -> str | None:
        if self.needs.known_failure is not None and self.outcome not in ("skipped", "missing"):
            return self._breach_where_known_to_fail(self.needs.known_failure)
        match self.outcome:
            case "passed":
                return self._passed_for_nothing()
            case "failed":
                return None
            case "missing":
                step = "let the run finish, without -x, --lf, --setup-only or a hook that drops tests"
                return f"was collected but has no outcome; {step}"
            case "skipped":
                return (
                    f"skipped ({self.reason!r}) although the environment has all it needs; "
                    "make it run, or say what it needs with @pytest.mark.requires"
                )
            case outcome:
                step = "fix it and remove the xfail, or list it in known_failures"
                return f"{outcome} ({self.reason!r}) where it has to pass; {step}"

    def _breach_where_known_to_fail(self, known: KnownFailure) -> str | None:
        """Judge a test that ran: only its body may fail, by itself, and as the table says."""
        listed = f"although it is listed as a known failure, {known}"
        expected, raised = self.outcome == "xfailed", next(iter(self.failure[1:]), None)
        expects = " or ".join(known.raises)
        another = expected and known.raises and not set(known.raises) & set(self.failure)
        complaints = (
            (expected and self.forged, f"failed before its body ran, {listed}; correct its setup"),
            (
                self.outcome == "failed" and self.raised is None and "xfailed" in self._seen,
                f"failed in subtests only, {listed}; let it fail after them, pytest takes it for a pass",
            ),
            # A strict xfail that passed failed without an exception, and so does unittest what it did not expect.
            (self.raised is None and raised is None, f"passed {listed}; remove it from known_failures"),
            (self.outcome in ("passed", "xpassed"), self._passed_for_nothing()),
            (self.late, f"failed in its teardown, {listed}; correct its fixtures"),
            (
                expected and "_pytest.outcomes.XFailed" in self.failure,
                f"did not fail by itself, {listed}; call pytest.xfail by its whole name, which then does nothing",
            ),
            (another, f"raised {raised}, where {expects} is listed; fix it, or correct known_failures"),
        )
        return next((complaint for holds, complaint in complaints if holds), None)

    def _passed_for_nothing(self) -> str | None:
        if self.raised is not None:
            return f"raised {self.raised} and was reported as passed; remove the hook or plugin that swaps outcomes"
        if self.hollow is not None:
            return self.hollow
        if self.forged:
            return "was reported as passed but never ran; remove the hook or plugin that reports for it"
        return next(filter(None, map(self._missing_trace, self.needs.traced)), None)

    def _missing_trace(self, capability: Capability) -> str | None:
        left = {each.model for each in self.generations if each.event == capability.trace and each.tokens > 0}
        if not left:
            return (
                f"left no trace of real inference ({capability.trace}), which {capability.name} demands; "
                'call the real engine, or say why none is needed with @pytest.mark.untraced("...")'
            )
        if capability.digest is None or capability.digest in left:
            return None
        return (
            f"left a trace of {', '.join(sorted(left))} only, where {capability.name} is {capability.digest}; "
            'use that model, or say why another will do with @pytest.mark.untraced("...")'
        )

    def _breach_where_not(self, expected: str) -> str | None:
        if self.outcome == "skipped":
            if self.reason == expected:
                return None
            return f"skipped with {self.reason!r} where the contract derives {expected!r}; leave the skip to the mark"
        step = "correct its @pytest.mark.requires, or what undid the skip"
        return f"{self.outcome} where it has to skip with {expected!r}; {step}"


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the reason in a skip report, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def crash_line(report: pytest.TestReport) -> str:
    """Return where a test failed and the first line, in at most 500 characters that can be written as UTF-8."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext if crash is None else f"{PurePath(crash.path).name}:{crash.lineno}: {crash.message}"
    line = next(iter(text.strip().splitlines()), "failed")
    return line.encode("utf-8", "backslashreplace").decode("utf-8")[:500]


def class_names(error: BaseException) -> list[str]:
    """Return the names of an exception's classes, its own first, each alone and with its module."""
    classes = [each for each in type(error).__mro__ if each not in (BaseException, object)]
    return [name for each in classes for name in (f"{each.__module__}.{each.__qualname__}", each.__name__)]


def duplicates(ids: Iterable[str]) -> list[str]:
    """Return the ids that occur more than once, each of them once."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in ids:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
