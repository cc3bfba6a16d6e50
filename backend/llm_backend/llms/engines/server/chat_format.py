"""OpenAI's chat format as plain data: what is sent to a server, and what its answers mean.

Imports no client library, so that every engine that speaks to such a server can share it.
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

# How others call the reasons for which an answer ends: Anthropic, Gemini, Cohere, TGI and Mistral among them.
_REASONS = {
    **dict.fromkeys(("stop", "end", "end_turn", "eos", "eos_token", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call", "function_call"), "tool_calls"),
    **dict.fromkeys(("null", "none"), ""),  # KoboldCpp and DashScope write null as a text
}
# Where messages hold reasoning beside their content: DeepSeek, vLLM, Ollama, MiniMax and OpenRouter, LiteLLM.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
# What the end of a stream is read as; no server says it in this form.
DONE_EVENT = {"type": "llm_backend.done", "object": "chat.completion.chunk", "choices": []}
_HOLDERS = ("thinking", "reasoning", "text", "refusal", "content", "summary", "value")  # of a part's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, before an engine puts it into its library's words."""

    messages: list[dict[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    generation: GenerationOptions
    effort: ReasoningEffort | None
    output: Mapping[str, Any] | None = None  # the name, schema and strictness of what the answer has to be
    stream: bool = False
    limit_name: str = "max_tokens"  # what the server calls the limit on the answer's tokens
    body: Mapping[str, Any] = field(default_factory=dict)  # the settings' extra_body
    # What in it can be said otherwise or left out, and what refusals call that.
    ours: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An answer, or a part of a streamed one, before the model's text is taken apart.

    Attributes:
        text: of the answer.
        reasoning: what came beside the text.
        calls: tool calls in OpenAI's format, whole or in parts.
        finish_reason: why the answer ended; empty in a part that does not end it.
        usage: the tokens of all that was said until now.
        extras: what the server wants back with the next request.
        done: whether the stream said that it was over ("[DONE]"), as some do without a reason.
        choice: the number of the answer that it belongs to, as a request may have several; None where it has none.
        whole: what a stream says of the whole answer; it counts where that did not come in parts.
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
    """``options`` without those that nobody chose."""
    return {name: value for name, value in options.items() if value not in (None, (), [], {})}


def extra_body(generation: GenerationOptions, **more: object) -> dict[str, Any]:
    """What local servers know and OpenAI's format does not, and ``more``; sent only where somebody asks for it."""
    return given({"top_k": generation.top_k, **more})


def chat_options(request: Request) -> dict[str, Any]:
    """Keyword arguments of a chat completion.

    The limit on its length travels in ``extra_body``, where no library gives it another name; and so does the output
    schema, where none takes the answer apart itself.
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


def read_completion(answer: Mapping[str, Any]) -> Piece:
    """Read a chat completion.

    Raises:
        EngineResponseError: it holds no message, or what the message holds is not what the format says.
    """
    choices = [choice for choice in as_mappings(answer.get("choices")) if isinstance(choice.get("message"), dict)]
    if choices:
        return _read_choices(choices, "message", answer)
    message = f"The server's answer holds no message; it has: {', '.join(sorted(given(answer))) or 'nothing'}. "
    raise EngineResponseError(message + "Look into the server's log.")


def read_chunk(chunk: Mapping[str, Any]) -> Piece:
    """Read one part of a streamed chat completion; parts without a choice carry only figures.

    Raises:
        EngineResponseError: its text is no text.
    """
    if chunk.get("type") == DONE_EVENT["type"]:
        return Piece(done=True)
    choices = as_mappings(chunk.get("choices"))
    piece = _read_choices(choices, "delta", chunk)
    whole = [choice for choice in choices if isinstance(choice.get("message"), dict)]
    return replace(piece, whole=_read_choices(whole, "message", chunk)) if whole else piece


def _read_choices(choices: Sequence[Mapping[str, Any]], key: str, answer: Mapping[str, Any]) -> Piece:
    """The answer with the lowest number among ``choices``, of which several may be parts of it.

    GitHub Copilot tells the text of an answer in its first choice, and the calls in the second.
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
    call = parts.get("function_call")  # from before there were several: FastChat; llama-cpp-python says it twice
    return Piece(
        text=text or read_text(parts, "refusal"),
        reasoning=next(filter(None, (_flat(parts.get(name)) for name in _THOUGHTS)), thoughts),
        calls=as_mappings(parts.get("tool_calls")) or as_mappings([{"function": call}] if call else None),
        finish_reason=read_reason(choice.get("finish_reason")),
        extras=turn_extras(parts),
    )


def graver_reason(first: str, later: str) -> str:
    """Why an answer ended that says so twice: a plain end goes behind any other, as some call each part's end one."""
    return later if later and first in ("", "stop") else first


def read_reason(told: object) -> str:
    """Why an answer ended, in OpenAI's words where others mean the same; empty where that is not said."""
    reason = str(told or "")
    return _REASONS.get(reason.lower(), reason)


def read_content(content: object) -> tuple[str, str]:
    """The text of a message's content and the reasoning in it, be it a text or a list of parts.

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
    """The text of a part, however deep it lies; None when it holds none."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(filter(None, map(_flat, part)))
    held = [part[key] for key in _HOLDERS if part.get(key) is not None] if isinstance(part, dict) else []
    return _flat(held[0]) if held else None


def read_usage(figures: object, prompt: str, completion: str) -> Usage | None:
    """Tokens read and written, or None when the server does not say."""
    if not isinstance(figures, dict):
        return None
    counts = [figures.get(name) for name in (prompt, completion)]
    read, written = (count if type(count) is int and count >= 0 else None for count in counts)
    return None if read is None or written is None else Usage(prompt_tokens=read, completion_tokens=written)


def read_text(holder: Mapping[str, Any], key: str) -> str:
    """What ``holder`` says under ``key``; empty when that is nothing.

    Raises:
        EngineResponseError: it is no text.
    """
    value = holder.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise _no_text(value, key=key)


def _no_text(value: object, *, key: str) -> EngineResponseError:
    kind = value if isinstance(value, str) else type(value).__name__
    return EngineResponseError(f"The answer's {key} is a {kind}, not a text. This model is not one for chat in text.")
