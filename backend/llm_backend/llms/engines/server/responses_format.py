"""OpenAI's Responses API as plain data: the other way to ask its servers, with different shapes throughout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_backend.errors import EngineError, EngineResponseError, PayloadError
from llm_backend.llms.engines.server.chat_format import DONE_EVENT, Piece, extra_body, given, read_usage
from llm_backend.llms.engines.server.told_errors import as_mappings
from llm_backend.llms.message_extras import REASONING_ITEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_backend.llms.engines.server.chat_format import Request
    from llm_backend.llms.payloads import ReasoningEffort, Usage

__all__ = [
    "read_event",
    "read_response",
    "reasoning_extras",
    "reasoning_options",
    "response_options",
    "response_status",
]

_TEXTS = {"response.output_text.delta", "response.refusal.delta"}
_REASONING = {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
_PARTS_DONE = {"response.output_text.done", "response.output_item.done"}
_ENDS = {"response.completed", "response.incomplete"}


def response_options(request: Request) -> dict[str, Any]:
    """Keyword arguments of a request to the Responses API. Nothing is kept on the server (``store``).

    Raises:
        PayloadError: the payload asks for something this API does not have.
    """
    generation = request.generation
    missing = [
        name for name, value in (("seed", generation.seed), ("stop", generation.stop)) if value not in (None, ())
    ]
    if missing:
        message = f"The Responses API has no {' and no '.join(missing)}. Leave it out, or set use_responses = false."
        raise PayloadError(message)
    output = {"format": {"type": "json_schema", **request.output}} if request.output else None
    return given(
        {
            "input": [item for message in request.messages for item in _input_items(message)],
            "max_output_tokens": generation.max_new_tokens,
            "temperature": generation.temperature,
            "top_p": generation.top_p,
            "reasoning": reasoning_options(request.effort),
            "tools": [_flat_tool(tool) for tool in request.tools],
            "extra_body": {**extra_body(generation, text=output), **request.body},
        }
    ) | {"store": False}


def reasoning_options(effort: ReasoningEffort | None) -> dict[str, str]:
    """How hard to think and how much of it to show; empty if nobody asks for reasoning."""
    if effort is None:
        return {}
    summary = effort.summary if effort.summary != "none" else effort.generate_summary
    return {"effort": effort.effort} | ({"summary": summary} if summary != "none" else {})


def response_status(answer: Mapping[str, Any]) -> str:
    """Why the answer ended, in the terms of chat completions."""
    if answer.get("status") != "incomplete":
        return "stop"
    details = answer.get("incomplete_details")
    reason = str(details.get("reason")) if isinstance(details, dict) else "incomplete"
    return "length" if reason == "max_output_tokens" else reason


def read_response(answer: Mapping[str, Any]) -> Piece:
    """Read an answer of the Responses API.

    Raises:
        EngineError: the server says that it failed.
        EngineResponseError: it holds no output.
    """
    _raise_failure(answer)
    items = as_mappings(answer.get("output"))
    if not items:
        message = "The server's answer holds no output. Check the server's log."
        raise EngineResponseError(message)
    return replace(_read_items(items), finish_reason=response_status(answer), usage=_usage(answer))


def read_event(event: Mapping[str, Any]) -> Piece:
    """Read one event of a streamed answer; events without text give an empty piece.

    Raises:
        EngineError: the server says that it failed.
    """
    kind, said = str(event.get("type")), str(event.get("delta") or "")
    if kind == DONE_EVENT["type"]:
        return Piece(done=True)
    if kind in _TEXTS:
        return Piece(text=said)
    if kind in _REASONING:
        return Piece(reasoning=said)
    if kind in _PARTS_DONE:
        part = {"type": "message", "content": str(event.get("text") or "")}
        whole = _read_items(as_mappings([event.get("item") or part]))
        return Piece(calls=whole.calls, extras=whole.extras, whole=whole if whole.text else None)
    response = event.get("response")
    answer = response if isinstance(response, dict) else {}
    if kind == "error":
        answer = {"status": "failed", "error": event}
    _raise_failure(answer)
    if kind not in _ENDS:
        return Piece()
    items = as_mappings(answer.get("output"))  # some servers leave it empty, others send nothing else
    return Piece(
        finish_reason=response_status(answer), usage=_usage(answer), whole=_read_items(items) if items else None
    )


def _read_items(items: Sequence[Mapping[str, Any]]) -> Piece:
    return Piece(
        text=_joined(items, "message", "content"),
        reasoning=_joined(items, "reasoning", "summary") or _joined(items, "reasoning", "content"),
        calls=_calls(items),
        extras=reasoning_extras(items),
    )


def reasoning_extras(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The encrypted reasoning among ``items``, which the server wants back because it keeps none itself (``store``).

    It sends some on request (https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items).
    """
    sealed = [item for item in items if item.get("type") == "reasoning" and item.get("encrypted_content")]
    said = [{key: value for key, value in item.items() if value is not None} for item in sealed]
    return {REASONING_ITEMS: said} if said else {}


def _raise_failure(answer: Mapping[str, Any]) -> None:
    if answer.get("status") in {"failed", "cancelled"}:
        error = answer.get("error")
        words = error.get("message") if isinstance(error, dict) else None
        message = f"The server gave up on the answer: {words or 'it does not say why'}. Check the server's log."
        raise EngineError(message)


def _input_items(message: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """A chat message as this API's items: calls and their results are separate items."""
    if message["role"] == "tool":
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
        return
    yield from message.get(REASONING_ITEMS, ())
    calls = message.get("tool_calls", ())
    if message["content"] or not calls:
        yield {"type": "message", "role": message["role"], "content": message["content"]}
    for call in calls:
        said = {key: call["function"][key] for key in ("name", "arguments")}
        yield {"type": "function_call", "call_id": call["id"], **said}


def _flat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    return {"type": "function", **function} if isinstance(function, dict) else dict(tool)


def _joined(items: Iterable[Mapping[str, Any]], kind: str, holder: str) -> str:
    """The texts of items, which hold parts or, from some servers, just a string."""
    held = [item.get(holder) for item in items if item.get("type") == kind]
    texts = [{"text": said} for said in held if isinstance(said, str)]
    parts = [part for said in held for part in as_mappings(said)]
    return "".join(str(part.get(key) or "") for part in (*texts, *parts) for key in ("text", "refusal"))


def _calls(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tool calls among ``items``, in the format of chat completions."""
    return [
        {"id": item.get("call_id") or item.get("id"), "function": {key: item.get(key) for key in ("name", "arguments")}}
        for item in items
        if item.get("type") == "function_call"
    ]


def _usage(answer: Mapping[str, Any]) -> Usage | None:
    return read_usage(answer.get("usage"), "input_tokens", "output_tokens")
