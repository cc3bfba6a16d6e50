"""Texts that break what they pass through on their way to a server and back: long, broken, or unprintable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from llm_backend import AgentPayload, MemoryEntry, ToolCall
from llm_backend.errors import ConfigError, EngineError, EngineResponseError, PayloadError
from tests.integration.server import delta
from tests.integration.server_engines import QUESTION, call_of, joined, message_of

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

PAYLOAD = AgentPayload(QUESTION)


async def test_bytes_that_are_no_text(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Half a character in an answer is replaced; bytes that are not UTF-8 raise our error."""
    whole, part = (json.dumps(answer) for answer in (message_of(content="Hi?"), delta("Hi?", "stop")))
    scripted.send(whole.replace("?", "\\ud800").encode(), "application/json")
    assert (await told.invoke(PAYLOAD)).response == "Hi\N{REPLACEMENT CHARACTER}"
    scripted.send(whole.encode().replace(b"?", b"\xff"), "application/json")
    with pytest.raises(EngineResponseError, match=r"malformed \(UnicodeDecodeError\)"):
        await told.invoke(PAYLOAD)
    scripted.send(f"data: {part}\n\n".replace("?", "\\ud800").encode(), "text/event-stream")
    assert await joined(told, PAYLOAD) == "Hi\N{REPLACEMENT CHARACTER}"
    scripted.send(f"data: {part}\n\n".encode().replace(b"?", b"\xff"), "text/event-stream")
    with pytest.raises(EngineResponseError, match=r"malformed \(UnicodeDecodeError\)"):
        await joined(told, PAYLOAD)


async def test_characters_that_are_none(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Half of a surrogate pair is refused before anything is sent."""
    memory = [MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={}, id="\ud800")])]
    payload = AgentPayload(QUESTION, memory=memory)
    for ask in (told.invoke(payload), joined(told, payload)):
        with pytest.raises(PayloadError, match=r"'\\ud800', which is not a character\. Replace it"):
            await ask
    assert scripted.received == []


async def test_answer_that_is_too_deep(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Endless brackets in an answer, or in a call's arguments, raise our error."""
    brackets = "[" * 100_000
    scripted.send(brackets.encode(), "application/json")
    with pytest.raises(EngineResponseError, match=r"malformed \(RecursionError\)|cannot be read"):
        await told.invoke(PAYLOAD)
    scripted.complete(None, tool_calls=[call_of(brackets)])
    with pytest.raises(EngineResponseError, match=r"arguments that are not a JSON object|malformed"):
        await told.invoke(PAYLOAD)


async def test_calls_that_nobody_named(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Calls without an id get one when they are sent to a server."""
    scripted.complete("ok")
    calls = [ToolCall(name="roll", arguments={}), ToolCall(name="roll", arguments={})]
    memory = [MemoryEntry("assistant", "", tool_calls=calls), MemoryEntry("tool", "6"), MemoryEntry("tool", "5")]
    await told.invoke(AgentPayload("Well?", memory=memory))
    asked, *results, _ = scripted.received[0].body["messages"]
    names = [call["id"] for call in asked["tool_calls"]]
    assert len(set(names)) == 2
    assert [result["tool_call_id"] for result in results] == names


async def test_long_texts(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A message and an answer of a megabyte arrive whole."""
    text = "é" * 524_288
    scripted.complete(text)
    answer = await told.invoke(AgentPayload(text, memory=[MemoryEntry("user", text)]))
    assert answer.response == text
    assert [message["content"] for message in scripted.received[0].body["messages"]] == [text, text]
    scripted.stream(delta(text), delta(None, "stop"))
    assert await joined(told, PAYLOAD) == text


async def test_control_characters(connect: Connect, scripted: ScriptedServer) -> None:
    """Errors about what a server says or is called are printable."""
    bell = "\x1b[2J\x07\x00\u202e"
    agent = await connect(scripted.url)
    scripted.answer({"error": {"message": f"no{bell}\nWARNING forged"}}, 400)
    with pytest.raises(EngineError, match="refused the request: no") as refused:
        await agent.invoke(PAYLOAD)
    scripted.answer({"object": "list", "data": [{"id": f"a{bell}"}, {"id": "b"}]})
    with pytest.raises(ConfigError, match="to one of: a") as unclear:
        await connect(scripted.url, None)
    call = {"id": "1", "type": "function", "function": {"name": f"roll{bell}", "arguments": "{"}}
    scripted.complete(None, tool_calls=[call])
    with pytest.raises(EngineResponseError, match="called tool 'roll") as called:
        await agent.invoke(PAYLOAD)
    for caught in (refused, unclear, called):
        assert str(caught.value).isprintable()
