"""Tells a working agent from one that answers nonsense, is too slow, cannot be reached, or refuses."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from llm_backend.errors import (
    BackendError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineRefusalError,
    EngineTimeoutError,
    PayloadError,
)
from llm_backend.llms.payloads import AgentPayload, AgentResponse, GenerationOptions

if TYPE_CHECKING:
    from llm_backend.llms.agent import Agent

__all__ = ["NONSENSE", "PROBES", "ValidationReport", "Verdict", "validate_agent", "validate_agent_report"]

_log = logging.getLogger(__name__)

Verdict = Literal["works", "nonsense", "too slow", "unreachable", "refuses", "fails"]


class Probe(NamedTuple):
    """A question and a pattern of its correct answers, which does not match the question itself: an echo must fail."""

    question: str
    answer: str


# First questions for chat models, then openings for models that only continue a text.
PROBES = (
    Probe("What is the capital of France?", "paris"),
    Probe("What is 2+2?", "4|four"),
    Probe("Monday, Tuesday, Wednesday,", "thursday"),
    Probe("1, 2, 3, 4,", "5|five"),
)
_PROBE_OPTIONS = GenerationOptions(max_new_tokens=12, temperature=0)
_SHORT_ANSWER = 3  # words; a longer answer that only repeats one word does not count
NONSENSE = (
    f"answered none of {len(PROBES)} simple questions correctly."
    " Its weights may be damaged: fetch the model again, or choose another."
)


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """The result of a validation.

    Attributes:
        verdict: "works"; "nonsense" (it answers, but no question correctly, as with damaged weights); "too slow";
            "unreachable" (no server there); "refuses" (the key, the settings, or the question); otherwise "fails".
        reason: one or two sentences, with the next step, and nothing that the model said.
        questions: how many were answered, correctly or not.
        seconds: how long it took.
        error: what stopped it, or None.
    """

    verdict: Verdict
    reason: str
    questions: int
    seconds: float
    error: BackendError | None = None

    @property
    def works(self) -> bool:
        """Whether the agent can be used."""
        return self.verdict == "works"


async def validate_agent(agent: Agent) -> bool:
    """Ask ``agent`` a few questions with known answers, until it answers one correctly.

    Returns:
        False if it answers none: a model with damaged weights gives empty, endlessly repeated or random text.

    Raises:
        BackendError: the agent could not answer at all.
    """
    report = await validate_agent_report(agent, timeout=None)
    if report.error is not None:
        raise report.error
    return report.works


async def validate_agent_report(agent: Agent, *, timeout: float | None = 60.0) -> ValidationReport:  # noqa: ASYNC109
    """Ask as ``validate_agent`` does, and report the outcome instead of raising.

    Args:
        agent: stays open in any case.
        timeout: seconds for all questions together, above 0; None for no limit.
    """
    started = time.perf_counter()
    asked = 0

    def report(verdict: Verdict, reason: str, error: BackendError | None = None) -> ValidationReport:
        return ValidationReport(verdict, reason, asked, time.perf_counter() - started, error)

    try:
        async with asyncio.timeout(timeout) as limit:
            for number, probe in enumerate(PROBES, start=1):
                response = await agent.invoke(AgentPayload(probe.question, generation=_PROBE_OPTIONS))
                asked, right = number, _is_right(response, probe)
                _log.debug("validation question %d of %d: %s", number, len(PROBES), "right" if right else "wrong")
                if right:
                    return report("works", f"it answered question {number} of {len(PROBES)} correctly.")
    except BackendError as exc:
        return report(_verdict(exc), str(exc), exc)
    except TimeoutError:
        if not limit.expired():
            raise
        reason = (
            f"it answered {asked} of {len(PROBES)} questions of {_PROBE_OPTIONS.max_new_tokens} tokens in"
            f" {timeout:g} s. Choose a smaller model, a faster device or server, or a longer timeout."
        )
        return report("too slow", reason)
    return report("nonsense", f"it {NONSENSE} (Not every working model knows English.)")


def _verdict(exc: BackendError) -> Verdict:
    if isinstance(exc, EngineTimeoutError):
        return "too slow"
    if isinstance(exc, EngineConnectionError):
        return "unreachable"
    return "refuses" if isinstance(exc, (EngineAuthenticationError, EngineRefusalError, PayloadError)) else "fails"


def _is_right(response: AgentResponse, probe: Probe) -> bool:
    """Whether the answer, or the reasoning if the answer was cut off, is correct and not an endless loop."""
    text = f"{response.response} {response.thinking}".lower()
    words = re.findall(r"\w+", text)
    endless = len(words) > _SHORT_ANSWER and len(set(words)) == 1
    return not endless and re.search(rf"\b({probe.answer})\b", text) is not None
