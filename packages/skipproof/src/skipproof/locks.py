"""What a lock pins here: the pins whose markers hold in this interpreter, and the folders installed as editable.

A lock is one of these, told apart by name:

- requirements, as ``uv pip compile`` and ``pip-compile`` write them: ``name==version`` with an optional marker, and
  ``-e FOLDER``; options that say where packages come from are ignored;
- ``pylock.toml`` or ``pylock.NAME.toml`` (PEP 751), as ``uv export``, ``pip lock`` and ``pdm`` write it;
- ``uv.lock``, where the environment is the project in the same folder, with some of its extras and groups.

Only a version can be checked against what is installed: a package from a repository, a folder or a URL is refused by
name, unless it is a folder that is installed as editable.
"""

from __future__ import annotations

import os
import platform
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .contract import unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from .contract import Lock

_EXTRAS = "optional-dependencies"
_COMMENT = re.compile(r"(^|\s)#.*")
# What pip lets follow a requirement; it says nothing of the version.
_OPTION = re.compile(r"\s--(hash|config-settings?|global-option)(=|\s+)(\"[^\"]*\"|\S+)")
_EDITABLE = re.compile(r"(-e|--editable)[\s=]\s*(?P<place>[^;]+?)(\[[^]]*])?(#\S*)?\s*(;(?P<marker>.*))?")
_FILE = re.compile(r"(-r|--requirements?)[\s=].*")
# Where packages come from, and which may be taken; neither adds one.
_SETTING = re.compile(
    r"(-i|-f|-c|--index-url|--extra-index-url|--no-index|--find-links|--constraint|--trusted-host|--pre|--prefer-binary"
    r"|--only-binary|--no-binary|--require-hashes|--use-feature)([\s=].*)?"
)
_PASSWORD = re.compile(r"//[^/@\s]+@")
_AGAIN = "compile the lock again"
_UV_FORMAT = 1


class LockError(ValueError):
    """A lock, or a line in it, cannot be checked against what is installed."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Exactly what must be installed.

    Attributes:
        versions: the permitted versions, by normalized name.
        folders: the folders that are installed as editable.
    """

    versions: dict[str, SpecifierSet] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    def add(self, name: str, specifier: SpecifierSet) -> None:
        """Add a pin; a second one of the same version changes nothing.

        Raises:
            LockError: the name is already pinned to another version.
        """
        name = canonicalize_name(name)
        earlier = self.versions.setdefault(name, specifier)
        if earlier != specifier:
            message = f"{name} is pinned twice, {earlier} and {specifier}; {_AGAIN}"
            raise LockError(message)


def pins(lock: Lock, root: Path) -> Pins:
    """Return what an existing lock pins for this interpreter.

    Raises:
        LockError: it pins something other than a version, or is not a lock at all.
    """
    path = root / lock.file
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".txt":
            return _of_requirements(text, root)
        read = _of_uv if path.name == "uv.lock" else _of_pylock
        return read(tomllib.loads(text), lock, path.parent)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"it cannot be read ({error}); {_AGAIN}"
        raise LockError(message) from error


def _of_requirements(text: str, root: Path) -> Pins:
    found = Pins()
    for line in _lines(text):
        if _SETTING.fullmatch(line):
            continue
        if editable := _EDITABLE.fullmatch(line):
            if _holds(editable["marker"], line):
                found.folders.append(_folder(editable["place"], root))
            continue
        if _FILE.fullmatch(line):
            message = f"{line!r} is another file, which no receipt depends on; compile everything into one lock"
            raise LockError(message)
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            message = f"{_shown(line)!r} is not a pin ({str(error).partition(chr(10))[0]}); {_AGAIN}"
            raise LockError(message) from error
        if requirement.url is not None:
            raise LockError(_without_version(requirement.name))
        if not _is_pin(requirement.specifier):
            message = f"{line!r} does not pin one version; {_AGAIN}"
            raise LockError(message)
        if requirement.marker is None or requirement.marker.evaluate():
            found.add(requirement.name, requirement.specifier)
    return found


def _is_pin(specifier: SpecifierSet) -> bool:
    """Return whether exactly one version fits: ``===`` would compare strings, and ``==1.*`` is a range."""
    return [(each.operator, each.version.endswith(".*")) for each in specifier] == [("==", False)]


def _holds(marker: str | None, line: str) -> bool:
    try:
        return marker is None or Marker(marker.strip()).evaluate()
    except InvalidMarker as error:
        message = f"{line!r} is not a pin ({str(error).partition(chr(10))[0]}); {_AGAIN}"
        raise LockError(message) from error


def _folder(place: str, root: Path) -> Path:
    """Return the folder of an editable line, which is a path or, as pip-compile writes it, a file's address."""
    if place.startswith("file:"):
        return (root / folder_of(place)).resolve()
    if "://" in place:
        raise LockError(_without_version(f"-e {_shown(place)}"))
    return (root / place).resolve()


def folder_of(address: str) -> str:
    """Return the path in an address that begins with ``file://``, or in what pip-compile keeps, ``file:.``."""
    # Not urllib.request.url2pathname: importing that takes longer than all of this in a small environment.
    return unquote(address).removeprefix("file:///" if os.name == "nt" else "file://").removeprefix("file:")


def _shown(line: str) -> str:
    """Return a line without a user's name and password: what is said of it ends up in logs."""
    return _PASSWORD.sub("//", line)


def _lines(lock: str) -> Iterator[str]:
    for line in lock.replace("\\\n", " ").splitlines():
        text = _OPTION.sub("", _COMMENT.sub("", line)).strip()
        if text:
            yield text


def _of_pylock(document: Mapping[str, Any], lock: Lock, folder: Path) -> Pins:
    from packaging import pylock  # noqa: PLC0415 - an environment with another kind of lock need not pay for it

    try:
        whole = pylock.Pylock.from_dict(document)
        _check_names("extra", lock.extras, whole.extras or ())
        _check_names("group", lock.groups, whole.dependency_groups or ())
        chosen = whole.select(extras=lock.extras, dependency_groups=lock.groups or None)
        packages = [package for package, _ in chosen]
    except (pylock.PylockValidationError, pylock.PylockSelectError) as error:
        message = f"it is not a lock of this environment ({error}); {_AGAIN}"
        raise LockError(message) from error
    found = Pins()
    for package in packages:
        if package.directory is not None and package.directory.editable:
            found.folders.append((folder / package.directory.path).resolve())
        elif package.is_direct or package.version is None:
            raise LockError(_without_version(package.name))
        else:
            found.add(package.name, SpecifierSet(f"=={package.version}"))
    return found


def _of_uv(document: Mapping[str, Any], lock: Lock, folder: Path) -> Pins:
    try:
        _check_uv(document)
        reached = _Reached(document["package"])
        reached.add_project(lock)
        found = Pins()
        for package in reached.found:
            if (path := _editable(package)) is not None:
                found.folders.append((folder / path).resolve())
            elif "registry" in package["source"]:
                found.add(package["name"], SpecifierSet(f"=={package['version']}"))
            elif "virtual" not in package["source"]:
                raise LockError(_without_version(package["name"]))
    except (AttributeError, KeyError, TypeError, InvalidMarker, InvalidSpecifier) as error:
        message = f"it is not written as uv writes it ({type(error).__name__}: {error}); {_AGAIN}"
        raise LockError(message) from error
    return found


def _check_uv(document: Mapping[str, Any]) -> None:
    if document.get("version") != _UV_FORMAT:
        message = f"it has format {document.get('version')!r} of uv.lock, and format {_UV_FORMAT} is read: export a"
        message = f"{message} pylock.NAME.toml for each environment"
        raise LockError(message)
    if "conflicts" in document:
        message = "extras or groups in it conflict, and only uv can read which its markers mean: export a"
        message = f"{message} pylock.NAME.toml for each environment"
        raise LockError(message)
    if not SpecifierSet(document["requires-python"]).contains(platform.python_version(), prereleases=True):
        message = f"it is for Python {document['requires-python']}, and this is {platform.python_version()}; {_AGAIN}"
        raise LockError(message)


class _Reached:
    """The packages of a uv.lock that are installed here, found by following dependencies."""

    def __init__(self, packages: list[dict[str, Any]]) -> None:
        self.packages = packages
        self.found: list[dict[str, Any]] = []
        self._followed: set[tuple[int, str | None]] = set()

    def add_project(self, lock: Lock) -> None:
        """Add the project in the lock's folder, with the extras and groups of an environment."""
        here = [package for package in self.packages if "." in package["source"].values()]
        if len(here) != 1:
            fact = f"it holds {'several projects' if here else 'no project'} for its own folder"
            message = f"{fact}: export a pylock.NAME.toml for each environment"
            raise LockError(message)
        [project] = here
        metadata, groups = project.get("metadata", {}), project.get("dev-dependencies", {})
        _check_names("extra", lock.extras, [*metadata.get("provides-extras", ()), *project.get(_EXTRAS, {})])
        _check_names("group", lock.groups, {**metadata.get("requires-dev", {}), **groups})
        self._add(project, lock.extras)
        for name in lock.groups:
            self._follow(groups.get(name, ()))

    def _add(self, package: dict[str, Any], extras: Collection[str]) -> None:
        for extra in (None, *map(canonicalize_name, extras)):
            place = (id(package), extra)
            if place not in self._followed:
                self._followed.add(place)
                self._follow(package.get(_EXTRAS, {}).get(extra, ()) if extra else package.get("dependencies", ()))
                if extra is None:
                    self.found.append(package)

    def _follow(self, edges: Collection[dict[str, Any]]) -> None:
        for edge in edges:
            if "marker" not in edge or Marker(edge["marker"]).evaluate():
                for package in self.packages:
                    # uv names version and source when several packages share a name.
                    if all(package.get(key) == edge[key] for key in ("name", "version", "source") if key in edge):
                        self._add(package, edge.get("extra", ()))


def _check_names(kind: str, asked: Collection[str], known: Collection[str]) -> None:
    for name in asked:
        if canonicalize_name(name) not in map(canonicalize_name, known):
            message = f"{unknown(kind, name, dict.fromkeys(known))}; correct the table, or compile the lock with it"
            raise LockError(message)


def _editable(package: Mapping[str, Any]) -> str | None:
    path = package["source"].get("editable")
    return None if path is None else str(path)


def _without_version(name: str) -> str:
    fact = f"{name} comes from a repository, a folder or a URL, which no version pins"
    return f"{fact}: take it from an index, or install its folder as editable"
