"""What servers get that want it otherwise, and what goes back to them as they said it, from every engine."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, ReasoningEffort, ToolCall
from llm_backend.errors import BackendError, ConfigError
from llm_backend.llms import Conversation, SQLiteStore, run_with_tools
from tests.integration.server import delta
from tests.integration.server_engines import KEY, QUESTION, joined

if TYPE_CHECKING:
    from pathlib import Path

    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

SIX = GenerationOptions(stop=("a", "b", "c", "d", "#", "f"))
FEW = GenerationOptions(max_new_tokens=3)
WORD = "sk-gateway-0123456789"
UNSUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)


def roll() -> int:
    """Roll a die."""
    return 4


def refuse(scripted: ScriptedServer, message: str, **error: Any) -> None:
    """Refuse an option."""
    scripted.answer({"error": {"message": message, **error}}, 400)


async def test_a_reasoning_model_is_greedy(told: ServerAgent, scripted: ScriptedServer) -> None:
    """Decoding stays greedy with a reasoning effort, until the server refuses that."""
    payload = AgentPayload(QUESTION, reasoning_effort=ReasoningEffort(effort="low"))
    scripted.complete("ok")
    await told.invoke(payload)
    refuse(scripted, "Unsupported value: 'temperature' does not support 0 with this model.", param="temperature")
    scripted.complete("ok")
    scripted.complete("ok")
    await told.invoke(payload)
    await told.invoke(payload)
    sent = [(request.body.get("temperature"), request.body["reasoning_effort"]) for request in scripted.received]
    assert sent == [(0, "low"), (0, "low"), (None, "low"), (None, "low")]


async def test_more_stop_texts_than_are_taken(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A server gets as many stop texts as it accepts, and the answer ends at the others too."""
    payload = AgentPayload("Count.", generation=SIX)
    refuse(scripted, "Invalid 'stop': array too long. Expected an array with maximum length 4.", param="stop")
    scripted.complete("one # two")
    answer = await told.invoke(payload)
    assert (answer.response, answer.metadata["finish_reason"]) == ("one", "stop")
    scripted.stream(delta("one #"), delta(" two"), hold=True)
    assert await joined(told, payload) == "one"
    await scripted.left.wait()
    refuse(scripted, "'stop' is not supported with this model.", param="stop", code="unsupported_parameter")
    scripted.stream(delta("one #"), delta(" two"), hold=True)
    assert await joined(told, payload) == "one"
    assert [len(request.body.get("stop", ())) for request in scripted.received] == [6, 4, 4, 4, 0]


async def test_a_server_with_the_other_name_of_the_limit(connect: Connect, scripted: ScriptedServer) -> None:
    """The limit's name is learned from one refusal; a limit that is too large is no such refusal."""
    agent = await connect(scripted.url)
    refuse(scripted, UNSUPPORTED, param="max_tokens", code="unsupported_parameter")
    scripted.stream(delta("ok"), delta(None, "stop"))
    assert await joined(agent, AgentPayload(QUESTION, generation=FEW)) == "ok"
    scripted.complete("ok")
    await agent.invoke(AgentPayload(QUESTION, generation=FEW))
    names = [[name for name in request.body if name.startswith("max")] for request in scripted.received]
    assert names == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    other = await connect(scripted.url)
    words = "'max_tokens' or 'max_completion_tokens' is too large: 3. This model's maximum context length is 2 tokens."
    refuse(scripted, words)
    with pytest.raises(BackendError, match="is too large: 3"):
        await other.invoke(AgentPayload(QUESTION, generation=FEW))
    assert len(scripted.received) == 4


async def test_an_address_with_a_query(
    connect: Connect, scripted: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An address with a query keeps its path; every request carries the query, and no log shows it."""
    caplog.set_level(logging.DEBUG)
    agent = await connect(f"{scripted.url}/deployments/m?api-version=2024-10-21&flag=")
    scripted.complete("ok")
    await agent.invoke(AgentPayload(QUESTION))
    scripted.answer({"object": "list", "data": [{"id": "m", "max_model_len": 9}]})
    assert await agent.get_context_window() == 9
    assert [request.target for request in scripted.received] == [
        "POST /v1/deployments/m/chat/completions?api-version=2024-10-21&flag= HTTP/1.1",
        "GET /v1/deployments/m/models?api-version=2024-10-21&flag= HTTP/1.1",
    ]
    assert "/deployments/m/chat/completions" in caplog.text
    assert "2024-10-21" not in f"{agent!r}{vars(agent)!r}{caplog.text}"


async def test_keys_among_the_models(connect: Connect, scripted: ScriptedServer) -> None:
    """A key among a server's model names shows in no error."""
    scripted.answer({"object": "list", "data": [{"id": "a"}, {"id": "sk-hidden"}]})
    with pytest.raises(ConfigError, match=r"to one of: a, \*\*\*\.$"):
        await connect(scripted.url, None, api_key="sk-hidden")
    agent = await connect(scripted.url, api_key="sk-hidden")
    scripted.answer({"object": "list", "data": [{"id": "a"}, {"id": "sk-hidden"}]})
    with pytest.raises(ConfigError, match=r"it lists: a, \*\*\*\."):
        await agent.get_context_window()


SIGNED = {"google": {"thought_signature": "s1"}}
ASKED = {
    "id": "c",
    "type": "function",
    "function": {"name": "roll", "arguments": "{}"},
    "extra_content": SIGNED,
}


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_a_server_wants_back(
    told: ServerAgent, scripted: ScriptedServer, tmp_path: Path, *, streamed: bool
) -> None:
    """Extras of a turn and a call go back with them, in this process and in the next."""
    conversation = Conversation(told, "s", store=SQLiteStore(tmp_path / "file"))
    scripted.answer({"object": "list", "data": [{"id": "m", "max_model_len": 4096}]})
    if streamed:
        scripted.stream(
            delta(None, reasoning_content="I "),
            delta(None, reasoning_content="roll."),
            delta(tool_calls=[{"index": 0, **ASKED}]),
            delta(None, "tool_calls"),
        )
        scripted.stream(delta("A four.", reasoning_content="Done."), delta(None, "stop"))
        assert "".join([piece async for piece in conversation.stream("Roll.", tools=[roll])]) == "A four."
    else:
        scripted.complete("", reasoning_content="I roll.", tool_calls=[ASKED])
        scripted.complete("A four.", reasoning_content="Done.")
        assert (await conversation.ask("Roll.", tools=[roll])).response == "A four."
    later = Conversation(told, "s", store=SQLiteStore(tmp_path / "file"))
    scripted.complete("Gladly.")
    await later.ask("Thanks.")
    chats = [request.body["messages"] for request in scripted.received if "chat/completions" in request.target]
    for messages in chats[1:]:
        turn = messages[1]
        assert (turn["role"], turn["reasoning_content"], turn["tool_calls"]) == ("assistant", "I roll.", [ASKED])
    assert chats[2][3]["reasoning_content"] == "Done."


async def test_a_server_that_refuses_its_own_words(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A server that refuses its own extras no longer gets them, but gets the rest."""
    scripted.complete("", reasoning="Roll.", tool_calls=[ASKED])
    refuse(scripted, "'messages.1' : property 'reasoning' is unsupported")
    scripted.complete("", reasoning="Again.", tool_calls=[ASKED])
    scripted.complete("A four.")
    answer = await run_with_tools(told, AgentPayload("Roll."), [roll])
    assert answer.response == "A four."
    turns = [request.body["messages"][1] for request in scripted.received[1:]]
    assert ["reasoning" in turn for turn in turns] == [True, False, False]
    assert all(turn["tool_calls"] == [ASKED] for turn in turns)


async def test_sealed_reasoning_of_the_other_api(connect: Connect, scripted: ScriptedServer) -> None:
    """Encrypted reasoning goes back to the Responses API, before the call that it led to."""
    about = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed"}
    about |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    sealed = {"type": "reasoning", "id": "t", "summary": [], "encrypted_content": "x"}
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "roll", "arguments": "{}"}
    text = {"type": "output_text", "text": "A four.", "annotations": []}
    said = {"type": "message", "id": "o", "role": "assistant", "status": "completed", "content": [text]}
    agent = await connect(scripted.url, use_responses=True)
    scripted.answer({**about, "output": [sealed, call]})
    scripted.answer({**about, "output": [said]})
    assert (await run_with_tools(agent, AgentPayload("Roll."), [roll])).response == "A four."
    items = scripted.received[1].body["input"]
    assert [item["type"] for item in items] == ["message", "reasoning", "function_call", "function_call_output"]
    assert items[1] == sealed
    other = await connect(scripted.url)
    entry = MemoryEntry(
        "assistant", "", tool_calls=[ToolCall(name="roll", arguments={}, id="c")], extras={"reasoning_items": [sealed]}
    )
    result = MemoryEntry("tool", "4", metadata={"tool_call_id": "c"})
    scripted.complete("A four.")
    await other.invoke(AgentPayload("", memory=[MemoryEntry("user", "Roll."), entry, result]))
    assert "reasoning_items" not in scripted.received[2].body["messages"][1]


async def test_headers_and_fields_for_gateways(
    connect: Connect, scripted: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Headers go with every request, fields with every question; their secrets show nowhere."""
    caplog.set_level("INFO")
    agent = await connect(
        scripted.url,
        api_key=KEY,
        extra_headers={"X-Gateway-Key": WORD, "x-title": "ours"},
        extra_body={"provider": {"order": ["a"], "token": WORD}, "top_k": 9},
    )
    scripted.answer({"object": "list", "data": [{"id": "m", "max_model_len": 9}]})
    assert await agent.get_context_window() == 9
    scripted.complete("ok")
    await agent.invoke(AgentPayload(QUESTION, generation=GenerationOptions(top_k=3)))
    scripted.stream(delta("ok"), delta(None, "stop"))
    await joined(agent, AgentPayload(QUESTION))
    await agent.count_tokens("Another.")
    for request in (*scripted.received, *scripted.beside):
        headers = [request.headers[name] for name in ("x-gateway-key", "x-title", "authorization")]
        assert headers == [WORD, "ours", f"Bearer {KEY}"]
    for request in scripted.received[1:]:
        assert (request.body["provider"], request.body["top_k"]) == ({"order": ["a"], "token": WORD}, 9)
        assert request.body["messages"] == [{"role": "user", "content": QUESTION}]
    scripted.answer({"error": {"message": f"wrong token {WORD}"}}, 403)
    with pytest.raises(BackendError, match=r"wrong token \*\*\*") as caught:
        await agent.invoke(QUESTION)
    shown = [*traceback.format_exception(caught.value), caplog.text, repr(agent), repr(agent.identity)]
    assert WORD not in "".join([*shown, repr(agent.__dict__)])
    assert agent.identity != (await connect(scripted.url, extra_body={"top_k": 8})).identity


async def test_a_key_of_another_kind(connect: Connect, scripted: ScriptedServer) -> None:
    """Without an api_key, an Authorization header of the user's own is the only one sent."""
    extra: dict[str, Any] = {"extra_headers": {"authorization": "Basic dTpw"}, "extra_body": {"k": 1}}
    agent = await connect(scripted.url, use_responses=True, **extra)
    about = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed"}
    about |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    text = {"type": "output_text", "text": "ok", "annotations": []}
    scripted.answer({**about, "output": [{"type": "message", "id": "o", "role": "assistant", "content": [text]}]})
    assert (await agent.invoke(QUESTION)).response == "ok"
    assert scripted.received[0].headers["authorization"] == "Basic dTpw"
    assert scripted.received[0].body["k"] == 1


async def test_what_a_chat_model_said_goes_to_no_server(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A chat model's extras stay here, and a server's go back to it."""
    said = {"langchain": {"content": [{"type": "thinking", "thinking": "A die."}]}, "reasoning_content": "Hm."}
    memory = [MemoryEntry("user", "Hi."), MemoryEntry("assistant", "Hello.", extras=said)]
    scripted.complete("ok")
    await told.invoke(AgentPayload(QUESTION, memory=memory))
    [request] = scripted.received
    assert request.body["messages"][1] == {"role": "assistant", "content": "Hello.", "reasoning_content": "Hm."}
