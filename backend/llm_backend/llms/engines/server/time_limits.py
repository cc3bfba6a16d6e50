"""How long one request may take in total, and how long a busy server asks to wait. All times are in seconds."""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import TYPE_CHECKING, TypeVar

from llm_backend.errors import EngineTimeoutError, EventLoopError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

__all__ = ["TimeLimit", "asked_wait", "require_asyncio", "seconds_left"]

_Item = TypeVar("_Item")
# The fields in which servers ask for a wait, and how many of their units make a second.
_WAITS = {"retry-after-ms": 1000, "x-ms-retry-after-ms": 1000, "retry-after": 1, "x-retry-after": 1}
# The fields that say when a limit's period ends: OpenAI, Groq, Azure, Together, OpenRouter, Anthropic, Mistral.
_RESET = re.compile(r"rate-?limit.*reset")
_LIMIT_LISTS = ("ratelimit", "x-ratelimit")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LEAST_DATE = 1e9  # seconds since 1970, in 2001
_deadline: ContextVar[float] = ContextVar("_deadline", default=math.inf)


def asked_wait(headers: Mapping[str, str], *, limited: bool = False) -> float | None:
    """How long a server asks to wait, in seconds: a finite number of at least 0; None if it does not say.

    Args:
        headers: the fields of its answer, with names in lower case.
        limited: whether it says that it limits requests. Only then do the ends of its limits' periods count, since
            those fields come with every answer. If there are several limits, those that are or may be used up count.
    """
    for name, unit in _WAITS.items():
        wait = _seconds(headers.get(name, ""))
        if wait is not None:
            return max(0.0, wait / unit)
    return _reset(headers) if limited else None


def _reset(headers: Mapping[str, str]) -> float | None:
    """When used-up limits reset, in seconds from now; all limits, if none is marked as used up."""
    used_up, all_of_them = [], []
    for name, value in headers.items():
        if name in _LIMIT_LISTS:  # from the IETF's draft: limit=9, remaining=0, reset=30, and newer "default";r=0;t=30
            told = dict(re.findall(r"\b(\w+)=([\d.]+)", value))
            wait, left = _seconds(told.get("reset") or told.get("t", "")), told.get("remaining") or told.get("r", "0")
        elif _RESET.search(name):
            wait, left = _seconds(value), headers.get(name.replace("reset", "remaining"), "0")
        else:
            continue
        if wait is not None:
            all_of_them.append(wait)
            used_up += [wait] * ((_seconds(left) or 0) <= 0)
    return max(0.0, *(used_up or all_of_them)) if all_of_them else None


def _seconds(text: str) -> float | None:
    """A span of time, or the time until a date; None if ``text`` is neither."""
    try:
        number = float(text)
    except ValueError:
        span = _span(text)
        return _until(text) if span is None else span
    for unit in (1000, 1):  # a date as a number: since 1970
        if _LEAST_DATE * unit < number < _LEAST_DATE * unit * 10:
            return number / unit - time()
    return number if math.isfinite(number) else None


def _span(text: str) -> float | None:
    """As OpenAI and Groq write it: 1s, 6m0s, 2m59.56s, 20ms."""
    parts = re.findall(r"([\d.]+)(ms|[smhd])", text) if re.fullmatch(r"(\d+(\.\d+)?(ms|[smhd]))+", text) else []
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


def _until(text: str) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):  # HTTP's own, and Anthropic's
        try:
            date = read(text)
        except (ValueError, OverflowError):
            continue
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time()
    return None


def require_asyncio() -> None:
    """Check that an asyncio event loop is running here.

    Raises:
        EventLoopError: none is; it may be another library's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        message = (
            "No asyncio event loop is running here, and agents need one. Run them with asyncio.run, or with anyio's "
            'backend "asyncio" instead of "trio".'
        )
        raise EventLoopError(message) from None


def seconds_left() -> float:
    """How long the current request may still take; infinite if nothing limits it."""
    return _deadline.get() - monotonic()


class TimeLimit:
    """Limits all waits for a server within one request, not counting what the caller does between them."""

    def __init__(self, seconds: float, place: str) -> None:
        self._seconds = self._left = seconds
        self._place = place

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Limit one wait.

        Raises:
            EngineTimeoutError: together the waits took longer than the limit.
            EventLoopError: no asyncio event loop is running here.
        """
        require_asyncio()
        started = monotonic()
        token = _deadline.set(started + self._left)
        try:
            async with asyncio.timeout(self._left) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            message = (
                f"The server at {self._place} did not finish its answer within {self._seconds:g} s. "
                "Raise timeout, or lower max_new_tokens."
            )
            raise EngineTimeoutError(message) from None
        finally:
            _deadline.reset(token)
            self._left -= monotonic() - started

    async def over(self, items: AsyncGenerator[_Item, None]) -> AsyncGenerator[_Item, None]:
        """Yield ``items``, limiting every wait for the next one; closing this closes them.

        Raises:
            EngineTimeoutError: the waits took longer than the limit together.
        """
        async with aclosing(items):
            while True:
                async with self.waiting():
                    item = await anext(items, None)
                if item is None:
                    return
                yield item
