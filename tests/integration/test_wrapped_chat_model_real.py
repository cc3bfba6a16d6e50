"""LangChain's chat models as our agents: the real local model there and back, and what else a model may do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry
from llm_backend.errors import (
    AgentClosedError,
    ConfigError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    PayloadError,
    StructuredOutputError,
)
from llm_backend.llms import Conversation, MemoryStore, as_chat_model, wrap_chat_model
from llm_backend.llms.payloads import End, Reasoning, ReasoningEffort, Text, ToolCall, ToolCallEvent, Usage, UsageEvent
from tests.integration.questions import FACT
from tests.integration.scripted_chat_model import Scripted, message
from tests.integration.server import delta
from tests.integration.server_engines import QUESTION, TOOL, joined
from tests.integration.usage import used
from tests.integration.weights import count_forward_passes
from tests.unit.backend.prepared_once import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_backend.llms.agent import Agent
    from tests.integration.server import ScriptedServer

    Ask = Callable[..., AgentPayload]

CALL = {"type": "tool_call", "name": "roll", "args": {"sides": 6}, "id": "call-1"}
USAGE = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}


@pytest.mark.requires("llm", "model", "langchain")
class TestLocalModel:
    """The real local model behind LangChain's interface, as an agent again."""

    async def test_answer(self, agent: Agent, ask: Ask) -> None:
        """A wrapped chat model gives the answer and the usage of the model behind it."""
        async with wrap_chat_model(as_chat_model(agent)) as wrapped:
            answer = await wrapped.invoke(ask(QUESTION))
            short = await wrapped.invoke(ask(QUESTION, max_new_tokens=2))
        assert answer.response == FACT
        assert answer.metadata["engine"] == "langchain"
        assert (short.response, short.metadata["finish_reason"]) == ("The capital", "length")
        assert used(short).completion_tokens == 2

    async def test_stream(self, agent: Agent, ask: Ask) -> None:
        """A wrapped chat model streams its answer while it is being made."""
        wrapped = wrap_chat_model(as_chat_model(agent))
        assert await wrapped.supports_streaming()
        with count_forward_passes(agent) as passes:
            pieces = [(piece, passes.count) async for piece in wrapped.stream(ask(QUESTION))]
        assert "".join(piece for piece, _ in pieces) == FACT
        assert len(pieces) >= 5
        assert pieces[0][1] < pieces[-1][1]

    async def test_left_stream(self, agent: Agent, ask: Ask) -> None:
        """Closing a stream stops the model."""
        stream = wrap_chat_model(as_chat_model(agent)).stream(ask("Tell me a story.", max_new_tokens=400))
        with count_forward_passes(agent) as passes:
            await anext(stream)
            await stream.aclose()
            await agent.invoke(ask(QUESTION, max_new_tokens=1))  # the only thread takes it up when it is free
        assert passes.count < 100


def roll(sides: int) -> int:
    """Roll a die."""
    return sides


@pytest.mark.requires("langchain")
class TestChatModels:
    """What a chat model gets, what is read from it, and what it may do wrong; no model answers here."""

    async def test_nothing_is_chosen_for_the_caller(self) -> None:
        """The options that the chat model was built with hold where the caller chose none."""
        scripted = Scripted("ok")
        payload = AgentPayload("Hi.", system_context="Be brief.")
        assert (await wrap_chat_model(scripted.model).invoke(payload)).response == "ok"
        assert [[(each.type, each.content) for each in messages] for messages in scripted.received] == [
            [("system", "Be brief."), ("human", "Hi.")]
        ]
        assert scripted.options == [{}]

    async def test_options(self) -> None:
        """Each chosen option reaches the chat model, and a stop text leaves the answer."""
        scripted = Scripted("one # two", "one # two")
        generation = GenerationOptions(max_new_tokens=3, temperature=0.5, top_p=0.9, top_k=4, seed=1, stop=("#",))
        payload = AgentPayload("Hi.", generation=generation, reasoning_effort=ReasoningEffort(effort="low"))
        wrapped = wrap_chat_model(scripted.model)
        assert (await wrapped.invoke(payload)).response == "one"
        assert await joined(wrapped, payload) == "one"
        chosen = {"max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "seed": 1, "stop": ["#"]}
        assert scripted.options == [chosen | {"reasoning_effort": "low"}] * 2

    async def test_tools(self) -> None:
        """A tool is offered, and its call, the usage and the finish reason are read."""
        scripted = Scripted(
            message(tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"stop_reason": "tool_use"})
        )
        answer = await wrap_chat_model(scripted.model).invoke_with_tools(AgentPayload("Roll."), [TOOL])
        assert scripted.options == [{"tools": [TOOL]}]
        assert answer.tool_calls == (ToolCall(name="roll", arguments={"sides": 6}, id="call-1"),)
        assert answer.metadata["usage"] == Usage(prompt_tokens=7, completion_tokens=3)
        assert answer.metadata["finish_reason"] == "tool_calls"

    async def test_events_in_one_piece(self) -> None:
        """A model that does not stream with tools keeps its calls, reasoning and usage."""
        scripted = Scripted(
            message("I roll.", tool_calls=[CALL], additional_kwargs={"reasoning_content": "A die."}),
            message(tool_calls=[CALL], usage_metadata=USAGE),
            disable_streaming="tool_calling",
        )
        wrapped = wrap_chat_model(scripted.model)
        payload = AgentPayload("Roll.", tools_available=[TOOL])
        whole, bare = [[event async for event in wrapped.stream_events(payload)] for _ in range(2)]
        call = ToolCallEvent(ToolCall(name="roll", arguments={"sides": 6}, id="call-1"))
        assert whole[:3] == [Reasoning("A die."), Text("I roll."), call]
        assert (bare[0], bare[-1]) == (call, End("tool_calls"))
        [usage] = [event.usage for event in bare if isinstance(event, UsageEvent)]
        assert usage == Usage(prompt_tokens=7, completion_tokens=3)

    async def test_events_in_pieces(self) -> None:
        """Reasoning, calls and usage of a stream's chunks are put together."""
        from langchain_core.language_models.fake_chat_models import FakeChatModel
        from langchain_core.messages import AIMessageChunk
        from langchain_core.messages.ai import UsageMetadata
        from langchain_core.messages.tool import tool_call_chunk
        from langchain_core.outputs import ChatGenerationChunk

        def call(index: int, args: str, name: str | None = None) -> Any:
            return [tool_call_chunk(index=index, args=args, name=name, id=name and f"call-{index}")]

        chunks = [
            AIMessageChunk(content=[{"type": "reasoning", "reasoning": "A die."}]),
            AIMessageChunk(
                content="I roll.", usage_metadata=UsageMetadata(input_tokens=7, output_tokens=0, total_tokens=7)
            ),
            AIMessageChunk(content="", tool_call_chunks=call(0, '{"sides"', "roll")),
            AIMessageChunk(content="", tool_call_chunks=call(1, "{", "sing")),
            AIMessageChunk(content="", tool_call_chunks=[*call(0, ": 6}"), *call(1, "}")]),
            AIMessageChunk(content="", usage_metadata=UsageMetadata(input_tokens=0, output_tokens=3, total_tokens=3)),
        ]

        class Streaming(FakeChatModel):
            async def _astream(self, *_: Any, **__: Any) -> Any:
                for chunk in chunks:
                    yield ChatGenerationChunk(message=chunk)

        wrapped = wrap_chat_model(Streaming())
        *events, usage, end = [event async for event in wrapped.stream_events(AgentPayload("Roll."))]
        assert events == [
            Reasoning("A die."),
            Text("I roll."),
            ToolCallEvent(ToolCall(name="roll", arguments={"sides": 6}, id="call-0")),
            ToolCallEvent(ToolCall(name="sing", arguments={}, id="call-1")),
        ]
        assert isinstance(usage, UsageEvent)
        assert (usage.usage, end) == (Usage(prompt_tokens=7, completion_tokens=3), End("tool_calls"))
        assert await wrapped.count_tokens(AgentPayload("Roll.")) == await wrapped.count_tokens("Roll.") == 7

    @pytest.mark.parametrize("way", ["whole", "streamed"])
    async def test_what_the_chat_model_wants_back(self, way: str) -> None:
        """A chat model's own extras go back to it in the next round, and no others do."""
        thought = {"type": "thinking", "thinking": "A die.", "signature": "s"}
        said = [thought, {"type": "text", "text": "I roll."}, {"type": "image", "base64": b"no JSON"}]
        kwargs = {"__gemini_function_call_thought_signatures__": {"call-1": "s2"}, "refusal": None, "raw": b"no JSON"}
        scripted = Scripted(message(said, tool_calls=[CALL], additional_kwargs=kwargs), "Six.")  # type: ignore[arg-type]
        wrapped = wrap_chat_model(scripted.model, context_window=4096)
        conversation = Conversation(wrapped, "s", store=MemoryStore())
        entry = MemoryEntry("assistant", "Hi.", extras={"reasoning_content": "of another server"})
        await conversation.add(MemoryEntry("user", "Hi."), entry)
        if way == "whole":
            await conversation.ask("Roll.", tools=[roll])
        else:
            scripted.model.disable_streaming = True
            assert "".join([piece async for piece in conversation.stream("Roll.", tools=[roll])]) == "I roll.Six."
        _, greeting, _, turn, result = scripted.received[1]
        assert (greeting.content, greeting.additional_kwargs) == ("Hi.", {})
        assert turn.content == [thought, {"type": "text", "text": "I roll."}]
        assert turn.additional_kwargs == {"__gemini_function_call_thought_signatures__": {"call-1": "s2"}}
        assert (turn.tool_calls[0]["id"], result.tool_call_id) == ("call-1", "call-1")

    async def test_events(self) -> None:
        """A stream without a finish reason ended normally, and a cut one is reported as cut."""
        from langchain_core.language_models import FakeListChatModel

        events = [
            event
            async for event in wrap_chat_model(FakeListChatModel(responses=["ok"])).stream_events(AgentPayload("Hi."))
        ]
        assert events[:2] == [Text("o"), Text("k")]
        assert events[-1] == End("stop")
        cut = {"response_metadata": {"stop_reason": "max_tokens"}}
        wrapped = wrap_chat_model(Scripted(message("ok", **cut)).model)
        assert (await wrapped.invoke(AgentPayload("Hi."))).metadata["finish_reason"] == "length"
        status = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        wrapped = wrap_chat_model(Scripted(message("ok", response_metadata=status)).model)
        assert (await wrapped.invoke(AgentPayload("Hi."))).metadata["finish_reason"] == "length"

    async def test_chat_openai(self, scripted: ScriptedServer) -> None:
        """ChatOpenAI's finish reason is read, and its options go over the wire."""
        from langchain_openai import ChatOpenAI

        scripted.stream(delta("o"), delta("k"), delta(None, "length"))
        wrapped = wrap_chat_model(ChatOpenAI(model="m", base_url=scripted.url, api_key=lambda: "none"))
        payload = AgentPayload("Hi.", generation=GenerationOptions(temperature=0.5, stop=("#",)))
        events = [event async for event in wrapped.stream_events(payload)]
        assert (events[:2], events[-1]) == ([Text("o"), Text("k")], End("length"))
        body = scripted.received[0].body
        assert (body["stop"], body["temperature"], "seed" in body) == (["#"], 0.5, False)

    async def test_tools_refused(self) -> None:
        """A chat model that takes no tools is refused them by an error that says so."""
        from langchain_core.language_models import FakeListChatModel

        wrapped = wrap_chat_model(FakeListChatModel(responses=["ok"]))
        with pytest.raises(PayloadError, match=r"^FakeListChatModel takes no tools\. Leave them out"):
            await wrapped.invoke_with_tools(AgentPayload("Roll."), [TOOL])

    async def test_structured_output(self) -> None:
        """The chat model gets the schema, and an answer that does not fit it raises an error."""

        class Capital(BaseModel):
            city: str

        scripted = Scripted('{"city": "Paris"}', "Paris")
        wrapped = wrap_chat_model(scripted.model)
        payload = AgentPayload(QUESTION, output_schema=Capital)
        with counted() as prepared:
            assert (await wrapped.invoke(payload)).parsed == Capital(city="Paris")
        assert prepared["messages"] == 1
        assert '"city"' in scripted.received[0][0].content
        with pytest.raises(StructuredOutputError):
            await wrapped.invoke(payload)

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            (TimeoutError("secret"), EngineTimeoutError),
            (ConnectionResetError("secret"), EngineConnectionError),
            (type("AuthenticationError", (Exception,), {})("secret"), EngineAuthenticationError),
            (type("PermissionDeniedError", (Exception,), {})("secret"), EngineAuthenticationError),
            (ValueError("secret"), EngineError),
        ],
        ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
    )
    async def test_errors(self, fault: Exception, expected: type[EngineError]) -> None:
        """A chat model's error becomes the matching one of ours, with its cause, and shows no secret."""
        wrapped = wrap_chat_model(Scripted(fault=fault).model)
        for ask in (wrapped.invoke, lambda payload: joined(wrapped, payload)):
            with pytest.raises(EngineError, match=rf"^Recording failed with {type(fault).__name__}") as caught:
                await ask(AgentPayload("Hi."))
            assert type(caught.value) is expected
            assert repr(caught.value.__cause__) == repr(fault)  # passing through a thread may copy it
            assert "secret" not in str(caught.value)

    async def test_error_in_a_stream(self) -> None:
        """A stream that breaks off raises an error."""
        from langchain_core.language_models import FakeListChatModel

        stream = wrap_chat_model(FakeListChatModel(responses=["ok"], error_on_chunk_number=1)).stream(
            AgentPayload("Hi.")
        )
        assert await anext(stream) == "o"
        with pytest.raises(EngineError, match=r"^FakeListChatModel failed with FakeListChatModelError"):
            await anext(stream)

    async def test_cancellation_and_time_limit(self) -> None:
        """A cancellation or the time limit stops the chat model."""
        from langchain_core.language_models.fake_chat_models import FakeChatModel

        asked, left = asyncio.Event(), asyncio.Event()

        class Silent(FakeChatModel):
            async def _agenerate(self, *_: Any, **__: Any) -> Any:
                asked.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    left.set()

        task = asyncio.create_task(wrap_chat_model(Silent()).invoke(AgentPayload("Hi.")))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left.is_set()
        left.clear()
        with pytest.raises(EngineTimeoutError, match=r"other end of Silent did not finish its answer within 0\.01 s"):
            await wrap_chat_model(Silent(), timeout=0.01).invoke(AgentPayload("Hi."))
        assert left.is_set()

    async def test_no_tracing(self) -> None:
        """No prompt is sent to LangSmith, even where tracing is on."""
        from langsmith import tracing_context
        from langsmith.utils import tracing_is_enabled

        scripted = Scripted("ok", "ok")
        wrapped = wrap_chat_model(scripted.model)
        with tracing_context(enabled=True):
            assert tracing_is_enabled()
            await wrapped.invoke(AgentPayload("Hi."))
            await joined(wrapped, AgentPayload("Hi."))
        assert scripted.traced == [False, False]

    async def test_context_window(self) -> None:
        """The context window is the caller's; without one there is an error."""
        model = Scripted().model
        assert await wrap_chat_model(model, context_window=4096).get_context_window() == 4096
        with pytest.raises(ConfigError, match=r"Give wrap_chat_model a context_window\.$"):
            await wrap_chat_model(model).get_context_window()

    async def test_count(self) -> None:
        """A prompt is counted by the model's own tokenizer or estimated, tools included."""
        payload = AgentPayload("Hello there, you.")
        tools = AgentPayload("Hello there, you.", tools_available=[TOOL])
        estimating = wrap_chat_model(Scripted().model)
        counting = wrap_chat_model(Scripted(custom_get_token_ids=lambda text: list(range(len(text.split())))).model)
        assert len("Hello there, you.") < await counting.count_tokens(payload) < await estimating.count_tokens(payload)
        for wrapped in (estimating, counting):
            assert await wrapped.count_tokens(tools) > await wrapped.count_tokens(payload) + 50

        broken = wrap_chat_model(Scripted(custom_get_token_ids=lambda _: 1 / 0).model)
        with pytest.raises(EngineError, match="ZeroDivisionError"):
            await broken.count_tokens(payload)

    async def test_count_is_learned(self) -> None:
        """The prompt size that a model reported is the next count."""
        wrapped = wrap_chat_model(Scripted(message("ok", usage_metadata=USAGE)).model)
        await wrapped.invoke(AgentPayload("Hi."))
        assert await wrapped.count_tokens(AgentPayload("Hi.")) == 7

    async def test_use_after_close(self) -> None:
        """A closed agent does not ask its chat model, and can be closed again."""
        scripted = Scripted("ok")
        async with wrap_chat_model(scripted.model, context_window=1) as wrapped:
            pass
        await wrapped.aclose()
        payload = AgentPayload("Hi.")
        for use in (
            lambda: wrapped.invoke(payload),
            lambda: joined(wrapped, payload),
            lambda: wrapped.count_tokens(payload),
            wrapped.get_context_window,
            wrapped.supports_streaming,
        ):
            with pytest.raises(AgentClosedError, match=r"is closed\. Make a new one with wrap_chat_model\.$"):
                await use()
        assert scripted.received == []

    async def test_names(self) -> None:
        """An agent's repr names the model that it asks."""
        from langchain_openai import ChatOpenAI

        named = wrap_chat_model(ChatOpenAI(model="gpt-x", api_key=lambda: "none"))
        assert repr(named) == "WrappedAgent(model='gpt-x', server='the other end of ChatOpenAI')"
        assert repr(wrap_chat_model(Scripted().model)).startswith("WrappedAgent(model='Recording'")

    def test_wrong_arguments(self) -> None:
        """Anything but a chat model, or a window without tokens, is refused at once."""
        model: Any = object()
        with pytest.raises(ConfigError, match=r"^chat_model is of type object\. Give one of LangChain's"):
            wrap_chat_model(model)
        with pytest.raises(ConfigError, match="context_window is 0"):
            wrap_chat_model(Scripted().model, context_window=0)
