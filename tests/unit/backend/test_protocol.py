"""The protocol tells an agent from something else."""

from __future__ import annotations

from backend.llms.protocol import Agent
from tests.unit.backend.fake_agent import FakeAgent


def test_an_agent_is_recognised() -> None:
    """An object with all methods does not pass for an agent."""
    assert isinstance(FakeAgent(), Agent)


def test_something_else_is_no_agent() -> None:
    """An object without the methods passes for an agent."""
    assert not isinstance(object(), Agent)
