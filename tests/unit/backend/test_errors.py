"""The error tree is what its drawing says."""

from __future__ import annotations

import re

import pytest

from backend import BackendError, errors
from backend.errors import (
    ContextWindowError,
    EngineBusyError,
    InsufficientMemoryError,
    MissingExtraError,
    StructuredOutputError,
)


def _drawn() -> dict[str, set[str]]:
    """The bases of each class, as the drawing in the module's docstring has them."""
    bases: dict[str, set[str]] = {}
    ancestors: list[str] = []
    for line in str(errors.__doc__).splitlines():
        match = re.match(r" {4}(?P<branch>[| `-]*)(?P<name>\w+Error)(?: \((?P<builtin>\w+)\))?(?:  |$)", line)
        if match:
            depth = len(match["branch"]) // 4
            ancestors[depth:] = [match["name"]]
            bases[match["name"]] = {name for name in (*ancestors[:depth][-1:], match["builtin"]) if name}
    return bases


def test_drawing_is_the_tree() -> None:
    """The drawing that readers rely on differs from the classes that are raised."""
    real = {name: {base.__name__ for base in getattr(errors, name).__bases__} for name in errors.__all__}
    assert _drawn() == real | {"BackendError": set()}


def test_every_error_is_public() -> None:
    """An error class is missing from ``__all__``, so that the drawing's test does not see it."""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes == {*errors.__all__, "BackendError"}


@pytest.mark.parametrize("name", errors.__all__)
def test_all_derive_from_the_root(name: str) -> None:
    """``except BackendError`` misses an error that we raise on purpose."""
    assert issubclass(getattr(errors, name), BackendError)


def test_figures_travel_with_the_errors() -> None:
    """A caller that handles an error in code has to parse its message."""
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
