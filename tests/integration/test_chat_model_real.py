"""Our agents as chat models of LangChain's: in chains with the real local model, and what goes over the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from backend import AgentPayload, MemoryEntry, ToolCall
from backend.errors import EventLoopError, PayloadError
from backend.llms import as_chat_model
from tests.integration.server import delta
from tests.integration.server_engines import call_of
from tests.integration.weights import count_forward_passes

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

    from backend.llms.protocol import Agent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

FACT = "The capital of France is Paris."
COUNTRY = {"country": "France"}


def chain_on(model: BaseChatModel) -> Runnable[Any, str]:
    """A chain as tutorials have it."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    prompt = ChatPromptTemplate([("human", "What is the capital of {country}?")])
    return prompt | model.bind(max_tokens=12) | StrOutputParser()


@pytest.mark.requires("llm", "model", "langchain")
class TestLocalModel:
    """The real local model in LangChain's hands."""

    async def test_chain(self, agent: Agent) -> None:
        """A chain cannot use the local model."""
        assert await chain_on(as_chat_model(agent)).ainvoke(COUNTRY) == FACT

    async def test_streaming_token_by_token(self, agent: Agent) -> None:
        """A chain gets the answer in one piece, or only when all of it is made."""
        with count_forward_passes(agent) as passes:
            chunks = chain_on(as_chat_model(agent)).astream(COUNTRY)
            pieces = [(piece, passes.count) async for piece in chunks if piece]
        assert "".join(piece for piece, _ in pieces) == FACT
        assert len(pieces) >= 5
        assert pieces[0][1] < pieces[-1][1]

    async def test_usage(self, agent: Agent) -> None:
        """What an answer cost, why it ended, or which model gave it, is lost."""
        message = await as_chat_model(agent).ainvoke("What is the capital of France?", max_tokens=3)
        usage: Any = message.usage_metadata
        assert (message.content, usage["output_tokens"]) == ("The capital of", 3)
        assert usage["total_tokens"] == usage["input_tokens"] + 3
        assert message.response_metadata["finish_reason"] == "length"
        assert message.response_metadata["model_provider"] == "huggingface"

    async def test_sync_methods_in_another_thread(self, agent: Agent) -> None:
        """Sync code beside the event loop cannot use the agent that lives there."""
        chain = chain_on(as_chat_model(agent))
        assert await asyncio.to_thread(chain.invoke, COUNTRY) == FACT
        pieces = await asyncio.to_thread(lambda: list(chain.stream(COUNTRY)))
        assert len(pieces) >= 5
        assert "".join(pieces) == FACT


@pytest.mark.requires("openai", "langchain")
class TestChatModel:
    """What it sends, what it refuses, and where it works; no model answers here."""

    @pytest.fixture
    def server_engine(self) -> str:
        """An engine whose server can be scripted."""
        return "openai"

    @pytest.fixture
    async def model(self, connect: Connect, scripted: ScriptedServer) -> BaseChatModel:
        """A chat model on an agent of the scripted server."""
        return as_chat_model(await connect(scripted.url))

    async def test_tools(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """A tool's call does not reach LangChain, or its result does not reach the model."""
        from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

        def roll(sides: int) -> int:
            """Roll a die."""
            return sides

        scripted.complete(None, tool_calls=[call_of('{"sides": 6}')])
        bound, question = model.bind_tools([roll]), [SystemMessage("Play."), HumanMessage("Roll.")]
        called = await bound.ainvoke(question)
        [call] = called.tool_calls
        assert (call["name"], call["args"], call["id"]) == ("roll", {"sides": 6}, "call-1")
        result = ToolMessage(str(roll(**call["args"])), tool_call_id=call["id"])
        scripted.complete("A six.")
        answers = [chunk async for chunk in bound.astream([*question, called, result])]
        assert "".join(str(chunk.text) for chunk in answers) == "A six."
        first, second = (request.body for request in scripted.received)
        assert first["tools"][0]["function"]["name"] == "roll"
        assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
        assert second["messages"][-1]["tool_call_id"] == "call-1"
        assert second["messages"][-1]["content"] == "6"

    async def test_streamed_tool_call(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """A call is lost in a stream, or a call without a name of its own cannot be answered."""
        tool = {"type": "function", "function": {"name": "roll", "parameters": {}}}
        scripted.complete('<think>Hm.</think><tool_call>{"name": "roll", "arguments": {}}</tool_call>')
        [chunk] = [chunk async for chunk in model.bind_tools([tool]).astream("Roll.") if chunk.tool_calls]
        assert chunk.tool_calls[0]["name"] == "roll"
        assert str(chunk.tool_calls[0]["id"]).startswith("call-")
        assert chunk.additional_kwargs["reasoning_content"] == "Hm."

    async def test_options(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """An option that somebody chose is dropped, or one that nobody knows is."""
        scripted.answer({"choices": [{"message": {"content": "ok"}}]})
        message = await model.ainvoke("Hi.", stop=["#"], temperature=0.5, max_tokens=3, seed=1)
        assert message.usage_metadata is None
        body = scripted.received[0].body
        assert (body["stop"], body["temperature"], body["max_tokens"], body["seed"]) == (["#"], 0.5, 3, 1)
        with pytest.raises(PayloadError, match=r"no option 'colour'\. The options are: tools, max_new_tokens"):
            await model.ainvoke("Hi.", colour="red")
        with pytest.raises(PayloadError, match=r"tool_choice is 'any', but an agent's model chooses"):
            model.bind_tools([], tool_choice="any")

    async def test_messages_that_no_agent_reads(self, model: BaseChatModel) -> None:
        """A message is dropped or torn without a word."""
        from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage

        image = {"type": "image_url", "image_url": {"url": "data:,"}}
        for messages, words in (
            ([], "no question and no tool's result"),
            ([SystemMessage("Be kind.")], "no question and no tool's result"),
            ([HumanMessage("Hi."), AIMessage("Hello.")], "no question and no tool's result"),
            ([ChatMessage(content="Hi.", role="pirate")], "no message of type 'chat'"),
            ([HumanMessage(["See:", {"type": "text", "text": "this"}, image])], "content of type 'image_url'"),
        ):
            with pytest.raises(PayloadError, match=words):
                await model.ainvoke(messages)

    async def test_left_stream(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """A chain that leaves a stream is still computed for, in the loop or beside it."""
        scripted.stream(delta("He"), hold=True)
        chunks: Any = model.astream("Hi.")
        assert (await anext(chunks)).text == "He"
        await chunks.aclose()
        await scripted.left.wait()
        scripted.left.clear()
        scripted.stream(delta("He"), hold=True)

        def look_in() -> str:
            stream = model.stream("Hi.")
            first = str(next(stream).text)
            stream.close()  # type: ignore[attr-defined]
            return first

        assert await asyncio.to_thread(look_in) == "He"
        await scripted.left.wait()

    async def test_sync_methods_in_a_loop(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """A sync method stops the event loop, and with it the very work that it waits for."""
        for use in (lambda: model.invoke("Hi."), lambda: list(model.stream("Hi."))):
            with pytest.raises(EventLoopError, match=r"would block the event loop .*Use ainvoke, astream"):
                use()
        assert scripted.received == []

    async def test_sync_methods_without_a_loop(self, model: BaseChatModel) -> None:
        """A sync method waits for ever for a loop that nobody runs."""
        lonely = await asyncio.to_thread(as_chat_model, model.agent)  # type: ignore[attr-defined]
        with pytest.raises(EventLoopError, match=r"loop does not run.*Call as_chat_model in the running loop"):
            await asyncio.to_thread(lonely.invoke, "Hi.")

    async def test_payload_after_a_tool(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A model cannot go on from a tool's result, because the user has to say something first."""
        scripted.complete("ok")
        asked = MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={}, id="call-1")])
        memory = [MemoryEntry("user", "Roll."), asked, MemoryEntry("tool", "6", metadata={"tool_call_id": "call-1"})]
        await (await connect(scripted.url)).invoke(AgentPayload("", memory=memory))
        assert [message["role"] for message in scripted.received[0].body["messages"]] == ["user", "assistant", "tool"]
