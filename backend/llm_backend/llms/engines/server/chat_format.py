"""OpenAI's chat format as plain data: what to send to a server, and what its answers mean.

Imports no client library, so that every engine that asks such a server can share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llm_backend.errors import EngineResponseError
from llm_backend.llms.engines.server.told_errors import as_mappings
from llm_backend.llms.message_extras import merged, turn_extras
from llm_backend.llms.payloads import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_backend.llms.payloads import GenerationOptions, ReasoningEffort

__all__ = [
    "DONE_EVENT",
    "Piece",
    "Request",
    "as_mapping",
    "chat_options",
    "extra_body",
    "given",
    "graver_reason",
    "read_chunk",
    "read_completion",
    "read_content",
    "read_reason",
    "read_text",
    "read_usage",
]

# Others' names for the reasons why an answer ends: Anthropic, Gemini, Cohere, TGI and Mistral among them.
_REASONS = {
    **dict.fromkeys(("stop", "end", "end_turn", "eos", "eos_token", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call", "function_call"), "tool_calls"),
    **dict.fromkeys(("null", "none"), ""),  # KoboldCpp and DashScope write null as a string
}
# Where messages hold reasoning beside their content: DeepSeek, vLLM, Ollama, MiniMax and OpenRouter, LiteLLM.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
# Stands for the end of a stream; no server sends it in this form.
DONE_EVENT = {"type": "llm_backend.done", "object": "chat.completion.chunk", "choices": []}
_HOLDERS = ("thinking", "reasoning", "text", "refusal", "content", "summary", "value")  # of a part's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, before an engine translates it for its library."""

    messages: list[dict[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    generation: GenerationOptions
    effort: ReasoningEffort | None
    output: Mapping[str, Any] | None = None  # the name, schema and strictness of the output format
    stream: bool = False
    limit_name: str = "max_tokens"  # the server's name for the limit on the answer's tokens
    body: Mapping[str, Any] = field(default_factory=dict)  # the settings' extra_body
    # What can be expressed otherwise or left out, and its name in refusals.
    ours: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An answer, or a part of a streamed one, before the model's text is taken apart.

    Attributes:
        text: of the answer.
        reasoning: the reasoning that came beside the text.
        calls: tool calls in OpenAI's format, whole or in parts.
        finish_reason: why the answer ended; empty in a part that does not end it.
        usage: the tokens used so far.
        extras: what the server wants back with the next request.
        done: whether the stream announced its end ("[DONE]"), which some do without giving a reason.
        choice: the number of the answer it belongs to, because a request may have several; None if it has no number.
        whole: what a stream repeats of the whole answer; used for what did not come in parts.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    usage: Usage | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    done: bool = False
    choice: int | None = None
    whole: Piece | None = None


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` without unset ones."""
    return {name: value for name, value in options.items() if value not in (None, (), [], {})}


def extra_body(generation: GenerationOptions, **more: object) -> dict[str, Any]:
    """Options that only local servers know, and ``more``; sent only on request."""
    return given({"top_k": generation.top_k, **more})


def chat_options(request: Request) -> dict[str, Any]:
    """Keyword arguments of a chat completion.

    The limit on its length goes into ``extra_body``, where no library renames it, and so does the output schema, where
    no library parses the answer itself.
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
            "extra_body": {
                **extra_body(generation, **{request.limit_name: generation.max_new_tokens}, response_format=output),
                **request.body,
            },
        }
    )


def as_mapping(answer: object) -> Mapping[str, Any]:
    """An answer of a library as plain data.

    Raises:
        EngineResponseError: it is not a JSON object.
    """
    dump = getattr(answer, "model_dump", None)
    if dump is None:
        message = (
            f"The server's answer is of type {type(answer).__name__}, not a JSON object. "
            "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
        )
        raise EngineResponseError(message)
    plain: Mapping[str, Any] = dump(warnings=False)
    return plain


def read_completion(answer: Mapping[str, Any]) -> Piece:
    """Read a chat completion.

    Raises:
        EngineResponseError: it holds no message, or one that does not follow the format.
    """
    choices = [choice for choice in as_mappings(answer.get("choices")) if isinstance(choice.get("message"), dict)]
    if choices:
        return _read_choices(choices, "message", answer)
    message = f"The server's answer holds no message; it has: {', '.join(sorted(given(answer))) or 'nothing'}. "
    raise EngineResponseError(message + "Check the server's log.")


def read_chunk(chunk: Mapping[str, Any]) -> Piece:
    """Read one part of a streamed chat completion; a part without a choice carries only figures.

    Raises:
        EngineResponseError: its text is not a string.
    """
    if chunk.get("type") == DONE_EVENT["type"]:
        return Piece(done=True)
    choices = as_mappings(chunk.get("choices"))
    piece = _read_choices(choices, "delta", chunk)
    whole = [choice for choice in choices if isinstance(choice.get("message"), dict)]
    return replace(piece, whole=_read_choices(whole, "message", chunk)) if whole else piece


def _read_choices(choices: Sequence[Mapping[str, Any]], key: str, answer: Mapping[str, Any]) -> Piece:
    """The answer with the lowest number among ``choices``, put together from all its parts.

    GitHub Copilot sends the text of an answer in its first choice, and the calls in its second.
    """
    number = min((index for choice in choices if (index := _index(choice)) is not None), default=None)
    pieces = [_read_choice(choice, key) for choice in choices if _index(choice) in (None, number)]
    figures = [answer.get("usage"), *(choice.get("usage") for choice in choices)]  # Kimi's are in the choice
    reason = ""
    for piece in pieces:
        reason = graver_reason(reason, piece.finish_reason)
    return Piece(
        text="".join(piece.text for piece in pieces),
        reasoning="".join(piece.reasoning for piece in pieces),
        calls=[call for piece in pieces for call in piece.calls],
        finish_reason=reason,
        usage=next(filter(None, (read_usage(told, "prompt_tokens", "completion_tokens") for told in figures)), None),
        extras=merged(piece.extras for piece in pieces),
        choice=number,
    )


def _index(choice: Mapping[str, Any]) -> int | None:
    index = choice.get("index")
    return index if type(index) is int else None


def _read_choice(choice: Mapping[str, Any], key: str) -> Piece:
    said = choice.get(key)
    parts = said if isinstance(said, dict) else {}
    text, thoughts = read_content(parts.get("content"))
    call = parts.get("function_call")  # the format for a single call: FastChat; llama-cpp-python sends both
    return Piece(
        text=text or read_text(parts, "refusal"),
        reasoning=next(filter(None, (_flat(parts.get(name)) for name in _THOUGHTS)), thoughts),
        calls=as_mappings(parts.get("tool_calls")) or as_mappings([{"function": call}] if call else None),
        finish_reason=read_reason(choice.get("finish_reason")),
        extras=turn_extras(parts),
    )


def graver_reason(first: str, later: str) -> str:
    """Why an answer ended that gives two reasons: "stop" ranks last, because some send it with each part."""
    return later if later and first in ("", "stop") else first


def read_reason(told: object) -> str:
    """Why an answer ended, in OpenAI's terms where others mean the same; empty if unknown."""
    reason = str(told or "")
    return _REASONS.get(reason.lower(), reason)


def read_content(content: object) -> tuple[str, str]:
    """The text and the reasoning in a message's content, which is a string or a list of parts.

    Mistral's reasoning models answer in parts, of type "thinking" and "text"
    (https://docs.mistral.ai/capabilities/reasoning), and Gemini marks a part as "thought".

    Raises:
        EngineResponseError: it is neither, or its parts hold no text.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    parts = [content] if isinstance(content, dict) else content if isinstance(content, list) else [None]
    thoughts = [_flat(part) for part in parts if _is_thought(part)]
    texts = [_flat(part) for part in parts if not _is_thought(part)]
    if parts and not any(part is not None for part in (*thoughts, *texts)):
        kind = next((part["type"] for part in as_mappings(parts) if "type" in part), content)
        raise _no_text(kind, key="content")
    return "".join(filter(None, texts)), "".join(filter(None, thoughts))


def _is_thought(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    return part.get("thought") is True or str(part.get("type", "")).startswith(("thinking", "reasoning"))


def _flat(part: object) -> str | None:
    """The text of a part, at any depth; None if it holds none."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(filter(None, map(_flat, part)))
    held = [part[key] for key in _HOLDERS if part.get(key) is not None] if isinstance(part, dict) else []
    return _flat(held[0]) if held else None


def read_usage(figures: object, prompt: str, completion: str) -> Usage | None:
    """Tokens read and written, or None if the server does not say."""
    if not isinstance(figures, dict):
        return None
    counts = [figures.get(name) for name in (prompt, completion)]
    read, written = (count if type(count) is int and count >= 0 else None for count in counts)
    return None if read is None or written is None else Usage(prompt_tokens=read, completion_tokens=written)


def read_text(holder: Mapping[str, Any], key: str) -> str:
    """The string in ``holder`` under ``key``; empty if there is none.

    Raises:
        EngineResponseError: it is not a string.
    """
    value = holder.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise _no_text(value, key=key)


def _no_text(value: object, *, key: str) -> EngineResponseError:
    kind = value if isinstance(value, str) else type(value).__name__
    return EngineResponseError(f"The answer's {key} is of type {kind}, not text. Use a model that chats in text.")
