"""What a validation finds out about servers that fail, each over a real socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from llm_backend.llms import validate_agent, validate_agent_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect


def _nonsense(server: ScriptedServer) -> None:
    for _ in range(4):
        server.complete("dilution wag dilution")


def _wrong_key(server: ScriptedServer) -> None:
    server.answer({"error": {"message": "wrong key"}}, 401)


def _wrong_model(server: ScriptedServer) -> None:
    server.answer({"error": {"message": "?", "code": "model_not_found"}}, 404)


@pytest.mark.parametrize(
    "case",
    [
        (lambda server: server.complete("It is Paris."), "works", 1, "answered question 1 of 4 correctly"),
        (_nonsense, "nonsense", 4, "answered none of 4 simple questions correctly"),
        (_wrong_key, "refuses", 0, "refused the key: wrong key. Check api_key"),
        (_wrong_model, "fails", 0, "has no model 'm'"),
    ],
    ids=["works", "nonsense", "wrong key", "wrong model"],
)
async def test_verdict_on_an_answer(
    scripted: ScriptedServer, told: ServerAgent, case: tuple[Callable[[ScriptedServer], None], str, int, str]
) -> None:
    """Each answer of a server gets its verdict, and none is raised."""
    script, verdict, questions, reason = case
    script(scripted)
    report = await validate_agent_report(told)
    assert (report.verdict, report.questions) == (verdict, questions)
    assert reason in report.reason
    scripted.complete("Paris")
    assert await validate_agent(told), "the agent stays open"


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(0.2, "it answered 0 of 4 questions of 12 tokens in 0.2 s."), (30, "did not finish its answer within 1 s.")],
)
async def test_silent_server_is_too_slow(
    connect: Connect, scripted: ScriptedServer, seconds: float, reason: str
) -> None:
    """A server that accepts and never answers is reported as too slow."""
    agent = await connect(scripted.url, timeout=1, max_retries=0)
    scripted.keep_silent()
    report = await validate_agent_report(agent, timeout=seconds)
    assert (report.verdict, report.questions) == ("too slow", 0)
    assert reason in report.reason


async def test_no_server_is_unreachable(connect: Connect) -> None:
    """A server that does not run is reported as unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    agent = await connect(f"http://127.0.0.1:{port}/v1", max_retries=0)
    report = await validate_agent_report(agent)
    assert (report.verdict, report.questions) == ("unreachable", 0)
    assert "Check that the server runs" in report.reason
