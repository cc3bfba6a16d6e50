"""Listens for what real use leaves behind: an audit event (PEP 578) for each generation, with model, tokens, seconds.

An engine raises ``sys.audit(NAME, directory of the model, tokens generated, seconds)`` when a generation ends; NAME
stands as ``trace`` at a capability. Nothing needs to be handed through, and without a listener the event costs nothing.
"""

from __future__ import annotations

import hashlib
import sys
import time
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_WEIGHTS = {".gguf", ".safetensors"}
UNKNOWN = "unknown"
"""In place of the digest of weights that are not there (any more)."""


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
    """Hears the events of some names while it listens, and tells which test each generation began in."""

    def __init__(self, events: Iterable[str]) -> None:
        self._events = set(events)
        self._began: list[float] = []
        self._tests: list[str] = []
        self._heard: list[tuple[float, Generation]] = []

    def listen(self) -> None:
        """Begin; whoever has nothing to listen for does not burden the process with a hook."""
        for event in self._events:
            _install()
            _listening.setdefault(event, []).append(self.note)

    def stop(self) -> None:
        """Hear nothing more."""
        for event in self._events:
            _listening[event].remove(self.note)

    def begin(self, test: str) -> None:
        """Say that a test begins, and by that, that the one before it is over."""
        self._began.append(time.perf_counter())
        self._tests.append(test)

    def note(self, event: str, directory: str, tokens: int, seconds: float) -> None:
        """Note one generation; called on the thread that made it. The weights are read now, before anyone can go on."""
        generation = Generation(event, weights_digest(directory), tokens, seconds)
        self._heard.append((time.perf_counter() - seconds, generation))

    def by_test(self) -> dict[str, list[Generation]]:
        """Return what was heard for each test, added up for each event and model."""
        sums: dict[tuple[str, str, str], tuple[int, float]] = {}
        for began, heard in self._heard:
            # One that goes on behind its test belongs to it, and is no proof of the test after it.
            place = bisect_right(self._began, began)
            key = (self._tests[place - 1] if place else "", heard.event, heard.model)
            tokens, seconds = sums.get(key, (0, 0.0))
            sums[key] = (tokens + heard.tokens, seconds + heard.seconds)
        found: dict[str, list[Generation]] = {}
        for (test, event, model), (tokens, seconds) in sums.items():
            found.setdefault(test, []).append(Generation(event, model, tokens, seconds))
        return found


_listening: dict[str, list[Callable[..., None]]] = {}


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    """Pass an event on. Called for every event of the process, so all others have to pass at the cost of a look-up."""
    for note in _listening.get(event, ()):
        note(event, *arguments)


@cache
def _install() -> None:
    """Add the hook, once in a process: it cannot be taken away again, so listeners come and go in its place."""
    sys.addaudithook(_hear)


def weights_digest(directory: str) -> str:
    """Return the SHA-256 of a directory's one weights file; of several, that over their names and digests."""
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
