"""What an agent is: the one interface that every engine implements, and helpers they share."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from llm_backend.llms.payloads import AgentPayload, Text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from llm_backend.llms.payloads import AgentResponse, Event, Parsed

__all__ = ["Agent", "as_payload", "is_cancelled", "only_text"]


@runtime_checkable
class Agent(Protocol):
    """Answers payloads until it is closed; usable with ``async with``.

    A payload may also be a plain string, short for ``AgentPayload(text)``. Once the agent is closed, every method but
    ``aclose`` raises AgentClosedError.
    """

    @property
    def identity(self) -> Mapping[str, str]:
        """What decides its answers, including ``engine`` and ``model``: agents of equal identity answer alike."""
        ...

    async def invoke(self, payload: AgentPayload[Parsed] | str) -> AgentResponse[Parsed]:
        """Answer ``payload``; the model may call the tools in ``payload.tools_available``."""
        ...

    async def invoke_with_tools(
        self, payload: AgentPayload[Parsed] | str, tools: Sequence[Mapping[str, Any]]
    ) -> AgentResponse[Parsed]:
        """Answer ``payload`` with ``tools`` (OpenAI's function format) instead of ``payload.tools_available``."""
        return await self.invoke(replace(as_payload(payload), tools_available=tools))

    def stream(self, payload: AgentPayload | str) -> AsyncGenerator[str, None]:
        """Yield the answer's text piece by piece; joined, the pieces are ``invoke``'s ``response``.

        Closing the generator early (with ``aclose``, or by leaving ``contextlib.aclosing``) stops the work behind it.
        Tool calls have no text and are left out.
        """
        return only_text(self.stream_events(payload))

    def stream_events(self, payload: AgentPayload | str) -> AsyncGenerator[Event, None]:
        """Yield all events of the answer in order: reasoning, text and tool calls, then usage, then the end.

        Closing the generator early stops the work behind it, as with ``stream``.
        """
        ...

    async def get_context_window(self) -> int:
        """The model's context window: how many tokens prompt and answer may have together."""
        ...

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """How many tokens the prompt of ``payload`` has: counted by the model's tokenizer, or an upper bound."""
        ...

    async def supports_streaming(self) -> bool:
        """Whether ``stream`` yields pieces while the answer is still being made."""
        ...

    async def aclose(self) -> None:
        """Release what the agent holds; closing twice is fine."""
        ...

    async def __aenter__(self) -> Self:
        """Return the agent."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the agent."""
        await self.aclose()


def as_payload(payload: AgentPayload[Parsed] | str) -> AgentPayload[Parsed]:
    """``payload`` itself, or the one that a plain string stands for.

    Raises:
        PayloadError: it is empty, or neither a payload nor a string.
    """
    return payload if isinstance(payload, AgentPayload) else AgentPayload(payload)


def is_cancelled() -> bool:
    """Whether the running task itself is being cancelled, not only something it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def only_text(events: AsyncGenerator[Event, None]) -> AsyncGenerator[str, None]:
    """The text among ``events``, which this generator closes when it closes."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Text):
                yield event.text
