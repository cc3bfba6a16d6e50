"""What type checkers know of an answer: mypy reads this file as it reads all tests, and fails where one is wrong."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_type

from pydantic import BaseModel

from llm_backend import AgentPayload, AgentResponse, Usage
from llm_backend.llms import MemoryStore, run_with_tools
from llm_backend.llms.conversations.conversation import Conversation
from tests.unit.backend.fake_agent import FakeAgent, about
from tests.unit.backend.word_agent import WordAgent

if TYPE_CHECKING:
    from llm_backend.llms.agent import Agent
    from llm_backend.llms.payloads import Timings


class City(BaseModel):
    """The class of an answer."""

    name: str


PARIS = AgentResponse(response="", parsed=City(name="Paris"), metadata=about(usage=None))


async def test_an_answer_is_of_the_class_that_was_asked_for() -> None:
    """An answer is typed as the payload's class, whoever asks, and is of it."""
    agent: Agent = FakeAgent({"?": PARIS})
    payload = AgentPayload("?", output_schema=City)
    assert_type(payload, AgentPayload[City])
    answer = await agent.invoke(payload)
    assert_type(answer, AgentResponse[City])
    assert_type(answer.parsed, City)
    assert answer.parsed.name == "Paris"
    assert_type((await agent.invoke_with_tools(payload, [])).parsed, City)
    assert_type((await run_with_tools(agent, payload, [])).parsed, City)
    assert_type(replace(payload, user_message="!"), AgentPayload[City])
    lists = AgentPayload("?", output_schema=list[int])
    assert_type((await agent.invoke(lists)).parsed, list[int])


async def test_a_conversation_is_typed_too() -> None:
    """A conversation's turn is typed as the class that was asked for."""
    agent = WordAgent()
    agent.said = [PARIS]
    conversation = Conversation(agent, "s", store=MemoryStore())
    answer = await conversation.ask("?", output_schema=City)
    assert_type(answer.parsed, City)
    assert answer.parsed.name == "Paris"


async def test_without_a_class_anything_may_be_parsed() -> None:
    """Without a class, ``parsed`` is typed as Any."""
    agent = FakeAgent({})
    answer = await agent.invoke(AgentPayload("?"))
    assert_type(answer.parsed, Any)
    assert answer.parsed is None
    assert_type(AgentPayload("?", output_schema={"type": "object"}), AgentPayload[Any])


def test_metadata_is_typed() -> None:
    """An answer's metadata is typed value by value."""
    metadata = PARIS.metadata
    assert_type(metadata["usage"], Usage | None)
    assert metadata["usage"] is None
    if TYPE_CHECKING:
        assert_type(metadata["timings"], Timings)
        assert_type(metadata["finish_reason"], str)


def test_generic_classes_work_when_the_program_runs() -> None:
    """Generic payloads and responses can be made and copied at run time."""
    payload = AgentPayload[City]("?", output_schema=City)
    assert copy.copy(payload) == payload == AgentPayload("?", output_schema=City)
    assert AgentResponse[City](response="", parsed=City(name="Paris"), metadata=about(usage=None)) == PARIS
