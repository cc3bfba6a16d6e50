"""Lets a model use tools: it asks, the tools are called, it is told the results, until it answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from backend.errors import PayloadError, ToolCallError, ToolRoundsError, shown
from backend.llms.payloads import AgentResponse, MemoryEntry, Usage
from backend.llms.protocol import is_cancelled
from backend.llms.tools import as_text, tools_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backend.llms.payloads import AgentPayload, ToolCall
    from backend.llms.protocol import Agent
    from backend.llms.tools import Tool

__all__ = ["run_with_tools"]

_log = logging.getLogger(__name__)


async def run_with_tools(
    agent: Agent,
    payload: AgentPayload,
    tools: Sequence[Tool | Callable[..., object]],
    *,
    max_rounds: int = 8,
    on_error: Literal["return", "raise"] = "return",
) -> AgentResponse:
    """Ask ``agent``, call the tools that it asks for, tell it their results, and so on until it answers.

    The calls of one round run at the same time. Cancelling this cancels the answer and the async tools that run; a
    sync tool's thread goes on to its end.

    Args:
        agent: any agent.
        payload: the request; ``tools`` are offered in place of its ``tools_available``.
        tools: ``Tool``s, or typed functions.
        max_rounds: how many rounds of calls may be run before the model has to answer.
        on_error: "return" gives the model the error of a call in place of its result, so that it can do better;
            "raise" raises it, and cancels the other calls.

    Returns:
        The answer. Its ``usage`` is that of all rounds together (None where one has none), and ``tool_turns`` in its
        metadata holds the turns between question and answer, to remember them.

    Raises:
        ToolDefinitionError: a tool cannot be offered; the model was not asked.
        ToolCallError: a call gave no result, and ``on_error`` is "raise".
        ToolRoundsError: the model called tools once more after ``max_rounds``.
        BackendError: what ``agent.invoke`` raises.
    """
    _check(max_rounds, on_error)
    known = tools_by_name(tools)
    asked = [MemoryEntry("user", payload.user_message)] if payload.user_message.strip() else []
    turns: list[MemoryEntry] = []
    usages: list[Usage | None] = []
    request = replace(payload, tools_available=[tool.definition for tool in known.values()])
    for _ in range(max_rounds + 1):
        response = await agent.invoke(request)
        usages.append(response.metadata.get("usage"))
        if not response.tool_calls:
            about = {**response.metadata, "usage": _total(usages), "tool_turns": tuple(turns)}
            return replace(response, metadata=about)
        if len(usages) <= max_rounds:
            turns += await _round(known, response, raising=on_error == "raise")
            request = replace(request, user_message="", memory=[*payload.memory, *asked, *turns])
    names = shown(", ".join(sorted({call.name for call in response.tool_calls})))
    message = (
        f"The model called tools in {max_rounds} rounds, and still calls {names} where it should answer. "
        "Raise max_rounds, offer fewer tools, or choose a model that is better at them."
    )
    raise ToolRoundsError(message, rounds=max_rounds)


def _check(max_rounds: object, on_error: object) -> None:
    if not isinstance(max_rounds, int) or max_rounds < 1:
        message = f"max_rounds is {max_rounds!r}. Give a whole number of at least 1."
        raise PayloadError(message)
    if on_error not in ("return", "raise"):
        message = f"on_error is {on_error!r}. Use one of: return, raise."
        raise PayloadError(message)


async def _round(known: Mapping[str, Tool], response: AgentResponse, *, raising: bool) -> list[MemoryEntry]:
    """Run all calls of an answer at once, and return what is to be remembered: the answer, and each result."""
    # Nine letters and digits are a name that every format takes; a model that writes its calls as text gives none.
    calls = [call if call.id else replace(call, id=uuid4().hex[:9]) for call in response.tool_calls]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_result(known, call, raising=raising)) for call in calls]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    return [
        MemoryEntry("assistant", response.response, tool_calls=calls),
        *(
            MemoryEntry("tool", task.result(), metadata={"tool_call_id": call.id})
            for call, task in zip(calls, tasks, strict=True)
        ),
    ]


async def _result(known: Mapping[str, Tool], call: ToolCall, *, raising: bool) -> str:
    """The text that a call gives, be it the one of an error."""
    try:
        return await _attempt(known, call)
    except ToolCallError as exc:
        if raising:
            raise
        _log.warning("%s The model is told so.", exc)
        return f"Error: {exc}"


async def _attempt(known: Mapping[str, Tool], call: ToolCall) -> str:
    tool = known.get(call.name)
    if tool is None:
        raise _failed(call, f"which does not exist. There is: {', '.join(known) or 'no tool'}")
    try:
        arguments = tool.read(call.arguments)
    except ValueError as exc:
        raise _failed(call, f"whose arguments do not fit: {shown(str(exc))}") from exc
    try:
        result = await tool.call(arguments)
    except (Exception, asyncio.CancelledError) as exc:
        if isinstance(exc, asyncio.CancelledError) and is_cancelled():
            raise
        raise _failed(call, f"which failed with {type(exc).__name__}: {shown(str(exc))}") from exc
    try:
        return as_text(result)
    except (ValueError, RecursionError) as exc:
        about = f"whose result, a {type(result).__name__}, cannot be written as JSON: {shown(str(exc))}"
        raise _failed(call, about) from exc


def _failed(call: ToolCall, about: str) -> ToolCallError:
    name, arguments = shown(repr(call.name)), shown(repr(dict(call.arguments)))
    return ToolCallError(
        f"The model called {name} with {arguments}, {about}.", name=call.name, arguments=call.arguments
    )


def _total(usages: Sequence[Any]) -> Usage | None:
    if not all(isinstance(usage, Usage) for usage in usages):
        return None
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
    )
