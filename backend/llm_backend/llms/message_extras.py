"""What servers send beside the format, and want back unchanged with the next request.

DeepSeek and Kimi refuse the second round of a tool call without the first one's ``reasoning_content``
(https://api-docs.deepseek.com/guides/thinking_mode), Gemini without its ``extra_content``
(https://ai.google.dev/gemini-api/docs/thought-signatures), OpenRouter and LiteLLM want ``reasoning_details`` and
``thinking_blocks``. OpenAI's own examples send a message back as it came, so whatever a server adds to one is kept,
whether or not its name is known here. A server that refuses its own additions is not sent them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CHAT_MODEL", "REASONING_ITEMS", "call_extras", "merged", "turn_extras", "with_extras"]

# Extras of the Responses API, which has no messages to put them into, and of LangChain's chat models only.
REASONING_ITEMS, CHAT_MODEL = "reasoning_items", "langchain"
# The format's own fields, and those that engines rebuild from what they understood.
_OF_A_TURN = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "audio", "annotations", "name"})
_OF_A_CALL = frozenset({"id", "index", "type", "function", "custom"})
_OF_A_FUNCTION = frozenset({"name", "arguments"})
_GROWING = frozenset(
    {"reasoning_content", "reasoning", "text", "thinking", "summary"}
)  # sent piece by piece in a stream
_SEALS = ("signature", "data")  # what ends a block of reasoning


def turn_extras(message: Mapping[str, Any]) -> dict[str, Any]:
    """What ``message`` holds beside the format's own fields; an empty string counts, null does not."""
    return _others(message, _OF_A_TURN)


def call_extras(call: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a tool call, and for the function in it."""
    function = call.get("function")
    inner = _others(function, _OF_A_FUNCTION) if isinstance(function, dict) else {}
    return _others(call, _OF_A_CALL) | ({"function": inner} if inner else {})


def with_extras(message: Mapping[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    """``message`` (or a call) with ``extras`` added; they never replace its own fields."""
    inner = {
        key: {**extras[key], **value}
        for key, value in message.items()
        if isinstance(value, dict) and isinstance(extras.get(key), dict)
    }
    return {**extras, **message, **inner}


def merged(pieces: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The extras of a whole turn or call, put together from its pieces in a stream."""
    whole: dict[str, Any] = {}
    for piece in pieces:
        for key, value in piece.items():
            whole[key] = _grown(key, whole[key], value) if key in whole else value
    return whole


def _others(holder: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in holder.items() if key not in known and value is not None}


def _grown(key: str, old: Any, new: Any) -> Any:  # noqa: ANN401  (any JSON)
    """A field's value so far; what each piece repeats, such as a type, counts once."""
    if isinstance(old, str) and isinstance(new, str):
        return old + new if key in _GROWING or old != new else old
    if isinstance(old, dict) and isinstance(new, dict):
        return merged([old, new])
    if isinstance(old, list) and isinstance(new, list):
        return _joined(old, new)
    return old if new is None else new


def _joined(old: list[Any], new: list[Any]) -> list[Any]:
    """Blocks of a stream: one with an earlier one's index and type, or that continues the last one, joins it."""
    blocks = list(old)
    for block in new:
        place = next((place for place in reversed(range(len(blocks))) if _continues(blocks[place], block)), None)
        if place is None or ("index" not in block and place != len(blocks) - 1):
            blocks.append(block)
        else:
            blocks[place] = merged([blocks[place], block])
    return blocks


def _continues(old: object, new: object) -> bool:
    if not (isinstance(old, dict) and isinstance(new, dict) and old.get("type") == new.get("type")):
        return False
    return old.get("index") == new["index"] if "index" in new else not any(old.get(seal) for seal in _SEALS)
