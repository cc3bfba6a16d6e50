"""The error tree matches its drawing."""

from __future__ import annotations

import pickle
import re

import pytest

from llm_backend import BackendError, errors
from llm_backend.errors import (
    ContextWindowError,
    EngineBusyError,
    InsufficientMemoryError,
    MissingExtraError,
    StructuredOutputError,
)


def _drawn() -> dict[str, set[str]]:
    """The bases of each class, as drawn in the module's docstring."""
    bases: dict[str, set[str]] = {}
    ancestors: list[str] = []
    for line in str(errors.__doc__).splitlines():
        match = re.match(r" {4}(?P<branch>[| `-]*)(?P<name>\w+Error)(?: \((?P<builtin>\w+)\))?(?:  |$)", line)
        if match:
            depth = len(match["branch"]) // 4
            ancestors[depth:] = [match["name"]]
            bases[match["name"]] = {name for name in (*ancestors[:depth][-1:], match["builtin"]) if name}
    return bases


CLASSES: list[type[BackendError]] = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_drawing_is_the_tree() -> None:
    """The drawing shows the classes that are raised."""
    real = {kind.__name__: {base.__name__ for base in kind.__bases__} for kind in CLASSES}
    assert _drawn() == real | {"BackendError": set()}


@pytest.mark.parametrize("kind", CLASSES)
def test_all_derive_from_the_root(kind: type) -> None:
    """``except BackendError`` catches every error that we raise on purpose."""
    assert issubclass(kind, BackendError)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_come_whole_out_of_another_process(kind: type[BackendError]) -> None:
    """Every error survives pickling, with its figures."""
    error = kind("what", name="torch")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (made by this test)
    assert (type(copy), str(copy), copy.name) == (kind, "what", "torch")


def test_what_may_be_asked_again() -> None:
    """Only the errors of a busy, unreachable or slow engine are retryable."""
    again = {kind.__name__ for kind in CLASSES if kind.retryable}
    assert again == {"EngineBusyError", "EngineConnectionError", "EngineTimeoutError"}


def test_figures_travel_with_the_errors() -> None:
    """Errors carry their figures as attributes."""
    window = ContextWindowError("too long", prompt_tokens=9, context_window=8)
    memory = InsufficientMemoryError("too large", required=7, available=6)
    busy = EngineBusyError("later", running=1, queued=5)
    extra = MissingExtraError("not there", name="torch")
    output = StructuredOutputError("cut", text="{", finish_reason="length")
    assert (output.text, output.finish_reason) == ("{", "length")
    assert (window.prompt_tokens, window.context_window) == (9, 8)
    assert (memory.required, memory.available) == (7, 6)
    assert (busy.running, busy.queued) == (1, 5)
    assert extra.name == "torch"
    assert [str(error) for error in (window, memory, busy, extra)] == ["too long", "too large", "later", "not there"]
