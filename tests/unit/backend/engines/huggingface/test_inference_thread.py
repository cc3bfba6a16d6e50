"""The queue in front of a model: its order, its bound, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING

import pytest

from llm_backend.errors import EngineBusyError, EngineError
from llm_backend.llms.engines.huggingface.inference_thread import InferenceThread

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held:
    """Work that goes on until it is released."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        """Report that it began, and wait."""
        self.began.set()
        self.go.wait(30)
        return "held"


@pytest.fixture
def thread() -> Iterator[InferenceThread[str]]:
    """A thread that is ended after the test."""
    thread: InferenceThread[str] = InferenceThread("m")
    yield thread
    thread.end()


@pytest.fixture
def held(thread: InferenceThread[str]) -> Iterator[Held]:
    """Work that keeps the thread busy."""
    held = Held()
    thread.submit(held, 0)
    held.began.wait(30)
    yield held
    held.go.set()


def test_what_follows_each_piece_of_work() -> None:
    """The hook runs after each piece of work, once its result or its error is there."""
    done: list[str] = []
    thread: InferenceThread[str] = InferenceThread("m", lambda: done.append("after"))

    def fail() -> str:
        raise EngineError

    held = Held()
    futures = [thread.submit(held, 9), thread.submit(fail, 9)]
    for future in futures:
        future.add_done_callback(lambda _: done.append("done"))
    held.go.set()
    with pytest.raises(EngineError):
        futures[1].result(30)
    thread.end()
    assert done == ["done", "after"] * 2


def test_first_come_first_served(thread: InferenceThread[str], held: Held) -> None:
    """Requests are answered in the order in which they came."""
    order: list[int] = []

    def note(number: int) -> str:
        order.append(number)
        return str(number)

    futures = [thread.submit(lambda number=number: note(number), 9) for number in range(5)]  # type: ignore[misc]
    held.go.set()
    assert [future.result(30) for future in futures] == list("01234")
    assert order == [0, 1, 2, 3, 4]


def test_failure_reaches_whoever_waits(thread: InferenceThread[str]) -> None:
    """An error reaches the caller who waits for it, and the thread goes on."""

    def fail() -> str:
        message = "broken"
        raise EngineError(message)

    with pytest.raises(EngineError, match="broken"):
        thread.submit(fail, 0).result(30)
    assert thread.submit(lambda: "well", 0).result(30) == "well"


@pytest.mark.parametrize("exc", [StopIteration(), SystemExit(3), asyncio.CancelledError()], ids=repr)
async def test_failures_that_an_event_loop_keeps_to_itself(thread: InferenceThread[str], exc: BaseException) -> None:
    """StopIteration, exits and cancellations reach the caller as RuntimeError."""

    def fail() -> str:
        raise exc

    with pytest.raises(RuntimeError, match=type(exc).__name__) as caught:
        await asyncio.wait_for(asyncio.wrap_future(thread.submit(fail, 0)), 30)
    assert caught.value.__cause__ is exc


@pytest.mark.usefixtures("held")
def test_queue_is_bounded(thread: InferenceThread[str]) -> None:
    """No more requests wait than are allowed, and a cancelled one frees its place."""
    waiting = [thread.submit(str, 2) for _ in range(2)]
    with pytest.raises(
        EngineBusyError, match="'m' is answering 1 request, and 2 are waiting; max_queued allows 2"
    ) as caught:
        thread.submit(str, 2)
    assert (caught.value.running, caught.value.queued) == (1, 2)
    waiting[0].cancel()
    assert not thread.submit(str, 2).done()


def test_cancelled_while_it_is_taken_up(thread: InferenceThread[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A request cancelled just as its turn comes is dropped, and the thread goes on."""
    taken: list[Future[str]] = []
    real = Future.set_running_or_notify_cancel

    def cancel_first(future: Future[str]) -> bool:
        if not taken:
            taken.append(future)
            future.cancel()
        return real(future)

    monkeypatch.setattr(Future, "set_running_or_notify_cancel", cancel_first)
    with pytest.raises(CancelledError):
        thread.submit(str, 0).result(30)
    assert thread.submit(lambda: "next", 0).result(30) == "next"


def test_end_cancels_what_waits(thread: InferenceThread[str], held: Held) -> None:
    """Ending cancels what waits, lets running work finish, and takes no new work."""
    waiting = thread.submit(str, 9)
    waiting.add_done_callback(lambda _: held.go.set())
    thread.end()
    assert waiting.cancelled()
    assert thread.submit(str, 9).cancelled()


def test_abandoned_work_tells_nobody(thread: InferenceThread[str], held: Held) -> None:
    """Abandoning at the interpreter's exit neither waits for work nor wakes anybody."""
    waiting = thread.submit(str, 9)
    thread.abandon(0)
    held.go.set()
    thread.end()
    assert not waiting.done()


def test_abandoned_work_that_fails(thread: InferenceThread[str]) -> None:
    """An error of abandoned work is not raised anywhere."""
    began, go = threading.Event(), threading.Event()

    def fail() -> str:
        began.set()
        go.wait(30)
        raise EngineError

    failing = thread.submit(fail, 0)
    began.wait(30)
    thread.abandon(0)
    go.set()
    thread.end()
    assert not failing.done()
