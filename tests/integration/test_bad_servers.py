"""Servers that fail, each in its way, and what every engine that asks a server makes of it."""

from __future__ import annotations

import socket
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, ToolCall
from llm_backend.errors import (
    ContextWindowError,
    EngineAuthenticationError,
    EngineBusyError,
    EngineConnectionError,
    EngineError,
    EngineRefusalError,
    EngineResponseError,
    EngineTimeoutError,
    ModelNotFoundError,
    PayloadError,
)
from llm_backend.llms.payloads import ToolCallEvent, UsageEvent
from tests.integration.server import END, chunk, delta
from tests.integration.server_engines import KEY, QUESTION, call_of, joined, message_of

if TYPE_CHECKING:
    from llm_backend.errors import BackendError
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect


@pytest.mark.parametrize(
    "case",
    [
        (401, {"message": f"wrong key {KEY}"}, EngineAuthenticationError, "refused the key: .*Check api_key"),
        (403, {"message": "not for you"}, EngineAuthenticationError, "refused the key: not for you"),
        (404, {"message": "no model 'm' here"}, ModelNotFoundError, "no model 'm': .*Set model"),
        (404, {"message": "?", "code": "model_not_found"}, ModelNotFoundError, "no model 'm': "),
        (404, {"message": "Not Found"}, EngineError, "nothing at the requested address.*usually ends in /v1"),
        (400, {"message": "?", "code": "model_not_found"}, ModelNotFoundError, "no model 'm': "),
        (400, {"message": "a bad idea"}, EngineRefusalError, "refused the request: a bad idea.*Change"),
        (400, {"message": "?", "code": "context_length_exceeded"}, PayloadError, "longer than 'm' reads"),
        (429, {"message": "slow down"}, EngineBusyError, "limits requests: slow down.*Wait and try again"),
        (500, {"message": "x" * 999}, EngineError, r"failed: x{300}\.\.\.\. Check the server's log"),
    ],
    ids=lambda case: f"{case[0]} {case[1].get('code', '') or case[1]['message'][:20]}",
)
async def test_refusals(
    scripted: ScriptedServer, told: ServerAgent, case: tuple[int, dict[str, str], type[BackendError], str]
) -> None:
    """Each refusal raises its own error, with the next step."""
    status, error, kind, words = case
    scripted.answer({"error": error}, status)
    with pytest.raises(kind, match=words) as caught:
        await told.invoke(AgentPayload(QUESTION))
    assert caught.type is kind
    scripted.answer({"error": error}, status)
    with pytest.raises(kind, match=words):
        await joined(told, AgentPayload(QUESTION))


async def test_context_overflow(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A prompt too long for the server raises ContextWindowError with the server's figures."""
    words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    scripted.answer({"error": {"message": words, "code": "context_length_exceeded"}}, 400)
    with pytest.raises(ContextWindowError, match="Shorten the message or the memory") as caught:
        await told.invoke(AgentPayload(QUESTION))
    assert (caught.value.prompt_tokens, caught.value.context_window) == (9000, 8192)


async def test_second_try(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A request succeeds after a server was busy for a moment."""
    scripted.answer({"error": {"message": "busy"}}, 503, x_should_retry="true", retry_after_ms="1")
    scripted.complete("here")
    assert (await told.invoke(AgentPayload(QUESTION))).response == "here"
    assert len(scripted.received) == 2


async def test_no_server(connect: Connect) -> None:
    """A server that does not run raises our error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    agent = await connect(f"http://127.0.0.1:{port}/v1?key=hidden", max_retries=0)
    with pytest.raises(EngineConnectionError, match=rf"127\.0\.0\.1:{port}/v1 failed: .*Check that the server runs"):
        await agent.invoke(AgentPayload(QUESTION))


async def test_silent_server(connect: Connect, scripted: ScriptedServer) -> None:
    """A silent server is waited for as long as the settings say, and asked only once."""
    agent = await connect(scripted.url, read_timeout=0.2, timeout=0.4)
    scripted.keep_silent()
    with pytest.raises(EngineTimeoutError, match=r"within 0\.4 s\. Raise timeout"):
        await agent.invoke(AgentPayload(QUESTION))
    for begin in (scripted.keep_silent, lambda: scripted.stream(delta("He"), hold=True)):
        begin()
        with pytest.raises(EngineTimeoutError, match=r"sent nothing for 0\.2 s\. Raise read_timeout"):
            await joined(agent, AgentPayload(QUESTION))
    assert len(scripted.received) == 3


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<html>hello</html>", id="no JSON"),
        pytest.param({"choices": None, "id": "1"}, id="no choices"),
        pytest.param({"choices": []}, id="empty choices"),
        pytest.param(message_of(content=5), id="content is a number"),
        pytest.param(message_of(tool_calls=[call_of("{'sides': 6")]), id="arguments are no JSON"),
        pytest.param(message_of(tool_calls=[call_of("[6]")]), id="arguments are a list"),
    ],
)
async def test_malformed_answers(scripted: ScriptedServer, told: ServerAgent, body: object) -> None:
    """An answer that cannot be read raises EngineResponseError, and does not show its content."""
    scripted.answer(body)
    with pytest.raises(EngineResponseError) as caught:
        await told.invoke(AgentPayload(QUESTION))
    assert "6" not in str(caught.value).replace(scripted.url, "")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        pytest.param(b"", "broke off before 'm' had finished its answer: .*Try again", id="connection lost"),
        pytest.param(END, "broke off before 'm' had finished", id="no end"),
        pytest.param(chunk("data: {broken\n\n") + END, "cannot be read: ", id="no JSON"),
        pytest.param(chunk('data: {"error": "no memory"}\n\n') + END, "failed: no memory", id="error"),
    ],
)
async def test_death_in_the_middle_of_a_stream(
    scripted: ScriptedServer, told: ServerAgent, ending: bytes, words: str
) -> None:
    """A stream that breaks off raises an error."""
    scripted.stream(delta("He"), ending=ending)
    stream = told.stream(AgentPayload(QUESTION))
    assert await anext(stream) == "He"
    with pytest.raises(EngineError, match=words):
        await anext(stream)


async def test_death_in_the_middle_of_a_whole_answer(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A whole answer that breaks off raises an error, and is not requested again."""
    scripted.send(b'{"choices": [', "application/json", **{"content-length": "99"})
    with pytest.raises(EngineConnectionError, match="broke off before 'm' had finished its answer: ") as caught:
        await told.invoke(AgentPayload(QUESTION))
    assert caught.value.retryable
    assert len(scripted.received) == 1


def part(arguments: str, **more: str) -> dict[str, Any]:
    """A part of a tool call in a stream."""
    return {"index": 0, "function": {"arguments": arguments, **more}}


@pytest.mark.parametrize(
    ("parts", "end", "words"),
    [
        pytest.param([part("{}")], "tool_calls", "tool call without a function name", id="no name"),
        pytest.param([{"index": 0}], "tool_calls", "function name|is malformed", id="no function"),
        pytest.param([], "tool_calls", "calls tools, but not which", id="no call"),
        pytest.param(
            [part("{'n'", name="roll"), part(": 6}")], "tool_calls", "that are not a JSON object", id="no JSON"
        ),
        pytest.param([part("[6", name="roll"), part("]")], "tool_calls", "that are not a JSON object", id="a list"),
        pytest.param([part('{"n": 6', name="roll")], "length", "raise max_new_tokens if", id="cut by the limit"),
        pytest.param([part('{"n": 6', name="roll")], None, "broke off before", id="cut by the server"),
    ],
)
async def test_malformed_calls_in_a_stream(
    scripted: ScriptedServer, told: ServerAgent, parts: list[dict[str, Any]], end: str | None, words: str
) -> None:
    """A malformed or cut call in a stream raises an error that does not show its arguments."""
    scripted.stream(*(delta(tool_calls=[each]) for each in parts), delta(None, end))
    with pytest.raises(EngineError, match=words) as caught:
        await joined(told, AgentPayload(QUESTION))
    assert "6" not in str(caught.value).replace(scripted.url, "")


async def test_calls_without_index_or_id(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Calls without index and id are told apart."""
    parts = [{"function": {"name": name, "arguments": "{}"}} for name in ("roll", "sing")]
    scripted.stream(*(delta(tool_calls=[each]) for each in parts), delta(None, "tool_calls"))
    *calls, _, _ = [event async for event in told.stream_events(AgentPayload(QUESTION))]
    assert calls == [ToolCallEvent(ToolCall(name=name, arguments={})) for name in ("roll", "sing")]


@pytest.mark.parametrize("figures", ["many", [1], {"prompt_tokens": "3", "completion_tokens": -1}], ids=repr)
async def test_figures_that_are_none(scripted: ScriptedServer, told: ServerAgent, figures: object) -> None:
    """Malformed figures give no usage."""
    scripted.stream(delta("Hi."), delta(None, "stop"), {"choices": [], "usage": figures})
    *_, usage, _ = [event async for event in told.stream_events(AgentPayload(QUESTION))]
    assert isinstance(usage, UsageEvent)
    assert usage.usage is None


async def test_early_close(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A caller who leaves a stream closes the connection."""
    scripted.stream(delta("He"), delta("llo"), hold=True)
    async with aclosing(told.stream(AgentPayload(QUESTION))) as stream:
        assert await anext(stream) == "He"
        assert not scripted.left.is_set()
    await scripted.left.wait()
