"""Lets a model use tools: it asks for calls, they are run, and it reads their results, until it answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from uuid import uuid4

from llm_backend.errors import ToolCallError, ToolRoundsError, shown
from llm_backend.llms.agent import as_payload, is_cancelled
from llm_backend.llms.payloads import MemoryEntry, Usage
from llm_backend.llms.payloads.checks import require_choice, require_count, require_kind
from llm_backend.llms.tools.definitions import as_text, tools_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_backend.llms.agent import Agent
    from llm_backend.llms.payloads import AgentPayload, AgentResponse, Parsed, ResponseMetadata, ToolCall
    from llm_backend.llms.tools.definitions import Tool

__all__ = ["OnError", "ToolRounds", "remembered", "run_with_tools"]

OnError: TypeAlias = Literal["return", "raise"]

_log = logging.getLogger(__name__)


async def run_with_tools(
    agent: Agent,
    payload: AgentPayload[Parsed] | str,
    tools: Sequence[Tool | Callable[..., object]],
    *,
    max_rounds: int = 8,
    on_error: OnError = "return",
) -> AgentResponse[Parsed]:
    """Ask ``agent``, run the tool calls it asks for, return their results to it, and repeat until it answers.

    The calls of one round run concurrently. Cancelling this cancels the answer and the async tools that are running;
    a sync tool's thread runs to its end.

    Args:
        agent: any agent.
        payload: the request, or its plain text; ``tools`` are offered instead of its ``tools_available``.
        tools: ``Tool`` objects, or typed functions.
        max_rounds: how many rounds of calls may run before the model has to answer.
        on_error: "return" gives the model a call's error as its result, so that it can do better; "raise" raises
            it, and cancels the other calls.

    Returns:
        The answer. In its metadata, ``usage`` is that of all rounds together (None if one has none), and ``tool_turns``
        holds the turns between question and answer, for remembering them.

    Raises:
        ToolDefinitionError: a tool cannot be offered; the model was not asked.
        ToolCallError: a call gave no result, and ``on_error`` is "raise".
        ToolRoundsError: the model still called tools after ``max_rounds``.
        BackendError: what ``agent.invoke`` raises.
    """
    payload, rounds = as_payload(payload), ToolRounds(tools, max_rounds, on_error)
    asked = [MemoryEntry("user", payload.user_message)] if payload.user_message.strip() else []
    request = replace(payload, tools_available=rounds.definitions)
    response = await agent.invoke(request)
    while await rounds.go_on(response):
        request = replace(request, user_message="", memory=[*payload.memory, *asked, *rounds.turns])
        response = await agent.invoke(request)
    return replace(response, metadata=rounds.told_in(response.metadata))


def remembered(response: AgentResponse, calls: Sequence[ToolCall] = ()) -> MemoryEntry:
    """An answer as a turn, with the given calls and what the server wants back.

    Without lone surrogates and NaN, which a model may produce but nobody can send on.
    """
    said = [response.response, dict(response.extras), *((dict(call.arguments), dict(call.extras)) for call in calls)]
    written = json.dumps(said, ensure_ascii=False)
    text, extras, *told = json.loads(written.encode(errors="replace"), parse_constant=str)
    sound = tuple(
        replace(call, arguments=arguments, extras=beside) for call, (arguments, beside) in zip(calls, told, strict=True)
    )
    return MemoryEntry("assistant", text, datetime.now(UTC), sound, extras=extras)


class ToolRounds:
    """The tools of one turn, and their results so far.

    Attributes:
        definitions: the tools in OpenAI's function format.
        turns: the answers that called tools, and the results, which follow the question in the next request.
    """

    def __init__(
        self, tools: Iterable[Tool | Callable[..., object]], max_rounds: int = 8, on_error: OnError = "return"
    ) -> None:
        require_kind("tools", tools, Iterable, "a sequence of tools, such as [function]")
        require_count("max_rounds", max_rounds)
        require_choice("on_error", on_error, get_args(OnError))
        self._known = tools_by_name(tools)
        self._max_rounds = max_rounds
        self._raising = on_error == "raise"
        self._usages: list[Usage | None] = []
        self.definitions = [tool.definition for tool in self._known.values()]
        self.turns: list[MemoryEntry] = []

    def told_in(self, metadata: ResponseMetadata) -> ResponseMetadata:
        """The metadata of the last answer, with the total usage and the turns before it."""
        return {**metadata, "usage": _total(self._usages), "tool_turns": tuple(self.turns)}

    async def go_on(self, response: AgentResponse) -> bool:
        """Run the calls of an answer concurrently, and add them to ``turns``; False if there are none to run."""
        self._usages.append(response.metadata.get("usage"))
        if not (self._known and response.tool_calls):
            return False
        if len(self._usages) > self._max_rounds:
            names = shown(", ".join(sorted({call.name for call in response.tool_calls})))
            message = (
                f"The model called tools in {self._max_rounds} rounds, and still calls {names} instead of answering. "
                "Raise max_rounds, offer fewer tools, or choose a model that is better at using them."
            )
            raise ToolRoundsError(message, rounds=self._max_rounds)
        # Every format accepts an id of nine letters and digits; a model that writes its calls as text gives none.
        calls = [call if call.id else replace(call, id=uuid4().hex[:9]) for call in response.tool_calls]
        asked = remembered(response, calls)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_result(self._known, call, raising=self._raising)) for call in calls]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed.exceptions[0].__cause__
        results = [
            MemoryEntry("tool", task.result(), datetime.now(UTC), metadata={"tool_call_id": call.id})
            for call, task in zip(calls, tasks, strict=True)
        ]
        self.turns += [asked, *results]
        return True


async def _result(known: Mapping[str, Tool], call: ToolCall, *, raising: bool) -> str:
    """The text of a call's result, or of its error."""
    try:
        return await _attempt(known, call)
    except ToolCallError as exc:
        if raising:
            raise
        # Without the error: it quotes arguments and results, which may be private.
        _log.warning("a call of tool %s gave no result; the model is told why", shown(repr(exc.name)))
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
        f"The model called {name} with {arguments}, {about.rstrip('.')}.", name=call.name, arguments=call.arguments
    )


def _total(usages: Sequence[Any]) -> Usage | None:
    if not all(isinstance(usage, Usage) for usage in usages):
        return None
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
    )
