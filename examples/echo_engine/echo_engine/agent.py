"""An agent that repeats what it is told: everything an engine needs, without a model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from llm_backend import AgentPayload, AgentResponse, End, Event, Text, Timings, Usage, UsageEvent
from llm_backend.errors import AgentClosedError
from llm_backend.llms import Agent, AgentSettings, as_payload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["EchoAgent"]


class EchoAgent(Agent):
    """Answers each message with itself; a token is a word."""

    def __init__(self, settings: AgentSettings) -> None:
        self._model = settings.model or "parrot"
        self._window = settings.context_window or 1000
        self._closed = False

    @classmethod
    async def create(cls, settings: AgentSettings) -> Self:
        """Make an agent; an engine with a model would load it here."""
        return cls(settings)

    @property
    def identity(self) -> dict[str, str]:
        """The engine, and its model's name."""
        return {"engine": "echo", "model": self._model}

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Repeat the message."""
        self._check_open()
        payload, started = as_payload(payload), time.perf_counter()
        words = len(payload.user_message.split())
        return AgentResponse(
            response=payload.user_message,
            metadata={
                "engine": "echo",
                "model": self._model,
                "finish_reason": "stop",
                "session_id": payload.session_id,
                "usage": Usage(prompt_tokens=words, completion_tokens=words),
                "timings": Timings(queued=0.0, first_token=None, total=time.perf_counter() - started),
            },
        )

    async def stream_events(self, payload: AgentPayload | str) -> AsyncGenerator[Event, None]:
        """Repeat the message in one piece."""
        answer = await self.invoke(payload)
        yield Text(answer.response)
        yield UsageEvent(usage=answer.metadata["usage"], timings=answer.metadata["timings"])
        yield End("stop")

    async def get_context_window(self) -> int:
        """As configured, or a thousand words."""
        self._check_open()
        return self._window

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """Count words."""
        self._check_open()
        return len(as_payload(payload).user_message.split())

    async def supports_streaming(self) -> bool:
        """Whether pieces come early: no, there is only one."""
        self._check_open()
        return False

    async def aclose(self) -> None:
        """Stop answering; an engine with a model would free it here."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            message = "This agent is closed. Load a new one with load_agent."
            raise AgentClosedError(message)
