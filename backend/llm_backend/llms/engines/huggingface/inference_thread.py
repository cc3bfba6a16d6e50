"""A persistent thread that does one piece of work after another, and its bounded queue.

One after another, because transformers' continuous batching, tried with 5.23, cannot keep what requests are promised,
though it gave 8 of them 3 to 5 times the tokens for the same CPU time. In bfloat16 a greedy answer depends on what
else is asked: 6 of 8 differed from those of ``generate``. A request may choose temperature, top_k and top_p, but no
seed, no greedy decoding beside others' sampling, and no constraint, which has to know the tokens before (transformers
45026, 48468). A request that fails, or is longer than the cache, ends all others and the thread (48301); so does a
closed event loop. Two loops get each other's results, and an interpreter that exits meanwhile hangs. Fixing all that
from outside would take our own scheduler; an inference server has one (engine openai).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from llm_backend.errors import EngineBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InferenceThread"]

Result = TypeVar("Result")


class InferenceThread(Generic[Result]):
    """Works through a queue, first come, first served.

    Not a ThreadPoolExecutor: its queue is unbounded, keeps cancelled work, and is worked off completely when the
    interpreter exits. This thread is a daemon, so that an exit need not wait for it; its owner calls ``abandon`` before
    the interpreter is torn down under the library that it runs.
    """

    def __init__(self, name: str, after: Callable[[], object] = lambda: None) -> None:
        """Start the thread, which runs until ``end``; errors refer to what it runs as ``name``.

        ``after`` is called after each piece of work, once the waiting caller has its result.
        """
        self._name = name
        self._after = after
        self._changed = threading.Condition()
        self._work: dict[Future[Result], Callable[[], Result]] = {}  # the first may be running, the others are waiting
        self._ended = self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Result], max_queued: int) -> Future[Result]:
        """Queue ``work``. If cancelled before it begins, it leaves the queue at once.

        Raises:
            EngineBusyError: ``max_queued`` are already waiting; nothing was queued.
        """
        future: Future[Result] = Future()
        with self._changed:
            if len(self._work) > max_queued:
                raise self._busy(len(self._work) - 1, max_queued)
            if self._ended:
                future.cancel()
                return future
            self._work[future] = work
            self._changed.notify()
        future.add_done_callback(self._leave)
        return future

    def end(self) -> None:
        """Cancel what is waiting, and wait for what is running."""
        with self._changed:
            self._ended = True
            waiting = list(self._work)
            self._changed.notify()
        for future in waiting:
            future.cancel()
        self._thread.join()

    def abandon(self, timeout: float) -> None:
        """Drop what is waiting, and wait at most ``timeout`` seconds for what is running; nobody learns how it ended.

        For the interpreter's exit: then only daemon threads can still be waiting, and they must not wake up to fail.
        """
        with self._changed:
            self._ended = self._abandoned = True
            self._work.clear()
            self._changed.notify()
        self._thread.join(timeout)

    def _busy(self, queued: int, max_queued: int) -> EngineBusyError:
        message = (
            f"The model {self._name!r} is answering 1 request, and {queued} are waiting; "
            f"max_queued allows {max_queued}. "
            "Try again later, raise max_queued, or let an inference server batch the requests (engine openai)."
        )
        return EngineBusyError(message, running=1, queued=queued)

    def _leave(self, future: Future[Result]) -> None:
        with self._changed:
            self._work.pop(future, None)

    def _run(self) -> None:
        while self._wait():
            self._do_next()

    def _wait(self) -> bool:
        """Wait for work; False once no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._work or self._ended)
            return bool(self._work)

    def _do_next(self) -> None:
        """Do the first work in the queue. A separate function, so that the thread keeps nothing while it waits."""
        with self._changed:
            future, work = next(iter(self._work.items()), (Future[Result](), None))
        # A future cancelled a moment ago may still be in the queue; notifying it twice would fail.
        if work is None or not future.set_running_or_notify_cancel():
            self._leave(future)
            return
        try:
            result = work()
        except BaseException as exc:  # noqa: BLE001  (raised again where its result is awaited)
            if not self._abandoned:
                future.set_exception(_ordinary(exc))
        else:
            future.set_result(result)
        self._after()


def _ordinary(exc: BaseException) -> BaseException:
    """``exc``, or a substitute if an event loop would hang on it, end, or take it for a cancellation."""
    if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
        return exc
    ours = RuntimeError(f"{type(exc).__name__} {exc}".rstrip())
    ours.__cause__ = exc
    return ours
