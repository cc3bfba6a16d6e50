"""Runs slow work: an interrupt ends it at once, and a terminal shows its progress."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from llm_backend.cli import INTERRUPTED
from llm_backend.llms.models.store import discard_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["error_console", "interruptible", "progress_bar", "run"]

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Return or raise what ``work`` does; an interrupt ends the process at once."""
    with interruptible() as runner:
        return runner.run(work)


@contextmanager
def interruptible() -> Iterator[asyncio.Runner]:
    """An event loop; interrupting it ends the process at once."""
    runner = asyncio.Runner()
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # treated like Ctrl-C
    try:
        yield runner
    except KeyboardInterrupt:
        # Not sys.exit: Python would first wait for every thread, and one may be loading a model for seconds more.
        discard_unfinished()
        sys.stderr.write("\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
        runner.close()


def error_console() -> Console:
    """Standard error, without motion or colour where it is not a terminal, whatever the environment asks for."""
    return Console(stderr=True, force_terminal=sys.stderr.isatty())


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """A function that shows the current step on a terminal, and how much of how much is done."""
    console = error_console()
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as bar:

        def show(step: str, done: int, total: int | None) -> None:
            if not any(task.description == step for task in bar.tasks):
                for finished in bar.task_ids:
                    bar.remove_task(finished)
                bar.add_task(step, total=None, count="")
            count = "" if total is None else f"{done:,} of {total:,}"
            bar.update(bar.task_ids[-1], completed=done, total=total, count=count)

        show("looking for the model", 0, None)
        yield show
