"""Our agents as chat models of LangChain: in chains with the real local model, and over the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from pydantic import BaseModel

from llm_backend import AgentPayload, MemoryEntry, ToolCall
from llm_backend.errors import EventLoopError, PayloadError, StructuredOutputError
from llm_backend.llms import as_chat_model, wrap_chat_model
from tests.integration.questions import FACT, QUESTION
from tests.integration.server import delta
from tests.integration.server_engines import TOOL, call_of
from tests.integration.test_langgraph_real import get_population, population_question
from tests.integration.weights import count_forward_passes

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

    from llm_backend.llms.agent import Agent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

COUNTRY = {"country": "Japan"}
AS_OBJECT = "Give that answer as JSON."
ROLLS = '<tool_call>{"name": "roll", "arguments": {"sides": 6}}</tool_call>'


class Country(BaseModel):
    """A country."""

    name: str
    capital: str


class CountryDict(TypedDict):
    """A country."""

    name: str
    capital: str


async def merged(model: Runnable[Any, Any], question: object) -> Any:
    """The stream's chunks, added up as LangChain does."""
    from langchain_core.messages import AIMessageChunk, message_chunk_to_message

    whole = AIMessageChunk(content="")
    async for chunk in model.astream(question):
        whole += chunk
    return message_chunk_to_message(whole)


def without_names(message: Any) -> dict[str, Any]:
    """A message without what is named afresh each time: its own id, and those of unnamed calls."""
    return {**message.model_dump(exclude={"id"}), "tool_calls": [{**call, "id": ""} for call in message.tool_calls]}


def chain_on(model: BaseChatModel) -> Runnable[Any, str]:
    """A chain as tutorials write it."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    prompt = ChatPromptTemplate([("human", "What is the capital city of {country}?")])
    return prompt | model.bind(max_tokens=12) | StrOutputParser()


@pytest.mark.requires("llm", "model", "langchain")
class TestLocalModel:
    """The real local model in LangChain's hands."""

    async def test_chain(self, agent: Agent) -> None:
        """A chain can use the local model."""
        assert await chain_on(as_chat_model(agent)).ainvoke(COUNTRY) == FACT

    async def test_streaming_token_by_token(self, agent: Agent) -> None:
        """A chain gets the answer in pieces, while it is being made."""
        with count_forward_passes(agent) as passes:
            chunks = chain_on(as_chat_model(agent)).astream(COUNTRY)
            pieces = [(piece, passes.count) async for piece in chunks if piece]
        assert "".join(piece for piece, _ in pieces) == FACT
        assert len(pieces) >= 5
        assert pieces[0][1] < pieces[-1][1]

    async def test_usage(self, agent: Agent) -> None:
        """The message has the answer's usage, finish reason and model."""
        message = await as_chat_model(agent).ainvoke(QUESTION, max_tokens=3)
        usage: Any = message.usage_metadata
        assert (message.content, usage["output_tokens"]) == ("The capital city", 3)
        assert usage["total_tokens"] == usage["input_tokens"] + 3
        assert message.response_metadata["finish_reason"] == "length"
        assert message.response_metadata["engine"] == "huggingface"

    async def test_streamed_message(self, agent: Agent) -> None:
        """A stream's chunks add up to the whole answer: text, usage and reason."""
        model, question = (
            as_chat_model(agent).bind_tools([get_population], max_tokens=5),
            QUESTION,
        )
        answer = await model.ainvoke(question)
        assert answer.usage_metadata
        assert without_names(await merged(model, question)) == without_names(answer)

    async def test_objects(self, agent: Agent) -> None:
        """An answer is an object of the schema, and a stream shows it growing."""
        question, model = FACT, as_chat_model(agent)
        country = await model.with_structured_output(Country, max_tokens=40).ainvoke(question)
        assert isinstance(country, Country)
        grown: list[Any] = [part async for part in model.with_structured_output(CountryDict).astream(question)]
        assert grown[-1].keys() == {"name", "capital"}
        assert {"name": grown[-1]["name"]} in grown
        both: Any = await model.with_structured_output(Country, include_raw=True, max_tokens=3).ainvoke(question)
        assert both["raw"].response_metadata["finish_reason"] == "length"
        assert both["parsed"] is None
        assert isinstance(both["parsing_error"], StructuredOutputError)

    async def test_sync_methods_in_another_thread(self, agent: Agent) -> None:
        """Sync code in another thread can use the agent of an event loop."""
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
        """A tool's call reaches LangChain, and its result reaches the model."""
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
        scripted.stream(delta("A six."), delta(finish_reason="stop"))
        answers = [chunk async for chunk in bound.astream([*question, called, result])]
        assert "".join(str(chunk.text) for chunk in answers) == "A six."
        first, second = (request.body for request in scripted.received)
        assert first["tools"][0]["function"]["name"] == "roll"
        assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
        assert second["messages"][-1]["tool_call_id"] == "call-1"
        assert second["messages"][-1]["content"] == "6"

    async def test_streamed_message(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """A stream's chunks add up to the whole answer, and calls without an id get one."""
        bound, parts = model.bind_tools([TOOL]), ("<think>Hm.</th", "ink>So ", "be it.", ROLLS, ROLLS)
        scripted.complete("".join(parts))
        spent = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        scripted.stream(*map(delta, parts), delta(finish_reason="stop"), {"choices": [], "usage": spent})
        answer, streamed = await bound.ainvoke("Roll."), await merged(bound, "Roll.")
        assert without_names(streamed) == without_names(answer)
        assert answer.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        assert [block["type"] for block in streamed.content_blocks] == ["reasoning", "text", "tool_call", "tool_call"]
        assert answer.content_blocks[0] == {"type": "reasoning", "reasoning": "Hm."}
        names = [call["id"] for message in (answer, streamed) for call in message.tool_calls]
        assert len(set(names)) == len(names) == 4
        assert all(str(name).startswith("call-") for name in names)

    @pytest.mark.parametrize("way", ["whole", "streamed"])
    async def test_what_the_server_wants_back(self, model: BaseChatModel, scripted: ScriptedServer, way: str) -> None:
        """Extras of a turn and a call are in the message, and go back with it."""
        call = {**call_of('{"sides": 6}'), "extra_content": {"google": {"thought_signature": "s"}}}
        if way == "whole":
            scripted.complete("", reasoning_content="A die.", tool_calls=[call])
            said = await model.bind_tools([TOOL]).ainvoke("Roll.")
        else:
            parts = {"reasoning_content": "A die."}, {"tool_calls": [{"index": 0, **call}]}
            scripted.stream(*(delta(None, **part) for part in parts), delta(None, "tool_calls"))
            said = await merged(model.bind_tools([TOOL]), "Roll.")
        result = {"role": "tool", "content": "6", "tool_call_id": "call-1"}
        scripted.complete("Six.")
        await model.bind_tools([TOOL]).ainvoke([{"role": "user", "content": "Roll."}, said, result])
        turn = scripted.received[1].body["messages"][1]
        assert (turn["reasoning_content"], turn["tool_calls"]) == ("A die.", [call])

    async def test_schemas(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """Every schema that LangChain accepts reaches the server, and its answer is an object."""
        answer = '{"name": "France", "capital": "Paris"}'
        schema = Country.model_json_schema()
        tool = {"type": "function", "function": {"name": "Country", "description": "A country.", "parameters": schema}}
        for kind in (Country, CountryDict, schema, tool, tool["function"]):
            scripted.complete(answer)
            found: Any = await model.with_structured_output(kind).ainvoke("Which?")  # type: ignore[arg-type]
            assert dict(found) == {"name": "France", "capital": "Paris"}
            sent = scripted.received[-1].body["response_format"]["json_schema"]["schema"]
            assert sent["properties"].keys() == {"name", "capital"}
        scripted.complete(answer)
        await model.with_structured_output(Country).ainvoke([("human", "Which?"), ("ai", "France.")])
        assert [message["content"] for message in scripted.received[-1].body["messages"][-2:]] == ["France.", AS_OBJECT]
        scripted.stream(delta(answer), delta(finish_reason="stop"))
        streamed = [part async for part in model.with_structured_output(Country).astream("Which?")]
        assert streamed == [Country(name="France", capital="Paris")]

    async def test_answers_that_are_no_objects(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """An answer that does not fit raises an error, or comes raw with it where that is asked."""
        scripted.complete('{"name": 1}')
        with pytest.raises(StructuredOutputError, match="does not match the output schema"):
            await model.with_structured_output(CountryDict).ainvoke("Which?")
        scripted.stream(delta('{"name": 1}'), delta(finish_reason="stop"))
        [both] = [part async for part in model.with_structured_output(Country, include_raw=True).astream("Which?")]
        assert both["raw"].content == '{"name": 1}'  # type: ignore[index]
        assert isinstance(both["parsing_error"], StructuredOutputError)  # type: ignore[index]
        for options in ({"method": "function_calling"}, {"method": "json_mode"}, {"schema": None}):
            arguments: dict[str, Any] = {"schema": Country, **options}
            with pytest.raises(PayloadError, match=r"by 'json_schema' only\. Give a schema, and leave method out"):
                model.with_structured_output(**arguments)

    async def test_cached_answers(self, connect: Connect, scripted: ScriptedServer) -> None:
        """LangChain's cache gives an answer only to the same agent, settings and request."""
        from langchain_core.caches import InMemoryCache
        from langchain_core.language_models import FakeListChatModel

        cache = InMemoryCache()
        agents = [await connect(scripted.url, **options) for options in ({}, {"model": "n"}, {"temperature": 0.5}, {})]
        wrapped = [wrap_chat_model(FakeListChatModel(responses=[word])) for word in ("four", "five")]
        models = [as_chat_model(agent).model_copy(update={"cache": cache}) for agent in (*agents, *wrapped)]
        for word in ("one", "two", "three"):
            scripted.complete(word)
        answers = [(await model.ainvoke("Hi.")).content for model in models]
        assert answers == ["one", "two", "three", "one", "four", "five"]

    async def test_batches(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """A batch is answered in order, and its listeners hear everything once."""
        from langchain_core.callbacks import AsyncCallbackHandler

        class Listener(AsyncCallbackHandler):
            def __init__(self) -> None:
                self.heard: list[tuple[str, Any]] = []

            async def on_chat_model_start(self, *_: Any, tags: Any = None, **__: Any) -> None:
                self.heard.append(("start", tags))

            async def on_llm_new_token(self, token: Any, **_: Any) -> None:
                self.heard.append(("token", token))

            async def on_llm_end(self, response: Any, **_: Any) -> None:
                self.heard.append(("end", response.generations[0][0].text))

        listener = Listener()
        scripted.complete("one")
        scripted.complete("two")
        answers = await model.abatch(
            ["1", "2"], {"max_concurrency": 1, "tags": ["here"], "callbacks": [listener]}, temperature=0.5
        )
        assert [answer.content for answer in answers] == ["one", "two"]
        assert [request.body["temperature"] for request in scripted.received] == [0.5, 0.5]
        assert listener.heard == [("start", ["here"]), ("end", "one"), ("start", ["here"]), ("end", "two")]
        listener.heard.clear()
        scripted.stream(delta("He"), delta("llo"), delta(finish_reason="stop"))
        assert [str(chunk.text) async for chunk in model.astream("Hi.", {"callbacks": [listener]}) if chunk.text]
        assert [heard for heard in listener.heard if heard[1]] == [("token", "He"), ("token", "llo"), ("end", "Hello")]
        scripted.complete("three")
        assert (await asyncio.to_thread(model.batch, ["3"]))[0].content == "three"

    async def test_counting_tokens(self, model: BaseChatModel) -> None:
        """LangChain cannot count with a tokenizer of another model; one of the caller's own works."""
        from langchain_core.messages import trim_messages

        with pytest.raises(PayloadError, match=r"only counts the tokens of whole prompts.*token_counter='approximate'"):
            model.get_num_tokens("Hello there.")
        with pytest.raises(PayloadError, match="only counts the tokens of whole prompts"):
            trim_messages(population_question(), max_tokens=100, token_counter=model)
        kept = trim_messages(population_question(), max_tokens=1000, token_counter="approximate")  # noqa: S106
        assert len(kept) == 5
        model.custom_get_token_ids = lambda text: list(range(len(text.split())))
        assert model.get_num_tokens("Hello there.") == 2

    async def test_options(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """Every chosen option is sent, and an unknown one is refused."""
        scripted.answer({"choices": [{"message": {"content": "ok"}}]})
        message = await model.bind(stop=["#"], temperature=0.5).ainvoke("Hi.", max_tokens=3, seed=1)
        assert message.usage_metadata is None
        body = scripted.received[0].body
        assert (body["stop"], body["temperature"], body["max_tokens"], body["seed"]) == (["#"], 0.5, 3, 1)
        with pytest.raises(PayloadError, match=r"no option 'colour'\. The options are: tools, max_new_tokens"):
            await model.ainvoke("Hi.", colour="red")
        with pytest.raises(PayloadError, match=r"tool_choice is 'any', but an agent's model chooses"):
            model.bind_tools([], tool_choice="any")

    async def test_messages_that_no_agent_reads(self, model: BaseChatModel) -> None:
        """A message that no agent can read is refused."""
        from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage

        image = {"type": "image_url", "image_url": {"url": "data:,"}}
        for messages, words in (
            ([], "neither a question nor a tool's result"),
            ([SystemMessage("Be kind.")], "neither a question nor a tool's result"),
            ([HumanMessage("Hi."), AIMessage("Hello.")], "neither a question nor a tool's result"),
            ([ChatMessage(content="Hi.", role="pirate")], "no message of type 'chat'"),
            ([HumanMessage(["See:", {"type": "text", "text": "this"}, image])], "content of type 'image_url'"),
        ):
            with pytest.raises(PayloadError, match=words):
                await model.ainvoke(messages)

    async def test_left_stream(self, model: BaseChatModel, scripted: ScriptedServer) -> None:
        """Leaving a chain's stream closes the connection, in the event loop or beside it."""
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
        """A sync method in the event loop raises an error that names the async ones."""
        for use in (lambda: model.invoke("Hi."), lambda: list(model.stream("Hi."))):
            with pytest.raises(EventLoopError, match=r"would block the event loop .*Use ainvoke, astream"):
                use()
        assert scripted.received == []

    async def test_sync_methods_without_a_loop(self, model: BaseChatModel) -> None:
        """A sync method whose event loop does not run raises an error."""
        lonely = await asyncio.to_thread(as_chat_model, model.agent)  # type: ignore[attr-defined]
        with pytest.raises(EventLoopError, match=r"loop is not running.*Call as_chat_model in the running loop"):
            await asyncio.to_thread(lonely.invoke, "Hi.")

    async def test_payload_after_a_tool(self, connect: Connect, scripted: ScriptedServer) -> None:
        """A model can go on from a tool's result without a new message."""
        scripted.complete("ok")
        asked = MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={}, id="call-1")])
        memory = [MemoryEntry("user", "Roll."), asked, MemoryEntry("tool", "6", metadata={"tool_call_id": "call-1"})]
        await (await connect(scripted.url)).invoke(AgentPayload("", memory=memory))
        assert [message["role"] for message in scripted.received[0].body["messages"]] == ["user", "assistant", "tool"]
