"""Which of the options in which servers differ a server accepts, as learnt from its refusals.

The first request says everything as most servers want it. What a server refuses, and nobody insists on in exactly
this form, is expressed otherwise in the next request and all later ones.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_backend.llms.message_extras import CHAT_MODEL, REASONING_ITEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from llm_backend.llms.payloads import GenerationOptions

__all__ = ["can_be_given_up", "limit_name", "refused_by", "taken_messages", "taken_options"]

# How many stop texts OpenAI and many others accept: https://platform.openai.com/docs/api-reference/chat/create
_MOST_STOPS = 4
_MANY_STOPS = "more than four stop texts"
_LIMITS = ("max_tokens", "max_completion_tokens")
_REFUSALS = (400, 422)
# Said of an unknown option, but not of one whose value is wrong.
_UNKNOWN = re.compile(
    r"unsupported|not (be )?(supported|permitted|allowed|recognized)|unknown|unrecognized|unexpected|forbidden",
    re.IGNORECASE,
)
_OF_A_TURN = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_OF_A_CALL = frozenset({"id", "type", "function"})


def limit_name(preferred: str, refused: AbstractSet[str]) -> str:
    """The name for the limit on the answer's tokens: ``preferred``, unless the server refuses it."""
    return next((name for name in (preferred, *_LIMITS) if name not in refused), preferred)


def taken_options(generation: GenerationOptions, refused: AbstractSet[str]) -> GenerationOptions:
    """``generation`` with the stop texts that the server accepts; the others are applied when its answer is read."""
    stops = generation.stop[:_MOST_STOPS] if _MANY_STOPS in refused else generation.stop
    return replace(generation, stop=() if "stop" in refused else stops)


def taken_messages(
    messages: Iterable[Mapping[str, Any]], refused: AbstractSet[str], *, responses: bool
) -> list[dict[str, Any]]:
    """``messages`` without extras that the server refuses, or that belong to the other API or to a chat model."""
    unwanted = refused | ({CHAT_MODEL} if responses else {CHAT_MODEL, REASONING_ITEMS})
    taken = [_without(message, unwanted - _OF_A_TURN) for message in messages]
    for message in taken:
        if "tool_calls" in message:
            message["tool_calls"] = [_without(call, unwanted - _OF_A_CALL) for call in message["tool_calls"]]
    return taken


def can_be_given_up(
    messages: Iterable[Mapping[str, Any]], generation: GenerationOptions, limit: str | None, refused: AbstractSet[str]
) -> dict[str, str]:
    """What in a request can be expressed otherwise or left out: the name to remember it by, and its name in refusals.

    These are extras, stop texts, and the name of the ``limit`` on the answer's tokens, if there is another.
    """
    names = {key: key for message in messages for key in _extras_in(message)}
    if generation.stop:
        names[_MANY_STOPS if len(generation.stop) > _MOST_STOPS else "stop"] = "stop"
    if limit in _LIMITS and generation.max_new_tokens is not None and refused.isdisjoint(_LIMITS):
        names[limit] = limit
    return names


def refused_by(exc: BaseException, names: Mapping[str, str]) -> set[str]:
    """Those of ``names`` that the server refuses; empty if its error is about something else.

    OpenAI names them in ``param``; others, such as Mistral, vLLM, TGI, Groq and Cerebras, only in words.
    """
    if getattr(exc, "status_code", None) not in _REFUSALS:
        return set()
    param, body = (str(getattr(exc, attribute, None) or "") for attribute in ("param", "body"))
    named = _named(names, param) or _named(names, body)
    return named if _UNKNOWN.search(f"{getattr(exc, 'code', None)} {body}") else named - set(_LIMITS)


def _named(names: Mapping[str, str], words: str) -> set[str]:
    return {key for key, name in names.items() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)}


def _without(holder: Mapping[str, Any], unwanted: AbstractSet[str]) -> dict[str, Any]:
    return {key: value for key, value in holder.items() if key not in unwanted}


def _extras_in(message: Mapping[str, Any]) -> Iterable[str]:
    yield from message.keys() - _OF_A_TURN
    for call in message.get("tool_calls", ()):
        yield from call.keys() - _OF_A_CALL
