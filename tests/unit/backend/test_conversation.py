"""Tests of conversations, with an agent that counts words for tokens and answers what it is told to."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from backend import AgentPayload, AgentResponse, GenerationOptions, MemoryEntry, ToolCall
from backend.errors import EngineError, PayloadError
from backend.llms import Conversation, MemoryStore, SQLiteStore
from backend.llms.conversation import Fitting
from backend.llms.conversation_history import largest
from backend.llms.prompting import build_messages
from tests.unit.backend.fake_agent import FakeAgent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

TOOL = {"type": "function", "function": {"name": "roll", "parameters": {"type": "object", "properties": {}}}}
CALL = ToolCall(name="roll", arguments={}, id="c1")


class WordAgent(FakeAgent):
    """Has a window of some words, and answers "ok" to whatever it is told nothing else for."""

    def __init__(self, window: int = 1000) -> None:
        super().__init__()
        self.window = window
        self.said: list[AgentResponse | Exception] = []
        self.counted: list[AgentPayload] = []
        self.waiting: asyncio.Event | None = None
        self.arrived = asyncio.Event()

    async def invoke(self, payload: AgentPayload) -> AgentResponse:
        """Answer what was told, or "ok"."""
        self.payloads.append(payload)
        self.arrived.set()
        await asyncio.sleep(0)  # as every real agent, lets others go on meanwhile
        if self.waiting:
            await self.waiting.wait()
        said = self.said.pop(0) if self.said else AgentResponse(response="ok")
        if isinstance(said, Exception):
            raise said
        return said

    async def stream(self, payload: AgentPayload) -> AsyncGenerator[str, None]:  # type: ignore[override]
        """The same in two pieces."""
        answer = (await self.invoke(payload)).response
        yield answer[:1]
        yield answer[1:]

    async def get_context_window(self) -> int:  # type: ignore[override]
        """The window."""
        return self.window

    async def count_tokens(self, payload: AgentPayload) -> int:  # type: ignore[override]
        """The words."""
        self.counted.append(payload)
        return words(payload)


def words(payload: AgentPayload) -> int:
    """How many words a request has."""
    return sum(len(message["content"].split()) for message in build_messages(payload))


def answer(text: str, *calls: ToolCall) -> AgentResponse:
    """An answer."""
    return AgentResponse(response=text, tool_calls=calls, metadata={"model": "m"})


def talk(agent: WordAgent, **options: Any) -> Conversation:
    """A conversation that starts from nothing."""
    return Conversation(agent, "s", **{"store": MemoryStore(), **options})


async def said(conversation: Conversation) -> list[tuple[str, str]]:
    """The history, short."""
    return [(entry.role, entry.content) for entry in await conversation.history()]


async def test_each_turn_knows_those_before() -> None:
    """A turn, the system prompt or the user's profile does not reach the model, or the answer's metadata is lost."""
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
    assert first.metadata == {"model": "m", "conversation": Fitting(sent=0, summarised=0, left_out=0)}
    assert conversation.fitting == Fitting(sent=1, summarised=0, left_out=0)
    times = [entry.timestamp for entry in await conversation.history()]
    assert all(earlier and later and earlier <= later for earlier, later in pairwise(times))


async def test_new_objects_on_the_same_file_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation is lost when the program ends, or is not kept in a file by default."""
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path))
    await Conversation(WordAgent(), "s").ask("One.")
    agent = WordAgent()
    await Conversation(agent, "s").ask("Two.")
    assert [entry.content for entry in agent.payloads[0].memory] == ["One.", "ok"]
    assert await SQLiteStore().sessions() == ["s"]


async def test_stream_is_stored_when_it_is_whole() -> None:
    """A streamed answer is not remembered, or is although only a part of it was read."""
    agent = WordAgent()
    conversation = talk(agent)
    assert [piece async for piece in conversation.stream("One.")] == ["o", "k"]
    async with aclosing(conversation.stream("Two.")) as stream:
        await anext(stream)
    assert await said(conversation) == [("user", "One."), ("assistant", "ok")]
    assert conversation.fitting == Fitting(sent=1, summarised=0, left_out=0)


async def test_tools_in_a_stream() -> None:
    """A stream loses the tool calls that it cannot show."""
    conversation = talk(WordAgent())
    with pytest.raises(PayloadError, match=r"shows no tool calls, and has 1 tools\. Use ask\(\)"):
        await anext(conversation.stream("Roll.", tools_available=[TOOL]))


async def test_failed_turn_leaves_nothing() -> None:
    """A question whose answer failed stays in the history, or the conversation cannot go on after it."""
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
    """A cancelled question stays in the history, or keeps the session from going on."""
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
    """Two turns at once do not see each other, though they are of one session; or other sessions wait as well."""
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
    """A session cannot be used from two event loops, or loses turns when it is."""
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
    """A session that was cleared still remembers."""
    agent = WordAgent()
    conversation = talk(agent)
    await conversation.ask("One.")
    await conversation.clear()
    assert await said(conversation) == []
    await conversation.ask("Two.")
    assert agent.payloads[1].memory == ()


async def test_oldest_exchanges_go_first() -> None:
    """A request is longer than the window allows, splits an exchange, or leaves out more than it has to."""
    agent = WordAgent(window=40)
    conversation = talk(agent, system_context="Be brief.", answer_tokens=10)
    for number in range(30):
        response = await conversation.ask(f"{number} " + "word " * (number % 7))
        sent = agent.payloads[-1]
        assert words(sent) <= 30
        assert sent.system_context == "Be brief."
        assert [entry.role for entry in sent.memory] == ["user", "assistant"] * (len(sent.memory) // 2)
        whole = await said(conversation)
        assert [entry.content for entry in sent.memory] == [text for _, text in whole[:-2]][-len(sent.memory) or 99 :]
        fitting = response.metadata["conversation"]
        assert (fitting.sent, fitting.sent + fitting.left_out) == (len(sent.memory) // 2, number)
        longer = sum(len(text.split()) for _, text in whole[:-2][-len(sent.memory) - 2 :])
        assert not fitting.left_out or words(sent) - sum(len(e.content.split()) for e in sent.memory) + longer > 30
    assert len(await conversation.history()) == 60, "what was left out is still stored"


async def test_long_history_is_not_counted_over_and_over() -> None:
    """A long history is counted once for each of its turns, or as a whole though most of it is left out."""
    agent = WordAgent(window=100)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(*[MemoryEntry(role, "word") for _ in range(5000) for role in ("user", "assistant")])
    await conversation.ask("Now.")
    assert conversation.fitting == Fitting(sent=44, summarised=0, left_out=4956)
    assert len(agent.counted) < 12
    assert max(map(words, agent.counted)) < 1000


async def test_next_request_begins_where_the_last_one_did() -> None:
    """A request begins elsewhere than the last one though that still fits: no engine can use what it knows of that."""
    agent = WordAgent(window=100)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(*[MemoryEntry(role, f"{number}") for number in range(99) for role in ("user", "assistant")])
    await conversation.ask("word " * 30)
    agent.counted.clear()
    await conversation.ask("Now.")
    assert agent.counted[0].memory[0] == agent.payloads[0].memory[0]
    assert agent.payloads[1].memory[-1].content == "ok"


async def test_number_that_is_known_to_fit() -> None:
    """An engine that knows one prompt, and has to guess at others, is not asked about the one that it knows."""

    async def fits(number: int) -> bool:
        return number == 21 or number <= 5

    assert await largest(fits, 100, guess=21) == 21
    assert await largest(fits, 100) == 5


async def test_room_for_the_answer() -> None:
    """An option for the answer's length leaves no room for it, or none for the conversation."""
    agent = WordAgent(window=100)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(*[MemoryEntry(role, "word") for _ in range(100) for role in ("user", "assistant")])
    for limit, most in [(None, 90), (30, 70), (10_000, 50)]:
        await conversation.ask("Now.", generation=GenerationOptions(max_new_tokens=limit))
        assert most - 2 <= words(agent.payloads[-1]) <= most


async def test_message_that_is_too_long_alone() -> None:
    """A message that is too long is cut, or refused by anybody but the agent, who knows."""
    agent = WordAgent(window=20)
    conversation = talk(agent)
    await conversation.ask("One.")
    await conversation.ask("word " * 50)
    assert agent.payloads[-1].memory == ()
    assert agent.payloads[-1].user_message == "word " * 50


async def test_system_turns_stay() -> None:
    """What the system said in the course of a conversation is forgotten with the turns around it."""
    agent = WordAgent(window=40)
    conversation = talk(agent, system_context="Be brief.")
    await conversation.add(MemoryEntry("system", "You are Bob."))
    for _ in range(20):
        await conversation.ask("One two three.")
    assert agent.payloads[-1].system_context == "Be brief.\n\nYou are Bob."
    assert 0 < len(agent.payloads[-1].memory) < 20


async def test_tool_calls_and_results_stay_together() -> None:
    """A tool's result is sent without its call, or goes to another call than its own."""
    agent = WordAgent(window=30)
    agent.said = [answer("", CALL, ToolCall(name="flip", arguments={}))]
    conversation = talk(agent, answer_tokens=1)
    await conversation.ask("Roll and flip.", tools_available=[TOOL])
    with pytest.raises(PayloadError, match=r"The model called roll, flip, and waits for the result\. Add it with add"):
        await conversation.ask("And?")
    # Another process may have asked something at the same time.
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
    """After a tool's result the user has to say something, or the result is cut off for want of room."""
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
    """A call of a tool that nobody offered keeps a conversation from ever going on."""
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
    """A tool's result that answers no call is stored, and spoils every request from then on."""
    conversation = talk(WordAgent())
    await conversation.add(MemoryEntry("user", "Hi."), MemoryEntry("assistant", "", tool_calls=calls))
    with pytest.raises(PayloadError, match=f"A tool's result answers the call {waiting}. Put the call's id"):
        await conversation.add(MemoryEntry("tool", "4", metadata={"tool_call_id": result}))
    assert len(await conversation.history()) == 2


async def test_stored_result_without_a_call() -> None:
    """A stored result without its call is sent to a model, which then refuses the conversation in words of its own."""
    conversation = talk(WordAgent())
    await conversation.store.append("s", [MemoryEntry("tool", "4")])
    with pytest.raises(PayloadError, match="A tool's result answers the call None"):
        await conversation.ask("Hi.")
    assert len(await conversation.history()) == 1


async def test_conversation_that_begins_with_the_assistant() -> None:
    """A greeting is lost."""
    agent = WordAgent()
    conversation = talk(agent)
    await conversation.add(MemoryEntry("assistant", "Welcome!"))
    await conversation.ask("Hi.")
    assert [entry.content for entry in agent.payloads[0].memory] == ["Welcome!"]


async def test_halves_of_characters_in_an_answer() -> None:
    """An answer that holds half of a character cannot be stored, and is lost with its question."""
    agent = WordAgent()
    agent.said = [answer("a\ud800b")]
    conversation = talk(agent)
    assert (await conversation.ask("Hi.")).response == "a\ud800b"
    assert await said(conversation) == [("user", "Hi."), ("assistant", "a?b")]


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1bb", "a" * 201, "\ud800", 5, None])
def test_bad_name_of_a_session(name: Any) -> None:
    """A session gets a name that spoils logs, or cannot be stored."""
    with pytest.raises(PayloadError, match=r"session_id is .*\. Give 1 to 200 printable characters"):
        Conversation(WordAgent(), name, store=MemoryStore())


def test_unknown_way_to_compact() -> None:
    """A typo in ``compact`` means something."""
    with pytest.raises(PayloadError, match=r"compact is 'sumarize'\. Use one of: trim, summarise\."):
        talk(WordAgent(), compact="sumarize")


async def test_option_that_is_the_conversations_own() -> None:
    """An option that the conversation fills itself is taken, and forges its memory."""
    with pytest.raises(TypeError, match="session_id"):
        await talk(WordAgent()).ask("Hi.", session_id="other")  # type: ignore[call-arg]


async def test_summary_takes_the_place_of_older_exchanges() -> None:
    """Older exchanges are forgotten, summed up at each turn, or sent beside their summary."""
    agent = WordAgent(window=200)
    conversation = talk(agent, compact="summarise", answer_tokens=20, system_context="Be brief.")
    for number in range(60):
        await conversation.ask(f"{number} two three four five.")
    requests = [payload for payload in agent.payloads if payload.user_message.startswith("Summarise")]
    turns = [payload for payload in agent.payloads if not payload.user_message.startswith("Summarise")]
    assert len(turns) == 60
    assert 2 <= len(requests) <= 5
    assert all(words(payload) <= 180 for payload in agent.payloads)
    assert all(len(payload.memory) >= 20 for payload in turns[30:]), "recent turns stay word for word"
    assert turns[-1].system_context == "Be brief.\n\nSummary of the conversation so far:\nok"
    assert "Summary" in requests[-1].system_context, "a new summary goes on from the last one"
    assert requests[-1].generation.max_new_tokens == 22
    assert conversation.fitting == Fitting(
        sent=len(turns[-1].memory) // 2, summarised=59 - len(turns[-1].memory) // 2, left_out=0
    )
    assert len(await conversation.history()) == 120, "no summary among the turns, and no turn lost"


async def test_last_exchange_is_not_summed_up() -> None:
    """What was said just now is sent in other words, though there is room for it."""
    agent = WordAgent(window=100)
    conversation = talk(agent, compact="summarise", answer_tokens=10)
    await conversation.add(MemoryEntry("user", "old " * 9), MemoryEntry("user", "new " * 40))
    await conversation.ask("word " * 42)
    assert [entry.content for entry in agent.payloads[0].memory] == ["old " * 9]
    assert [entry.content for entry in agent.payloads[1].memory] == ["new " * 40]


async def test_summary_survives() -> None:
    """A summary is made anew by every program that goes on with a conversation, or an older one wins."""
    store = MemoryStore()
    agent = WordAgent(window=100)
    for number in range(60):
        agent.said = [answer(f"summary {number}")] if number % 7 == 0 else []
        conversation = Conversation(agent, "s", store=store, compact="summarise", answer_tokens=10)
        await conversation.ask("One two three four.")
    [*_, last] = [turn.entry for turn in await store.read("s") if turn.entry.role == "system"]
    assert agent.payloads[-1].system_context == f"Summary of the conversation so far:\n{last.content}"
    await conversation.clear()
    await conversation.ask("Hi.")
    assert agent.payloads[-1].system_context == ""


async def test_history_that_no_summary_can_hold_at_once() -> None:
    """A history much longer than the window is summed up in parts, and its beginning is not lost unread."""
    agent = WordAgent(window=100)
    conversation = talk(agent, compact="summarise", answer_tokens=10)
    await conversation.add(
        *[MemoryEntry(role, f"word {number}") for number in range(100) for role in ("user", "assistant")]
    )
    left_out = []
    for _ in range(12):
        fitting = (await conversation.ask("Now.")).metadata["conversation"]
        left_out.append(fitting.left_out)
    requests = [payload for payload in agent.payloads if payload.user_message.startswith("Summarise")]
    assert requests[0].memory[0].content == "word 0"
    assert left_out == sorted(left_out, reverse=True)
    assert left_out[0] > 0 == left_out[-1]


@pytest.mark.parametrize(("first", "asked"), [("word " * 80, 1), ("one two three", 2)])
async def test_summary_that_cannot_be_made(first: str, asked: int) -> None:
    """A conversation ends when its oldest exchange is too long to be summed up, or when the summary is empty."""
    agent = WordAgent(window=100)
    conversation = talk(agent, compact="summarise", answer_tokens=10)
    await conversation.add(MemoryEntry("user", first), MemoryEntry("user", "word " * 40))
    agent.said = [answer("")] * asked
    await conversation.ask("word " * 48)
    assert len(agent.payloads) == asked
    assert conversation.fitting == Fitting(sent=1, summarised=0, left_out=1)
