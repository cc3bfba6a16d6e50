"""Tests of what bounds a request in time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf
from typing import TYPE_CHECKING

import pytest

from backend.errors import EngineTimeoutError
from backend.llms.time_limits import TimeLimit, asked_wait, seconds_left

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, None), ({"retry-after": "soon"}, None), ({"retry-after": "1.5"}, 1.5), ({"retry-after": "inf"}, inf)],
)
def test_asked_wait(headers: dict[str, str], expected: float | None) -> None:
    """A wait that a server asks for is misread."""
    assert asked_wait(headers) == expected


def test_asked_wait_until_a_date() -> None:
    """A server that names a date is asked again before it."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert asked_wait({"retry-after": later}) == pytest.approx(3600, abs=60)


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which limits count; what ends a wait is the event loop's own."""
    clock = Clock()
    monkeypatch.setattr("backend.llms.time_limits.monotonic", clock)
    return clock


async def test_waits_add_up(clock: Clock) -> None:
    """Each wait has the whole time again, or the caller's own time counts."""
    limit = TimeLimit(60, "http://here")
    assert seconds_left() == inf
    async with limit.waiting():
        assert seconds_left() == 60
        clock.now += 20
        assert seconds_left() == 40
    assert seconds_left() == inf
    clock.now += 1000
    async with limit.waiting():
        assert seconds_left() == 40


async def test_time_is_up() -> None:
    """A wait without end goes on, or does not say what to do."""
    never = asyncio.Event()
    limit = TimeLimit(0.01, "http://here")
    with pytest.raises(
        EngineTimeoutError, match=r"at http://here did not finish its answer within 0\.01 s\. Set timeout"
    ):
        async with limit.waiting():
            await never.wait()


async def test_time_out_of_somebody_else() -> None:
    """An error of the caller's passes for ours."""
    ours = TimeoutError("theirs")
    with pytest.raises(TimeoutError) as caught:
        async with TimeLimit(60, "http://here").waiting():
            raise ours
    assert caught.value is ours


async def test_limit_over_items(clock: Clock) -> None:
    """The caller's own time counts, items are lost, or what yields them stays open."""
    closed = asyncio.Event()

    async def count() -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                clock.now += 1
                yield number
        finally:
            closed.set()

    limit = TimeLimit(60, "http://here")
    seen = []
    async for number in limit.over(count()):
        seen.append(number)
        clock.now += 1000
    assert seen == [0, 1, 2]
    async with limit.waiting():
        assert seconds_left() == 57
    assert closed.is_set()
    closed.clear()
    async with aclosing(limit.over(count())) as numbers:
        assert await anext(numbers) == 0
    assert closed.is_set()
