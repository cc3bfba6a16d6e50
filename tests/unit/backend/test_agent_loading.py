"""What ``load_agent`` returns is awaited, entered or run as any coroutine, and says so where that is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_backend.errors import NotAwaitedError
from llm_backend.llms.agent import Agent
from llm_backend.llms.agent_loader import load_agent
from tests.unit.backend.fake_agent import FakeAgent

pytestmark = pytest.mark.usefixtures("fake_engines")


async def test_loading_is_entered_and_left() -> None:
    """``async with`` loads an agent without an ``await``, and closes it, even after an error."""

    async def fail() -> None:
        async with load_agent("huggingface", validate=False) as agent:
            assert agent is FakeAgent.created
            assert not FakeAgent.created.closed
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert FakeAgent.created.closed


def test_loading_runs_as_any_coroutine() -> None:
    """Whatever starts coroutines starts this one, too."""
    agent = asyncio.run(load_agent("huggingface", validate=False))
    assert isinstance(agent, FakeAgent)


def test_a_forgotten_await_is_told() -> None:
    """Using it as the agent raises an error that says to await it, and it is not an Agent."""
    loading: Any = load_agent("huggingface")
    with pytest.raises(NotAwaitedError) as caught:
        loading.invoke("Hi.")
    assert str(caught.value) == (
        "load_agent(...) is not an agent until it is awaited, so it has no 'invoke'."
        " Write: agent = await load_agent(...), or: async with load_agent(...) as agent."
    )
    assert not hasattr(loading, "stream")
    assert not isinstance(loading, Agent)
    assert repr(loading) == "<load_agent(...), not awaited>"
    loading.close()
