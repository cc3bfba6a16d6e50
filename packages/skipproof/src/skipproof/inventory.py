"""Checks every test that the files define against what was collected.

pytest does not report what it does not collect: a file with another name, a test hidden by a second one of the same
name, a class with an ``__init__``, a definition in an ``if`` that was false, a file that ``collect_ignore`` names. So
the files are parsed here without importing them, and each definition must be the source of a collected test.
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

from .suites import all_suites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest


@dataclass(frozen=True, slots=True)
class Definition:
    """A test defined in a file.

    Attributes:
        name: its name, preceded by those of its classes, as in "TestIt::test_a".
        line: its first line, decorators included, as in Python's code objects.
    """

    name: str
    line: int


class Inventory:
    """Compares the tests that files define with those that were collected."""

    def __init__(self, config: pytest.Config, suites: Sequence[str]) -> None:
        self._config = config
        self._names = all_suites(config)
        self._all_suites = [config.rootpath / suite for suite in self._names]
        self._suites = [config.rootpath / suite for suite in suites]
        self._sources: set[tuple[str, int]] = set()
        self._files: set[Path] = set()
        self._excused: set[Path] = set()

    def add(self, item: pytest.Item) -> None:
        """Note the source of a collected test: its file, and the functions behind its decorators."""
        self._files.add(item.path)
        self._sources.update(sources(getattr(item, "function", None)))

    def excuse(self, path: Path) -> None:
        """Note a file that is already reported for a reason that explains why nothing was collected from it."""
        self._excused.add(path)

    def complaints(self) -> Iterator[tuple[str, str]]:
        """Yield what was not collected (a file, or a test in it), with why and the next step."""
        for path in self._paths():
            where = path.relative_to(self._config.rootpath).as_posix()
            try:
                defined = definitions(path.read_bytes(), self._is_test)
            except (SyntaxError, ValueError) as error:
                yield (
                    where,
                    f"a file under {self._top(path).name}/ that cannot be read ({error}); fix it, or delete it",
                )
                continue
            absent = [test for test in defined if (_real(path), test.line) not in self._sources]
            if len(absent) == len(defined) and path not in self._files:
                yield from self._whole_file(path, where, len(defined))
            else:
                yield from ((f"{where}::{test.name}", _why(test, defined)) for test in absent)

    def _whole_file(self, path: Path, where: str, count: int) -> Iterator[tuple[str, str]]:
        suites = ", ".join(self._names)
        patterns = self._config.getini("python_files")
        fact = f"a test file under {self._top(path).name}/ that was not collected ({count} defined in it)"
        if not any(path.is_relative_to(suite) for suite in self._all_suites):
            if count:
                yield where, f"{fact}: it lies in no suite; move it into one of {suites}, or name its folder there"
        elif any(fnmatch(path.name, pattern) for pattern in patterns):
            step = "remove --ignore or collect_ignore, add a test to it, or delete it"
            yield where, f"no test of it was collected; {step}"
        elif count:
            step = "rename it, or have a test file inherit its classes"
            yield where, f"{fact}: its name matches none of {', '.join(patterns)}; {step}"

    def _paths(self) -> list[Path]:
        """Return the files in this run's suites, and those under the suites' common folders that are in no suite."""
        others = [suite for suite in self._all_suites if suite not in self._suites]
        # Nothing lies beside a suite that is the whole project.
        folders = {self._top(suite) for suite in self._all_suites}
        found = {path for folder in folders for path in (folder.rglob("*.py") if folder.is_dir() else [folder])}
        return sorted(path for path in found - self._excused if not any(path.is_relative_to(suite) for suite in others))

    def _top(self, path: Path) -> Path:
        """Return the common folder of the suites in the same part of the project as ``path``."""
        root = self._config.rootpath
        part = path.relative_to(root).parts[:1]
        suites = [suite for suite in self._all_suites if suite.relative_to(root).parts[:1] == part]
        return Path(os.path.commonpath(suites)) if suites else root

    def _is_test(self, name: str) -> bool:
        # pytest's own prefix always counts: a narrower setting would be another way to leave tests out.
        patterns = ("test", *self._config.getini("python_functions"))
        return any(name.startswith(pattern) or fnmatch(name, pattern) for pattern in patterns)


def definitions(source: bytes, is_test: Callable[[str], bool]) -> list[Definition]:
    """Return the tests that a file defines in the module and its classes, even under a condition, but not in functions.

    Raises:
        SyntaxError, ValueError: the file is not Python.
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
    """Yield file and first line of a function, and of the functions that its decorators wrap."""
    waiting, seen = [function], set()
    while waiting:
        each: Any = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (MethodType, partial)):
            waiting.append(each.__func__ if isinstance(each, MethodType) else each.func)
        elif isinstance(each, FunctionType):
            # Not the code object's own file name: compiled code that was copied still names the old place.
            yield _real(each.__globals__.get("__file__", "")), each.__code__.co_firstlineno
            waiting += [vars(each).get("__wrapped__"), *_enclosed(each)]


def _enclosed(function: FunctionType) -> Iterator[object]:
    """Yield what a function closes over: a decorator without ``wraps`` keeps its test there."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # the cell is still empty
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
