"""The project's own modules: what its sources give to import, and the place in them that each has to come from."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from .sources import digest, names
from .suites import in_suites

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from .contract import Contract

EXTENSIONS = tuple(EXTENSION_SUFFIXES)
"""How the names of compiled modules end."""
# In the __init__.py of a package that several distributions share.
_SHARED = (b"extend_path", b"declare_namespace")


@dataclass(frozen=True)
class OwnModules:
    """What the sources give to import.

    Attributes:
        root: the project's folder.
        places: where each package or module may be, files or folders relative to the root; by its name. One that lies
            in a namespace has the whole name, as other distributions may add to that.
        distributions: what its distributions may be called, normalized.
    """

    root: Path
    places: Mapping[str, Collection[str]]
    distributions: Collection[str] = ()

    @cached_property
    def tops(self) -> frozenset[str]:
        """The first part of each name."""
        return frozenset(name.partition(".")[0] for name in self.places)

    def owner(self, module: str) -> str | None:
        """Return the name of the project's package or module that a module is, or is part of, or None."""
        parts = module.split(".")
        if parts[0] not in self.tops:
            return None
        starts = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        return next((start for start in starts if start in self.places), None)

    def holds(self, owner: str, path: str) -> bool:
        """Return whether a file, given by its absolute path, lies where a package or module of the project is."""
        places = (each for place in self.places[owner] for each in _both(self.root / place))
        return any(path == place or path.startswith(f"{place}{os.sep}") for place in places)

    def difference(self, installed: str, inner: str) -> dict[str, str]:
        """Return how a file that is installed differs from the project's, as sources.changes does; or nothing.

        ``inner`` is its path below the folder of all packages, with "/". Compiled modules are never the same.
        """
        owner = self.owner(module_of(inner))
        if owner is None or inner.endswith(EXTENSIONS):
            return {}
        rest = inner.split("/")[owner.count(".") + 1 :]
        there = ["/".join([place, *rest]) for place in sorted(self.places[owner])]
        contents = [digest(f"{self.root}/{place}") for place in there]
        if digest(installed) in contents:
            return {}
        return {there[0]: "vanished" if contents[0] is None else "changed"}


def module_of(file: str) -> str:
    """Return the name of a module, given its path below the folder of all packages, with "/"."""
    return file.rpartition(".")[0].removesuffix("/__init__").replace("/", ".")


def own_modules(contract: Contract, suites: Collection[str], linked: Iterable[Path] = ()) -> OwnModules:
    """Return what the sources give to import, but for the tests.

    Packages are imported from the root or ``src``, or from a source. ``linked`` are folders that an installation as
    editable put on the path.
    """
    files = names(contract, suites)
    real = contract.root.resolve()
    projects = {""} | {source for source in contract.sources if f"{source}/pyproject.toml" in files}
    whole = {*projects, *(f"{folder}/src".strip("/") for folder in projects)}
    whole |= {folder.relative_to(real).as_posix() for folder in linked if folder.is_relative_to(real)}
    whole = {"" if folder == "." else folder for folder in whole}
    # What lies beside the tests, such as a stub, is on no path but that of the tests.
    apart = {source for source in contract.sources if not any(in_suites(suite, [source]) for suite in suites)}
    tops = {_outside_packages(contract.root, folder) for folder in whole | apart}
    packages = {name.removesuffix("/__init__.py") for name in files if name.endswith("/__init__.py")}
    shared: dict[str, bool] = {}
    found: dict[str, set[str]] = {}
    for file in (name for name in files if name.endswith(".py")):
        above = ["", *(file[:at] for at, sign in enumerate(file) if sign == "/")]
        for top in tops.intersection(above):
            inner = (each for each in above[above.index(top) + 1 :] if each in packages)
            place = next((each for each in inner if not _is_shared(contract.root, each, shared)), file)
            name = place.removesuffix(".py")[len(top) :].strip("/").replace("/", ".")
            # The __init__.py of a namespace gives nothing, and what lies in a suite is not imported by others.
            special = name.rpartition(".")[2] in ("__init__", "conftest") or (place == file and top not in whole)
            if not special and not in_suites(place, suites) and all(map(str.isidentifier, name.split("."))):
                found.setdefault(name, set()).add(place)
    # A project of setup.py alone is mostly called like its package.
    called = list(filter(None, (_project(contract.root / folder) for folder in projects))) or found
    return OwnModules(contract.root, found, frozenset(map(canonicalize_name, called)))


def _both(path: Path) -> tuple[str, str]:
    """Return a path as it is, and where links lead."""
    return os.fspath(path), os.path.realpath(path)


def _outside_packages(root: Path, folder: str) -> str:
    """Return the nearest folder that is in no package: where a package is a source, it is imported from there."""
    while folder and (root / folder / "__init__.py").is_file():
        folder = folder.rpartition("/")[0]
    return folder


def _is_shared(root: Path, package: str, known: dict[str, bool]) -> bool:
    if package not in known:
        content = (root / package / "__init__.py").read_bytes()
        known[package] = any(sign in content for sign in _SHARED)
    return known[package]


def _project(folder: Path) -> str | None:
    """Return what a project calls itself, if it says so where every tool can read it."""
    path = folder / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project") if path.is_file() else None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None  # nothing can be built from it, and so nothing is installed
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else None
