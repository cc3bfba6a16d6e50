"""An agent without a model, for tests of what is around agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from backend.llms.payloads import AgentPayload, AgentResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from backend.llms.config import AgentSettings


class FakeAgent:
    """Answers each message with what ``answers`` has for it, or with nothing."""

    created: FakeAgent

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

    async def invoke(self, payload: AgentPayload) -> AgentResponse:
        """Answer from the table."""
        self.payloads.append(payload)
        return self.answers.get(payload.user_message, AgentResponse(response=""))

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    async def invoke_with_tools(self, payload: AgentPayload, tools: Sequence[Mapping[str, Any]]) -> AgentResponse:
        """Not for these tests."""
        ...

    def stream(self, payload: AgentPayload) -> AsyncGenerator[str, None]:
        """Not for these tests."""
        ...

    async def get_context_window(self) -> int:
        """Not for these tests."""
        ...

    async def supports_streaming(self) -> bool:
        """Not for these tests."""
        ...

    async def __aenter__(self) -> Self:
        """Not for these tests."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Not for these tests."""
        ...
