"""Arranges the stored turns of a session into the parts of a request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from llm_backend.errors import PayloadError
from llm_backend.llms.payloads import MemoryEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from llm_backend.llms.conversations.store import StoredTurn

__all__ = ["Exchange", "History", "arrange", "is_summary", "largest", "summary_of"]

# Marks a summary in the metadata of a stored turn; its value is where the last exchange in it begins.
_SUMMARY = "summary_up_to"

Exchange: TypeAlias = "list[StoredTurn]"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The parts of a session.

    Attributes:
        context: the system turns, which go into every request.
        summary: the newest summary of the exchanges before ``exchanges``; empty if there is none.
        summarised: how many exchanges it covers.
        exchanges: the others, oldest first. Each begins with a user's turn and ends before the next one, so tool calls
            and their results stay together.
        unanswered: names of tools that were called but have no result yet.
    """

    context: tuple[str, ...]
    summary: str
    summarised: int
    exchanges: list[Exchange]
    unanswered: tuple[str, ...]


def arrange(turns: Iterable[StoredTurn]) -> History:
    """Sort the turns of a session.

    Raises:
        PayloadError: a tool's result answers no call.
    """
    context: list[str] = []
    summary, up_to = "", 0
    exchanges: list[Exchange] = []
    called: list[tuple[str | None, str, Exchange]] = []
    for turn in turns:
        entry = turn.entry
        if is_summary(entry):
            up_to, summary = max((up_to, summary), (entry.metadata[_SUMMARY], entry.content))
        elif entry.role == "system":
            context.append(entry.content)
        elif entry.role == "tool":
            # Not simply the last exchange: another process may have added one since the call.
            _take_call(called, entry).append(turn)
        else:
            if entry.role == "user" or not exchanges:
                exchanges.append([])
            exchanges[-1].append(turn)
            called += [(call.id, call.name, exchanges[-1]) for call in entry.tool_calls]
    recent = [exchange for exchange in exchanges if exchange[0].sequence > up_to]
    return History(
        context=tuple(context),
        summary=summary,
        summarised=len(exchanges) - len(recent),
        exchanges=recent,
        unanswered=tuple(name for _, name, _ in called),
    )


def summary_of(exchanges: Sequence[Exchange], text: str) -> MemoryEntry:
    """The turn that stores ``text`` as the summary of all exchanges up to the last one of these."""
    return MemoryEntry("system", text, datetime.now(UTC), metadata={_SUMMARY: exchanges[-1][0].sequence})


def is_summary(entry: MemoryEntry) -> bool:
    """Whether a stored turn is a summary, rather than something that was said."""
    return isinstance(entry.metadata.get(_SUMMARY), int)


def _take_call(called: list[tuple[str | None, str, Exchange]], result: MemoryEntry) -> Exchange:
    """Remove the call that ``result`` answers; a call without an id is answered by the next result."""
    wanted = result.metadata.get("tool_call_id")
    for call in called:
        if call[0] in (wanted, None):
            called.remove(call)
            return call[2]
    waiting = ", ".join(repr(name_of) for name_of, _, _ in called) or "none"
    message = (
        f"A tool's result answers call {wanted!r}, but the calls without a result are: {waiting}. "
        "Put the call's id into its metadata as tool_call_id."
    )
    raise PayloadError(message)


async def largest(fits: Callable[[int], Awaitable[bool]], highest: int, guess: int = 0) -> int:
    """The largest number up to ``highest`` that fits; if one fits, all smaller ones do, and 0 is taken to fit.

    Tries ``guess`` first, if there is one, then few more numbers, none much larger than the result.
    """
    low, high = 0, min(guess or 32, highest)
    while low < high and await fits(high):
        low, high = high, min(high * 4, highest)
    while high - low > 1:
        middle = (low + high) // 2
        if await fits(middle):
            low = middle
        else:
            high = middle
    return low
