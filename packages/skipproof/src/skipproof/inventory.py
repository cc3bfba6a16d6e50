"""What should be there: every test that the files define, held against what was collected.

pytest says nothing of what it does not collect: a file under another name, a test that a second one of the same name
hides, a class with an ``__init__``, a definition in an ``if`` that did not hold, a file that ``collect_ignore`` names.
So the files are read here without importing them, and each definition has to be the source of a collected test.
"""

from __future__ import annotations

import ast
import os
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest


@dataclass(frozen=True, slots=True)
class Definition:
    """A test as a file defines it.

    Attributes:
        name: its name, after the names of the classes that it is in, as in "TestIt::test_a".
        line: where it begins, with its first decorator; Python's code objects say the same.
    """

    name: str
    line: int


class Inventory:
    """Compares the tests that files define with those that were collected."""

    def __init__(self, config: pytest.Config, suites: Sequence[str]) -> None:
        self._config = config
        self._all_suites = [config.rootpath / suite for suite in config.getini("testpaths")]
        self._suites = [config.rootpath / suite for suite in suites]
        self._sources: set[tuple[str, int]] = set()
        self._files: set[Path] = set()
        self._excused: set[Path] = set()

    def add(self, item: pytest.Item) -> None:
        """Note where a collected test comes from: its file, and the functions behind its decorators."""
        self._files.add(item.path)
        self._sources.update(sources(getattr(item, "function", None)))

    def excuse(self, path: Path) -> None:
        """Note a file about which something else is said already; that it holds nothing follows from it."""
        self._excused.add(path)

    def complaints(self) -> Iterator[tuple[str, str]]:
        """Yield what was not collected (a file, or a test in it) and the sentence that says why and what to do."""
        for path in self._paths():
            where = path.relative_to(self._config.rootpath).as_posix()
            try:
                defined = definitions(path.read_bytes(), self._is_test)
            except (SyntaxError, ValueError) as error:
                yield (
                    where,
                    f"a file under {self._top(path).name}/ that cannot be read ({error}); mend it, or remove it",
                )
                continue
            absent = [test for test in defined if (_real(path), test.line) not in self._sources]
            if len(absent) == len(defined) and path not in self._files:
                yield from self._whole_file(path, where, len(defined))
            else:
                yield from ((f"{where}::{test.name}", _why(test, defined)) for test in absent)

    def _whole_file(self, path: Path, where: str, count: int) -> Iterator[tuple[str, str]]:
        suites = ", ".join(self._config.getini("testpaths"))
        patterns = self._config.getini("python_files")
        fact = f"a test file under {self._top(path).name}/ that was not collected ({count} defined in it)"
        if not any(path.is_relative_to(suite) for suite in self._all_suites):
            if count:
                yield where, f"{fact}: it lies in no suite; move it into one of {suites}, or name its folder there"
        elif any(fnmatch(path.name, pattern) for pattern in patterns):
            step = "take --ignore or collect_ignore away, put a test into it, or remove it"
            yield where, f"no test of it was collected; {step}"
        elif count:
            step = "rename it, or have a test file inherit its classes"
            yield where, f"{fact}: its name matches none of {', '.join(patterns)}; {step}"

    def _paths(self) -> list[Path]:
        """Every file in the suites of this run, and those under the suites' common folders that are in no suite."""
        others = [suite for suite in self._all_suites if suite not in self._suites]
        # A suite that is the whole project has nothing beside it.
        folders = {self._top(suite) for suite in self._all_suites}
        found = {path for folder in folders for path in folder.rglob("*.py")}
        return sorted(path for path in found - self._excused if not any(path.is_relative_to(suite) for suite in others))

    def _top(self, path: Path) -> Path:
        """Return the folder that the suites of the same part of the project as ``path`` have in common."""
        root = self._config.rootpath
        part = path.relative_to(root).parts[:1]
        suites = [suite for suite in self._all_suites if suite.relative_to(root).parts[:1] == part]
        return Path(os.path.commonpath(suites)) if suites else root

    def _is_test(self, name: str) -> bool:
        # pytest's own prefix always counts: a narrower setting is one more way to leave tests out.
        patterns = ("test", *self._config.getini("python_functions"))
        return any(name.startswith(pattern) or fnmatch(name, pattern) for pattern in patterns)


def definitions(source: bytes, is_test: Callable[[str], bool]) -> list[Definition]:
    """Return the tests that a file defines: in the module and its classes, also under a condition, not in functions.

    Raises:
        SyntaxError, ValueError: it is not Python.
    """
    return list(_definitions(ast.parse(source), "", is_test))


def _definitions(owner: ast.AST, prefix: str, is_test: Callable[[str], bool]) -> Iterator[Definition]:
    for node in ast.iter_child_nodes(owner):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if is_test(node.name):
                yield Definition(prefix + node.name, min(part.lineno for part in (node, *node.decorator_list)))
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node, f"{prefix}{node.name}::", is_test)
        elif not isinstance(node, ast.expr):
            yield from _definitions(node, prefix, is_test)


def sources(function: object) -> Iterator[tuple[str, int]]:
    """Yield file and first line of a function, and of those that its decorators wrap."""
    waiting, seen = [function], set()
    while waiting:
        each: Any = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (MethodType, partial)):
            waiting.append(each.__func__ if isinstance(each, MethodType) else each.func)
        elif isinstance(each, FunctionType):
            # Not what the code object says of its file: compiled code that was copied still names the old place.
            yield _real(each.__globals__.get("__file__", "")), each.__code__.co_firstlineno
            waiting += [vars(each).get("__wrapped__"), *_enclosed(each)]


def _enclosed(function: FunctionType) -> Iterator[object]:
    """Yield what a function took along from where it was defined: a decorator without ``wraps`` has its test there."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing was put into it yet
            yield cell.cell_contents


def _why(test: Definition, defined: Sequence[Definition]) -> str:
    others = [other.line for other in defined if other.name == test.name and other is not test]
    if others:
        return (
            f"(line {test.line}) is defined again in line {others[-1]}, and only one of them was collected; "
            "give each a name of its own"
        )
    return (
        f"(line {test.line}) is defined but was not collected; define it without a condition, "
        "in a class without __init__ and without __test__ = False"
    )


@cache
def _real(path: str | Path) -> str:
    return os.path.realpath(path)
