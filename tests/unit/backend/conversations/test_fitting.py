"""How a conversation fits into the window: what goes, what stays, and what is summarised."""

from __future__ import annotations

import pytest

from llm_backend import GenerationOptions, MemoryEntry
from llm_backend.llms import Conversation, MemoryStore
from llm_backend.llms.conversations.conversation import Fitting
from llm_backend.llms.conversations.history import largest
from tests.unit.backend.word_agent import WordAgent, answer, said, talk, words


async def test_oldest_exchanges_go_first() -> None:
    """A request fits the window, splits no exchange, and drops no more than it has to."""
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
    """A long history is counted in a few requests, each of a fraction of it."""
    agent = WordAgent(window=100)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(*[MemoryEntry(role, "word") for _ in range(5000) for role in ("user", "assistant")])
    await conversation.ask("Now.")
    assert conversation.fitting == Fitting(sent=44, summarised=0, left_out=4956)
    assert len(agent.counted) < 12
    assert max(map(words, agent.counted)) < 1000


async def test_next_request_begins_where_the_last_one_did() -> None:
    """A request starts at the last one's first turn while that still fits."""
    agent = WordAgent(window=100)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(*[MemoryEntry(role, f"{number}") for number in range(99) for role in ("user", "assistant")])
    await conversation.ask("word " * 30)
    agent.counted.clear()
    await conversation.ask("Now.")
    assert agent.counted[0].memory[0] == agent.payloads[0].memory[0]
    assert agent.payloads[1].memory[-1].content == "ok"


async def test_number_that_is_known_to_fit() -> None:
    """A guess that fits is taken without trying another number."""

    async def fits(number: int) -> bool:
        return number == 21 or number <= 5

    assert await largest(fits, 100, guess=21) == 21
    assert await largest(fits, 100) == 5


async def test_room_for_the_answer() -> None:
    """The answer's limit is reserved, but never more than half of the window."""
    agent = WordAgent(window=100)
    conversation = talk(agent, answer_tokens=10)
    await conversation.add(*[MemoryEntry(role, "word") for _ in range(100) for role in ("user", "assistant")])
    for limit, most in [(None, 90), (30, 70), (10_000, 50)]:
        await conversation.ask("Now.", generation=GenerationOptions(max_new_tokens=limit))
        assert most - 2 <= words(agent.payloads[-1]) <= most


async def test_message_that_is_too_long_alone() -> None:
    """A message that is too long goes to the agent uncut and without history."""
    agent = WordAgent(window=20)
    conversation = talk(agent)
    await conversation.ask("One.")
    await conversation.ask("word " * 50)
    assert agent.payloads[-1].memory == ()
    assert agent.payloads[-1].user_message == "word " * 50


async def test_system_turns_stay() -> None:
    """What the system said during a conversation stays when the turns around it go."""
    agent = WordAgent(window=40)
    conversation = talk(agent, system_context="Be brief.")
    await conversation.add(MemoryEntry("system", "You are Bob."))
    for _ in range(20):
        await conversation.ask("One two three.")
    assert agent.payloads[-1].system_context == "Be brief.\n\nYou are Bob."
    assert 0 < len(agent.payloads[-1].memory) < 20


async def test_summary_takes_the_place_of_older_exchanges() -> None:
    """A summary replaces older exchanges, and is made only now and then."""
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
    """The last exchange is sent word for word while there is room for it."""
    agent = WordAgent(window=100)
    conversation = talk(agent, compact="summarise", answer_tokens=10)
    await conversation.add(MemoryEntry("user", "old " * 9), MemoryEntry("user", "new " * 40))
    await conversation.ask("word " * 42)
    assert [entry.content for entry in agent.payloads[0].memory] == ["old " * 9]
    assert [entry.content for entry in agent.payloads[1].memory] == ["new " * 40]


async def test_summary_survives() -> None:
    """The latest summary is stored, is used by every later program, and goes when the session is cleared."""
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
    """A history longer than the window is summarised in parts, from its start."""
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
    """A conversation goes on where its oldest exchange cannot be summarised."""
    agent = WordAgent(window=100)
    conversation = talk(agent, compact="summarise", answer_tokens=10)
    await conversation.add(MemoryEntry("user", first), MemoryEntry("user", "word " * 40))
    agent.said = [answer("")] * asked
    await conversation.ask("word " * 48)
    assert len(agent.payloads) == asked
    assert conversation.fitting == Fitting(sent=1, summarised=0, left_out=1)
