"""What all agents that ask a server share; the engines are tested on real ones."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, ReasoningEffort, ToolCall, Usage
from llm_backend.errors import AgentClosedError, ConfigError, EngineConnectionError, EngineError, EngineResponseError
from llm_backend.llms.agent import Agent
from llm_backend.llms.payloads import End, Reasoning, Text, ToolCallEvent, UsageEvent
from llm_backend.llms.settings.agent_settings import AgentSettings
from tests.unit.backend.told_agent import Client, RefusalError, Told, ask, joined, make

TOOL = {"type": "function", "function": {"name": "roll"}}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """The client that each new agent gets."""
    client = Client()
    monkeypatch.setattr(Told, "client", client, raising=False)
    return client


async def test_it_is_an_agent(client: Client) -> None:
    """The agent satisfies the protocol, and being made sends the server nothing."""
    agent = await make()
    assert isinstance(agent, Agent)
    assert repr(agent) == "Told(model='m', server='http://here/v1')"
    assert client.asked == 0


async def test_answer_is_taken_apart(client: Client) -> None:
    """Reasoning, code and calls are found in the text, and the finish reason names the calls."""
    agent = await make()
    text = '<think>b</think>Code:\n```\nx\n```\n<tool_call>{"name": "roll", "arguments": {}}</tool_call>'
    said = {"text": text, "finish_reason": "stop"}
    answer = await ask(agent, said, session_id="s", tools_available=[TOOL])
    assert answer.response == "Code:\n```\nx\n```"
    assert (answer.thinking, answer.code) == ("b", "x\n")
    assert answer.tool_calls == (ToolCall(name="roll", arguments={}),)
    assert (answer.metadata["finish_reason"], answer.metadata["session_id"]) == ("tool_calls", "s")
    apart = await ask(agent, {**said, "reasoning": " a "})
    assert (apart.thinking, apart.response, apart.tool_calls) == ("a", text, ())
    assert client.asked == 0


@pytest.mark.usefixtures("client")
async def test_marks_in_prose() -> None:
    """Reasoning tags are text if the server tells reasoning apart; call tags are if no tool was offered."""
    agent = await make()
    text = 'Write <think>b</think>, then <tool_call>{"name": "roll"}</tool_call>, to=functions.roll.'
    answer = await ask(agent, {"text": text, "reasoning": "a", "finish_reason": "stop"})
    assert (answer.response, answer.thinking, answer.tool_calls) == (text, "a", ())
    assert (
        await joined(agent, [{"reasoning": "a"}, *({"text": letter} for letter in text), {"finish_reason": "stop"}])
        == text
    )
    channel = '<|channel|>commentary to=functions.roll<|message|>{"n": 1}<|call|>'
    assert (await ask(agent, {"text": channel, "finish_reason": "stop"})).response == '{"n": 1}'


@pytest.mark.usefixtures("client")
async def test_reasoning_that_nothing_opened() -> None:
    """A lone closing tag ends the reasoning, and from then on in the agent's streams too."""
    agent = await make()
    pieces: list[dict[str, Any]] = [{"text": "They greet"}, {"text": " me.</think>Hello!", "finish_reason": "stop"}]
    answer = await ask(agent, {"text": "They greet me.</think>Hello!", "finish_reason": "stop"})
    assert (answer.thinking, answer.response) == ("They greet me.", "Hello!")
    assert await joined(agent, pieces) == "Hello!"
    assert await joined(await make(), pieces) == "They greet me.Hello!"


@pytest.mark.usefixtures("client")
async def test_a_call_that_is_told_twice() -> None:
    """A call that the text repeats counts once, with the server's id; other calls stay."""
    agent = await make()
    call = '<tool_call>{"name": "roll", "arguments": {"n": 1}}</tool_call>'
    other = call.replace("1", "2")
    beside = {"id": "c", "function": {"name": "roll", "arguments": '{"n": 1}'}}
    one = ToolCall(name="roll", arguments={"n": 1}, id="c")
    offered: dict[str, Any] = {"tools_available": [TOOL]}
    answer = await ask(agent, {"text": "I roll." + call, "calls": [beside], "finish_reason": "tool_calls"}, **offered)
    assert (answer.response, answer.tool_calls) == ("I roll.", (one,))
    answer = await ask(agent, {"text": call + call + other, "calls": [beside], "finish_reason": "stop"}, **offered)
    more = [ToolCall(name="roll", arguments={"n": n}) for n in (1, 2)]
    assert answer.tool_calls == (*more, one)
    agent.said = [
        [{"text": call}, {"text": " now"}, {"calls": [{"index": 0, **beside}], "finish_reason": "tool_calls"}]
    ]
    text, event, _, end = [event async for event in agent.stream_events(AgentPayload("Hi.", **offered))]
    assert (text, event, end) == (Text("now"), ToolCallEvent(one), End("tool_calls"))


@pytest.mark.usefixtures("client")
async def test_what_goes_back() -> None:
    """What the server adds to a turn comes with the answer, whole and streamed."""
    agent = await make()
    said = [{"extras": {"reasoning_content": "a"}}, {"extras": {"reasoning_content": "b"}, "finish_reason": "stop"}]
    agent.said = [said]
    *_, end = [event async for event in agent.stream_events(AgentPayload("Hi."))]
    assert isinstance(end, End)
    assert (end, end.extras) == (End("stop"), {"reasoning_content": "ab"})
    answer = await ask(agent, {"text": "Hi.", "extras": {"reasoning_content": "ab"}, "finish_reason": "stop"})
    assert answer.extras == {"reasoning_content": "ab"}


@pytest.mark.usefixtures("client")
async def test_stop_text_that_the_server_left_in() -> None:
    """A stop text is cut off the answer, which then counts as stopped."""
    agent = await make()
    options = {"generation": GenerationOptions(stop=("#",))}
    answer = await ask(agent, {"text": "one # two", "finish_reason": "length"}, **options)
    assert (answer.response, answer.metadata["finish_reason"]) == ("one", "stop")
    assert await joined(agent, [{"text": "one #"}, {"text": " two", "finish_reason": "length"}], **options) == "one"
    late = {"text": "one #", "calls": [{"function": {"name": "roll", "arguments": "{"}}], "finish_reason": "tool_calls"}
    assert (await ask(agent, late, **options)).metadata["finish_reason"] == "stop"


@pytest.mark.usefixtures("client")
async def test_stream_gives_back_what_it_held() -> None:
    """A stream's end is passed on, even if it looks like the beginning of a tag."""
    agent = await make()
    assert await joined(agent, [{"text": "a <thi"}, {"finish_reason": "stop"}]) == "a <thi"
    assert await joined(agent, [{"text": "a"}, {"finish_reason": "stop"}, {}]) == "a"


@pytest.mark.usefixtures("client")
async def test_events_of_a_stream() -> None:
    """Reasoning and calls are events of a stream, whose End has the answer's finish reason."""
    agent = await make()
    call = '<tool_call>{"name": "roll"}</tool_call>'
    agent.said = [
        [{}, {"reasoning": " A die?"}, {"text": "I roll." + call, "finish_reason": "stop"}],
        [{"text": "one", "finish_reason": "length"}],
    ]
    called = [event async for event in agent.stream_events(AgentPayload("Hi.", tools_available=[TOOL]))]
    *_, usage, end = [event async for event in agent.stream_events(AgentPayload("Hi."))]
    assert called[:3] == [Reasoning("A die?"), Text("I roll."), ToolCallEvent(ToolCall(name="roll", arguments={}))]
    assert isinstance(usage, UsageEvent)
    assert 0 < (usage.timings.first_token or 0) <= usage.timings.total
    assert (called[-1], end) == (End("tool_calls"), End("length"))


@pytest.mark.usefixtures("client")
async def test_stream_tells_what_an_answer_tells() -> None:
    """A stream has the usage, the calls and the finish reason of a whole answer."""
    agent = await make()
    parts = [{"index": 0, "id": "c", "function": {"name": "roll", "arguments": '{"n"'}}]
    rest = [{"index": 0, "function": {"arguments": ": 2}"}}]
    usage = Usage(prompt_tokens=3000, completion_tokens=4)
    agent.said = [[{"calls": parts}, {"calls": rest, "finish_reason": "stop"}, {"usage": usage}]]
    call, figures, end = [event async for event in agent.stream_events(AgentPayload("Hi."))]
    assert call == ToolCallEvent(ToolCall(name="roll", arguments={"n": 2}, id="c"))
    assert isinstance(figures, UsageEvent)
    assert (figures.usage, end) == (usage, End("tool_calls"))
    assert await agent.count_tokens(AgentPayload("Hi.")) == 3000
    whole = {"id": "c", "function": {"name": "roll", "arguments": {"n": 2}}}
    answer = await ask(agent, {"calls": [whole], "usage": usage})
    assert (answer.tool_calls, answer.metadata["finish_reason"]) == ((call.call,), "tool_calls")
    assert answer.metadata["timings"].first_token is None


@pytest.mark.usefixtures("client")
async def test_calls_that_nobody_can_read() -> None:
    """A finish reason of tool calls without a readable call raises an error."""
    with pytest.raises(EngineResponseError, match="calls tools, but not which"):
        await ask(await make(), {"finish_reason": "tool_calls"})


@pytest.mark.usefixtures("client")
async def test_stream_that_breaks_off() -> None:
    """A stream that breaks off raises an error."""
    with pytest.raises(EngineConnectionError, match=r"broke off before 'm' had finished its answer\. Try again"):
        await joined(await make(), [{"text": "a"}])
    with pytest.raises(
        EngineResponseError, match=r"at http://here/v1 answered with something that is not an event stream"
    ):
        await joined(await make(), [])


@pytest.mark.usefixtures("client")
async def test_greedy_unless_somebody_chose() -> None:
    """Decoding is greedy by default, for reasoning models too, and a chosen temperature wins."""
    done = {"text": "", "finish_reason": "stop"}
    agent = await make(top_p=0.5, reasoning_effort={"effort": "low"})
    await ask(agent, done)
    await ask(agent, done, reasoning_effort=ReasoningEffort())
    await ask(agent, done, generation=GenerationOptions(temperature=1, top_p=0.9))
    sent = [(request.generation.temperature, request.generation.top_p) for request in agent.requests]
    assert sent == [(0, 0.5), (0, 0.5), (1, 0.9)]
    assert [bool(request.effort) for request in agent.requests] == [True, False, True]


@pytest.mark.usefixtures("client")
async def test_temperature_that_the_model_refuses() -> None:
    """A refused default temperature is dropped for good; a chosen one is an error."""
    done = {"text": "", "finish_reason": "stop"}
    agent = await make()
    await ask(agent, RefusalError(), done)
    await ask(agent, done)
    assert [request.generation.temperature for request in agent.requests] == [0, None, None]
    for temperature in (None, 0.5):
        with pytest.raises(RefusalError):
            await ask(agent, RefusalError(), generation=GenerationOptions(temperature=temperature))
    streaming = await make()
    refusals = [RefusalError("stream_options.include_usage")], [RefusalError()]
    assert await joined(streaming, *refusals, [{"finish_reason": "stop"}]) == ""
    assert [set(request.ours) for request in streaming.requests] == [
        {"temperature", "stream_options"},
        {"temperature"},
        set(),
    ]
    with pytest.raises(RefusalError):
        await joined(streaming, [RefusalError()])


@pytest.mark.usefixtures("client")
async def test_option_that_was_not_at_fault() -> None:
    """An answer stays greedy where dropping the temperature did not help."""
    agent = await make()
    with pytest.raises(RefusalError):
        await ask(agent, RefusalError(), RefusalError())
    await ask(agent, {"finish_reason": "stop"})
    assert agent.requests[-1].generation.temperature == 0


@pytest.mark.usefixtures("client")
async def test_a_refusal_in_the_middle_of_an_answer() -> None:
    """An answer that has begun is not requested again, whatever the error names."""
    agent = await make()
    with pytest.raises(RefusalError):
        await joined(agent, [{"text": "a"}, RefusalError()], [{"text": "b", "finish_reason": "stop"}])
    assert len(agent.requests) == 1


async def test_model_that_nobody_named(client: Client) -> None:
    """The server's only model is taken, and a failed load closes its client."""
    client.cards = [{"id": "only"}]
    assert (await make(None)).model == "only"
    client.cards = "nonsense"
    with pytest.raises(ConfigError, match="offers none"):
        await make(None)
    assert client.closed == 1


async def test_context_window(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is read once; the setting only narrows it, and is enough where there are no cards."""
    client.cards = [{"id": "m", "max_model_len": 10}]
    agent = await make()
    assert [await agent.get_context_window() for _ in range(2)] == [10, 10]
    assert client.asked == 1
    assert await (await make(context_window=99)).get_context_window() == 10
    assert await (await make(context_window=5)).get_context_window() == 5
    client.cards = []
    assert await (await make(context_window=99)).get_context_window() == 99
    with pytest.raises(ConfigError, match=r"many tokens 'm' reads\. Set context_window under \[agent\.told\]"):
        await (await make()).get_context_window()

    async def fail(_: Client) -> object:
        message = "no cards here"
        raise EngineError(message)

    monkeypatch.setattr(Client, "list", fail)
    assert await (await make(context_window=99)).get_context_window() == 99
    with pytest.raises(EngineError, match="no cards here"):
        await (await make()).get_context_window()


async def test_closed(client: Client) -> None:
    """A closed agent refuses to go on, and can be closed again."""
    client.cards = [{"id": "m"}]
    async with await make(None) as agent:
        assert await agent.supports_streaming()
    await agent.aclose()
    assert client.closed == 2
    for use in (lambda: ask(agent), lambda: joined(agent), agent.get_context_window, agent.supports_streaming):
        with pytest.raises(AgentClosedError, match=r"This agent for 'm' is closed\. Load a new one with load_agent"):
            await use()


async def test_tokens_are_those_that_the_server_counts(client: Client) -> None:
    """The server counts each prompt once; if it cannot, the estimate stays."""
    agent = await make()
    client.pages = {"http://here/tokenize": ["no object"]}
    estimate = await agent.count_tokens("Hi.")
    client.pages = {"http://here/v1/messages/count_tokens": {"input_tokens": 7}}
    assert await agent.count_tokens("Hi.") == estimate, "what it did not know it is not asked again"
    other = await make()
    assert [await other.count_tokens("Hi.") for _ in range(2)] == [7, 7]
    assert client.looked_up.count("http://here/v1/messages/count_tokens") == 2
    own = await Told.create(AgentSettings(model="m", base_url="https://x.openai.azure.com/v1"))
    before = len(client.looked_up)
    assert await own.count_tokens("Hi.") == estimate
    assert len(client.looked_up) == before, "OpenAI and Azure have nothing to ask there"


@pytest.mark.usefixtures("client")
async def test_tokens_are_those_that_the_server_counted() -> None:
    """What the server counted is the next estimate; a closed agent counts nothing."""
    agent = await make()
    question = AgentPayload("Hi.")
    turns = [MemoryEntry("user", "Hi."), MemoryEntry("assistant", "Hello.")]
    before = await agent.count_tokens(question)
    await ask(agent, {"text": "Hello.", "finish_reason": "stop"})
    assert await agent.count_tokens(question) == before, "nothing was counted"
    usage = Usage(prompt_tokens=3000, completion_tokens=4)
    await ask(agent, {"text": "Hello.", "finish_reason": "stop", "usage": usage})
    assert await agent.count_tokens(question) == 3000
    assert 3004 < await agent.count_tokens(AgentPayload("And you?", memory=turns)) < 3100
    call = {"id": "c", "function": {"name": "roll", "arguments": '{"n": 1}'}}
    calls = (await ask(agent, {"calls": [call], "usage": usage})).tool_calls
    turns = [MemoryEntry("user", "Hi."), MemoryEntry("assistant", "", tool_calls=calls)]
    result = MemoryEntry("tool", "6", metadata={"tool_call_id": "c"})
    assert 3004 < await agent.count_tokens(AgentPayload("", memory=[*turns, result])) < 3100
    await agent.aclose()
    with pytest.raises(AgentClosedError):
        await agent.count_tokens(question)


async def test_event_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event loop has its own connections, and closing the agent closes those in use."""
    clients: list[Client] = []

    def connect(_: Told) -> Client:
        clients.append(Client([{"id": "m", "max_model_len": 10}]))
        return clients[-1]

    monkeypatch.setattr(Told, "_connect", connect)
    agent = await make()
    for _ in range(2):
        await asyncio.to_thread(asyncio.run, agent.list_models())
    await agent.list_models()
    await agent.list_models()
    assert [each.asked for each in clients] == [1, 1, 2]
    asked = threading.Event()

    async def stay() -> None:
        await agent.list_models()
        asked.set()
        await clients[-1].left.wait()

    elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, stay()))
    await asyncio.to_thread(asked.wait)
    await agent.aclose()
    await elsewhere
    assert [each.closed for each in clients] == [0, 0, 1, 1]
