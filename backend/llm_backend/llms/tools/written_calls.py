"""Reads tool calls that models write into their text, each family in its own format.

Hermes and Qwen write ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``; Granite
``<|tool_call|>[{"name": ..., "arguments": {...}}]`` (https://www.ibm.com/granite/docs/models/granite); Mistral
``[TOOL_CALLS][{"name": ..., "arguments": {...}, "id": ...}]``, later ``[TOOL_CALLS]name[ARGS]{...}``
(https://docs.mistral.ai/capabilities/function_calling); Llama 3 ``<|python_tag|>{"name": ..., "parameters": {...}}``,
or only that object, with or without a ```json fence
(https://github.com/meta-llama/llama-models/blob/main/models/llama3_1/prompt_format.md).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from llm_backend.llms.payloads import ToolCall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["may_be_bare_calls", "read_bare_calls", "read_calls", "read_request"]

_DECODER = json.JSONDecoder()
_BETWEEN = " \t\r\n;,"
_FENCE = re.compile(r"\s*(?:```(?:j?|js|jso|json)\s*(?=[\[{]|\Z))?")
_NAMED = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\s*([\w-]+)\s*)?(?:\[ARGS\])?\s*(\{.*)", re.DOTALL)
_FIRST_KEYS = ('"name"', '"arguments"', '"parameters"', '"type"', '"function"', '"id"')


def read_calls(content: str) -> list[ToolCall] | None:
    """The calls in a block of a model's answer; None if it holds anything else."""
    if named := _NAMED.fullmatch(content):
        call = _request(named[1], named[3], named[2])
        return [call] if call else None
    try:
        found = [_call(value) for value in _values(content)]
    except (ValueError, RecursionError):
        return None
    calls = [call for call in found if call]
    return calls if calls and len(calls) == len(found) else None


def read_request(name: str, content: str) -> list[ToolCall] | None:
    """The call of tool ``name`` with ``content`` as its arguments; None if that is not a JSON object."""
    call = _request(name, content, None)
    return [call] if call else None


def read_bare_calls(content: str, tools: Collection[object]) -> list[ToolCall] | None:
    """The calls of an answer that consists of them, without any mark; None unless each names one of ``tools``."""
    calls = read_calls(_FENCE.sub("", content).removesuffix("```"))
    return calls if calls and all(call.name in tools for call in calls) else None


def may_be_bare_calls(beginning: str) -> bool:
    """Whether an answer with this beginning may turn out to be calls without any mark."""
    if "```".startswith(beginning.strip()):
        return True
    rest = _FENCE.sub("", beginning).removeprefix("[").lstrip()
    if rest[:1] not in ("", "{"):
        return False
    key = rest[1:].lstrip()
    return any(name.startswith(key[: len(name)]) for name in _FIRST_KEYS)


def _values(content: str) -> Iterator[Any]:
    """Each JSON value in ``content``, with lists unpacked."""
    rest = content.strip(_BETWEEN)
    while rest:
        _, end = _DECODER.raw_decode(rest)
        value = from_json(rest[:end], allow_inf_nan=False)
        yield from value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip(_BETWEEN)


def _call(value: object) -> ToolCall | None:
    """The call that ``value`` describes, if it is an object with a name; its arguments may be a string of JSON."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = {"id": value.get("id"), **value["function"]}
    if not (isinstance(value, dict) and isinstance(value.get("name"), str)):
        return None
    arguments = value.get("arguments", value.get("parameters")) or {}
    if isinstance(arguments, str):
        return _request(value["name"], arguments, value.get("id"))
    if not isinstance(arguments, dict):
        return None
    return ToolCall(name=value["name"], arguments=arguments, id=_text(value.get("id")))


def _request(name: str, arguments: str, identity: object) -> ToolCall | None:
    try:
        read = from_json(arguments, allow_inf_nan=False) if arguments.strip() else {}
    except ValueError:
        return None
    return ToolCall(name=name, arguments=read, id=_text(identity)) if isinstance(read, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
