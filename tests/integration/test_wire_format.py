"""The wire format of every engine that asks a server: what it sends, and how it reads what comes back."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, ReasoningEffort, ToolCall, Usage
from llm_backend.errors import AgentClosedError, ConfigError, EngineAuthenticationError, EngineError, PayloadError
from llm_backend.llms.payloads import End, Reasoning, Text, ToolCallEvent, UsageEvent
from tests.integration.server import delta
from tests.integration.server_engines import CARDS, KEY, QUESTION, TOOL, call_of, joined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect


async def test_options(connect: Connect, scripted: ScriptedServer) -> None:
    """Each option is sent under a name that servers know."""
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


async def test_defaults(connect: Connect, scripted: ScriptedServer) -> None:
    """By default a request asks for greedy decoding and nothing else, with a placeholder for the key."""
    scripted.complete("ok")
    agent = await connect(scripted.url)
    await agent.invoke(AgentPayload(QUESTION, reasoning_effort=ReasoningEffort()))
    [request] = scripted.received
    sent = {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "stream": False, "temperature": 0}
    assert request.body == sent
    assert request.target == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == "Bearer no-key-needed"


async def test_responses_options(connect: Connect, scripted: ScriptedServer) -> None:
    """A conversation with tools fits the Responses API, which is told not to store it."""
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
    assert body["temperature"] == 0, "a model that reasons is greedy, too, unless the server refuses it"
    assert [(item["type"], item.get("role"), item.get("call_id")) for item in body["input"]] == [
        ("message", "user", None),
        ("function_call", None, "call-1"),
        ("function_call_output", None, "call-1"),
        ("message", "user", None),
    ]


async def test_responses_api_has_no_stop(connect: Connect, scripted: ScriptedServer) -> None:
    """An option that the Responses API lacks is refused."""
    agent = await connect(scripted.url, use_responses=True)
    options = GenerationOptions(seed=1, stop=("#",))
    with pytest.raises(PayloadError, match=r"no seed and no stop\. Leave it out, or set use_responses = false"):
        await agent.invoke(AgentPayload(QUESTION, generation=options))


async def test_tools(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A model can call tools, and is offered only the caller's."""
    scripted.complete(None, tool_calls=[call_of('{"sides": 6}')])
    other = {"type": "function", "function": {"name": "other"}}
    answer = await told.invoke_with_tools(AgentPayload("Roll.", tools_available=[other]), [TOOL])
    assert scripted.received[0].body["tools"] == [TOOL]
    assert answer.tool_calls == (ToolCall(name="roll", arguments={"sides": 6}, id="call-1"),)
    assert answer.metadata["finish_reason"] == "tool_calls"
    assert answer.response == ""
    scripted.stream(delta("Rolling."), delta(tool_calls=[{"index": 0, **call_of("{}")}]), delta(None, "tool_calls"))
    assert await joined(told, AgentPayload("Roll.")) == "Rolling."


async def test_streamed_tools(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Interleaved parts become whole calls, and the stream's usage is requested and read."""

    def part(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        return delta(
            tool_calls=[{"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}]
        )

    about = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    scripted.stream(
        delta("Rolling."),
        part(0, "", id="a", type="function", function={"name": "roll"}),
        part(1, '{"song"', id="b", type="function", function={"name": "sing"}),
        part(0, '{"sides"'),
        part(1, ': "é"}'),
        part(0, ": 6}"),
        delta(None, "tool_calls"),
        {**about, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}},
    )
    text, *calls, usage, end = [
        event async for event in told.stream_events(AgentPayload("Roll.", tools_available=[TOOL]))
    ]
    assert scripted.received[0].body["stream_options"] == {"include_usage": True}
    assert text == Text("Rolling.")
    assert calls == [
        ToolCallEvent(ToolCall(name="roll", arguments={"sides": 6}, id="a")),
        ToolCallEvent(ToolCall(name="sing", arguments={"song": "é"}, id="b")),
    ]
    assert isinstance(usage, UsageEvent)
    assert (usage.usage, end) == (Usage(prompt_tokens=3, completion_tokens=9), End("tool_calls"))
    assert await told.count_tokens(AgentPayload("Roll.", tools_available=[TOOL])) == 3


async def test_streamed_responses(connect: Connect, scripted: ScriptedServer) -> None:
    """A stream of the Responses API holds its reasoning, its calls and its usage."""
    about = {"id": "r", "object": "response", "created_at": 1, "model": "m"}
    about |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "roll"}
    whole = {**call, "arguments": '{"n": 2}'}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**about, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "item": {"type": "reasoning", "id": "t", "summary": []}},
        {"type": "response.reasoning_summary_text.delta", "item_id": "t", "summary_index": 0, "delta": "A "},
        {"type": "response.reasoning_summary_text.delta", "item_id": "t", "summary_index": 0, "delta": "die."},
        {
            "type": "response.output_text.delta",
            "item_id": "m",
            "output_index": 1,
            "content_index": 0,
            "delta": "I roll.",
        },
        {"type": "response.output_item.added", "output_index": 2, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "f", "output_index": 2, "delta": '{"n"'},
        {"type": "response.function_call_arguments.delta", "item_id": "f", "output_index": 2, "delta": ": 2}"},
        {"type": "response.output_item.done", "output_index": 2, "item": whole},
        {"type": "response.completed", "response": {**about, "status": "completed", "output": [whole], "usage": usage}},
    ]
    scripted.stream(*({"output_index": 0, "sequence_number": number, **event} for number, event in enumerate(events)))
    agent = await connect(scripted.url, use_responses=True)
    *parts, figures, end = [event async for event in agent.stream_events(AgentPayload("Roll."))]
    assert "".join(part.text for part in parts if isinstance(part, Reasoning)) == "A die."
    assert parts[-2:] == [Text("I roll."), ToolCallEvent(ToolCall(name="roll", arguments={"n": 2}, id="c"))]
    assert isinstance(figures, UsageEvent)
    assert (figures.usage, end) == (Usage(prompt_tokens=5, completion_tokens=2), End("tool_calls"))
    assert "stream_options" not in scripted.received[0].body


async def test_thinking_and_code(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Reasoning in the text stays out of the answer, whole and streamed."""
    text = "<think>Hm.</think>Here:\n```python\nprint(1)\n```"
    scripted.complete(text)
    answer = await told.invoke(AgentPayload("Code."))
    assert answer.thinking == "Hm."
    assert answer.code == "print(1)\n"
    scripted.stream(*(delta(letter) for letter in text), delta(None, "stop"))
    assert await joined(told, AgentPayload("Code.")) == answer.response == "Here:\n```python\nprint(1)\n```"


async def test_stop_text(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A stop text that the server leaves in ends the answer and the stream."""
    payload = AgentPayload("Count.", generation=GenerationOptions(stop=("###",)))
    scripted.complete("one ### two")
    assert (await told.invoke(payload)).response == "one"
    scripted.stream(delta("one #"), delta("## two"), hold=True)
    assert await joined(told, payload) == "one"
    await scripted.left.wait()


async def test_refusal(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A model's refusal is its answer."""
    scripted.complete(None, refusal="I will not.")
    assert (await told.invoke(AgentPayload("Do it."))).response == "I will not."


async def test_refusal_in_responses(connect: Connect, scripted: ScriptedServer) -> None:
    """A refusal in the Responses API is the answer, whole and streamed."""
    about = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed"}
    about |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    refusal = {"type": "refusal", "refusal": "I will not."}
    whole = {**about, "output": [{"type": "message", "id": "o", "role": "assistant", "content": [refusal]}]}
    agent = await connect(scripted.url, use_responses=True)
    scripted.answer(whole)
    assert (await agent.invoke(AgentPayload("Do it."))).response == "I will not."
    place = {"item_id": "o", "output_index": 0, "content_index": 0, "sequence_number": 1}
    scripted.stream(
        {"type": "response.refusal.delta", **place, "delta": "I will not."},
        {"type": "response.refusal.done", **place, "refusal": "I will not."},
        {"type": "response.completed", "sequence_number": 2, "response": whole},
    )
    assert await joined(agent, AgentPayload("Do it.")) == "I will not."


async def test_model_that_takes_no_temperature(connect: Connect, scripted: ScriptedServer) -> None:
    """A model that refuses a temperature works with none, unless somebody chose one."""
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


async def test_server_that_takes_no_stream_options(connect: Connect, scripted: ScriptedServer) -> None:
    """A server that refuses stream_options streams without them from then on."""
    words = [{"type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"]}]  # like Mistral's server
    agent = await connect(scripted.url)
    scripted.answer({"object": "error", "message": {"detail": words}, "param": None}, 422)
    for _ in range(2):
        scripted.stream(delta("ok"), delta(None, "stop"))
        assert await joined(agent, AgentPayload(QUESTION)) == "ok"
    asked = [("stream_options" in request.body, "temperature" in request.body) for request in scripted.received]
    assert asked == [(True, True), (False, True), (False, True)]


async def test_key_stays_secret(scripted: ScriptedServer, told: ServerAgent, caplog: pytest.LogCaptureFixture) -> None:
    """The key shows in no repr, error, traceback or log."""
    caplog.set_level(logging.DEBUG)
    scripted.answer({"error": {"message": f"Incorrect API key: {KEY}"}}, 401)
    with pytest.raises(EngineAuthenticationError, match=r"Incorrect API key: \*\*\*") as caught:
        await told.invoke(AgentPayload(QUESTION))
    assert scripted.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert repr(told) == f"{type(told).__name__}(model='m', server='{scripted.url}')"
    assert KEY not in "".join([*traceback.format_exception(caught.value), caplog.text, repr(told.__dict__)])


async def test_foreign_environment(connect: Connect, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that our settings do not know send no prompt elsewhere."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    scripted.complete("ours")
    agent = await connect(scripted.url)
    assert (await agent.invoke(AgentPayload(QUESTION))).response == "ours"
    assert scripted.received[0].headers["authorization"] == "Bearer no-key-needed"


async def test_only_model(connect: Connect, scripted: ScriptedServer) -> None:
    """With no model set, the server's only one is taken."""
    scripted.answer(CARDS)
    agent = await connect(scripted.url, None)
    assert agent.model == "m"
    scripted.complete("ok")
    assert (await agent.invoke(AgentPayload(QUESTION))).metadata["model"] == "m"
    assert [request.target for request in scripted.received] == [
        "GET /v1/models HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1",
    ]


async def test_several_models(connect: Connect, scripted: ScriptedServer) -> None:
    """With no model set and several there, the error names them."""
    scripted.answer({"object": "list", "data": [{"id": "b"}, {"id": "a"}]})
    with pytest.raises(ConfigError, match=r"offers 2\. Set model \(AF_LLM_MODEL\) to one of: a, b\."):
        await connect(scripted.url, None)


async def test_context_window(connect: Connect, scripted: ScriptedServer) -> None:
    """The window is the model card's, which a setting can only narrow, and is asked for once."""
    agent = await connect(scripted.url)
    scripted.answer(CARDS)
    assert [await agent.get_context_window() for _ in range(2)] == [4096, 4096]
    for configured, window in ((100, 100), (9999, 4096)):
        scripted.answer(CARDS)
        assert await (await connect(scripted.url, context_window=configured)).get_context_window() == window


async def test_context_window_that_nobody_says(connect: Connect, scripted: ScriptedServer) -> None:
    """Without a model card the setting decides; without either there is an error."""
    scripted.answer({"error": {"message": "Not Found"}}, 404)
    assert await (await connect(scripted.url, context_window=100)).get_context_window() == 100
    agent = await connect(scripted.url)
    scripted.answer({"error": {"message": "Not Found"}}, 404)
    with pytest.raises(EngineError, match="nothing at the requested address"):
        await agent.get_context_window()
    scripted.answer({"object": "list", "data": [{"id": "m"}]})
    with pytest.raises(ConfigError, match=rf"does not say .*Set context_window under \[agent\.{agent.engine}\]"):
        await agent.get_context_window()


async def test_closed(connect: Connect, scripted: ScriptedServer) -> None:
    """A closed agent raises our error, and can be closed again."""
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
