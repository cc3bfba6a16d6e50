"""Tool calls in OpenAI's chat format: how they are sent, and how a server's are read, whole or in parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from llm_backend.errors import EngineResponseError
from llm_backend.llms.message_extras import call_extras, merged
from llm_backend.llms.payloads import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["name_calls", "read_arguments", "read_calls", "tool_name"]


def tool_name(tool: Mapping[str, Any]) -> str:
    """The name of a tool defined in OpenAI's function format, nested or flat; empty if it is not."""
    function = tool.get("function")
    return str((function if isinstance(function, dict) else tool).get("name") or "")


def name_calls(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give an id to each call without one, and to its result: servers require it, but not every model gives it."""
    unnamed: list[str] = []
    for position, message in enumerate(messages):
        for number, call in enumerate(message.get("tool_calls", ())):
            if call["id"] is None:
                unnamed.append(f"call{position:03}{number:02}")  # nine letters and digits, as Mistral's server requires
                call["id"] = unnamed[-1]
        if message["role"] == "tool" and message["tool_call_id"] is None and unnamed:
            message["tool_call_id"] = unnamed.pop(0)
    return messages


def read_calls(
    parts: Iterable[Mapping[str, Any]], offered: Iterable[str] = (), *, whole: bool = False, cut: bool = False
) -> tuple[ToolCall, ...]:
    """Read tool calls that came ``whole``, or in parts whose ``index`` says which call they belong to.

    Some servers omit the index or give all calls the same one, and some give each part a new id. So a name with a new
    id, or without an index, begins a call, unless the current call's arguments are still open and the name is the same:
    some servers repeat it in each part. ``offered`` are the names that a call may have, which tell a repeated name from
    one that comes in pieces. ``cut`` says that the answer ended at its limit.

    Raises:
        EngineResponseError: a call has no name, or its arguments are not a JSON object, or had yet to come.
    """
    names = frozenset(offered)
    calls: list[list[Mapping[str, Any]]] = []
    open_calls: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        index = str(part.get("index"))
        call = open_calls.get(index)
        if call is None or whole or _begins(part, call):
            call = open_calls[index] = []
            calls.append(call)
        call.append(part)
    read = tuple(_read_call(call, names) for call in calls)
    if cut and calls and not "".join(_said(part, "arguments") for part in calls[-1]).strip():
        raise _unreadable(read[-1].name)
    return read


def _begins(part: Mapping[str, Any], call: Sequence[Mapping[str, Any]]) -> bool:
    """Whether ``part`` begins a new call, rather than continuing the last one with its index."""
    name, id_ = _said(part, "name"), part.get("id")
    if not name or (id_ and id_ == call[0].get("id")):
        return False
    if part.get("index") is not None and not id_:
        return False
    arguments = "".join(_said(earlier, "arguments") for earlier in call)
    going_on = _json_object(arguments) is None if arguments else not id_
    return name != _said(call[0], "name") or not going_on


def _read_call(parts: Sequence[Mapping[str, Any]], offered: AbstractSet[str]) -> ToolCall:
    name = _name_of([said for part in parts if (said := _said(part, "name"))], offered)
    if not name:
        message = "The answer holds a tool call without a function name. Check the server's log."
        raise EngineResponseError(message)
    return ToolCall(
        name=name,
        arguments=read_arguments(name, [_said(part, "arguments") for part in parts]),
        id=next((str(part["id"]) for part in parts if part.get("id")), None),
        extras=merged(map(call_extras, parts)),
    )


def _name_of(said: Sequence[str], offered: AbstractSet[str]) -> str:
    """A call's name from its parts: OpenAI sends it once, MiniMax in each part, Gemini in pieces."""
    once = ""
    for piece in said:
        once = piece if piece.startswith(once) else once + piece
    whole = "".join(said)
    return whole if whole in offered and once not in offered else once


def _said(part: Mapping[str, Any], key: str) -> str:
    function = part.get("function")
    value = function.get(key) if isinstance(function, dict) else None
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def read_arguments(name: str, said: Sequence[str]) -> dict[str, Any]:
    """The arguments of a call of tool ``name``, from pieces of their JSON; empty if nothing, or null, was sent.

    Some servers repeat them whole at the end, after the pieces or after an empty object. They may be private, so the
    error does not show them.

    Raises:
        EngineResponseError: they are not a JSON object.
    """
    text = "".join(said)
    parsed = {} if text.strip() in ("", "null") else _json_object(text)
    if parsed is None:
        before, again = _json_object("".join(said[:-1])), _json_object(said[-1])
        parsed = again if before in ({}, again) else None
    if parsed is not None:
        return parsed
    raise _unreadable(name)


def _unreadable(name: str) -> EngineResponseError:
    return EngineResponseError(
        f"The model called tool {name!r} with arguments that are not a JSON object. "
        "Ask again, raise max_new_tokens if the answer was cut short, or simplify the tool."
    )


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        parsed = from_json(text, allow_inf_nan=False)
        if isinstance(parsed, str):  # some models encode the JSON twice
            parsed = from_json(parsed, allow_inf_nan=False)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
