"""Listens for traces of real use: an audit event (PEP 578) for each generation, with model, tokens and seconds.

An engine raises ``sys.audit(NAME, directory of the model, tokens generated, seconds)`` when a generation ends; NAME is
the ``trace`` of a capability. Nothing has to be passed along, and without a listener the event costs nothing.
"""

from __future__ import annotations

import hashlib
import sys
import time
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_WEIGHTS = {".gguf", ".safetensors"}
UNKNOWN = "unknown"
"""Stands in for the digest when the weights are not there, or no longer."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, or several of one model added up.

    Attributes:
        event: name of the audit event.
        model: SHA-256 of the weights in hexadecimal, or UNKNOWN.
        tokens: tokens generated.
        seconds: how long that took.
    """

    event: str
    model: str
    tokens: int
    seconds: float


class Listener:
    """Hears events with these names while it listens, and assigns each generation to the test it began in."""

    def __init__(self, events: Iterable[str]) -> None:
        self._events = set(events)
        self._began: list[float] = []
        self._tests: list[str] = []
        self._heard: deque[tuple[float, Generation]] = deque()

    def listen(self) -> None:
        """Start listening; without an event to listen for, the process gets no hook."""
        for event in self._events:
            _install()
            _listening.setdefault(event, []).append(self.note)

    def stop(self) -> None:
        """Stop listening."""
        for event in self._events:
            _listening[event].remove(self.note)

    def begin(self, test: str) -> None:
        """Note that a test begins, and so that the one before it is over."""
        self._began.append(time.perf_counter())
        self._tests.append(test)

    def note(self, event: str, directory: str, tokens: int, seconds: float) -> None:
        """Note one generation, on the thread that made it. The weights are read now, before anything can change."""
        generation = Generation(event, weights_digest(directory), tokens, seconds)
        self._heard.append((time.perf_counter() - seconds, generation))

    def by_test(self) -> dict[str, list[Generation]]:
        """Return what was heard for each test since the last call, added up by event and model."""
        found: dict[str, list[Generation]] = {}
        while self._heard:
            began, generation = self._heard.popleft()
            # One that outlasts its test still belongs to it, and proves nothing of the next.
            place = bisect_right(self._began, began)
            found.setdefault(self._tests[place - 1] if place else "", []).append(generation)
        return {test: added_up(generations) for test, generations in found.items()}


def added_up(generations: Iterable[Generation]) -> list[Generation]:
    """Return generations added up by event and model."""
    sums: dict[tuple[str, str], tuple[int, float]] = {}
    for each in generations:
        tokens, seconds = sums.get((each.event, each.model), (0, 0.0))
        sums[each.event, each.model] = (tokens + each.tokens, seconds + each.seconds)
    return [Generation(event, model, tokens, seconds) for (event, model), (tokens, seconds) in sums.items()]


_listening: dict[str, list[Callable[..., None]]] = {}


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    """Pass an event on. Called for every event of the process, so any other one must cost no more than a look-up."""
    for note in _listening.get(event, ()):
        note(event, *arguments)


@cache
def _install() -> None:
    """Add the hook, once per process: it cannot be removed, so listeners come and go behind it."""
    sys.addaudithook(_hear)


def weights_digest(directory: str) -> str:
    """Return the SHA-256 of a directory's weights file or, when there are several, of their names and digests."""
    try:
        files = sorted(path for path in Path(directory).iterdir() if path.suffix in _WEIGHTS)
        digests = {path.name: _file_digest(path) for path in files}
    except OSError:
        return UNKNOWN
    if len(digests) > 1:
        return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in digests.items()).encode()).hexdigest()
    return next(iter(digests.values()), UNKNOWN)


def _file_digest(path: Path) -> str:
    facts = path.stat()
    return _content_digest(path.resolve(), facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=256)
def _content_digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
