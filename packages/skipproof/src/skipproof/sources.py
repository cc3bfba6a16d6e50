"""The files that a receipt is tied to: all that lie under the project's sources, and the settings of pytest.

Not among them is what tools leave there: byte code, hidden folders, environments, caches, metadata of builds and files
of editors. What git ignores may differ from what a receipt says: it is made again on every machine, or by the tests.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from .table_files import SETTINGS_FILES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from .contract import Contract

# What a run reads of the root, whether or not the table names it.
_OF_THE_ROOT = (*SETTINGS_FILES, "conftest.py", ".coveragerc", ".coveragerc.toml")
_TOOLS_FOLDERS = re.compile(r"\..*|__pycache__|node_modules|.*\.(egg|dist)-info")
_TOOLS_FILES = re.compile(r".*\.py[co]|.*~|.*\.sw[opx]|\.#.*|#.*#|\.DS_Store|Thumbs\.db|\.coverage(\..*)?")
# In an environment, and in a cache by the convention that tools for backups follow.
_MARKERS = {"pyvenv.cfg", "CACHEDIR.TAG"}
_BUILT = re.compile(r"lib|(lib|bdist)\..*")
_WHOLE = 1 << 20
_SHOWN = 5


def names(contract: Contract, suites: Iterable[str], settings: str | None = None) -> set[str]:
    """Return the files that a receipt is tied to, where they exist, relative to the root and with "/".

    Of the folders above the ``suites``, pytest loads each conftest.py. ``settings`` is the file that pytest was given.
    """
    above = {parent for suite in suites for parent in PurePosixPath(suite).parents}
    found = {contract.table, *_OF_THE_ROOT, *((folder / "conftest.py").as_posix() for folder in above)}
    found |= {settings} if settings else set()
    for source in contract.sources:
        folder = contract.root / source
        prefix = "" if source == "." else f"{source}/"
        found.update(_below(os.fspath(folder), prefix) if folder.is_dir() else [source])
    return found - {contract.accepted}  # written after the run, from what it proved


def digests(contract: Contract, suites: Iterable[str], settings: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file that a receipt is tied to, in hexadecimal; of one that cannot be read, why."""
    there = sorted(names(contract, suites, settings))
    found = ((_text(name), digest(f"{contract.root}/{name}")) for name in there)
    return {name: content for name, content in found if content is not None}


def changes(contract: Contract, then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return what happened to each file that differs: "changed", "appeared" or "vanished".

    ``now`` need not have the files that only the receipt names, such as one of settings that its run was given.
    """
    found = {name: "appeared" for name in now if name not in then}
    for name, content in then.items():
        here = now[name] if name in now else digest(f"{contract.root}/{name}")
        if here != content:
            found[name] = "vanished" if here is None else "changed"
    passed_over = ignored(contract.root, found)
    return {name: found[name] for name in sorted(found) if name not in passed_over}


def told(found: Mapping[str, str]) -> str:
    """Return what happened to these files in a few words, as ``tests/a.py changed``."""
    lines = [f"{name} {fate}" for name, fate in found.items()]
    return ", ".join(lines[:_SHOWN]) + (f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")


def is_left_by_tools(name: str) -> bool:
    """Return whether a file, relative to the root, lies where tools leave what is no source, or is named like that."""
    *folders, file = name.split("/")
    built = any(pair[0] == "build" and _BUILT.fullmatch(pair[1]) for pair in pairwise(folders))
    return built or any(map(_TOOLS_FOLDERS.fullmatch, folders)) or _TOOLS_FILES.fullmatch(file) is not None


def _below(folder: str, prefix: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the files below a folder, without what tools leave; follow links, unless they lead in a circle."""
    real = os.path.realpath(folder)
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except OSError:
        return  # what nobody can list, no test can either
    # A source that is named is no leftover.
    if real in above or (above and _is_left_by_tools(prefix[:-1].rpartition("/")[2], entries)):
        return
    for entry in entries:
        if entry.is_dir():
            if _TOOLS_FOLDERS.fullmatch(entry.name) is None:
                yield from _below(entry.path, f"{prefix}{entry.name}/", (*above, real))
        elif _TOOLS_FILES.fullmatch(entry.name) is None:
            yield f"{prefix}{entry.name}"


def _is_left_by_tools(folder: str, entries: Collection[os.DirEntry[str]]) -> bool:
    """Return whether a folder is an environment, a cache, or the copy of the sources that setuptools builds from."""
    return any(
        entry.name in _MARKERS or (folder == "build" and _BUILT.fullmatch(entry.name) is not None) for entry in entries
    )


def digest(path: str) -> str | None:
    """Return a file's SHA-256, why it cannot be read, or None when there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every file, and Path takes twice as long
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            if status.st_size < _WHOLE:
                return hashlib.sha256(file.read()).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _text(name: str) -> str:
    """Return a name as a receipt can hold it: a file's may be no text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def ignored(root: Path, files: Iterable[str]) -> set[str]:
    """Return which of these files git ignores by the project's own rules; nothing where git cannot say.

    A repository around the project that ignores all of it says nothing about its files.
    """
    command = ["git", "-C", str(root), "-c", f"core.excludesFile={os.devnull}", "check-ignore", "--stdin", "-z"]
    inside = [name for name in files if not name.startswith("../")]  # git stops at any other
    if not inside:
        return set()
    try:
        said = subprocess.run(command, input="\0".join([".", *inside]), capture_output=True, text=True, check=False)
    except OSError:
        return set()
    found = set(filter(None, said.stdout.split("\0")))
    return set() if "." in found else found
