"""Where the functions that tests are made of were defined."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from skipproof.origins import sources

if TYPE_CHECKING:
    from collections.abc import Callable


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as one should."""

    @functools.wraps(function)
    def call() -> Any:
        return function()

    return call


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate without ``wraps``."""

    def call() -> Any:
        return function()

    return call


def plain() -> int:
    """Be the function that is decorated."""
    return 7


class Wrapper:
    """Decorates by an object, as wrapt does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function

    def __call__(self) -> Any:
        """Call what it wraps."""
        return self.__wrapped__()


def kept(function: Callable[..., Any], where: str) -> Callable[..., Any]:
    """Keep the function where libraries do: in an attribute, a default, or a container."""

    def call(given: Any = function if where == "default" else None) -> Any:
        return (given or call.__dict__["inner"]["tests"][0])()

    call.__dict__["inner"] = {"tests": [function if where == "container" else None]}
    return call


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap as hypothesis does: in code whose globals are of no file, but which names the test's file and line."""
    return FunctionType(function.__code__, {})


class Holder:
    """Has a method."""

    def method(self) -> int:
        """Be the method that is collected."""
        return 7


@pytest.mark.parametrize(
    ("function", "origin"),
    [
        (plain, plain),
        (wrapped(plain), plain),
        (hidden(hidden(plain)), plain),
        (functools.partial(plain), plain),
        (functools.partial(Wrapper.__call__, Wrapper(plain)), plain),
        (Holder().method, Holder.method),
        (Wrapper(plain), plain),
        (Wrapper(plain).__call__, plain),
        (kept(plain, "default"), plain),
        (kept(plain, "container"), plain),
        (functools.lru_cache(plain), plain),
        (compiled(plain), plain),
    ],
    ids=[
        "plain",
        "wrapped",
        "hidden",
        "partial",
        "argument",
        "method",
        "object",
        "method of an object",
        "default",
        "container",
        "cache",
        "compiled",
    ],
)
def test_decorators_are_looked_behind(function: Callable[..., Any], origin: Callable[..., Any]) -> None:
    """A decorated test counts as collected."""
    assert function() == 7
    assert (__file__, origin.__code__.co_firstlineno) in set(sources(function))


def test_what_is_no_function_comes_from_nowhere() -> None:
    """An item of another plugin without a function has no source, and does not stop the run."""
    assert list(sources(None)) == []


def test_parameters_are_not_what_a_test_is_made_of() -> None:
    """A function that a test is given, or that its decorator refers to by name, is not the test's source."""

    @pytest.mark.parametrize("x", [plain])
    def test(x: object) -> None:
        assert hidden(lambda: x)() == 7

    test(7)
    assert {line for _, line in sources(test)} == {test.__code__.co_firstlineno}


def test_a_search_has_an_end() -> None:
    """Of everything that an object refers to, only the nearest parts are looked at."""
    chain: list[Any] = [plain]
    for _ in range(300):
        chain = [chain]
    assert list(sources(chain)) == []
