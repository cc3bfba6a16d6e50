"""What a long-running process keeps of the memory that its answers took."""

from __future__ import annotations

import asyncio
import gc
import statistics
from typing import TYPE_CHECKING, TypeAlias

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model")

Ask: TypeAlias = "Callable[..., AgentPayload]"
ROUNDS = 7


async def test_memory_of_answers_is_given_back(agent: Agent, ask: Ask) -> None:
    """A growing conversation returns the memory of each turn, which glibc by itself would keep.

    The prompts grow by some 200 tokens a turn. The slope of the resident memory over the turns was 9 to 11 MB a turn
    without giving it back, and -1 to 3 MB with that.
    """
    from llm_backend.llms.engines.huggingface.model import _return_memory

    process = psutil.Process()

    def resident() -> float:
        gc.collect()
        return process.memory_info().rss / 1e6

    await agent.invoke(ask("Hello!", max_new_tokens=1))
    _return_memory()  # memory freed by earlier tests would hide what this one takes
    samples = []
    for turn in range(ROUNDS):
        await agent.invoke(
            ask("The sky over the fjord is grey, and the sea is calm. " * (14 * turn + 1), max_new_tokens=1)
        )
        await asyncio.sleep(0.2)  # until the model's thread has released it
        samples.append(resident())
    slope = statistics.linear_regression(range(1, ROUNDS), samples[1:]).slope
    assert slope < 6, samples
