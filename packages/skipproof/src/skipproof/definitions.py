"""What the text of a test file defines and uses, parsed without importing it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

# Decorators that make something else of a function, by the last part of their names.
_NOT_TESTS = ("fixture", "property", "setter", "getter", "deleter", "overload", "abstractmethod")

_EXAMPLE = re.compile(r"^\s*>>> ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definition:
    """A test defined in a file.

    Attributes:
        name: its name, preceded by those of its classes, as in "TestIt::test_a".
        line: its first line, decorators included, as in Python's code objects.
    """

    name: str
    line: int

    @property
    def own_name(self) -> str:
        """Its name without those of its classes."""
        return self.name.rpartition("::")[2]


def definitions(tree: ast.Module, is_test: Callable[[str], bool]) -> list[Definition]:
    """Return the tests that a file defines in the module and its classes, even under a condition; not in functions."""
    return list(_definitions(tree, "", is_test))


def _definitions(owner: ast.AST, prefix: str, is_test: Callable[[str], bool]) -> Iterator[Definition]:
    for node in ast.iter_child_nodes(owner):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if is_test(node.name) and not any(_last_name(each).endswith(_NOT_TESTS) for each in node.decorator_list):
                yield Definition(prefix + node.name, min(part.lineno for part in (node, *node.decorator_list)))
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node, f"{prefix}{node.name}::", is_test)
        elif not isinstance(node, ast.expr):
            yield from _definitions(node, prefix, is_test)


def _last_name(decorator: ast.expr) -> str:
    """Return the last part of a decorator's name, such as "fixture" of ``pytest.fixture(scope="module")``."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def doctests(tree: ast.Module, is_test: Callable[[str], bool]) -> list[str]:
    """Return what a file tests by examples in a docstring: the module (""), or a test or test class, by name.

    A helper's examples are its documentation, as those of the project's own modules are.
    """
    return list(_doctests(tree, "", is_test))


def _doctests(owner: ast.Module | ast.ClassDef, prefix: str, is_test: Callable[[str], bool]) -> Iterator[str]:
    if _EXAMPLE.search(ast.get_docstring(owner) or ""):
        yield prefix.removesuffix("::")
    for node in owner.body:
        match node:
            case ast.ClassDef(name=name) if is_test(name.lower()):
                yield from _doctests(node, f"{prefix}{name}::", is_test)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if is_test(name):
                if _EXAMPLE.search(ast.get_docstring(node) or ""):
                    yield prefix + name


def loader(tree: ast.Module) -> str | None:
    """Return what the ``load_tests`` of a file, which only unittest calls, adds: "doctests", "tests", or None."""
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {each.id for node in tree.body if isinstance(node, ast.Assign) for each in _names(node.targets)}
    if "load_tests" not in names:
        return None
    words = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}
    if any(word.lower().startswith("doc") and word.endswith("Suite") for word in words):
        return "doctests"
    return None if any(word == "discover" or word.startswith("loadTestsFrom") for word in words) else "tests"


def _names(nodes: Iterable[ast.AST]) -> Iterator[ast.Name]:
    return (each for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name))


class Uses:
    """Which functions and modules the code of some files uses; a test is used by pytest alone, a helper by tests."""

    def __init__(self, files: Mapping[Path, bytes]) -> None:
        self._files = files
        self._found: dict[Path, tuple[set[str], set[str]]] = {}

    def of(self, name: str, home: Path) -> bool:
        """Return whether code uses a function by its name, in the file that defines it or where that is imported."""
        return any(
            name in used and (path == home or _module(home) in imported)
            for path, used, imported in self._read(path for path, text in self._files.items() if name.encode() in text)
        )

    def of_module(self, home: Path) -> bool:
        """Return whether another file imports this one."""
        module = _module(home)
        others = (path for path, text in self._files.items() if path != home and module.encode() in text)
        return any(module in imported for _, _, imported in self._read(others))

    def _read(self, paths: Iterable[Path]) -> Iterator[tuple[Path, set[str], set[str]]]:
        for path in paths:
            if path not in self._found:
                tree = _parsed(self._files[path])
                self._found[path] = (set(_used(tree, frozenset())), set(_imported(tree)))
            yield path, *self._found[path]


def _module(path: Path) -> str:
    return path.parent.name if path.name == "__init__.py" else path.stem


def _parsed(source: bytes) -> ast.AST:
    """Return the tree of a file, without anything in it when it is not Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _used(node: ast.AST, own: frozenset[str]) -> Iterator[str]:
    """Yield the names that code reads; not those of functions that call themselves, or of what runs as a script only.

    Args:
        node: the code.
        own: the names of what it defines itself.
    """
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            own |= {name}
        case ast.Assign(targets=targets):
            own |= {each.id for each in _names(targets)}
        case ast.Attribute(ctx=ast.Store(), value=ast.Name()):
            return  # as in test_a.__test__ = False
        case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name) | ast.alias(name=name) if name not in own:
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _used(child, own)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield every part of the names of the modules that a file imports, and of what it imports from them."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in (getattr(node, "module", None) or "", *(alias.name for alias in node.names)):
                yield from name.split(".")
