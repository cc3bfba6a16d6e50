"""How long one request may take in all, and how long a busy server asks to wait. All times are in seconds."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import TYPE_CHECKING, TypeVar

from backend.errors import EngineTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

__all__ = ["TimeLimit", "asked_wait", "seconds_left"]

_Item = TypeVar("_Item")
_deadline: ContextVar[float] = ContextVar("_deadline", default=math.inf)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """How long a server asks to wait (Retry-After: a number or a date); None where it does not say."""
    asked = headers.get("retry-after", "")
    try:
        return float(asked)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(asked).timestamp() - time()
    except ValueError:
        return None


def seconds_left() -> float:
    """How long the request that is being made may still take; without end where nothing limits it."""
    return _deadline.get() - monotonic()


class TimeLimit:
    """Bounds all waits for a server that belong to one request; what the caller does between them is not counted."""

    def __init__(self, seconds: float, place: str) -> None:
        self._seconds = self._left = seconds
        self._place = place

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Around each wait.

        Raises:
            EngineTimeoutError: the waits took longer than the limit together.
        """
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
                "Set timeout to more seconds, or max_new_tokens to fewer tokens."
            )
            raise EngineTimeoutError(message) from None
        finally:
            _deadline.reset(token)
            self._left -= monotonic() - started

    async def over(self, items: AsyncGenerator[_Item, None]) -> AsyncGenerator[_Item, None]:
        """Yield ``items``, with every wait for the next one bounded; closing this closes them.

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
