"""Where the functions that tests are made of were defined, whatever their decorators made of them."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache, partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A decorator keeps its test close by; what else it refers to may be as large as the program.
_NEAREST = 200


def sources(function: object) -> Iterator[tuple[str, int]]:
    """Yield file and first line of a function, and of the functions that its decorators wrap, keep or were given."""
    reached, seen = [function], {id(function)}
    for each in reached:  # grows while it is gone through, the nearest first
        if isinstance(each, FunctionType):
            line = each.__code__.co_firstlineno
            # Compiled code that was copied names the old place, and a wrapper's globals are of its library.
            for file in {each.__globals__.get("__file__") or "", each.__code__.co_filename}:
                yield real(file), line
        for part in _parts(each):
            if id(part) not in seen and len(reached) < _NEAREST:
                seen.add(id(part))
                reached.append(part)


def _parts(each: Any) -> Iterator[object]:
    """Yield the objects in which a callable may keep another one."""
    match each:
        case FunctionType():
            for cell in each.__closure__ or ():
                with suppress(ValueError):  # the cell is still empty
                    yield cell.cell_contents
            yield from each.__defaults__ or ()
            yield from (each.__kwdefaults__ or {}).values()
            # Parameters are what a test is given, not what it is made of.
            yield from (value for name, value in vars(each).items() if name != "pytestmark")
        case MethodType():
            yield from (each.__func__, each.__self__)
        case partial():
            yield from (each.func, *each.args, *each.keywords.values())
        case list() | tuple():
            yield from each
        case dict():
            yield from each.values()
        case type() | ModuleType() | str():
            pass
        case _:
            yield from getattr(each, "__dict__", {}).values()
            with suppress(Exception):  # what else a foreign object does when it is asked
                yield each.__wrapped__


@cache
def real(path: str | Path) -> str:
    """Return a path without links."""
    return os.path.realpath(path)
