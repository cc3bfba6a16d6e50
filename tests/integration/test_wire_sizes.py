"""How every engine that asks a server learns how long a prompt is, and how long it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, MemoryEntry, ToolCall
from llm_backend.errors import ConfigError
from llm_backend.llms import Conversation, MemoryStore
from tests.integration.server_engines import KEY, QUESTION, TOOL

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

CALL = ToolCall(name="roll", arguments={}, id="c", extras={"extra_content": 1})
MEMORY = [
    MemoryEntry("user", "Roll."),
    MemoryEntry("assistant", "", tool_calls=[CALL], extras={"reasoning_content": "Hm."}),
    MemoryEntry("tool", "4", metadata={"tool_call_id": "c"}),
]
LOADED = {"id": "m", "loaded_context_length": 512, "max_context_length": 9999}
ASKED = AgentPayload(QUESTION, system_context="Be brief.", memory=MEMORY, tools_available=[TOOL])


@pytest.mark.parametrize(
    ("pages", "tokens"),
    [
        pytest.param({"/v1/chat/completions/input_tokens": {"input_tokens": 77}}, 77, id="llama.cpp"),
        pytest.param({"/tokenize": {"count": 77, "max_model_len": 512, "tokens": [0] * 77}}, 77, id="vllm"),
        pytest.param({"/apply-template": {"prompt": "Hi"}, "/tokenize": {"tokens": [1, 2]}}, 2, id="older llama.cpp"),
        pytest.param({"/v1/messages/count_tokens": {"input_tokens": 77}}, 77, id="litellm"),
        pytest.param({"/chat_tokenize": {"tokenize_response": [{}] * 7, "templated_text": ""}}, 7, id="tgi"),
    ],
)
async def test_the_server_counts(
    told: ServerAgent, scripted: ScriptedServer, pages: dict[str, object], tokens: int
) -> None:
    """A prompt has as many tokens as the server counts, asked once with the request it would get."""
    scripted.pages = pages
    assert [await told.count_tokens(ASKED) for _ in range(2)] == [tokens, tokens]
    first = len(scripted.beside)
    assert await told.count_tokens(AgentPayload("Another.")) == tokens
    assert len(scripted.beside) - first == len(pages), "the ways that it does not know are not tried again"
    scripted.complete("ok")
    await told.invoke(ASKED)
    sent = scripted.received[0].body
    asked = scripted.beside[0].body
    assert (asked["model"], asked["messages"], asked["tools"]) == (sent["model"], sent["messages"], sent["tools"])
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in scripted.beside)


async def test_a_server_that_cannot_count(told: ServerAgent, scripted: ScriptedServer) -> None:
    """Where no server counts, there is an estimate, no error, and no further question."""
    estimate = await told.count_tokens(QUESTION)
    assert estimate > len(QUESTION)
    asked = len(scripted.beside)
    assert await told.count_tokens("Another one.") > 0
    assert (asked, len(scripted.beside)) == (5, 5)


@pytest.mark.parametrize("status", [307, 500, 503])
async def test_a_server_that_fails_to_count(told: ServerAgent, scripted: ScriptedServer, status: int) -> None:
    """After a failure or a redirect there is an estimate, and no prompt goes elsewhere."""
    scripted.pages = {"/v1/chat/completions/input_tokens": status}
    assert await told.count_tokens(QUESTION) > len(QUESTION)
    scripted.pages = {"/v1/chat/completions/input_tokens": {"input_tokens": 7}}
    assert (await told.count_tokens("Again?") == 7) == (status >= 500), "what failed may succeed later"


async def test_the_other_api_counts(connect: Connect, scripted: ScriptedServer) -> None:
    """The Responses API counts the request that it would get."""
    scripted.pages = {"/v1/responses/input_tokens": {"object": "response.input_tokens", "input_tokens": 9}}
    agent = await connect(scripted.url, use_responses=True)
    assert await agent.count_tokens(QUESTION) == 9
    item = {"type": "message", "role": "user", "content": QUESTION}
    assert scripted.beside[0].body == {"model": "m", "input": [item]}


async def test_more_of_a_conversation_fits(connect: Connect, scripted: ScriptedServer) -> None:
    """In a small window a conversation keeps what fits by the server's count, not by bytes."""
    agent = await connect(scripted.url, context_window=512)
    fitting = []
    for pages in ({}, {"/tokenize": {"count": 200}}):
        scripted.pages = {"/v1/models": {"object": "list", "data": [{"id": "m", "max_model_len": 512}]}, **pages}
        conversation = Conversation(agent, "s", store=MemoryStore(), answer_tokens=64)
        await conversation.add(*(MemoryEntry(role, "Well, well. " * 20) for role in ("user", "assistant") * 2))
        scripted.complete("ok")
        await conversation.ask(QUESTION)
        assert conversation.fitting
        fitting.append(conversation.fitting.sent)
        agent = await connect(scripted.url, context_window=512)
    assert fitting == [0, 2]


@pytest.mark.parametrize(
    ("card", "pages", "window"),
    [
        pytest.param({"id": "/models/x.gguf", "aliases": ["m"], "meta": {"n_ctx": 512}}, {}, 512, id="llama.cpp"),
        pytest.param({"id": "m", "max_input_tokens": 512}, {}, 512, id="litellm"),
        pytest.param(
            {"id": "m"}, {"/api/v0/models": {"data": [{"id": "m", "loaded_context_length": 512}]}}, 512, id="lm studio"
        ),
        pytest.param({"id": "m"}, {"/info": {"max_total_tokens": 512}}, 512, id="tgi"),
        pytest.param({"id": "m"}, {"/api/show": {"model_info": {"llama.context_length": 9999}}}, 4096, id="ollama"),
    ],
)
async def test_where_servers_say_their_window(
    connect: Connect, scripted: ScriptedServer, card: dict[str, Any], pages: dict[str, object], window: int
) -> None:
    """The context window is found wherever a server says it."""
    scripted.answer({"object": "list", "data": [card]})
    scripted.pages = pages
    agent = await connect(scripted.url)
    assert await agent.get_context_window() == window


async def test_a_model_that_the_server_does_not_list(connect: Connect, scripted: ScriptedServer) -> None:
    """The error for a model that the server does not list is about the name."""
    scripted.answer({"object": "list", "data": [{"id": "b", "max_model_len": 9}, {"id": "a"}]})
    agent = await connect(scripted.url)
    with pytest.raises(ConfigError, match=r"does not list 'm'; it lists: a, b\. Set context_window under"):
        await agent.get_context_window()
