"""What bounds a request in time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf
from typing import TYPE_CHECKING

import pytest

from llm_backend.errors import EngineTimeoutError, EventLoopError
from llm_backend.llms import load_agent
from llm_backend.llms.engines.server.time_limits import TimeLimit, asked_wait, seconds_left

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "20s"}, 20),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "?", "retry-after": "9"}, 9),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"x-ratelimit-reset-requests": "6m0s"}, None),
    ],
    ids=str,
)
def test_asked_wait(headers: dict[str, str], expected: float | None) -> None:
    """The wait that a server asks for is a finite number of at least 0, whatever the server writes."""
    assert asked_wait(headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-ratelimit-limit-requests": "60"}, None),
        ({"x-ratelimit-reset-requests": "soon"}, None),
        ({"retry-after": "3", "x-ratelimit-reset-requests": "6m0s"}, 3),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "2m59.56s"}, 179.56),
        ({"x-ratelimit-reset-tokens": "0s"}, 0),
        ({"x-ratelimit-reset": "-3"}, 0),
        ({"x-rate-limit-reset-tokens": "55", "x-ratelimit-remaining-requests": "9"}, 55),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, 0),
        ({"ratelimit-reset": "30"}, 30),
        ({"ratelimit": "limit=10, remaining=0, reset=31"}, 31),
        ({"ratelimit": '"default";r=0;t=30'}, 30),
        (
            {
                "x-ratelimit-remaining-requests": "99",
                "x-ratelimit-reset-requests": "12h",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "20ms",
            },
            0.02,
        ),
        (
            {
                "x-ratelimit-remaining-requests": "99",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "500",
                "x-ratelimit-reset-tokens": "1d",
            },
            86400,
        ),
    ],
    ids=str,
)
def test_limits_of_requests(headers: dict[str, str], expected: float | None) -> None:
    """A rate-limited caller waits until the limit that is used up resets, not until another does."""
    assert asked_wait(headers, limited=True) == pytest.approx(expected)


def test_asked_wait_until_a_date() -> None:
    """A server that names a date, in any format, is not asked again before it."""
    date = datetime.now(UTC) + timedelta(hours=1)
    anthropic = date.isoformat().replace("+00:00", "Z")
    for headers in (
        {"retry-after": format_datetime(date, usegmt=True)},
        {"retry-after": f"{date.replace(tzinfo=None).isoformat()}"},
        {"anthropic-ratelimit-requests-reset": anthropic},
        {"x-ratelimit-reset": f"{date.timestamp():.0f}"},
        {"x-ratelimit-reset": f"{date.timestamp() * 1000:.0f}"},
    ):
        assert asked_wait(headers, limited=True) == pytest.approx(3600, abs=60)


@dataclass
class Clock:
    """Time that passes only when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that limits read; waits end by the event loop's own."""
    clock = Clock()
    monkeypatch.setattr("llm_backend.llms.engines.server.time_limits.monotonic", clock)
    return clock


async def test_waits_add_up(clock: Clock) -> None:
    """All waits share one limit, and the caller's own time does not count."""
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
    """A wait without end is ended by EngineTimeoutError, with the setting to change."""
    never = asyncio.Event()
    limit = TimeLimit(0.01, "http://here")
    with pytest.raises(
        EngineTimeoutError, match=r"at http://here did not finish its answer within 0\.01 s\. Raise timeout"
    ):
        async with limit.waiting():
            await never.wait()


async def test_time_out_of_somebody_else() -> None:
    """A TimeoutError of the caller's own passes unchanged."""
    ours = TimeoutError("theirs")
    with pytest.raises(TimeoutError) as caught:
        async with TimeLimit(60, "http://here").waiting():
            raise ours
    assert caught.value is ours


async def test_limit_over_items(clock: Clock) -> None:
    """The caller's own time does not count, every item arrives, and the source is closed."""
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


def test_loop_of_another_library() -> None:
    """Without a loop of asyncio, as under trio, the error is ours and says what to do."""
    with pytest.raises(EventLoopError, match=r"No asyncio event loop is running here.*instead of \"trio\""):
        TimeLimit(1, "http://here").waiting().__aenter__().send(None)
    with pytest.raises(EventLoopError, match="No asyncio event loop"):
        load_agent("openai").send(None)
