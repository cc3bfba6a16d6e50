"""The models in memory, their users, and how long they stay.

Agents of the same model share it. Loading and freeing happen under one process-wide lock, because two concurrent
``from_pretrained`` leave broken models.
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
    """A model in memory; its timer runs while nobody uses it, and frees it at the end."""

    loaded: LoadedModel
    users: int = 0
    timer: threading.Timer | None = None


def acquire(key: ModelKey, before_load: Callable[[], int]) -> LoadedModel:
    """The model of ``key``, loaded if it is not in memory yet; each call needs one ``release``. Blocks.

    ``before_load`` is called under the lock before weights are loaded. It returns for how many tokens of context there
    is memory, and may refuse by raising.

    Raises:
        EngineError: this process is a fork of one that has loaded a model.
    """
    if _home and _home[0] != os.getpid():  # before the lock, which another thread may have held during the fork
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
    """The result of ``before_load``, if necessary after freeing the models that nobody uses."""
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
    """Release a model from ``acquire``; it is freed ``keep_alive`` seconds after the last release. Blocks."""
    if model.process != os.getpid():
        return  # a fork's copy, which holds nothing itself
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
        # Between the timer's end and this line another user may have come and gone, leaving a new timer.
        if entry.timer is threading.current_thread():
            _free(entry)


def _free(entry: _Entry) -> None:
    entry.timer = None
    del _models[entry.loaded.key]
    entry.loaded.free()


def _stop_all() -> None:
    """Stop all generation: the interpreter must not be torn down under a thread that computes."""
    if _home == [os.getpid()]:
        for entry in list(_models.values()):
            entry.loaded.stop()


atexit.register(_stop_all)
