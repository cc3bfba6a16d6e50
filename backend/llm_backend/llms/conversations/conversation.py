"""Conversations: an agent and what was said to it before, kept within the model's context window."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, get_args
from weakref import WeakKeyDictionary, WeakValueDictionary

from llm_backend.errors import PayloadError, shown
from llm_backend.llms.agent import only_text
from llm_backend.llms.conversations.history import arrange, is_summary, largest, summary_of
from llm_backend.llms.conversations.store import SQLiteStore, StoredTurn
from llm_backend.llms.payloads import (
    AgentPayload,
    AgentResponse,
    End,
    GenerationOptions,
    MemoryEntry,
    Parsed,
    Text,
    ToolCallEvent,
)
from llm_backend.llms.payloads.checks import require_choice, require_count
from llm_backend.llms.tools.rounds import ToolRounds, remembered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from typing import Unpack

    from llm_backend.llms.agent import Agent
    from llm_backend.llms.conversations.history import Exchange, History
    from llm_backend.llms.conversations.store import ConversationStore
    from llm_backend.llms.payloads import Event, ReasoningEffort, ResponseMetadata
    from llm_backend.llms.tools.definitions import Tool
    from llm_backend.llms.tools.rounds import OnError

__all__ = ["Conversation", "Fitting", "TurnOptions"]

Compact = Literal["trim", "summarise"]

_LONGEST_NAME = 200
_SUMMARISE = (
    "Summarise our conversation so far in a few sentences: what you know about me, what I asked, what you answered, "
    "and what is still open. Write only the summary."
)
# One turn at a time for each session of a store. Kept by event loop, because a lock belongs to one.
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, str], asyncio.Lock]] = (
    WeakKeyDictionary()
)
# Held by the turns whose tools are running here: a tool that waited for one would wait for itself.
_held: ContextVar[tuple[set[asyncio.Lock], ...]] = ContextVar("_held", default=())


class _PayloadOptions(TypedDict, Generic[Parsed], total=False):
    thinking_blob: str
    tools_available: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]
    reasoning_effort: ReasoningEffort | None
    generation: GenerationOptions
    output_schema: type[Parsed] | Mapping[str, Any] | None


class TurnOptions(_PayloadOptions[Parsed], Generic[Parsed], total=False):
    """Options of one turn, beside its text.

    Give either ``tools``, which are run as by ``run_with_tools``, with the same ``max_rounds`` and ``on_error``; their
    calls and results are stored with the answer. Or give ``tools_available``, definitions whose calls come back for you
    to run: add the results with ``add``, and continue with an empty text. The other options are fields of AgentPayload.
    """

    tools: Sequence[Tool | Callable[..., object]]
    max_rounds: int
    on_error: OnError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How much of the conversation a request held, in exchanges: a user's turn and all that follows until the next one.

    Attributes:
        sent: word for word.
        summarised: as part of the summary.
        left_out: not at all, for lack of room. They stay stored.
    """

    sent: int
    summarised: int
    left_out: int


class _Turn:
    """A turn in progress: the question, and what its tools have returned so far."""

    def __init__(self, text: str, options: TurnOptions) -> None:
        self.text = text
        self.rounds = ToolRounds(
            options.pop("tools", ()), options.pop("max_rounds", 8), options.pop("on_error", "return")
        )
        self.options: _PayloadOptions = options
        if self.rounds.definitions:
            self.options["tools_available"] = self.rounds.definitions
        self._asked = datetime.now(UTC)

    def entries(self) -> list[MemoryEntry]:
        """The entries to remember, except the answer."""
        question = [MemoryEntry("user", self.text, self._asked)] if self.text.strip() else []
        return [*question, *self.rounds.turns]


class Conversation:
    """One session with an agent, remembered from turn to turn and, in a file, from one start to the next.

    A turn is stored once its answer is complete, question and answer together. A turn that fails, is cancelled, or has
    its stream closed early leaves nothing behind. Turns of one session wait for each other within an event loop;
    several processes can share a session without losing turns.

    Each request holds the system prompt and as many of the newest exchanges as fit, measured with
    ``agent.count_tokens``; the oldest are dropped first, and always whole. A message that is too long by itself is sent
    alone, so that the agent raises ContextWindowError.

    Args:
        agent: answers; it stays open.
        session_id: the session's name in the store: up to 200 printable characters.
        store: keeps the turns; by default ``SQLiteStore()``.
        system_context: the system prompt. Not stored.
        user_profile: facts about the user, for the system prompt. Not stored.
        compact: what to do with exchanges that no longer fit. "trim" leaves them out; "summarise" has the agent
            summarise all but the newest, which may fill half of a request's room, stores the summary, and puts it into
            the system prompt.
        answer_tokens: reserved for an answer whose options give no ``max_new_tokens``. At most half of the context
            window is reserved.

    Raises:
        PayloadError: the session's name, ``compact`` or ``answer_tokens`` is invalid.
    """

    def __init__(  # noqa: PLR0913  (independent choices, given by name)
        self,
        agent: Agent,
        session_id: str,
        *,
        store: ConversationStore | None = None,
        system_context: str = "",
        user_profile: Mapping[str, Any] | None = None,
        compact: Compact = "trim",
        answer_tokens: int = 512,
    ) -> None:
        _check_session(session_id)
        require_choice("compact", compact, get_args(Compact))
        require_count("answer_tokens", answer_tokens)
        self.agent = agent
        self.session_id = session_id
        self.store: ConversationStore = SQLiteStore() if store is None else store
        self.system_context = system_context
        self.user_profile = user_profile or {}
        self.fitting: Fitting | None = None
        """How much of the conversation the last request held."""
        self._compact = compact
        self._answer_tokens = answer_tokens
        self._beginning: float = inf

    async def ask(self, text: str, **options: Unpack[TurnOptions[Parsed]]) -> AgentResponse[Parsed]:
        """Answer ``text`` in the light of the conversation so far; it may be empty after a tool's result.

        Returns:
            The agent's response; ``metadata`` holds a Fitting as ``conversation``, and what ``run_with_tools`` adds.

        Raises:
            PayloadError: the text or an option is wrong, or a tool call still has no result.
            ContextWindowError: the text is too long, even alone, or becomes so with the tools' results.
            ToolError: as ``run_with_tools`` raises it.
            ConversationStoreError: the store cannot be read or written.
            BackendError: whatever the agent raises.
        """
        async with self._lock():
            turn = _Turn(text, options)
            response = await self.agent.invoke(await self._request(turn))
            while await self._go_on(turn, response):
                response = await self.agent.invoke(await self._request(turn))
            await self._record(turn, response)
            about: ResponseMetadata = {**turn.rounds.told_in(response.metadata), "conversation": self.fitting}
        return replace(response, metadata=about)

    def stream(self, text: str, **options: Unpack[TurnOptions]) -> AsyncGenerator[str, None]:
        """Yield the answer's text as it is generated, including what the model says between rounds of ``tools``.

        Raises:
            PayloadError: also with ``tools_available``, because a stream of text cannot show tool calls.
            BackendError: otherwise as ``ask``.
        """
        if options.get("tools_available"):
            message = (
                "A stream of text cannot show calls of tools_available. Use ask() or stream_events(), or give tools."
            )
            raise PayloadError(message)
        return only_text(self.stream_events(text, **options))

    async def stream_events(self, text: str, **options: Unpack[TurnOptions]) -> AsyncGenerator[Event, None]:
        """Yield every event of the answer, in each round of ``tools``; the turn is stored before the single End.

        Use ``contextlib.aclosing`` if you may leave early: other turns wait until the stream is closed.
        Raises as ``ask`` does.
        """
        async with self._lock():
            turn, going_on = _Turn(text, options), True
            while going_on:
                heard: list[Event] = []
                async with aclosing(self.agent.stream_events(await self._request(turn))) as events:
                    async for event in events:
                        heard.append(event)
                        if not isinstance(event, End):
                            yield event
                response = AgentResponse(
                    response="".join(event.text for event in heard if isinstance(event, Text)),
                    tool_calls=tuple(event.call for event in heard if isinstance(event, ToolCallEvent)),
                    extras=next((event.extras for event in heard if isinstance(event, End)), {}),
                )
                going_on = await self._go_on(turn, response)
            await self._record(turn, response)
            yield heard[-1]

    async def add(self, *entries: MemoryEntry) -> None:
        """Add turns from elsewhere: tool results, an earlier conversation, a greeting.

        Raises:
            PayloadError: a tool's result answers no call, or a turn cannot be stored.
            ConversationStoreError: the store cannot be read or written.
        """
        async with self._lock():
            history = await self._history(entries)
            AgentPayload("?", memory=_entries(history.exchanges))  # refuses what no request can hold
            await self.store.append(self.session_id, entries)

    async def history(self) -> list[MemoryEntry]:
        """Every turn of the session, oldest first, whether or not it still fits into a request; no summaries."""
        return [turn.entry for turn in await self.store.read(self.session_id) if not is_summary(turn.entry)]

    async def clear(self) -> None:
        """Forget the session, after any turn in progress has ended."""
        async with self._lock():
            await self.store.clear(self.session_id)

    def _lock(self) -> asyncio.Lock:
        locks = _locks.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
        lock = locks.setdefault((self.store.name, self.session_id), asyncio.Lock())
        if any(lock in held for held in _held.get()):
            message = f"A tool of a turn in session {self.session_id!r} uses that session. Let it only read history()."
            raise PayloadError(message)
        return lock

    async def _go_on(self, turn: _Turn, response: AgentResponse) -> bool:
        held = {self._lock()}
        before = _held.set((*_held.get(), held))
        try:
            return await turn.rounds.go_on(response)
        finally:
            held.clear()  # a task that a tool leaves running may use the session later
            _held.reset(before)

    async def _record(self, turn: _Turn, response: AgentResponse) -> None:
        # Without tools nobody could give a result, and the conversation could never continue.
        calls = response.tool_calls if turn.options.get("tools_available") else ()
        await self.store.append(self.session_id, [*turn.entries(), remembered(response, calls)])

    async def _history(self, going_on: Sequence[MemoryEntry]) -> History:
        """The session, followed by turns that are not stored yet."""
        stored = await self.store.read(self.session_id)
        place = stored[-1].sequence + 1 if stored else 1
        return arrange([*stored, *(StoredTurn(place, entry) for entry in going_on)])

    async def _request(self, turn: _Turn) -> AgentPayload:
        """The request for a turn: its question and tool results, with as much of the history as fits."""
        told = turn.entries() if turn.rounds.turns else []
        history = await self._history(told)
        if history.unanswered:
            message = (
                f"The model called {shown(', '.join(history.unanswered))} and is waiting for the result. "
                "Add it with add(MemoryEntry('tool', result, metadata={'tool_call_id': call.id})), or clear()."
            )
            raise PayloadError(message)
        payload = AgentPayload(
            "" if told else turn.text,
            system_context=self.system_context,
            user_profile=self.user_profile,
            session_id=self.session_id,
            memory=_entries(history.exchanges[-1:]),
            **turn.options,
        )
        window = await self.agent.get_context_window()
        room = window - min(payload.generation.max_new_tokens or self._answer_tokens, window // 2)
        sent = await self._newest(payload, history, room)
        full = sent < len(history.exchanges) and self._compact == "summarise"
        if full and await self._summarise(payload, history, room, sent):
            history = await self._history(told)
            sent = await self._newest(payload, history, room)
        left_out = len(history.exchanges) - sent
        self._beginning = history.exchanges[left_out][0].sequence if sent else inf
        earlier = sent - (bool(told) and told[0].role == "user")  # the turn's own exchange is among them
        self.fitting = Fitting(sent=earlier, summarised=history.summarised, left_out=left_out)
        return self._with(payload, history, history.exchanges[left_out:])

    def _with(self, payload: AgentPayload, history: History, exchanges: Sequence[Exchange]) -> AgentPayload:
        """The payload with the whole system prompt and these exchanges."""
        summary = f"Summary of the conversation so far:\n{history.summary}" if history.summary else ""
        parts = (self.system_context, *history.context, summary)
        return replace(
            payload,
            system_context="\n\n".join(part for part in parts if part),
            memory=_entries(exchanges),
        )

    async def _newest(self, payload: AgentPayload, history: History, room: int) -> int:
        """How many of the newest exchanges fit with ``payload`` into ``room`` tokens; at least one if it must continue.

        Tries the beginning of the last request first: an engine without a tokenizer knows that prompt best.
        """

        async def fits(number: int) -> bool:
            chosen = history.exchanges[len(history.exchanges) - number :]
            return await self.agent.count_tokens(self._with(payload, history, chosen)) <= room

        total, least = len(history.exchanges), 0 if payload.user_message.strip() else 1
        since = sum(exchange[0].sequence >= self._beginning for exchange in history.exchanges)
        return max(least, await largest(fits, total, guess=since))

    async def _summarise(self, payload: AgentPayload, history: History, room: int, sent: int) -> bool:
        """Store a summary of the older exchanges, so that the rest takes half of the room and few turns need a summary.

        Summarises at most as many as the model can read at once; later turns do the rest.
        """
        kept = max(await self._newest(payload, history, room // 2), min(1, sent))
        older = history.exchanges[: len(history.exchanges) - kept]
        longest = max(room // 8, 1)
        request = AgentPayload(
            _SUMMARISE,
            user_profile=payload.user_profile,
            session_id=payload.session_id,
            reasoning_effort=payload.reasoning_effort,
            generation=GenerationOptions(max_new_tokens=longest),
        )

        async def fits(number: int) -> bool:
            return await self.agent.count_tokens(self._with(request, history, older[:number])) <= room - longest

        readable = await largest(fits, len(older))
        answer = await self.agent.invoke(self._with(request, history, older[:readable])) if readable else None
        if not (answer and answer.response):
            return False
        summary = remembered(answer).content
        await self.store.append(self.session_id, [summary_of(older[:readable], summary)])
        return True


def _entries(exchanges: Sequence[Exchange]) -> tuple[MemoryEntry, ...]:
    return tuple(turn.entry for exchange in exchanges for turn in exchange)


def _check_session(session_id: str) -> None:
    if not (isinstance(session_id, str) and session_id.isprintable() and 0 < len(session_id) <= _LONGEST_NAME):
        message = f"session_id is {ascii(session_id)[:_LONGEST_NAME]}. Give 1 to {_LONGEST_NAME} printable characters."
        raise PayloadError(message)
