"""Where modules came from: the project's own from its sources, a capability's from what is installed for it.

A receipt has digests of the sources. They say nothing when a test imported an older copy, a copy that a build left, or
a stub with the name of a library. So every module that is loaded is asked for its file.
"""

from __future__ import annotations

import os
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import search_path
from .drift import made_for
from .own_modules import EXTENSIONS, own_modules
from .sources import ignored, is_left_by_tools, names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import pytest

    from .contract import Contract
    from .own_modules import OwnModules

_UNCHECKED = (1).to_bytes(4, "little")
# What a compiled module is made from, in the same folder and of the same name.
_COMPILED_FROM = (".py", ".pyx", ".c", ".cc", ".cpp", ".cxx", ".rs")


def file_of(module: object) -> str | None:
    """Return the file that a module was loaded from, without asking the module: a lazy one would load, or raise."""
    try:
        inside: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except (AttributeError, TypeError):
        return None  # something else that was put among the modules
    spec = inside.get("__spec__")
    origin = getattr(spec, "origin", None) if getattr(spec, "has_location", False) else inside.get("__file__")
    return origin if isinstance(origin, str) else None


def stray(own: OwnModules, name: str, module: object) -> str | None:
    """Return where a module that a capability names came from, or None if from where it has to.

    That is the environment or Python itself or, for what is not installed, the project: a part of it may be optional.
    """
    if name in sys.builtin_module_names:
        return None
    file = file_of(module)
    if file is None:
        return "no file at all"
    path = file if search_path.is_installed(file) else os.path.realpath(file)
    if search_path.is_installed(path):
        return None
    owner = own.owner(name)
    is_own = owner is not None and own.holds(owner, path) and not _is_installed(name.partition(".")[0])
    return None if is_own else path


def _is_installed(top: str) -> bool:
    """Return whether a distribution brought a module of this name, whatever hides it."""
    files = (f"{top}/__init__.py", f"{top}.py", *(f"{top}{suffix}" for suffix in EXTENSIONS))
    return any((library / file).is_file() for library in search_path.libraries() for file in files)


class Provenance:
    """Asks the modules of one process where they came from."""

    def __init__(self, contract: Contract, suites: Collection[str], config: pytest.Config) -> None:
        self._contract = contract
        self._own = own_modules(contract, suites, search_path.linked())
        self._sources = names(contract, suites)
        # What a build made for an installation as editable lies there, and not in the sources.
        self._built = made_for(contract.root, search_path.libraries())
        given = config.getoption("basetemp", None)
        self._temporary = os.path.realpath(given) if given else None
        self._root = os.path.realpath(contract.root)
        self._sound: dict[str, object] = {}

    def strays(self, requires: Iterable[str]) -> Iterator[str]:
        """Yield a complaint for each module of these capabilities that is not the installed one at this moment."""
        for name in self._modules(requires):
            module = sys.modules.get(name)
            # None blocks an import: so does a test of what happens without the library.
            if module is None or self._sound.get(name) is module:
                continue
            where = stray(self._own, name, module)
            if where is None:
                self._sound[name] = module
            else:
                yield f"module {name} came from {where}, not from what is installed; use the real one, or drop the mark"

    def complaints(self, capabilities: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the first module of each package that is not from where it has to be, and each file beside them."""
        found: dict[str, tuple[str, str]] = {}
        beside: dict[str, str] = {}
        libraries = set(self._modules(capabilities))
        for name, module in sorted(sys.modules.copy().items(), key=lambda entry: entry[0]):
            owner, file = self._own.owner(name), file_of(module)
            library = next((each for each in _starts(name) if each in libraries), None)
            if module is None or (library or owner) in found:
                continue
            complaint = None
            if library is not None:
                complaint = self._of_library(library, name, module, file)
            if complaint is None and owner is not None:
                complaint = self._of_project(owner, name, file)
            if complaint is not None:
                found[library or owner or ""] = name, complaint
            elif file is not None and (place := self._uncovered(file)) is not None:
                beside.setdefault(place, name)
        yield from found.values()
        for place in sorted(beside.keys() - ignored(self._contract.root, beside)):
            fact = f"was imported as {beside[place]}, but no receipt is tied to it"
            yield place, f"{fact}; add it to sources, or a receipt survives a change to it"

    def _modules(self, capabilities: Iterable[str]) -> Iterator[str]:
        """Yield the modules that capabilities name, themselves and by those that they combine."""
        for name in capabilities:
            capability = self._contract.capabilities[name]
            yield from capability.modules
            yield from self._modules((*capability.all_of, *capability.any_of))

    def _of_library(self, library: str, name: str, module: object, file: str | None) -> str | None:
        where = stray(self._own, name, module)
        # Libraries make modules as they go, some with a file that is only a name.
        if where is None or (name != library and (file is None or not Path(file).is_file())):
            return None
        return f"came from {where}, not from what is installed; remove what hides it"

    def _of_project(self, owner: str, name: str, file: str | None) -> str | None:
        expected = " or ".join(sorted(self._own.places[owner]))
        if file is None:
            # Packages make modules as they go, too.
            fact = f"came from no file at all, not from {expected}"
            return f"{fact}; remove what puts it among the modules" if name == owner else None
        path = os.path.realpath(file)
        if search_path.is_installed(path):
            return self._of_installed(path)
        if self._own.holds(owner, path) or self._own.holds(owner, os.path.abspath(file)):  # noqa: PTH100 - a link
            return self._of_source(file, path)
        # A build of compiled modules may have a folder of its own.
        is_built = path.endswith(EXTENSIONS) and path.startswith(f"{self._root}{os.sep}")
        return None if is_built else f"came from {path}, not from {expected}; remove what hides it"

    def _of_source(self, file: str, path: str) -> str | None:
        if path.endswith(EXTENSIONS):
            return self._of_compiled(path)
        if path.endswith(".pyc"):
            return f"came from {self._relative(path)}, byte code whose source is gone; delete it"
        if _is_never_compared(path):
            return f"came from byte code that is never compared with {self._relative(path)}; delete its __pycache__"
        if self._is_covered(file) or ignored(self._contract.root, [self._relative(path)]):
            return None
        return f"came from {self._relative(path)}, to which no receipt is tied; add it to sources, or delete it"

    def _is_covered(self, file: str) -> bool:
        """Return whether a receipt is tied to a file, by the name of a link to it or by its own."""
        linked = Path(os.path.relpath(file, self._contract.root)).as_posix()
        return linked in self._sources or self._relative(os.path.realpath(file)) in self._sources

    def _of_installed(self, path: str) -> str | None:
        """Compare an installed file of the project with its sources, but for what a build made for them."""
        libraries = [str(library) for library in search_path.libraries() if Path(path).is_relative_to(library)]
        if path in self._built or not libraries:
            return None
        changed = self._own.difference(path, Path(path).relative_to(libraries[0]).as_posix())
        differing = changed.keys() - ignored(self._contract.root, changed)
        if not differing:
            return None
        fact = f"came from {path}, which differs from {', '.join(differing)}"
        return f"{fact}; lock the project as editable (-e .), or install a wheel of these sources"

    def _of_compiled(self, path: str) -> str | None:
        stem = f"{os.path.dirname(path)}{os.sep}{os.path.basename(path).partition('.')[0]}"  # noqa: PTH119, PTH120
        for source in (Path(stem + suffix) for suffix in _COMPILED_FROM):
            if source.is_file() and source.stat().st_mtime > Path(path).stat().st_mtime:
                fact = f"came from {self._relative(path)}, which is older than {source.name}"
                return f"{fact}; build it again"
        return None

    def _uncovered(self, file: str) -> str | None:
        """Return a file that lies in the project, but in no receipt and in no folder of tools, relative to the root."""
        if not file.startswith((str(self._contract.root), self._root)) or file.endswith(EXTENSIONS):
            return None
        path = os.path.realpath(file)
        if not path.startswith(f"{self._root}{os.sep}") or search_path.is_installed(path):
            return None
        place = self._relative(path)
        known = self._is_covered(file) or is_left_by_tools(place)
        made = self._temporary is not None and path.startswith(f"{self._temporary}{os.sep}")
        return None if known or made or not Path(path).is_file() else place

    def _relative(self, path: str) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()


def _is_never_compared(path: str) -> bool:
    """Return whether Python loads byte code for this source that says not to look at the source (PEP 552)."""
    try:
        with open(cache_from_source(path), "rb") as file:  # noqa: PTH123
            return file.read(8)[4:] == _UNCHECKED
    except OSError:
        return False  # nothing is cached


def _starts(name: str) -> Iterator[str]:
    """Yield a module's name and those of the packages that it is in."""
    while name:
        yield name
        name = name.rpartition(".")[0]
