"""Lock drift: checks what is installed in this interpreter against the environment's lock, by package and by file.

locks.py reads what the lock pins. A version that differs only in its local part (2.13.0+cpu for the pin 2.13.0) counts
as the pinned one.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from . import search_path
from .locks import LockError, Pins, folder_of, pins
from .own_modules import module_of
from .sources import ignored, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .contract import Contract
    from .own_modules import OwnModules

_SHOWN = 10
# Python itself may put it into an environment, and uv leaves it there.
_INSTALLERS = {"pip"}
# uv pip sync leaves these, like pip, in an environment made by python -m venv.
_KEPT_BY_UV = {"setuptools", "wheel", "uv"}
_RUNS = (".py", ".pyd", ".so", ".pth")
_HASHES = {"sha256", "sha384", "sha512"}


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution.

    Attributes:
        name: normalized, as ``-`` and lower case.
        version: as its metadata has it.
        folder: where its files are.
        files: each file in its RECORD, with the recorded hash and size; None without a RECORD.
        editable: the folder from which it was installed editable, or None.
    """

    name: str
    version: str
    folder: Path
    files: Sequence[tuple[str, str, str]] | None = None
    editable: Path | None = None


def drift(
    contract: Contract, environment: str, libraries: Sequence[Path] | None = None, own: OwnModules | None = None
) -> list[str]:
    """Return every difference between what is installed and the environment's lock, with the remedy.

    Looks in ``libraries``, by default those of this interpreter. A copy of the project's ``own`` modules must be equal.
    """
    libraries = search_path.libraries() if libraries is None else libraries
    lock = contract.locks[environment]
    absent = without_lock(contract, environment)
    if absent is not None:
        return [absent]
    packages = list(installed(libraries))
    try:
        pinned = pins(lock, contract.root)
    except LockError as error:
        return [f"{lock.file}: {error}"]
    found = [*_outside(contract.root.resolve(), pinned.folders), *differences(pinned, packages)]
    promised = [contract.capabilities[name] for name in contract.promised(environment)]
    precious = {canonicalize_name(name) for capability in promised for name in capability.distributions}
    for package in packages:
        found += damages(package, content=package.name in precious)
    found += strangers(libraries, packages)
    remedy = f"sync it with its lock: {lock.command}"
    lines = [f"{environment} does not match its lock: {fact}; {remedy}{option}" for fact, option in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more; {remedy}")
    return lines if own is None else [*lines, *_copies(own, packages)]


def _copies(own: OwnModules, packages: Iterable[Package]) -> Iterator[str]:
    """Yield each copy of the project that is installed, as a wheel of it, and is not what its sources are."""
    step = "lock the project as editable (-e .), or install a wheel of these sources"
    for package in packages:
        if package.name not in own.distributions or package.editable is not None:
            continue
        files = [file for file, *_ in package.files or () if not file.startswith("..")]
        changed: dict[str, str] = {}
        for file in files:
            changed |= own.difference(f"{package.folder}/{file}", file)
        for name in ignored(own.root, changed):
            del changed[name]
        copy = f"{package.name} {package.version} is installed as a copy of the project"
        if changed:
            yield f"{copy}, which differs from its sources ({told(changed)}); {step}"
        elif any(file.endswith(".py") for file in files) and not any(map(own.owner, map(module_of, files))):
            yield f"{copy}, whose modules no source covers; add their folder to sources, or no receipt is tied to them"


def made_for(root: Path, libraries: Iterable[Path]) -> set[str]:
    """Return the real paths of what was installed for the project as editable: its build may have made modules."""
    found: set[str] = set()
    for library in libraries:
        for url in library.glob("*.dist-info/direct_url.json"):
            folder = _editable(_read(url))
            if folder is not None and folder.is_relative_to(root.resolve()):
                files = recorded(_read(url.with_name("RECORD")) or "")
                found |= {os.path.realpath(library / file) for file, *_ in files}
    return found


def without_lock(contract: Contract, environment: str) -> str | None:
    """Return a message if an environment's lock does not exist, with the remedy; otherwise None."""
    file = contract.locks[environment].file
    if (contract.root / file).is_file():
        return None
    return f"{file} does not exist, so nothing says what {environment} has to be: compile it, or correct 'locks'"


def installed(libraries: Iterable[Path]) -> Iterator[Package]:
    """Yield what is installed in these folders; without readable metadata the version is empty."""
    for library in libraries:
        # Not importlib.metadata: it parses whole descriptions, and returns nothing when the metadata is damaged.
        for info in sorted([*library.glob("*.dist-info"), *library.glob("*.egg-info")]):
            text = _read(info / "METADATA") or _read(info / "PKG-INFO") or _read(info) or ""
            head = text.partition("\n\n")[0]
            name, version = (re.search(rf"(?m)^{field}: *(\S+)", head) for field in ("Name", "Version"))
            record = _read(info / "RECORD")
            yield Package(
                name=canonicalize_name(name[1]) if name else info.name,
                version=version[1] if version else "",
                folder=library,
                files=None if record is None else recorded(record),
                editable=_editable(_read(info / "direct_url.json")),
            )


def recorded(record: str) -> list[tuple[str, str, str]]:
    """Return each file in a RECORD, with hash and size; not byte code, which comes and goes without harm."""
    # A truncated RECORD ends within a line.
    rows = ((*row, "", "") for row in csv.reader(record.splitlines()) if row)
    return [(row[0], row[1], row[2]) for row in rows if not row[0].endswith(".pyc")]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _outside(root: Path, folders: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        if not folder.is_relative_to(root):
            yield (
                f"{folder}, which the lock has as editable, is not in the project, so no receipt follows it",
                (", after you pinned its wheel instead"),
            )


def differences(lock: Pins, packages: Sequence[Package]) -> list[tuple[str, str]]:
    """Compare what a lock pins with what is installed; return facts, each with what to add to the uv command."""
    folders = lock.folders
    editable = {package.editable for package in packages} - {None}
    found = [(f"nothing is installed as editable from {folder}", "") for folder in folders if folder not in editable]
    here: dict[str, list[Package]] = {}
    for package in packages:
        if package.editable is None or package.editable not in folders:
            here.setdefault(package.name, []).append(package)
    for name, specifier in lock.versions.items():
        those = here.pop(name, [])
        versions = [package.version for package in those]
        editable_here = [package.editable for package in those if package.editable is not None]
        if editable_here:
            # Its version is what it was when it was installed, and its code is whatever that folder holds now.
            fact = f"{name} is installed as editable from {editable_here[0]}, but the lock pins {name}{specifier}"
            found.append((fact, f" --reinstall-package {name}"))
        elif not versions:
            found.append((f"{name} is not installed, but the lock pins {name}{specifier}", ""))
        elif len(versions) > 1 or not specifier.contains(versions[0], prereleases=True):
            fact = f"{name} {' and '.join(versions)} is installed, but the lock pins {name}{specifier}"
            found.append((fact, f" --reinstall-package {name}"))
    foreign = [package for name, packages in here.items() if name not in _INSTALLERS for package in packages]
    for one in foreign:
        fact = f"{one.name} {one.version}".rstrip() + " is installed, but the lock does not pin it"
        found.append(
            (fact, f", and uv pip uninstall --python {sys.executable} {one.name}" if one.name in _KEPT_BY_UV else "")
        )
    return found


def damages(package: Package, *, content: bool) -> list[tuple[str, str]]:
    """Return how a package's files differ from what was installed: presence, size and, on request, content."""
    again = f" --reinstall-package {package.name}"
    if package.files is None:
        return [(f"{package.name} has no RECORD of its files", again)]
    found = []
    for file, recorded, size in package.files:
        path = f"{package.folder}/{file}"
        fact = _misfit(path, size) or (_changed(path, recorded) if content and not file.endswith("/RECORD") else None)
        if fact is not None:
            found.append((f"{file} of {package.name} {fact}", again))
    return found


def damaged(libraries: Iterable[Path]) -> list[str]:
    """Name the packages in these folders that lack a file, or hold one whose size has changed since installation.

    uv considers a package present when its metadata is; a killed installation, or a file that somebody edited or
    removed, would never be repaired. Without a RECORD uv cannot replace anything, and says so itself.
    """
    packages = (package for package in installed(libraries) if package.files is not None)
    return sorted(package.name for package in packages if damages(package, content=False))


def strangers(libraries: Iterable[Path], packages: Sequence[Package]) -> list[tuple[str, str]]:
    """Return code that belongs to no package; for a folder that belongs to none, only the folder."""
    found = []
    for library in libraries:
        brought = {file for each in packages if each.folder == library for file, *_ in each.files or ()}
        tops = {file.partition("/")[0] for file in brought}
        # uv puts _virtualenv.py into the environments it makes.
        strange = [file for file in _code(library) if file not in brought and file != "_virtualenv.py"]
        names = dict.fromkeys(file if file.partition("/")[0] in tops else file.partition("/")[0] for file in strange)
        found += [(f"{library / name} belongs to no package", f", and remove {name}") for name in names]
    return found


def _code(library: Path, folder: str = "") -> Iterator[str]:
    """Yield files below a folder that Python may run, and links to folders, which may hold some; not byte code."""
    with os.scandir(library / folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _code(library, f"{folder}{entry.name}/")
            elif entry.name.endswith(_RUNS) or (entry.is_symlink() and entry.is_dir()):
                yield f"{folder}{entry.name}"


def _editable(direct_url: str | None) -> Path | None:
    if direct_url is None:
        return None
    origin = json.loads(direct_url)
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(folder_of(origin["url"])).resolve()


def _misfit(path: str, size: str) -> str | None:
    try:
        found = os.stat(path).st_size  # noqa: PTH116 - called for every file, and Path takes twice as long
    except OSError:
        return "is missing"
    return f"has {found} bytes, but {size} were installed" if size and str(found) != size else None


def _changed(path: str, recorded: str) -> str | None:
    """Return how a file's content differs from its record, ``sha256=...`` in URL-safe, unpadded base64, or None."""
    algorithm, _, expected = recorded.partition("=")
    if not expected or algorithm not in _HASHES:
        return "has no recorded hash"
    with open(path, "rb") as file:  # noqa: PTH123 - hashlib wants an open file
        digest = hashlib.file_digest(file, algorithm).digest()
    found = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return None if found == expected else f"has content {algorithm} {found}, but {expected} was installed"
