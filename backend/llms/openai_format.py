"""OpenAI's chat format as plain data: what is sent to a server, and what its answers mean.

Imports no client library, so that every engine that speaks to such a server can share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from backend.errors import ConfigError, EngineResponseError, printable
from backend.llms.payloads import ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from backend.llms.payloads import GenerationOptions, ReasoningEffort

__all__ = [
    "Piece",
    "Request",
    "as_mapping",
    "as_mappings",
    "card_window",
    "chat_options",
    "extra_body",
    "given",
    "name_calls",
    "only_model",
    "read_arguments",
    "read_calls",
    "read_chunk",
    "read_completion",
    "read_usage",
]

# What servers call the context window in their model cards: vLLM and SGLang, OpenRouter, Groq, Mistral, LM Studio.
_WINDOW_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "loaded_context_length")
_MOST_NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, before an engine puts it into its library's words."""

    messages: list[dict[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    generation: GenerationOptions
    effort: ReasoningEffort | None
    output: Mapping[str, Any] | None = None  # the name, schema and strictness of what the answer has to be
    stream: bool = False
    ours: AbstractSet[str] = frozenset()  # options in it that nobody chose, and that servers may refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An answer, or a part of a streamed one, before the model's text is taken apart.

    Attributes:
        text: of the answer.
        reasoning: what came beside the text.
        calls: tool calls in OpenAI's format, whole or in parts.
        finish_reason: why the answer ended; empty in a part that does not end it.
        usage: the tokens of all that was said until now.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    usage: Usage | None = None


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` without those that nobody chose."""
    return {name: value for name, value in options.items() if value not in (None, (), [], {})}


def extra_body(generation: GenerationOptions, **more: object) -> dict[str, Any]:
    """What local servers know and OpenAI's format does not, and ``more``; sent only where somebody asks for it."""
    return given({"top_k": generation.top_k, **more})


def chat_options(request: Request, *, limit_name: str) -> dict[str, Any]:
    """Keyword arguments of a chat completion; ``limit_name`` is what the server calls the answer's length limit.

    The limit travels in ``extra_body``, where no library gives it another name; and so does the output schema, where
    none takes the answer apart itself.
    """
    generation = request.generation
    output = {"type": "json_schema", "json_schema": request.output} if request.output else None
    return given(
        {
            "temperature": generation.temperature,
            "top_p": generation.top_p,
            "seed": generation.seed,
            "stop": list(generation.stop),
            "reasoning_effort": request.effort and request.effort.effort,
            "tools": [dict(tool) for tool in request.tools],
            "stream_options": {"include_usage": True} if "stream_options" in request.ours else None,
            "extra_body": extra_body(generation, **{limit_name: generation.max_new_tokens}, response_format=output),
        }
    )


def name_calls(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give an id to each call that has none, and to its result: servers want one, and not every model gives it."""
    unnamed: list[str] = []
    for position, message in enumerate(messages):
        for number, call in enumerate(message.get("tool_calls", ())):
            if call["id"] is None:
                unnamed.append(f"call{position:03}{number:02}")  # nine letters and digits, as Mistral's server wants it
                call["id"] = unnamed[-1]
        if message["role"] == "tool" and message["tool_call_id"] is None and unnamed:
            message["tool_call_id"] = unnamed.pop(0)
    return messages


def as_mapping(answer: object) -> Mapping[str, Any]:
    """A library's answer as plain data.

    Raises:
        EngineResponseError: it is no JSON object.
    """
    dump = getattr(answer, "model_dump", None)
    if dump is None:
        message = (
            f"The server's answer is no JSON object but a {type(answer).__name__}. "
            "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
        )
        raise EngineResponseError(message)
    plain: Mapping[str, Any] = dump(warnings=False)
    return plain


def as_mappings(items: object) -> list[Mapping[str, Any]]:
    """``items`` if it is a list of JSON objects, without what is none; else an empty list."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def read_completion(answer: Mapping[str, Any]) -> Piece:
    """Read a chat completion.

    Raises:
        EngineResponseError: it holds no message, or what the message holds is not what the format says.
    """
    for choice in as_mappings(answer.get("choices")):
        if isinstance(choice.get("message"), dict):
            return _read_choice(choice, "message", answer)
    message = f"The server's answer holds no message; it has: {', '.join(sorted(given(answer))) or 'nothing'}. "
    raise EngineResponseError(message + "Look into the server's log.")


def read_chunk(chunk: Mapping[str, Any]) -> Piece:
    """Read one part of a streamed chat completion; parts without a choice carry only figures.

    Raises:
        EngineResponseError: its text is no text.
    """
    return _read_choice(next(iter(as_mappings(chunk.get("choices"))), {}), "delta", chunk)


def _read_choice(choice: Mapping[str, Any], key: str, answer: Mapping[str, Any]) -> Piece:
    said = choice.get(key)
    parts = said if isinstance(said, dict) else {}
    reason = str(choice.get("finish_reason") or "")
    return Piece(
        text=_text(parts, "content") or _text(parts, "refusal"),
        reasoning=_text(parts, "reasoning_content") or _text(parts, "reasoning"),
        calls=as_mappings(parts.get("tool_calls")),
        finish_reason="tool_calls" if reason == "function_call" else reason,
        usage=read_usage(answer.get("usage"), "prompt_tokens", "completion_tokens"),
    )


def read_calls(parts: Iterable[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """Read tool calls that came whole, or in parts that say by ``index`` to which call they belong.

    Some servers leave the index out or give all calls the same, and some give each part another id: so a name together
    with another id, or without an index, begins a call.

    Raises:
        EngineResponseError: a call has no name, or its arguments are no JSON object.
    """
    calls: list[list[Mapping[str, Any]]] = []
    open_calls: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        index, id_ = part.get("index"), part.get("id")
        call = open_calls.get(str(index))
        if call is None or (_said(part, "name") and (index is None or id_ not in (None, "", call[0].get("id")))):
            call = open_calls[str(index)] = []
            calls.append(call)
        call.append(part)
    return tuple(map(_read_call, calls))


def _read_call(parts: Sequence[Mapping[str, Any]]) -> ToolCall:
    name, arguments = ("".join(_said(part, key) for part in parts) for key in ("name", "arguments"))
    if not name:
        message = "The answer holds a tool call without a function's name. Look into the server's log."
        raise EngineResponseError(message)
    id_ = next((part["id"] for part in parts if part.get("id")), None)
    return ToolCall(name=name, arguments=read_arguments(name, arguments), id=id_)


def _said(part: Mapping[str, Any], key: str) -> str:
    function = part.get("function")
    return str(function.get(key) or "") if isinstance(function, dict) else ""


def read_arguments(name: str, arguments: str) -> dict[str, Any]:
    """The arguments of a call of tool ``name``. They may be private, so the error does not show them.

    Raises:
        EngineResponseError: they are no JSON object.
    """
    try:
        parsed = from_json(arguments, allow_inf_nan=False)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        message = (
            f"The model called tool {name!r} with arguments that are no JSON object. "
            "Ask again, raise max_new_tokens if the answer was cut, or simplify the tool."
        )
        raise EngineResponseError(message)
    return parsed


def read_usage(figures: object, prompt: str, completion: str) -> Usage | None:
    """Tokens read and written, or None when the server does not say."""
    if not isinstance(figures, dict):
        return None
    counts = [figures.get(name) for name in (prompt, completion)]
    read, written = (count if type(count) is int and count >= 0 else None for count in counts)
    return None if read is None or written is None else Usage(prompt_tokens=read, completion_tokens=written)


def only_model(cards: Iterable[Mapping[str, Any]], server: str) -> str:
    """The name of the one model that the server has.

    Raises:
        ConfigError: it has none, or several, so that one has to be chosen.
    """
    names = sorted({str(card["id"]) for card in cards if card.get("id")})
    if len(names) == 1:
        return names[0]
    if not names:
        message = f"No model is set, and the server at {server} offers none. Set model (AF_LLM_MODEL)."
        raise ConfigError(message)
    shown = ", ".join(map(printable, names[:_MOST_NAMES])) + (", ..." if len(names) > _MOST_NAMES else "")
    message = (
        f"No model is set, and the server at {server} offers {len(names)}. Set model (AF_LLM_MODEL) to one of: {shown}."
    )
    raise ConfigError(message)


def card_window(cards: Iterable[Mapping[str, Any]], model: str) -> int | None:
    """The context window of ``model`` in tokens, as its card says it, or None when no card does."""
    for card in cards:
        if card.get("id") == model:
            meta = card.get("meta")  # where llama.cpp keeps it
            told = [card.get(key) for key in _WINDOW_KEYS] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
            return next((window for window in told if isinstance(window, int) and window > 0), None)
    return None


def _text(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        message = f"The answer's {key} is a {type(value).__name__}, not a text. This model is not one for chat in text."
        raise EngineResponseError(message)
    return value
