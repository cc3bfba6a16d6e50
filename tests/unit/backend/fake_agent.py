"""An agent without a model, for tests of the code around agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, cast
from unittest.mock import AsyncMock

from llm_backend.llms.agent import Agent, as_payload
from llm_backend.llms.payloads import AgentPayload, AgentResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_backend.llms.payloads import ResponseMetadata
    from llm_backend.llms.settings.agent_settings import AgentSettings


def about(**known: Any) -> ResponseMetadata:
    """Metadata of an answer that no engine made: less than an engine knows."""
    return cast("ResponseMetadata", known)


class FakeAgent:
    """Answers each message with its entry in ``answers``, or with nothing."""

    created: FakeAgent
    identity: ClassVar = {"engine": "fake", "model": "none"}

    # The rest of the protocol, never called here.
    invoke_with_tools = stream = stream_events = get_context_window = count_tokens = AsyncMock()
    supports_streaming = AsyncMock()
    __aenter__, __aexit__ = Agent.__aenter__, Agent.__aexit__

    def __init__(self, answers: Mapping[str, AgentResponse] | None = None) -> None:
        self.answers = answers or {}
        self.payloads: list[AgentPayload] = []
        self.settings: AgentSettings | None = None
        self.closed = False

    @classmethod
    async def create(cls, settings: AgentSettings) -> Self:
        """Make an agent and remember it."""
        agent = cls()
        agent.settings = settings
        cls.created = agent
        return agent

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Answer from the table."""
        payload = as_payload(payload)
        self.payloads.append(payload)
        return self.answers.get(payload.user_message, AgentResponse(response=""))

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True
