"""An agent that counts words as tokens and answers what it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llm_backend import AgentPayload, AgentResponse, ToolCall
from llm_backend.llms import Conversation, MemoryStore
from llm_backend.llms.agent import as_payload
from llm_backend.llms.payloads import End, Text, ToolCallEvent
from llm_backend.llms.prompting import build_messages
from tests.unit.backend.fake_agent import FakeAgent, about

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_backend.llms.payloads import Event

TOOL = {"type": "function", "function": {"name": "roll", "parameters": {"type": "object", "properties": {}}}}
CALL = ToolCall(name="roll", arguments={}, id="c1")


class WordAgent(FakeAgent):
    """Has a window of some words, and answers "ok" where it is told nothing else."""

    def __init__(self, window: int = 1000) -> None:
        super().__init__()
        self.window = window
        self.said: list[AgentResponse | Exception] = []
        self.counted: list[AgentPayload] = []
        self.waiting: asyncio.Event | None = None
        self.arrived = asyncio.Event()

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Answer what it was told to, or "ok"."""
        self.payloads.append(as_payload(payload))
        self.arrived.set()
        await asyncio.sleep(0)  # like every real agent, let others run meanwhile
        if self.waiting:
            await self.waiting.wait()
        said = self.said.pop(0) if self.said else AgentResponse(response="ok")
        if isinstance(said, Exception):
            raise said
        return said

    async def stream_events(self, payload: AgentPayload | str) -> AsyncGenerator[Event, None]:  # type: ignore[override]
        """Give the same answer as events, the text in two pieces."""
        said = await self.invoke(payload)
        yield Text(said.response[:1])
        yield Text(said.response[1:])
        for call in said.tool_calls:
            yield ToolCallEvent(call)
        yield End("tool_calls" if said.tool_calls else "stop", said.extras)

    async def get_context_window(self) -> int:  # type: ignore[override]
        """Return the window."""
        return self.window

    async def count_tokens(self, payload: AgentPayload | str) -> int:  # type: ignore[override]
        """Count the words."""
        self.counted.append(as_payload(payload))
        return words(as_payload(payload))


def words(payload: AgentPayload) -> int:
    """Count the words of a request."""
    return sum(len(message["content"].split()) for message in build_messages(payload))


def answer(text: str, *calls: ToolCall) -> AgentResponse:
    """Make an answer."""
    return AgentResponse(response=text, tool_calls=calls, metadata=about(model="m"))


def talk(agent: WordAgent, **options: Any) -> Conversation:
    """Start a conversation with no history."""
    return Conversation(agent, "s", **{"store": MemoryStore(), **options})


async def said(conversation: Conversation) -> list[tuple[str, str]]:
    """Return the history as pairs of role and text."""
    return [(entry.role, entry.content) for entry in await conversation.history()]
