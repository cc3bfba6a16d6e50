"""An agent that gives the same answer to every message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from llm_backend.llms.agent import Agent, as_payload
from llm_backend.llms.payloads import AgentPayload, AgentResponse, End, Text, Usage
from tests.unit.backend.fake_agent import about

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_backend.llms.payloads import Event
    from llm_backend.llms.settings.agent_settings import AgentSettings

ANSWER = "The capital of France is Paris."


class Talker(Agent):
    """An agent that gives the same answer to every message."""

    created: Talker

    def __init__(self) -> None:
        self.payloads: list[AgentPayload] = []
        self.closed = False

    @classmethod
    async def create(cls, _: AgentSettings) -> Self:
        """Make an agent and remember it."""
        Talker.created = agent = cls()
        return agent

    async def stream_events(self, payload: AgentPayload | str) -> AsyncGenerator[Event, None]:
        """Give the answer in two pieces."""
        self.payloads.append(as_payload(payload))
        yield Text(ANSWER[:10])
        yield Text(ANSWER[10:])
        yield End("stop")

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Give the answer at once."""
        self.payloads.append(as_payload(payload))
        return AgentResponse(response=ANSWER, metadata=about(usage=Usage(prompt_tokens=1, completion_tokens=2)))

    async def get_context_window(self) -> int:
        """A window with room for everything."""
        return 1000

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """Count characters."""
        return len(as_payload(payload).user_message)

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True
