"""Checks every test that the files define against what was collected.

pytest does not report what it does not collect: a file with another name, a test hidden by a second one of the same
name, a class with an ``__init__``, a definition in an ``if`` that was false, a file that ``collect_ignore`` names, a
doctest. So the files are parsed here without importing them, and each definition must be the source of a collected
test. A function that only looks like a test is not one: pytest takes a fixture or a property for what it is, and what
other code calls is a helper.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .definitions import Uses, definitions, doctests, loader
from .origins import real, sources
from .suites import all_suites

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from .definitions import Definition

_TEST_FOLDER = re.compile(r"(.*[_-])?tests?([_-].*)?")
# Every definition there can be, and more: these words may also stand in a text or a comment.
_DEFINED = re.compile(rb"\b(?:def|class)\b[\s\\]*([\w\x80-\xff]*)")
_ENCODED = re.compile(rb"(.*\n)?.*coding[:=]")


class Inventory:
    """Compares the tests that files define with those that were collected.

    Attributes:
        unread: test files that were left out, and that this Python cannot read: another one has to run them.
    """

    def __init__(self, config: pytest.Config, suites: Sequence[str]) -> None:
        self.unread: set[str] = set()
        self._config = config
        self._names = all_suites(config)
        self._all_suites = [config.rootpath / suite for suite in self._names]
        self._suites = [config.rootpath / suite for suite in suites]
        self._functions: dict[int, object] = {}  # keeps them, so that no id is given twice
        self._sources: set[tuple[str, int]] = set()
        self._files: set[Path] = set()
        self._documented: set[Path] = set()  # of doctests, and of what else has no function
        self._excused: set[Path] = set()

    def add(self, item: pytest.Item) -> None:
        """Note the source of a collected test: its file, and the functions behind its decorators."""
        self._files.add(item.path)
        function = getattr(item, "function", None)
        if function is None:
            self._documented.add(item.path)
        elif id(function) not in self._functions:
            self._functions[id(function)] = function
            self._sources.update(sources(function))
            if isinstance(item.parent, pytest.Class):
                # What a subclass overrides is not lost.
                name = getattr(item, "originalname", None)
                for owner in getattr(getattr(item, "cls", None), "__mro__", ())[1:]:
                    self._sources.update(sources(vars(owner).get(name)))

    def excuse(self, path: Path) -> None:
        """Note a file that is already reported for a reason that explains why nothing was collected from it."""
        self._excused.add(path)

    def complaints(self) -> Iterator[tuple[str, str]]:
        """Yield what was not collected (a file, or a test in it), with why and the next step."""
        files = {path: path.read_bytes() for path in sorted(self._found(".py") - self._excused)}
        uses = Uses(files)
        for path, text in files.items():
            if path in self._files and self._has_all_of(path, text):
                continue
            where = path.relative_to(self._config.rootpath).as_posix()
            try:
                tree = ast.parse(text)
            except (SyntaxError, ValueError):
                # pytest would have said so, had it collected the file; what is named otherwise is data.
                if self._has_test_name(path) and self._in_suite(path):
                    self.unread.add(where)
                continue
            defined = definitions(tree, self._is_test)
            absent = [test for test in defined if (real(path), test.line) not in self._sources]
            lost = [
                test
                for test in absent
                if _doubles(test, defined) or not (uses.of(test.own_name, path) or self._is_other(path, test.name))
            ]
            if len(absent) < len(defined) or path in self._files:
                yield from ((f"{where}::{test.name}", _why(test, defined)) for test in lost)
            elif lost or (self._has_test_name(path) and not uses.of_module(path)):
                # What a type checker is to read is never run.
                is_typing = b"assert_type" in text or b"reveal_type" in text
                yield from self._whole_file(path, where, 0 if is_typing else len(lost))
            yield from self._other_tests(path, where, tree)
        yield from self._documents()

    def _has_all_of(self, path: Path, text: bytes) -> bool:
        """Say whether each test that an imported file defines was collected; False, too, where only its tree can tell.

        pytest has parsed the file already, and to parse it again takes longer than all the rest of a collection.
        """
        if b"\r" in text or b"load_tests" in text or b">>> " in text or _ENCODED.match(text):
            return False
        file, lines = real(path), text.split(b"\n")
        before, line, at = 0, 1, 0
        for found in _DEFINED.finditer(text):
            line, at = line + text.count(b"\n", at, found.start()), found.start()
            name = found[1].decode("utf-8", "replace")
            # A test begins with its decorators, and no other definition lies between.
            first = (n for n in range(line, before, -1) if n == line or lines[n - 1].lstrip().startswith(b"@"))
            before = line
            is_other = name.isascii() and not self._is_test(name)
            if not is_other and not any((file, n) in self._sources for n in first):
                return False
        return True

    def _is_other(self, path: Path, name: str) -> bool:
        """Return whether the module that was imported from a file has a fixture or a property under a test's name."""
        found: object = self._modules.get(real(path))
        for part in name.split("::"):
            found = getattr(found, part, None)
        # A property is found where its class is, and cannot be called.
        described = hasattr(type(found), "__get__") and not callable(found)
        return described or type(found).__name__ == "FixtureFunctionDefinition"

    @cached_property
    def _modules(self) -> dict[str, ModuleType]:
        modules = [module for module in [*sys.modules.values()] if getattr(module, "__file__", None)]
        return {real(module.__file__ or ""): module for module in modules}

    def _whole_file(self, path: Path, where: str, count: int) -> Iterator[tuple[str, str]]:
        fact = f"a test file under {self._top(path).name}/ that was not collected ({count} defined in it)"
        if self._has_test_name(path) and self._in_suite(path):
            step = "correct --ignore, collect_ignore or norecursedirs, add a test to it, or delete it"
            yield where, f"no test of it was collected; {step}"
        elif count and (self._has_test_name(path) or self._is_among_tests(path)):
            if self._in_suite(path):
                patterns = ", ".join(self._config.getini("python_files"))
                step = f"its name matches none of {patterns}; rename it, or have a test file inherit its classes"
            else:
                step = f"it lies in no suite; move it into one of {', '.join(self._names)}, or name its folder there"
            yield where, f"{fact}: {step}"

    def _other_tests(self, path: Path, where: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
        """Yield the doctests of a test file that were not collected, and those that only unittest would load."""
        if not self._in_suite(path):
            return
        kind = loader(tree) if self._has_test_name(path) or path.name == "__init__.py" else None
        if kind == "doctests" and not self._documented:
            step = "collect them with --doctest-modules or --doctest-glob in addopts"
            yield where, f"the doctests that its load_tests adds never run, because pytest does not call it; {step}"
        elif kind == "tests":
            step = "use parametrize, or a test file of pytest's kind"
            yield where, f"the tests that its load_tests makes never run, because pytest does not call it; {step}"
        if self._has_test_name(path) and path not in self._documented:
            for name in doctests(tree, self._is_test):
                step = "add --doctest-modules to addopts, or make a test of it"
                yield "::".join(filter(None, (where, name))), f"its docstring's examples never ran; {step}"

    def _documents(self) -> Iterator[tuple[str, str]]:
        """Yield the documents of examples, by their name test files, that were not collected."""
        for suffix in (".md", ".rst", ".txt"):
            for path in sorted(self._found(suffix)):
                named = self._has_test_name(path.with_suffix(".py")) and self._in_suite(path)
                if named and path not in self._documented and b">>> " in path.read_bytes():
                    where = path.relative_to(self._config.rootpath).as_posix()
                    yield where, f"its examples never ran; add --doctest-glob='*{suffix}' to addopts, or rename it"

    def _has_test_name(self, path: Path) -> bool:
        return any(fnmatch(path.name, pattern) for pattern in self._config.getini("python_files"))

    def _in_suite(self, path: Path) -> bool:
        return any(path.is_relative_to(suite) for suite in self._all_suites)

    def _is_among_tests(self, path: Path) -> bool:
        """Return whether tests are what lies here; a project's own module may have functions with such names too."""
        folders = path.relative_to(self._config.rootpath).parts[:-1]
        return any(map(_TEST_FOLDER.fullmatch, folders)) or any(file.parent == path.parent for file in self._files)

    def _found(self, suffix: str) -> set[Path]:
        """Return the files in this run's suites, and those under the suites' common folders that are in no suite."""
        others = [suite for suite in self._all_suites if suite not in self._suites]
        # Nothing lies beside a suite that is the whole project.
        found = {path for top in map(self._top, self._all_suites) for path in self._files_below(top)}
        return {
            path for path in found if path.suffix == suffix and not any(path.is_relative_to(suite) for suite in others)
        }

    def _files_below(self, top: Path) -> Iterator[Path]:
        """Yield the files below a folder, or the file itself; not those of environments, tools and built packages."""
        if top.is_file():
            yield top
        for folder, folders, files in os.walk(top):
            here = Path(folder)
            folders[:] = [name for name in folders if not self._is_foreign(here / name)]
            yield from (here / name for name in files)

    def _is_foreign(self, folder: Path) -> bool:
        built = folder.parent == self._config.rootpath and folder.name in {"build", "dist"}
        foreign = folder.name.startswith(".") or folder.name in {"__pycache__", "node_modules"}
        return (built or foreign or (folder / "pyvenv.cfg").exists()) and folder not in self._all_suites

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


def _doubles(test: Definition, defined: Sequence[Definition]) -> list[int]:
    """Return the lines of the other definitions of the same name."""
    return [other.line for other in defined if other.name == test.name and other is not test]


def _why(test: Definition, defined: Sequence[Definition]) -> str:
    others = _doubles(test, defined)
    if others:
        return (
            f"(line {test.line}) is defined again in line {others[-1]}, and only one of them was collected; "
            "give each a name of its own"
        )
    return (
        f"(line {test.line}) is defined but was not collected; define it without a condition, "
        "in a class without __init__ and without __test__ = False, under decorators that use functools.wraps"
    )
