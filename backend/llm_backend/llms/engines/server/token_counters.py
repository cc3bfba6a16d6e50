"""Asks the server to count a prompt's tokens, in whichever of the usual ways it knows.

Every request goes to the server's own address or beside it, never elsewhere. A way that the server does not know is
not tried again, and once one way has worked, no other is; what fails for another reason may succeed later.

The ways: ``/tokenize`` is vLLM's, ``/chat/completions/input_tokens`` llama.cpp's (``/apply-template`` and then
``/tokenize`` in older versions), ``/chat_tokenize`` TGI's, ``/responses/input_tokens`` OpenAI's, and
``/messages/count_tokens`` Anthropic's, which LiteLLM and llama.cpp also have.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["CountRequest", "Post", "TokenCounters", "UnknownPathError"]

Answer: TypeAlias = Mapping[str, Any]
Post: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[Answer | None]]


class UnknownPathError(Exception):
    """The server does not know the path, or this kind of request there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRequest:
    """What to count.

    Attributes:
        chat: a chat completion's ``model``, ``messages``, ``tools``, and anything else that may change the prompt.
        responses: the same for the Responses API; None if that is not used.
        base: the server's address, without a trailing slash.
    """

    chat: dict[str, Any]
    responses: dict[str, Any] | None
    base: str

    @property
    def root(self) -> str:
        """Where servers put what is not OpenAI's: beside the version's folder."""
        return self.base.removesuffix("/v1")


class TokenCounters:
    """The ways to count that remain for one server."""

    def __init__(self, *, openais_own: bool = False) -> None:
        self._ways = [_responses] if openais_own else [*_WAYS]
        self._proved = False

    async def count(self, request: CountRequest, post: Post) -> int | None:
        """How many tokens the prompt has; None if the server cannot say, at least not now.

        ``post`` asks for JSON; it returns None if the server did not answer, and raises UnknownPathError if it does
        not know the path.
        """
        while self._ways:
            try:
                told = await self._ways[0](request, post)
            except UnknownPathError:
                told = 0
            self._proved = self._proved or bool(told)
            if told or told is None or self._proved:
                return told or None
            del self._ways[0]
        return None


async def _responses(request: CountRequest, post: Post) -> int | None:
    if request.responses is None:
        return 0
    return _number(await post(f"{request.base}/responses/input_tokens", request.responses), "input_tokens")


async def _chat(request: CountRequest, post: Post) -> int | None:
    return _number(await post(f"{request.base}/chat/completions/input_tokens", request.chat), "input_tokens")


async def _tokenize(request: CountRequest, post: Post) -> int | None:
    return _number(await post(f"{request.root}/tokenize", {**request.chat, "add_generation_prompt": True}), "count")


async def _template(request: CountRequest, post: Post) -> int | None:
    rendered = await post(f"{request.root}/apply-template", request.chat)
    if rendered is None or not isinstance(rendered.get("prompt"), str):
        return None if rendered is None else 0
    body = {"content": rendered["prompt"], "add_special": True, "parse_special": True}
    return _number(await post(f"{request.root}/tokenize", body), "tokens")


async def _chat_tokenize(request: CountRequest, post: Post) -> int | None:
    return _number(await post(f"{request.root}/chat_tokenize", request.chat), "tokenize_response")


async def _messages(request: CountRequest, post: Post) -> int | None:
    body = _in_anthropics_format(request.chat)
    return _number(await post(f"{request.base}/messages/count_tokens", body), "input_tokens")


_WAYS = (_responses, _chat, _tokenize, _template, _chat_tokenize, _messages)


def _number(answer: Answer | None, key: str) -> int | None:
    """The number under ``key``, or the length of the list there; 0 if there is neither, or LiteLLM guessed."""
    guessed = answer is not None and answer.get("litellm_count_source") == "local_estimate"
    told = None if answer is None or guessed else answer.get(key)
    told = len(told) if isinstance(told, list) else told
    return None if answer is None else told if type(told) is int else 0


def _in_anthropics_format(chat: Answer) -> dict[str, Any]:
    """https://docs.anthropic.com/en/api/messages-count-tokens."""
    system = "\n\n".join(message["content"] for message in chat["messages"] if message["role"] == "system")
    turns = [_turn(message) for message in chat["messages"] if message["role"] != "system"]
    tools = [_tool(tool["function"]) for tool in chat.get("tools", ()) if isinstance(tool.get("function"), dict)]
    body = {"model": chat["model"], "messages": turns, "system": system, "tools": tools}
    return {key: value for key, value in body.items() if value}


def _turn(message: Answer) -> dict[str, Any]:
    text: list[dict[str, Any]] = [{"type": "text", "text": message["content"]}] if message["content"] else []
    if message["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": message["content"]}
        return {"role": "user", "content": [result]}
    return {"role": message["role"], "content": text + list(_uses(message.get("tool_calls", ())))}


def _uses(calls: Iterable[Answer]) -> Iterable[dict[str, Any]]:
    for call in calls:
        arguments = json.loads(call["function"]["arguments"])
        yield {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": arguments}


def _tool(function: Answer) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"name": function.get("name"), "description": function.get("description", ""), "input_schema": schema}
