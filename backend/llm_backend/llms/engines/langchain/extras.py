"""Extras of a turn in LangChain's messages: those that a server wants back, and those that a chat model wants back.

LangChain's packages keep there what their servers want back: signed reasoning in the content (Anthropic), signatures
of calls (Google) and reasoning (DeepSeek) in ``additional_kwargs``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import convert_to_messages

from llm_backend.llms.message_extras import CHAT_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_core.messages import AIMessage, BaseMessage

__all__ = ["as_kwargs", "extras_of_calls", "extras_of_turn", "message_extras", "with_message_extras"]

_OURS = "llm_backend_extras"  # the key for our agents' extras in a message
_FORMAT = ("role", "content", "tool_calls", "tool_call_id")
_UNDERSTOOD = frozenset({"tool_calls", "function_call", "refusal", "parsed", "audio"})
_READ_BLOCKS = frozenset(
    {"text", "tool_use", "tool_call", "tool_call_chunk", "input_json_delta", "function_call", "refusal"}
)


def as_kwargs(turn: Mapping[str, Any], calls: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A message's ``additional_kwargs`` for the extras of a turn, and for those of calls by their ids."""
    held = {"turn": dict(turn), "calls": {id_: dict(extras) for id_, extras in calls.items() if extras}}
    return {_OURS: {name: value for name, value in held.items() if value}} if any(held.values()) else {}


def extras_of_turn(message: BaseMessage) -> dict[str, Any]:
    """The extras of a turn that went into a message."""
    return dict(_held(message, "turn"))


def extras_of_calls(message: BaseMessage) -> dict[str, dict[str, Any]]:
    """Those of its calls, by their ids."""
    return dict(_held(message, "calls"))


def _held(message: BaseMessage, name: str) -> dict[str, Any]:
    held: dict[str, Any] = message.additional_kwargs.get(_OURS) or {}
    return held.get(name) or {}


def message_extras(message: AIMessage) -> dict[str, Any]:
    """The parts of a chat model's message that are not read otherwise, as extras of the turn."""
    blocks = message.content if isinstance(message.content, list) else []
    content = [block for block in blocks if isinstance(block, dict) and block.get("type") not in _READ_BLOCKS]
    kwargs = {name: value for name, value in message.additional_kwargs.items() if name not in _UNDERSTOOD}
    held = {"content": list(filter(_is_plain, content)), "additional_kwargs": dict(filter(_is_plain, kwargs.items()))}
    said = {name: value for name, value in held.items() if value}
    return {CHAT_MODEL: said} if said else {}


def with_message_extras(messages: Iterable[Mapping[str, Any]]) -> list[BaseMessage]:
    """Messages in OpenAI's format as LangChain's, with the chat model's extras, and without a server's."""
    said = list(messages)
    bare = convert_to_messages([{name: each[name] for name in _FORMAT if name in each} for each in said])
    for message, source in zip(bare, said, strict=True):
        held = source.get(CHAT_MODEL, {})
        message.additional_kwargs |= held.get("additional_kwargs", {})
        if held.get("content"):
            text = [{"type": "text", "text": message.content}] if message.content else []
            message.content = [*held["content"], *text]
    return bare


def _is_plain(value: object) -> bool:
    """Whether JSON, and so a conversation's store, can hold it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
