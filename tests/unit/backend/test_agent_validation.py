"""Validation tells a working agent from a broken one, and says what is broken."""

from __future__ import annotations

import asyncio

import pytest

from llm_backend.errors import (
    BackendError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineRefusalError,
    EngineTimeoutError,
    PayloadError,
)
from llm_backend.llms.agent_validation import PROBES, validate_agent, validate_agent_report
from llm_backend.llms.payloads import AgentPayload, AgentResponse
from tests.unit.backend.fake_agent import FakeAgent


@pytest.mark.parametrize(
    ("number", "response"),
    [
        (0, AgentResponse(response="The capital of France is Paris.")),
        (0, AgentResponse(response="", thinking="Easy, that's PARIS")),
        (1, AgentResponse(response="4")),
        (1, AgentResponse(response="Four.")),
        (2, AgentResponse(response=" and Thursday) to create a cycle")),
        (3, AgentResponse(response=" 5, 6, 7, 8")),
    ],
)
async def test_one_right_answer_is_enough(number: int, response: AgentResponse) -> None:
    """One right answer is enough, also from a small, a base or a reasoning model."""
    agent = FakeAgent({PROBES[number].question: response})
    assert await validate_agent(agent) is True
    assert [payload.user_message for payload in agent.payloads] == [probe.question for probe in PROBES[: number + 1]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        "44",
        " 4 4 4 4 4 4",
        "Paris Paris Paris Paris",
        "comparison 1.45 fiftyfive",
        " dilution wag dilution\n dilution\n dilution\n",
        "parallelediparisparalleled",
        "Monday, Tuesday, Wednesday, 1, 2, 3,",
    ],
)
async def test_nonsense_is_no_answer(text: str) -> None:
    """Nonsense fails, even where it holds the right letters."""
    agent = FakeAgent({probe.question: AgentResponse(response=text) for probe in PROBES})
    assert await validate_agent(agent) is False


async def test_echoing_the_question_is_no_answer() -> None:
    """A server that only echoes the question fails."""
    agent = FakeAgent({probe.question: AgentResponse(response=probe.question) for probe in PROBES})
    assert await validate_agent(agent) is False


async def test_questions_are_short_and_greedy() -> None:
    """Questions ask for few tokens, greedily, so that the verdict is quick and stays the same."""
    agent = FakeAgent()
    await validate_agent(agent)
    options = {(payload.generation.max_new_tokens, payload.generation.temperature) for payload in agent.payloads}
    assert options == {(12, 0)}


async def test_report_on_a_working_agent() -> None:
    """The report has the verdict and its reason, without the model's words."""
    report = await validate_agent_report(FakeAgent({PROBES[1].question: AgentResponse(response="4")}))
    assert (report.verdict, report.works, report.questions, report.error) == ("works", True, 2, None)
    assert report.reason == "it answered question 2 of 4 correctly."
    assert report.seconds >= 0


async def test_report_on_nonsense() -> None:
    """Nonsense is reported as such, not as an agent that cannot be asked."""
    report = await validate_agent_report(FakeAgent())
    assert (report.verdict, report.works, report.questions) == ("nonsense", False, 4)
    assert report.reason.startswith("it answered none of 4 simple questions correctly. Its weights may be damaged")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (EngineTimeoutError("late"), "too slow"),
        (EngineConnectionError("nobody there"), "unreachable"),
        (EngineAuthenticationError("wrong key"), "refuses"),
        (PayloadError("not that question"), "refuses"),
        (EngineError("on fire"), "fails"),
        (EngineRefusalError("a bad idea"), "refuses"),
    ],
)
async def test_report_says_why_an_agent_cannot_be_asked(
    error: BackendError, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of error has its verdict, and none is raised."""

    async def fail(_: FakeAgent, __: AgentPayload) -> AgentResponse:
        raise error

    monkeypatch.setattr(FakeAgent, "invoke", fail)
    report = await validate_agent_report(FakeAgent())
    assert (report.verdict, report.works, report.questions) == (verdict, False, 0)
    assert (report.reason, report.error) == (str(error), error)


async def test_an_agent_that_never_answers_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that never answers is reported as too slow."""

    async def hang(_: FakeAgent, __: AgentPayload) -> AgentResponse:
        response: asyncio.Future[AgentResponse] = asyncio.get_running_loop().create_future()
        return await response

    monkeypatch.setattr(FakeAgent, "invoke", hang)
    report = await validate_agent_report(FakeAgent(), timeout=0.01)
    assert (report.verdict, report.works) == ("too slow", False)
    assert report.reason.startswith("it answered 0 of 4 questions of 12 tokens in 0.01 s. Choose a smaller model")


async def test_a_foreign_timeout_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TimeoutError of foreign code is not reported as a slow model."""

    async def fail(_: FakeAgent, __: AgentPayload) -> AgentResponse:
        raise TimeoutError

    monkeypatch.setattr(FakeAgent, "invoke", fail)
    with pytest.raises(TimeoutError):
        await validate_agent_report(FakeAgent())
