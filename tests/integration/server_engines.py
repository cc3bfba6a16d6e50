"""What the tests of engines that ask a server share: each test runs once with every such engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms.engine_registry import import_agent_class
from llm_backend.llms.settings.agent_settings import AgentSettings
from tests.integration import questions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer

    Connect = Callable[..., Awaitable[ServerAgent]]

QUESTION = questions.QUESTION
KEY = "sk-secret-0123456789"
TOOL = {"type": "function", "function": {"name": "roll", "parameters": {"type": "object", "properties": {}}}}
CARDS = {
    "object": "list",
    "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us", "max_model_len": 4096}],
}


def call_of(arguments: str) -> dict[str, Any]:
    """A tool call as servers send it."""
    return {"id": "call-1", "type": "function", "function": {"name": "roll", "arguments": arguments}}


def message_of(**message: Any) -> dict[str, Any]:
    """A chat completion with this message, sound or not."""
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}]}


async def joined(agent: Agent, payload: AgentPayload) -> str:
    """The whole stream."""
    return "".join([piece async for piece in agent.stream(payload)])


@pytest.fixture(
    params=[
        pytest.param("openai", marks=pytest.mark.requires("openai")),
        pytest.param("langchain", marks=pytest.mark.requires("langchain")),
    ]
)
def server_engine(request: pytest.FixtureRequest) -> str:
    """The engine under test, one after the other of those that ask a server."""
    name: str = request.param
    return name


@pytest.fixture
async def connect(server_engine: str) -> AsyncIterator[Connect]:
    """Make an agent for a server, and close it after the test."""
    agent_class = import_agent_class(server_engine)
    agents: list[ServerAgent] = []

    async def connect(url: str, model: str | None = "m", **settings: Any) -> ServerAgent:
        agents.append(await agent_class.create(AgentSettings(base_url=url, model=model, **settings)))
        return agents[-1]

    yield connect
    for agent in agents:
        await agent.aclose()


@pytest.fixture
async def told(connect: Connect, scripted: ScriptedServer) -> ServerAgent:
    """An agent for the scripted server."""
    return await connect(scripted.url, api_key=KEY)
