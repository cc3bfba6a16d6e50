"""The ways in which servers count a prompt's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms.engines.server.token_counters import CountRequest, TokenCounters, UnknownPathError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
REQUEST = CountRequest(chat=CHAT, responses=None, base="http://here/v1")


class Server:
    """A server that replies as told at some paths, and has nothing at the others."""

    def __init__(self, pages: Mapping[str, Mapping[str, Any] | None] | None = None) -> None:
        self.pages = dict(pages or {})
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def post(self, url: str, body: dict[str, Any]) -> Mapping[str, Any] | None:
        """Reply."""
        path = url.removeprefix("http://here/")
        self.asked.append((path, body))
        if path not in self.pages:
            raise UnknownPathError
        return self.pages[path]


@pytest.mark.parametrize(
    ("pages", "tokens"),
    [
        ({"v1/chat/completions/input_tokens": {"input_tokens": 7}}, 7),
        ({"tokenize": {"count": 7, "tokens": [1] * 7}}, 7),
        ({"apply-template": {"prompt": "<Hi>"}, "tokenize": {"tokens": [1, 2, 3]}}, 3),
        ({"chat_tokenize": {"tokenize_response": [{}, {}]}}, 2),
        ({"v1/messages/count_tokens": {"input_tokens": 7}}, 7),
        ({"v1/messages/count_tokens": {"input_tokens": 7, "litellm_count_source": "provider"}}, 7),
        ({"v1/messages/count_tokens": {"input_tokens": 7, "litellm_count_source": "local_estimate"}}, None),
        ({"tokenize": {"tokens": []}, "apply-template": {"prompt": 5}}, None),
        ({"tokenize": {"count": True}}, None),
        ({}, None),
    ],
)
async def test_ways(pages: dict[str, Any], tokens: int | None) -> None:
    """The way that a server knows is found, and the others are not tried again."""
    server, counters = Server(pages), TokenCounters()
    assert await counters.count(REQUEST, server.post) == tokens
    first = len(server.asked)
    assert await counters.count(REQUEST, server.post) == tokens
    assert len(server.asked) - first <= (len(pages) if tokens else 0)


async def test_what_is_asked() -> None:
    """A prompt is sent as the way needs it: rendered by the server, or in Anthropic's format."""
    server = Server()
    server.pages = {
        "apply-template": {"prompt": "<Hi>"},
        "tokenize": {"tokens": [1]},
        "chat_tokenize": {"tokenize_response": [{}, {}]},
    }
    assert await TokenCounters().count(REQUEST, server.post) == 1
    assert server.asked[-1] == ("tokenize", {"content": "<Hi>", "add_special": True, "parse_special": True})
    del server.pages["apply-template"]
    assert await TokenCounters().count(REQUEST, server.post) == 2
    server.pages = {"v1/messages/count_tokens": {"input_tokens": 9}}
    call = {"id": "c", "type": "function", "function": {"name": "roll", "arguments": '{"n": 1}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Roll."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "4"},
    ]
    tools = [{"type": "function", "function": {"name": "roll", "description": "A die."}}, {"type": "web_search"}]
    request = CountRequest(
        chat={"model": "m", "messages": messages, "tools": tools}, responses=None, base="http://here/v1"
    )
    assert await TokenCounters().count(request, server.post) == 9
    assert server.asked[-1][1] == {
        "model": "m",
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Roll."}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "roll", "input": {"n": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "4"}]},
        ],
        "tools": [{"name": "roll", "description": "A die.", "input_schema": {"type": "object", "properties": {}}}],
    }


async def test_responses() -> None:
    """With the Responses API it is that API that counts; OpenAI is asked nothing else."""
    asked = CountRequest(chat=CHAT, responses={"model": "m", "input": []}, base="http://here/v1")
    server = Server()
    server.pages = {"v1/responses/input_tokens": {"input_tokens": 5}}
    assert await TokenCounters().count(asked, server.post) == 5
    assert await TokenCounters(openais_own=True).count(REQUEST, server.post) is None
    assert [path for path, _ in server.asked] == ["v1/responses/input_tokens"]


async def test_a_server_that_does_not_answer_now() -> None:
    """After silence the same way is tried again, and one that has worked is never given up."""
    counters = TokenCounters()
    server = Server()
    server.pages = {"v1/chat/completions/input_tokens": None}
    assert await counters.count(REQUEST, server.post) is None
    server.pages = {"apply-template": None, "tokenize": {"count": None}}
    assert await counters.count(REQUEST, server.post) is None
    server.pages = {"apply-template": {"prompt": "Hi"}, "tokenize": None}
    assert await counters.count(REQUEST, server.post) is None
    server.pages = {"apply-template": {"prompt": "Hi"}, "tokenize": {"tokens": [1]}}
    assert await counters.count(REQUEST, server.post) == 1
    server.pages = {}
    assert await counters.count(REQUEST, server.post) is None
    server.pages = {"apply-template": {"prompt": "Hi"}, "tokenize": {"tokens": [1, 2]}}
    assert await counters.count(REQUEST, server.post) == 2
