"""The protocol recognises agents, and texts stand for payloads."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend import AgentPayload
from llm_backend.errors import PayloadError
from llm_backend.llms.agent import Agent, as_payload
from tests.unit.backend.fake_agent import FakeAgent
from tests.unit.backend.word_agent import TOOL, WordAgent


def test_an_agent_is_recognised() -> None:
    """An object with all methods is an agent."""
    assert isinstance(FakeAgent(), Agent)


def test_something_else_is_no_agent() -> None:
    """An object without the methods is not an agent."""
    assert not isinstance(object(), Agent)


def test_a_text_stands_for_a_payload() -> None:
    """A text becomes the message of an otherwise empty payload; a payload stays the same one."""
    payload = AgentPayload("Hi.")
    assert as_payload("Hi.") == payload
    assert as_payload(payload) is payload


@pytest.mark.parametrize(
    ("wrong", "fact"), [("", "is empty"), (None, "is of type NoneType"), (b"Hi.", "is of type bytes")]
)
def test_what_is_neither_text_nor_payload_is_refused(wrong: Any, fact: str) -> None:
    """Anything but a text or a payload is refused with a PayloadError."""
    with pytest.raises(PayloadError, match=f"^user_message {fact}"):
        as_payload(wrong)


async def test_a_text_goes_with_tools() -> None:
    """``invoke_with_tools`` takes a text, too."""

    class Tooled(WordAgent):
        invoke_with_tools = Agent.invoke_with_tools  # type: ignore[assignment]

    agent = Tooled()
    await agent.invoke_with_tools("Roll.", [TOOL])
    assert agent.payloads == [AgentPayload("Roll.", tools_available=[TOOL])]
