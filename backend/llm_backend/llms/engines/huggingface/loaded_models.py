"""Which models are in memory, who uses them, and how long they stay.

Agents of the same model share it. Loading and freeing happen under one process-wide lock, because two
``from_pretrained`` at once leave broken models behind.
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_backend.errors import EngineError, InsufficientMemoryError
from llm_backend.llms.engines.huggingface.model import LoadedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_backend.llms.engines.huggingface.model import ModelKey

__all__ = ["acquire", "release"]

_LOCK = threading.Lock()
_models: dict[ModelKey, _Entry] = {}
_home: list[int] = []  # the process that loaded the first model


@dataclass(slots=True)
class _Entry:
    """A model in memory; nobody uses it while its timer runs, and when that ends, it is freed."""

    loaded: LoadedModel
    users: int = 0
    timer: threading.Timer | None = None


def acquire(key: ModelKey, before_load: Callable[[], int]) -> LoadedModel:
    """The model of ``key``, loaded when it is not in memory yet; each call needs one ``release``. Blocks.

    ``before_load`` is called under the lock when weights are about to be loaded. It says for how many tokens of context
    there is memory, and may refuse by raising.

    Raises:
        EngineError: this process is a fork of one that has loaded a model.
    """
    if _home and _home[0] != os.getpid():  # before the lock, which another thread may have held when it forked
        message = (
            f"Process {_home[0]} has loaded a model, and this is a fork of it, where torch's threads do not run. "
            "Start processes with the method 'spawn', or fork before anything is loaded."
        )
        raise EngineError(message)
    with _LOCK:
        if key not in _models:
            cache_tokens = _with_room(before_load)
            _home[:] = [os.getpid()]
            _models[key] = _Entry(LoadedModel(key, cache_tokens))
        entry = _models[key]
        entry.users += 1
        if entry.timer:
            entry.timer.cancel()
            entry.timer = None
        return entry.loaded


def _with_room(before_load: Callable[[], int]) -> int:
    """What ``before_load`` says, if need be after the models that nobody uses have gone."""
    try:
        return before_load()
    except InsufficientMemoryError:
        unused = [entry for entry in _models.values() if not entry.users]
        if not unused:
            raise
    for entry in unused:
        _free(entry)
    return before_load()


def release(model: LoadedModel, keep_alive: float) -> None:
    """Give back what ``acquire`` gave; ``keep_alive`` seconds after the last user did, it is freed. Blocks."""
    if model.process != os.getpid():
        return  # a fork's copy, which holds nothing of its own
    with _LOCK:
        entry = _models[model.key]
        entry.users -= 1
        if entry.users:
            return
        if keep_alive:
            entry.timer = threading.Timer(keep_alive, _free_if_unused, [entry])
            entry.timer.daemon = True  # the interpreter's exit does not wait for it
            entry.timer.start()
        else:
            _free(entry)


def _free_if_unused(entry: _Entry) -> None:
    with _LOCK:
        # Between the timer's end and this line somebody may have come back, and gone again with a timer of their own.
        if entry.timer is threading.current_thread():
            _free(entry)


def _free(entry: _Entry) -> None:
    entry.timer = None
    del _models[entry.loaded.key]
    entry.loaded.free()


def _stop_all() -> None:
    """Stop what is being generated: the interpreter must not go away under a thread that computes."""
    if _home == [os.getpid()]:
        for entry in list(_models.values()):
            entry.loaded.stop()


atexit.register(_stop_all)
