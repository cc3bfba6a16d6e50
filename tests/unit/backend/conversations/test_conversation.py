"""Conversations, with an agent that counts words as tokens and answers what it is told to."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import GenerationOptions, MemoryEntry, ToolCall
from llm_backend.errors import EngineError, PayloadError
from llm_backend.llms import Conversation, MemoryStore, SQLiteStore
from llm_backend.llms.conversations.conversation import Fitting
from tests.unit.backend.word_agent import CALL, TOOL, WordAgent, answer, said, talk

if TYPE_CHECKING:
    from pathlib import Path


async def test_each_turn_knows_those_before() -> None:
    """Each request holds the earlier turns, system prompt and profile; metadata comes back."""
    agent = WordAgent()
    agent.said = [answer("Hello Ada.")]
    conversation = talk(agent, system_context="Be brief.", user_profile={"age": 5})
    first = await conversation.ask("I am Ada.", metadata={"for": "me"})
    await conversation.ask("Who am I?", generation=GenerationOptions(max_new_tokens=3))

    sent = agent.payloads[1]
    assert [(entry.role, entry.content) for entry in sent.memory] == [
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
    ]
    assert (sent.system_context, sent.user_profile, sent.session_id) == ("Be brief.", {"age": 5}, "s")
    assert sent.generation.max_new_tokens == 3
    assert agent.payloads[0].metadata == {"for": "me"}
    fitting = Fitting(sent=0, summarised=0, left_out=0)
    assert dict(first.metadata) == {"model": "m", "usage": None, "tool_turns": (), "conversation": fitting}
    assert conversation.fitting == Fitting(sent=1, summarised=0, left_out=0)
    times = [entry.timestamp for entry in await conversation.history()]
    assert all(earlier and later and earlier <= later for earlier, later in pairwise(times))


async def test_new_objects_on_the_same_file_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation is kept in a file by default, and goes on in another program."""
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path))
    await Conversation(WordAgent(), "s").ask("One.")
    agent = WordAgent()
    await Conversation(agent, "s").ask("Two.")
    assert [entry.content for entry in agent.payloads[0].memory] == ["One.", "ok"]
    assert await SQLiteStore().sessions() == ["s"]


async def test_stream_is_stored_when_it_is_whole() -> None:
    """A streamed answer is stored once it was read to its end, and only then."""
    agent = WordAgent()
    conversation = talk(agent)
    assert [piece async for piece in conversation.stream("One.")] == ["o", "k"]
    async with aclosing(conversation.stream("Two.")) as stream:
        await anext(stream)
    assert await said(conversation) == [("user", "One."), ("assistant", "ok")]
    assert conversation.fitting == Fitting(sent=1, summarised=0, left_out=0)


async def test_failed_turn_leaves_nothing() -> None:
    """A failed turn leaves nothing in the history, and the conversation goes on."""
    agent = WordAgent()
    agent.said = [EngineError("no"), EngineError("no")]
    conversation = talk(agent)
    with pytest.raises(EngineError):
        await conversation.ask("One.")
    with pytest.raises(EngineError):
        await anext(conversation.stream("One."))
    assert await said(conversation) == []
    await conversation.ask("Two.")
    assert await said(conversation) == [("user", "Two."), ("assistant", "ok")]


async def test_cancelled_turn_leaves_nothing() -> None:
    """A cancelled turn leaves nothing in the history, and the session goes on."""
    agent = WordAgent()
    agent.waiting = asyncio.Event()
    conversation = talk(agent)
    turn = asyncio.create_task(conversation.ask("One."))
    await agent.arrived.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    agent.waiting.set()
    await conversation.ask("Two.")
    assert await said(conversation) == [("user", "Two."), ("assistant", "ok")]


async def test_turns_of_a_session_wait_for_each_other() -> None:
    """Turns of one session run one after the other; other sessions do not wait."""
    agent, store = WordAgent(), MemoryStore()
    same = [Conversation(agent, "s", store=store) for _ in range(3)]
    await asyncio.gather(*(conversation.ask(str(number)) for number, conversation in enumerate(same)))
    assert [len(payload.memory) for payload in agent.payloads] == [0, 2, 4]

    agent.waiting = asyncio.Event()
    waiting = asyncio.create_task(same[0].ask("wait"))
    agent.arrived.clear()
    await agent.arrived.wait()
    free = WordAgent()
    await Conversation(free, "other", store=store).ask("Hi.")
    await Conversation(free, "s", store=MemoryStore()).ask("Hi.")
    agent.waiting.set()
    await waiting


async def test_event_loops_in_threads(tmp_path: Path) -> None:
    """Two event loops can use one session, and no turn is lost."""
    store = SQLiteStore(tmp_path / "file")

    async def several() -> None:
        conversation = Conversation(WordAgent(), "s", store=store)
        await asyncio.gather(*(conversation.ask(str(number)) for number in range(5)))

    threads = [threading.Thread(target=asyncio.run, args=[several()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    history = await said(Conversation(WordAgent(), "s", store=store))
    assert [role for role, _ in history] == ["user", "assistant"] * 10


async def test_clear_and_another_start() -> None:
    """A cleared session remembers nothing."""
    agent = WordAgent()
    conversation = talk(agent)
    await conversation.ask("One.")
    await conversation.clear()
    assert await said(conversation) == []
    await conversation.ask("Two.")
    assert agent.payloads[1].memory == ()


async def test_tool_calls_and_results_stay_together() -> None:
    """A tool's result stays with its own call, also when old turns are dropped."""
    agent = WordAgent(window=30)
    agent.said = [answer("", CALL, ToolCall(name="flip", arguments={}))]
    conversation = talk(agent, answer_tokens=1)
    await conversation.ask("Roll and flip.", tools_available=[TOOL])
    with pytest.raises(
        PayloadError, match=r"The model called roll, flip and is waiting for the result\. Add it with add"
    ):
        await conversation.ask("And?")
    # Another process may have asked something meanwhile.
    await conversation.store.append("s", [MemoryEntry("user", "Else?"), MemoryEntry("assistant", "No.")])
    await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": "c1"}), MemoryEntry("tool", "heads"))
    await conversation.ask("And?")
    assert [entry.content for entry in agent.payloads[-1].memory] == [
        "Roll and flip.",
        "",
        "4",
        "heads",
        "Else?",
        "No.",
    ]
    for _ in range(12):
        await conversation.ask("One two three.")
        roles = [entry.role for entry in agent.payloads[-1].memory]
        assert roles[:4] == ["user", "assistant", "tool", "tool"] or "tool" not in roles
    assert "tool" not in roles


async def test_going_on_from_a_result() -> None:
    """After a tool's result no message is needed, and the result is kept however long it is."""
    agent = WordAgent(window=40)
    agent.said = [answer("", CALL)]
    conversation = talk(agent)
    await conversation.ask("Roll.", tools_available=[TOOL])
    await conversation.add(MemoryEntry("tool", "word " * 50, metadata={"tool_call_id": "c1"}))
    await conversation.ask("")
    assert [entry.role for entry in agent.payloads[1].memory] == ["user", "assistant", "tool"]
    assert [role for role, _ in await said(conversation)] == ["user", "assistant", "tool", "assistant"]
    with pytest.raises(PayloadError, match="user_message is empty"):
        await conversation.ask("")
    assert await conversation.ask("And?")


async def test_calls_without_tools_are_not_kept() -> None:
    """A call of a tool that nobody offered is not stored."""
    agent = WordAgent()
    agent.said = [answer("I roll.", CALL)]
    conversation = talk(agent)
    assert (await conversation.ask("Roll.")).tool_calls == (CALL,)
    await conversation.ask("And?")
    assert [entry.tool_calls for entry in agent.payloads[-1].memory] == [(), ()]


@pytest.mark.parametrize(
    ("calls", "result", "waiting"),
    [
        ((), None, "None, but the calls without a result are: none"),
        ((CALL,), "c2", "'c2', but the calls without a result are: 'c1'"),
        ((CALL,), None, "None, but the calls without a result are: 'c1'"),
    ],
)
async def test_result_without_a_call(calls: tuple[ToolCall, ...], result: str | None, waiting: str) -> None:
    """A tool's result that answers no call is refused, and not stored."""
    conversation = talk(WordAgent())
    await conversation.add(MemoryEntry("user", "Hi."), MemoryEntry("assistant", "", tool_calls=calls))
    with pytest.raises(PayloadError, match=f"A tool's result answers call {waiting}. Put the call's id"):
        await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": result}))
    assert len(await conversation.history()) == 2


async def test_stored_result_without_a_call() -> None:
    """A stored result without its call is refused before a model is asked."""
    conversation = talk(WordAgent())
    await conversation.store.append("s", [MemoryEntry("tool", "4")])
    with pytest.raises(PayloadError, match="A tool's result answers call None"):
        await conversation.ask("Hi.")
    assert len(await conversation.history()) == 1


async def test_conversation_that_begins_with_the_assistant() -> None:
    """A greeting by the assistant is the first turn of the history."""
    agent = WordAgent()
    conversation = talk(agent)
    await conversation.add(MemoryEntry("assistant", "Welcome!"))
    await conversation.ask("Hi.")
    assert [entry.content for entry in agent.payloads[0].memory] == ["Welcome!"]


@pytest.mark.parametrize("text", ["\ud800", b"\xff", [{"type": "image_url", "image_url": {"url": "data:,"}}], None])
async def test_what_is_no_text(text: Any) -> None:
    """Broken text, bytes and images are refused, and not stored."""
    conversation = talk(WordAgent())
    with pytest.raises(
        PayloadError, match=r"user_message (holds '\\ud800' at 0.* Replace it|is of type .*\. Give a string)\."
    ):
        await conversation.ask(text)
    with pytest.raises(PayloadError, match=r"a memory entry's content (holds|is of type)"):
        await conversation.add(MemoryEntry("user", text))
    assert await conversation.history() == []


async def test_halves_of_characters_in_an_answer() -> None:
    """An answer with half a character is stored, with "?" for that half."""
    agent = WordAgent()
    agent.said = [answer("a\ud800b")]
    conversation = talk(agent)
    assert (await conversation.ask("Hi.")).response == "a\ud800b"
    assert await said(conversation) == [("user", "Hi."), ("assistant", "a?b")]


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1bb", "a" * 201, "\ud800", 5, None])
def test_bad_name_of_a_session(name: Any) -> None:
    """A session's name that could spoil logs, or cannot be stored, is refused."""
    with pytest.raises(PayloadError, match=r"session_id is .*\. Give 1 to 200 printable characters"):
        Conversation(WordAgent(), name, store=MemoryStore())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"compact": "sumarize"}, r"compact is 'sumarize'\. Use one of: trim, summarise\."),
        ({"answer_tokens": 0}, r"answer_tokens is 0\. Give a whole number of at least 1\."),
        ({"answer_tokens": "5"}, r"answer_tokens is '5'\. Give"),
        ({"system_context": 5}, r"system_context is of type int\. Give a string\."),
        ({"user_profile": 5}, r"user_profile is of type int\. Give a Mapping\."),
    ],
)
async def test_wrong_option(option: dict[str, Any], message: str) -> None:
    """A wrong option is refused by our error."""
    with pytest.raises(PayloadError, match=message):
        await talk(WordAgent(), **option).ask("Hi.")


async def test_control_characters_in_the_name_of_a_call() -> None:
    """Control characters in a call's name or id are escaped in errors."""
    conversation = talk(WordAgent())
    call = ToolCall(name="a\x1b[2J", arguments={}, id="c\x1b")
    await conversation.add(MemoryEntry("user", "Hi."), MemoryEntry("assistant", "", tool_calls=[call]))
    with pytest.raises(PayloadError, match=r"The model called a\\x1b\[2J and is waiting"):
        await conversation.ask("And?")
    with pytest.raises(PayloadError) as caught:
        await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": "\x1b"}))
    assert str(caught.value).isprintable()


async def test_option_that_is_the_conversations_own() -> None:
    """An option that the conversation sets itself is refused."""
    with pytest.raises(TypeError, match="session_id"):
        await talk(WordAgent()).ask("Hi.", session_id="other")  # type: ignore[call-arg]
