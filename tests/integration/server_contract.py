"""What every engine that asks a server has to do; one test module for each such engine runs all of it."""

from __future__ import annotations

import logging
import socket
import traceback
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from backend import AgentPayload, GenerationOptions, MemoryEntry, ReasoningEffort, ToolCall
from backend.errors import (
    AgentClosedError,
    ConfigError,
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
from tests.integration.server import delta

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
CARDS = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us", "max_model_len": 4096}]}


def call_of(arguments: str) -> dict[str, Any]:
    """A tool call as servers send it."""
    return {"id": "call-1", "type": "function", "function": {"name": "roll", "arguments": arguments}}


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
        agent = await connect(model_server.url, model_server.model, use_responses=True, max_new_tokens=6)
        answer = await agent.invoke(AgentPayload(QUESTION))
        assert answer.response == FACT.removesuffix(".")
        assert answer.metadata["usage"].completion_tokens == 6
        assert await joined(agent, AgentPayload(QUESTION)) == answer.response

    async def test_memory(self, connect: Connect, model_server: ModelServer) -> None:
        """What was said before does not reach the model."""
        agent = await connect(model_server.url, model_server.model, max_new_tokens=8)
        memory = [MemoryEntry("user", "My name is Tom."), MemoryEntry("assistant", "Hello Tom, nice to meet you.")]
        answer = await agent.invoke(AgentPayload("What is my name?", memory=memory))
        assert "Tom" in answer.response

    async def test_limits(self, connect: Connect, model_server: ModelServer) -> None:
        """The payload's limits do not go over the settings', or the reason for the end is wrong."""
        agent = await connect(model_server.url, model_server.model, max_new_tokens=100)
        short = await agent.invoke(AgentPayload(QUESTION, generation=GenerationOptions(max_new_tokens=3)))
        assert short.response == "The capital of"
        assert short.metadata["finish_reason"] == "length"
        assert short.metadata["usage"].completion_tokens == 3
        stopping = AgentPayload(QUESTION, generation=GenerationOptions(stop=(" of",)))
        stopped = await agent.invoke(stopping)
        assert stopped.response == "The capital"
        assert stopped.metadata["finish_reason"] == "stop"
        assert await joined(agent, stopping) == "The capital"

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
        ("status", "error", "kind", "words"),
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
    )
    async def test_refusals(  # noqa: PLR0913  (one row of the table, and the two sides)
        self,
        scripted: ScriptedServer,
        told: ServerAgent,
        status: int,
        error: dict[str, Any],
        kind: type[BackendError],
        words: str,
    ) -> None:
        """A refusal becomes the wrong error, or hides what to do."""
        scripted.answer({"error": error}, status)
        with pytest.raises(kind, match=words) as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert caught.type is kind
        scripted.answer({"error": error}, status)
        with pytest.raises(kind, match=words):
            await joined(told, AgentPayload(QUESTION))

    async def test_context_overflow(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A prompt that is too long for the server cannot be shortened by the figures."""
        words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
        scripted.answer({"error": {"message": words, "code": "context_length_exceeded"}}, 400)
        with pytest.raises(ContextWindowError, match="Shorten the message or the memory") as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert (caught.value.prompt_tokens, caught.value.context_window) == (9000, 8192)

    async def test_second_try(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A server that is busy for a moment makes the request fail."""
        scripted.answer({"error": {"message": "busy"}}, 503, x_should_retry="true", retry_after_ms="1")
        scripted.complete("here")
        assert (await told.invoke(AgentPayload(QUESTION))).response == "here"
        assert len(scripted.received) == 2

    async def test_no_server(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that is not there gives a foreign error."""
        monkeypatch.setattr("backend.llms.openai_server._RETRIES", 0)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        agent = await connect(f"http://127.0.0.1:{port}/v1?key=hidden")
        with pytest.raises(EngineConnectionError, match=rf"127\.0\.0\.1:{port}/v1 failed: .*Check that the server runs"):
            await agent.invoke(AgentPayload(QUESTION))

    async def test_silent_server(
        self, connect: Connect, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that accepts and says nothing is waited for longer than the settings say."""
        monkeypatch.setattr("backend.llms.openai_server._RETRIES", 0)
        agent = await connect(scripted.url, timeout=0.2)
        scripted.keep_silent()
        with pytest.raises(EngineTimeoutError, match=r"did not answer within 0\.2 s\. Set timeout to more seconds"):
            await agent.invoke(AgentPayload(QUESTION))
        scripted.stream(delta("He"), hold=True)
        with pytest.raises(EngineTimeoutError, match=r"did not answer within 0\.2 s"):
            await joined(agent, AgentPayload(QUESTION))

    @pytest.mark.parametrize(
        "body",
        [
            "<html>hello</html>",
            {"choices": None, "id": "1"},
            {"choices": []},
            {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": 5}}]},
            {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [call_of("{'sides': 6")]}}]},
            {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [call_of("[6]")]}}]},
        ],
    )
    async def test_malformed_answers(self, scripted: ScriptedServer, told: ServerAgent, body: object) -> None:
        """An answer that cannot be read gives a foreign error, or passes for one."""
        scripted.answer(body)
        with pytest.raises(EngineResponseError) as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert "6" not in str(caught.value).replace(scripted.url, "")

    @pytest.mark.parametrize(
        ("ending", "words"),
        [
            (b"", "failed: .*Check that the server runs"),
            (b"0\r\n\r\n", "broke off before 'm' had finished"),
            (b"e\r\ndata: {broken\n\n\r\n0\r\n\r\n", "cannot be read: "),
            (b'19\r\ndata: {"error": "no memory"}\n\n\r\n0\r\n\r\n'.replace(b"19", b"1c"), "failed: no memory"),
        ],
    )
    async def test_death_in_the_middle_of_a_stream(
        self, scripted: ScriptedServer, told: ServerAgent, ending: bytes, words: str
    ) -> None:
        """Half an answer passes for a whole one."""
        scripted.stream(delta("He"), ending=ending)
        pieces = []
        with pytest.raises(EngineError, match=words):
            async for piece in told.stream(AgentPayload(QUESTION)):
                pieces.append(piece)  # noqa: PERF401  (a comprehension would lose them)
        assert pieces == ["He"]

    async def test_early_close(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A caller that leaves a stream is still computed for."""
        scripted.stream(delta("He"), delta("llo"), hold=True)
        async with aclosing(told.stream(AgentPayload(QUESTION))) as stream:
            assert await anext(stream) == "He"
            assert not scripted.left.is_set()
        await scripted.left.wait()


class WireContract(ConnectedAgents):
    """What is sent, and how it is read."""

    async def test_options(self, connect: Connect, scripted: ScriptedServer) -> None:
        """An option is lost, or sent under a name that servers do not know."""
        scripted.complete("ok")
        agent = await connect(scripted.url, temperature=0.5, max_new_tokens=9, reasoning_effort={"effort": "low"})
        options = GenerationOptions(max_new_tokens=7, top_p=0.9, top_k=3, seed=1, stop=("#",))
        await agent.invoke(AgentPayload(QUESTION, generation=options, tools_available=[TOOL]))
        body = scripted.received[0].body
        expected = {
            "model": "m",
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": False,
            "temperature": 0.5,
            "max_tokens": 7,
            "top_p": 0.9,
            "top_k": 3,
            "seed": 1,
            "stop": ["#"],
            "tools": [TOOL],
            "reasoning_effort": "low",
        }
        assert body == expected

    async def test_defaults(self, connect: Connect, scripted: ScriptedServer) -> None:
        """Greedy decoding is not the default, or something nobody chose is sent, or a key where none is needed."""
        scripted.complete("ok")
        agent = await connect(scripted.url)
        await agent.invoke(AgentPayload(QUESTION, reasoning_effort=ReasoningEffort()))
        [request] = scripted.received
        sent = {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "stream": False, "temperature": 0}
        assert request.body == sent
        assert request.target == "POST /v1/chat/completions HTTP/1.1"
        assert request.headers["authorization"] == "Bearer no-key-needed"

    async def test_responses_options(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A conversation with tools does not survive the other API, or the server is asked to keep it."""
        scripted.answer(
            {
                "id": "r",
                "object": "response",
                "created_at": 1,
                "model": "m",
                "status": "completed",
                "parallel_tool_calls": False,
                "tool_choice": "auto",
                "tools": [],
                "output": [
                    {"type": "reasoning", "id": "t", "summary": [{"type": "summary_text", "text": "Roll."}]},
                    {"type": "function_call", "id": "f", "call_id": "call-2", "name": "roll", "arguments": '{"n": 2}'},
                ],
                "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
            }
        )
        agent = await connect(scripted.url, use_responses=True, top_k=3)
        memory = [
            MemoryEntry("user", "Roll."),
            MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={"n": 1}, id="call-1")]),
            MemoryEntry("tool", "6", datetime.now(UTC), metadata={"tool_call_id": "call-1"}),
        ]
        effort = ReasoningEffort(effort="low", generate_summary="auto")
        payload = AgentPayload("Again.", memory=memory, reasoning_effort=effort, tools_available=[TOOL])
        answer = await agent.invoke(payload)
        assert answer.tool_calls == (ToolCall(name="roll", arguments={"n": 2}, id="call-2"),)
        assert answer.thinking == "Roll."
        assert answer.metadata["finish_reason"] == "tool_calls"
        body = scripted.received[0].body
        assert body["store"] is False
        assert body["top_k"] == 3
        assert body["reasoning"] == {"effort": "low", "summary": "auto"}
        assert body["tools"][0]["name"] == "roll"
        assert "temperature" not in body
        assert [(item.get("type"), item.get("role"), item.get("call_id")) for item in body["input"]] in (
            [(None, "user", None), ("function_call", None, "call-1"), ("function_call_output", None, "call-1"), (None, "user", None)],
            [("message", "user", None), ("function_call", None, "call-1"), ("function_call_output", None, "call-1"), ("message", "user", None)],
        )

    async def test_responses_api_has_no_stop(self, connect: Connect, scripted: ScriptedServer) -> None:
        """An option that this API does not have is left out without a word."""
        agent = await connect(scripted.url, use_responses=True)
        options = GenerationOptions(seed=1, stop=("#",))
        with pytest.raises(PayloadError, match=r"no seed and no stop\. Leave it out, or set use_responses = false"):
            await agent.invoke(AgentPayload(QUESTION, generation=options))

    async def test_tools(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A model cannot call tools, or is offered others than the caller's."""
        scripted.complete(None, tool_calls=[call_of('{"sides": 6}')])
        other = {"type": "function", "function": {"name": "other"}}
        answer = await told.invoke_with_tools(AgentPayload("Roll.", tools_available=[other]), [TOOL])
        assert scripted.received[0].body["tools"] == [TOOL]
        assert answer.tool_calls == (ToolCall(name="roll", arguments={"sides": 6}, id="call-1"),)
        assert answer.metadata["finish_reason"] == "tool_calls"
        assert answer.response == ""
        scripted.stream(delta("Rolling."), delta(tool_calls=[{"index": 0, **call_of("{}")}]), delta(None, "tool_calls"))
        assert await joined(told, AgentPayload("Roll.")) == "Rolling."

    async def test_thinking_and_code(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """Reasoning in the text leaks into the answer, whole or in pieces."""
        text = "<think>Hm.</think>Here:\n```python\nprint(1)\n```"
        scripted.complete(text)
        answer = await told.invoke(AgentPayload("Code."))
        assert answer.thinking == "Hm."
        assert answer.code == "print(1)\n"
        scripted.stream(*(delta(letter) for letter in text), delta(None, "stop"))
        assert await joined(told, AgentPayload("Code.")) == answer.response == "Here:\n```python\nprint(1)\n```"

    async def test_refusal(self, scripted: ScriptedServer, told: ServerAgent) -> None:
        """A model's refusal is an empty answer."""
        scripted.complete(None, refusal="I will not.")
        assert (await told.invoke(AgentPayload("Do it."))).response == "I will not."

    async def test_model_that_takes_no_temperature(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A reasoning model cannot be used, because of a temperature that nobody chose."""
        refusal = {"error": {"message": "Unsupported value: 'temperature'", "param": "temperature"}}
        agent = await connect(scripted.url)
        scripted.answer(refusal, 400)
        scripted.stream(delta("ok"), delta(None, "stop"))
        assert await joined(agent, AgentPayload(QUESTION)) == "ok"
        scripted.complete("again")
        assert (await agent.invoke(AgentPayload(QUESTION))).response == "again"
        assert ["temperature" in request.body for request in scripted.received] == [True, False, False]
        other = await connect(scripted.url)
        scripted.answer(refusal, 400)
        scripted.complete("ok")
        assert (await other.invoke(AgentPayload(QUESTION))).response == "ok"
        scripted.answer(refusal, 400)
        with pytest.raises(EngineError, match="Unsupported value: 'temperature'"):
            await other.invoke(AgentPayload(QUESTION, generation=GenerationOptions(temperature=0)))

    async def test_key_stays_secret(
        self, scripted: ScriptedServer, told: ServerAgent, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The key shows in a repr, an error, its traceback, or a log."""
        caplog.set_level(logging.DEBUG)
        scripted.answer({"error": {"message": f"Incorrect API key: {KEY}"}}, 401)
        with pytest.raises(EngineAuthenticationError, match=r"Incorrect API key: \*\*\*") as caught:
            await told.invoke(AgentPayload(QUESTION))
        assert scripted.received[0].headers["authorization"] == f"Bearer {KEY}"
        assert repr(told) == f"{type(told).__name__}(model='m', server='{scripted.url}')"
        assert KEY not in "".join([*traceback.format_exception(caught.value), caplog.text, repr(told.__dict__)])

    async def test_foreign_environment(
        self, connect: Connect, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Variables that our settings do not know send prompts elsewhere."""
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
        monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
        scripted.complete("ours")
        agent = await connect(scripted.url)
        assert (await agent.invoke(AgentPayload(QUESTION))).response == "ours"
        assert scripted.received[0].headers["authorization"] == "Bearer no-key-needed"


class CardContract(ConnectedAgents):
    """What the server says of its models, and the end of an agent."""

    async def test_only_model(self, connect: Connect, scripted: ScriptedServer) -> None:
        """With no model set, the server's only one is not taken."""
        scripted.answer(CARDS)
        agent = await connect(scripted.url, None)
        assert agent.model == "m"
        scripted.complete("ok")
        assert (await agent.invoke(AgentPayload(QUESTION))).metadata["model"] == "m"
        assert [request.target for request in scripted.received] == [
            "GET /v1/models HTTP/1.1",
            "POST /v1/chat/completions HTTP/1.1",
        ]

    async def test_several_models(self, connect: Connect, scripted: ScriptedServer) -> None:
        """With no model set and several there, one is taken by chance, or the error does not name them."""
        scripted.answer({"object": "list", "data": [{"id": "b"}, {"id": "a"}]})
        with pytest.raises(ConfigError, match=r"offers 2\. Set model \(AF_LLM_MODEL\) to one of: a, b\."):
            await connect(scripted.url, None)

    async def test_context_window(self, connect: Connect, scripted: ScriptedServer) -> None:
        """The window is not the model card's, or a setting widens it, or the server is asked each time."""
        agent = await connect(scripted.url)
        scripted.answer(CARDS)
        assert [await agent.get_context_window() for _ in range(2)] == [4096, 4096]
        for configured, window in ((100, 100), (9999, 4096)):
            scripted.answer(CARDS)
            assert await (await connect(scripted.url, context_window=configured)).get_context_window() == window

    async def test_context_window_that_nobody_says(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A server without model cards makes the setting useless, or its silence becomes a number."""
        scripted.answer({"error": {"message": "Not Found"}}, 404)
        assert await (await connect(scripted.url, context_window=100)).get_context_window() == 100
        agent = await connect(scripted.url)
        scripted.answer({"error": {"message": "Not Found"}}, 404)
        with pytest.raises(EngineError, match="nothing at the address"):
            await agent.get_context_window()
        scripted.answer({"object": "list", "data": [{"id": "m"}]})
        with pytest.raises(ConfigError, match=rf"does not say .*Set context_window under \[agent\.{agent.engine}\]"):
            await agent.get_context_window()

    async def test_closed(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A closed agent still works, or fails with a foreign error, or cannot be closed twice."""
        async with await connect(scripted.url) as agent:
            assert await agent.supports_streaming()
        await agent.aclose()
        uses: list[Callable[[], Awaitable[object]]] = [
            lambda: agent.invoke(AgentPayload(QUESTION)),
            lambda: agent.invoke_with_tools(AgentPayload(QUESTION), [TOOL]),
            lambda: joined(agent, AgentPayload(QUESTION)),
            agent.get_context_window,
            agent.supports_streaming,
        ]
        for use in uses:
            with pytest.raises(AgentClosedError, match=r"'m' is closed\. Load a new one with load_agent"):
                await use()
        assert scripted.received == []


class ServerAgentContract(RealServerContract, BadServerContract, WireContract, CardContract):
    """All of it."""
