"""What every engine that asks a server has to do; one test module for each such engine runs all of it."""

from __future__ import annotations

import socket
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from backend import AgentPayload, GenerationOptions, MemoryEntry
from backend.errors import (
    ContextWindowError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    ModelNotFoundError,
    PayloadError,
)
from backend.llms.config import AgentSettings
from tests.integration.server import END, chunk, delta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backend.errors import BackendError
    from backend.llms.server_agent import ServerAgent
    from tests.integration.server import ModelServer, ScriptedServer

    Connect = Callable[..., Awaitable[ServerAgent]]

QUESTION = "What is the capital of France?"
FACT = "The capital of France is Paris."
KEY = "sk-secret-0123456789"
TOOL = {"type": "function", "function": {"name": "roll", "parameters": {"type": "object", "properties": {}}}}
# On the tests, not on their classes: pytest would give a base class's mark to all that a subclass has.
infers_nothing = pytest.mark.untraced("its server is scripted, or not there, and infers nothing")
CARDS = {
    "object": "list",
    "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us", "max_model_len": 4096}],
}


def call_of(arguments: str) -> dict[str, Any]:
    """A tool call as servers send it."""
    return {"id": "call-1", "type": "function", "function": {"name": "roll", "arguments": arguments}}


def message_of(**message: Any) -> dict[str, Any]:
    """A chat completion with this message, sound or not."""
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}]}


async def joined(agent: ServerAgent, payload: AgentPayload) -> str:
    """The whole stream."""
    return "".join([piece async for piece in agent.stream(payload)])


class ConnectedAgents:
    """The fixture that makes agents; a subclass says which class they are of."""

    @pytest.fixture
    async def connect(self, agent_class: type[ServerAgent]) -> AsyncIterator[Connect]:
        """Make an agent for a server, and close it after the test."""
        agents = []

        async def connect(url: str, model: str | None = "m", **settings: Any) -> ServerAgent:
            agents.append(await agent_class.create(AgentSettings(base_url=url, model=model, **settings)))
            return agents[-1]

        yield connect
        for agent in agents:
            await agent.aclose()

    @pytest.fixture
    async def told(self, connect: Connect, scripted: ScriptedServer) -> ServerAgent:
        """An agent for the scripted server."""
        return await connect(scripted.url, api_key=KEY)


class RealServerContract(ConnectedAgents):
    """Real inference behind somebody else's server."""

    async def test_fact(self, connect: Connect, model_server: ModelServer) -> None:
        """The engine loses the model's answer on its way, or misreports where it came from."""
        agent = await connect(model_server.url, model_server.model)
        answer = await agent.invoke(AgentPayload(QUESTION, session_id="s-1"))
        assert answer.response == FACT
        about = dict(answer.metadata)
        usage, timings = about.pop("usage"), about.pop("timings")
        assert about == {
            "engine": agent.engine,
            "model": model_server.model,
            "finish_reason": "stop",
            "session_id": "s-1",
        }
        assert usage.prompt_tokens > usage.completion_tokens > 0
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert timings.queued == 0
        assert timings.total > 0

    async def test_stream(self, connect: Connect, model_server: ModelServer) -> None:
        """Pieces are held back until the end, or do not add up to the answer."""
        agent = await connect(model_server.url, model_server.model)
        assert await agent.supports_streaming()
        pieces = [piece async for piece in agent.stream(AgentPayload(QUESTION))]
        assert len(pieces) > 1
        assert "".join(pieces) == FACT

    async def test_responses_api(self, connect: Connect, model_server: ModelServer) -> None:
        """The other API gives another answer, whole or in pieces."""
        agent = await connect(model_server.url, model_server.model, use_responses=True, max_new_tokens=3)
        answer = await agent.invoke(AgentPayload(QUESTION))
        assert answer.response == "The capital of"
        assert answer.metadata["usage"].completion_tokens == 3
        assert await joined(agent, AgentPayload(QUESTION)) == answer.response

    async def test_memory(self, connect: Connect, model_server: ModelServer) -> None:
        """What was said before does not reach the model."""
        agent = await connect(model_server.url, model_server.model)
        memory = [MemoryEntry("user", "The dragon is called Fafnir."), MemoryEntry("assistant", "I see.")]
        answer = await agent.invoke(AgentPayload("What is the dragon called?", memory=memory))
        assert answer.response == "The dragon is called Fafnir."

    async def test_limits(self, connect: Connect, model_server: ModelServer) -> None:
        """The payload's limits do not go over the settings', or the reason for the end is wrong."""
        agent = await connect(model_server.url, model_server.model, max_new_tokens=100)
        short = await agent.invoke(AgentPayload(QUESTION, generation=GenerationOptions(max_new_tokens=3)))
        assert short.response == "The capital of"
        assert short.metadata["finish_reason"] == "length"
        assert short.metadata["usage"].completion_tokens == 3

    @pytest.mark.untraced("the server refuses before it infers")
    async def test_unknown_model_and_option(self, connect: Connect, model_server: ModelServer) -> None:
        """A real server's refusal loses its words."""
        agent = await connect(model_server.url, "no-such-model")
        # This server answers neither 404 nor a code for it, so the words are all there is.
        with pytest.raises(EngineError, match=r"Server is pinned to .*; requested 'no-such-model'\. Change"):
            await agent.invoke(AgentPayload(QUESTION))
        picky = await connect(model_server.url, model_server.model, top_k=5)
        with pytest.raises(EngineError, match=r"refused the request: .*top_k.*payload or the settings"):
            await picky.invoke(AgentPayload(QUESTION))


class BadServerContract(ConnectedAgents):
    """Servers that fail, each in its way."""

    @pytest.mark.parametrize(
        "case",
        [
            (401, {"message": f"wrong key {KEY}"}, EngineAuthenticationError, "refused the key: .*Check api_key"),
            (403, {"message": "not for you"}, EngineAuthenticationError, "refused the key: not for you"),
            (404, {"message": "no model 'm' here"}, ModelNotFoundError, "no model 'm': .*Set model"),
            (404, {"message": "?", "code": "model_not_found"}, ModelNotFoundError, "no model 'm': "),
            (404, {"message": "Not Found"}, EngineError, "nothing at the address .*usually ends in /v1"),
            (400, {"message": "?", "code": "model_not_found"}, ModelNotFoundError, "no model 'm': "),
            (400, {"message": "a bad idea"}, EngineError, "refused the request: a bad idea.*Change"),
            (400, {"message": "?", "code": "context_length_exceeded"}, PayloadError, "longer than 'm' reads"),
            (429, {"message": "slow down"}, EngineError, "limits requests: slow down.*Wait and try again"),
            (500, {"message": "x" * 999}, EngineError, r"failed: x{300}\.\.\.\. Look into the server's log"),
        ],
        ids=lambda case: f"{case[0]} {case[1].get('code', '') or case[1]['message'][:20]}",
    )
    @infers_nothing
    async def test_refusals(
        self, scripted: ScriptedServer, told: ServerAgent, case: tuple[int, dict[str, str], type[BackendError], str]
    ) -> None:
        """A refusal becomes the wrong error, or hides what to do."""
        status, error, kind, words = case
        scripted.answer({"error": error}, status)
        with pytest.raises(kind, match=words) as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert caught.type is kind
        scripted.answer({"error": error}, status)
        with pytest.raises(kind, match=words):
            await joined(told, AgentPayload(QUESTION))

    @infers_nothing
    async def test_context_overflow(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A prompt that is too long for the server cannot be shortened by the figures."""
        words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
        scripted.answer({"error": {"message": words, "code": "context_length_exceeded"}}, 400)
        with pytest.raises(ContextWindowError, match="Shorten the message or the memory") as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert (caught.value.prompt_tokens, caught.value.context_window) == (9000, 8192)

    @infers_nothing
    async def test_second_try(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A server that is busy for a moment makes the request fail."""
        scripted.answer({"error": {"message": "busy"}}, 503, x_should_retry="true", retry_after_ms="1")
        scripted.complete("here")
        assert (await told.invoke(AgentPayload(QUESTION))).response == "here"
        assert len(scripted.received) == 2

    @infers_nothing
    async def test_no_server(self, connect: Connect) -> None:
        """A server that is not there gives a foreign error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        agent = await connect(f"http://127.0.0.1:{port}/v1?key=hidden", max_retries=0)
        with pytest.raises(
            EngineConnectionError, match=rf"127\.0\.0\.1:{port}/v1 failed: .*Check that the server runs"
        ):
            await agent.invoke(AgentPayload(QUESTION))

    @infers_nothing
    async def test_silent_server(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A server that accepts and says nothing is waited for longer than the settings say."""
        agent = await connect(scripted.url, read_timeout=0.2, max_retries=0)
        scripted.keep_silent()
        with pytest.raises(EngineTimeoutError, match=r"sent nothing for 0\.2 s\. Set read_timeout to more seconds"):
            await agent.invoke(AgentPayload(QUESTION))
        scripted.stream(delta("He"), hold=True)
        with pytest.raises(EngineTimeoutError, match=r"sent nothing for 0\.2 s"):
            await joined(agent, AgentPayload(QUESTION))

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
    @infers_nothing
    async def test_malformed_answers(self, scripted: ScriptedServer, told: ServerAgent, body: object) -> None:
        """An answer that cannot be read gives a foreign error, or passes for one."""
        scripted.answer(body)
        with pytest.raises(EngineResponseError) as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert "6" not in str(caught.value).replace(scripted.url, "")

    @pytest.mark.parametrize(
        ("ending", "words"),
        [
            pytest.param(b"", "failed: .*Check that the server runs", id="connection lost"),
            pytest.param(END, "broke off before 'm' had finished", id="no end"),
            pytest.param(chunk("data: {broken\n\n") + END, "cannot be read: ", id="no JSON"),
            pytest.param(chunk('data: {"error": "no memory"}\n\n') + END, "failed: no memory", id="error"),
        ],
    )
    @infers_nothing
    async def test_death_in_the_middle_of_a_stream(
        self, scripted: ScriptedServer, told: ServerAgent, ending: bytes, words: str
    ) -> None:
        """Half an answer passes for a whole one."""
        scripted.stream(delta("He"), ending=ending)
        stream = told.stream(AgentPayload(QUESTION))
        assert await anext(stream) == "He"
        with pytest.raises(EngineError, match=words):
            await anext(stream)

    @infers_nothing
    async def test_early_close(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A caller that leaves a stream is still computed for."""
        scripted.stream(delta("He"), delta("llo"), hold=True)
        async with aclosing(told.stream(AgentPayload(QUESTION))) as stream:
            assert await anext(stream) == "He"
            assert not scripted.left.is_set()
        await scripted.left.wait()
