"""Errors of servers in unusual words and forms: the right class, no innocent word masked, and no secret shown."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload
from llm_backend.errors import (
    AgentClosedError,
    BackendError,
    ContextWindowError,
    EngineBusyError,
    EngineConnectionError,
    EngineError,
    EngineRefusalError,
    ModelNotFoundError,
)
from tests.integration.server import delta
from tests.integration.server_engines import KEY, QUESTION, joined

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

PAYLOAD = AgentPayload(QUESTION)
OVERFLOW = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."


@pytest.mark.parametrize("key", ["4", "model", "context", "s"])
async def test_a_key_that_is_an_everyday_word(connect: Connect, scripted: ScriptedServer, key: str) -> None:
    """A key that is an everyday word hides no figure and no meaning of an error."""
    agent = await connect(scripted.url, api_key=key)
    scripted.answer({"error": {"message": OVERFLOW}}, 400)
    with pytest.raises(ContextWindowError) as caught:
        await agent.invoke(PAYLOAD)
    assert (caught.value.prompt_tokens, caught.value.context_window) == (5000, 4096)
    scripted.answer({"error": {"message": "Invalid model name passed in model=m"}}, 400)
    with pytest.raises(ModelNotFoundError):
        await agent.invoke(PAYLOAD)


async def test_a_key_that_stands_in_tracebacks(connect: Connect, scripted: ScriptedServer) -> None:
    """A key that is a word of every traceback leaves every way of counting usable."""
    scripted.pages = {"/tokenize": {"count": 7}}
    assert await (await connect(scripted.url, api_key="openai")).count_tokens(PAYLOAD) == 7


async def test_an_overflow_behind_many_words(scripted: ScriptedServer, told: ServerAgent) -> None:
    """An overflow is recognised even where the message is too long to show its figures."""
    scripted.answer({"error": {"message": f"litellm.BadRequestError: {'x' * 400} {OVERFLOW}"}}, 400)
    with pytest.raises(ContextWindowError) as caught:
        await told.invoke(PAYLOAD)
    assert (caught.value.prompt_tokens, caught.value.context_window) == (5000, 4096)


@pytest.mark.parametrize(
    ("words", "status", "kind"),
    [
        ("The request took too long to process", 500, EngineError),
        ("Exceeded maximum number of retries", 500, EngineError),
        ("Too many tokens, please wait before trying again.", 500, EngineError),
        ("Unknown parameter: context_length", 400, EngineRefusalError),
        ("Number of tools exceeded maximum of 128", 400, EngineRefusalError),
        ("The model called a tool that does not exist", 400, EngineRefusalError),
        ("Parameter 'api_key' in tool schema is invalid", 400, EngineRefusalError),
        ("Country, region, or territory not supported", 403, EngineRefusalError),
        ("<title>Cloudflare</title> Sorry, you have been blocked", 403, EngineRefusalError),
        ("Something amiss, not here", 404, EngineError),
    ],
)
async def test_words_that_only_look_like_others(
    scripted: ScriptedServer, told: ServerAgent, words: str, status: int, kind: type[BackendError]
) -> None:
    """A shared word does not make an error an overflow, a missing model or a wrong key."""
    scripted.answer({"error": {"message": words}}, status)
    with pytest.raises(EngineError) as caught:
        await told.invoke(PAYLOAD)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "model is loading"}, "failed: model is loading"),
        ({"detail": [{"loc": ["body", "x"], "msg": "field required", "type": "missing"}]}, "failed: field required"),
        ({"error": 400}, "refused the request: 400"),
    ],
)
async def test_an_error_where_a_stream_was_to_come(
    scripted: ScriptedServer, told: ServerAgent, body: object, words: str
) -> None:
    """An error sent whole with status 200, where a stream was expected, is reported."""
    for ask in (told.invoke, lambda payload: joined(told, payload)):
        scripted.send(json.dumps(body).encode(), "application/json")
        with pytest.raises(EngineError, match=words):
            await ask(PAYLOAD)


@pytest.mark.parametrize(
    "words", ['{"code": 500, "error": "x", "message": "no"}', "data: [DONE]", "Error: rate limit exceeded (429)"]
)
async def test_innocent_answers(scripted: ScriptedServer, told: ServerAgent, words: str) -> None:
    """An answer about errors, or about the format, or beside words of success, is an answer."""
    about: dict[str, Any] = {"code": 0, "message": "success", "success": True, "error": None}
    scripted.answer({**about, "choices": [{"finish_reason": "stop", "message": {"content": words}}]})
    assert (await told.invoke(PAYLOAD)).response == words
    scripted.stream({**delta(words), **about}, {**delta(None, "stop"), **about})
    assert await joined(told, PAYLOAD) == words


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 2024 00:00:00 +999999999999999999", "Wed, 21 Oct 99999 07:28:00 GMT", "NaN", "1e999"]
)
async def test_waits_that_are_none(scripted: ScriptedServer, told: ServerAgent, date: str) -> None:
    """A malformed wait is ignored."""
    scripted.answer({"error": {"message": "slow"}}, 429, retry_after=date)
    with pytest.raises(EngineBusyError, match=r"slow\. Wait and try") as caught:
        await told.invoke(PAYLOAD)
    assert caught.value.retry_after is None


async def test_passwords_beside_the_key(connect: Connect, scripted: ScriptedServer) -> None:
    """No password shows, neither a gateway's in the address nor that of a redirect."""
    agent = await connect(f"{scripted.url}?auth=topsecretvalue", api_key=KEY)
    scripted.answer({"error": {"message": "no such auth: topsecretvalue"}}, 500)
    with pytest.raises(EngineError, match=r"no such auth: \*\*\*"):
        await agent.invoke(PAYLOAD)
    scripted.answer("", 307, location=f"https://user:password@elsewhere/{KEY}/x")
    with pytest.raises(EngineError, match=r"redirects to https://elsewhere/\*\*\*/x; neither"):
        await agent.invoke(PAYLOAD)


async def test_closed_in_the_middle(scripted: ScriptedServer, told: ServerAgent) -> None:
    """An agent closed during an answer says so, and does not blame the server."""
    scripted.stream(delta("Hi"), hold=True)
    stream = told.stream(PAYLOAD)
    assert await anext(stream) == "Hi"
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    await told.aclose()
    with pytest.raises(AgentClosedError, match="is closed"):
        await waiting


async def test_an_error_without_words(told: ServerAgent, scripted: ScriptedServer) -> None:
    """An error for which the library has no words is reported by its name."""

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    scripted.scripts.append(reset)
    with pytest.raises(EngineConnectionError, match=r"failed: \w+\. Check"):
        await told.invoke(PAYLOAD)
