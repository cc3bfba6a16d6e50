"""A folder of directories that are made once, checked by digest at every use, and made again when damaged.

Safe between threads and processes: one maker at a time holds a file lock; the others wait and take its result.
A directory appears under its key only when it is complete, by one rename, so a killed maker leaves nothing that
could be taken for a result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from functools import lru_cache
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["DirectoryStore", "file_digest", "remove_unfinished"]

_log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_unfinished: set[Path] = set()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Each process reads a file once, and again only when its size, modification time or inode shows that it changed.
    """
    facts = path.stat()
    return _digest(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=256)
def _digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_unfinished() -> None:
    """Remove what this process is making, before it ends without unwinding."""
    for work in list(_unfinished):
        shutil.rmtree(work, ignore_errors=True)


class DirectoryStore:
    """Directories under ``root``, each named by its key."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def provide(self, key: str, make: Callable[[Path], None]) -> dict[str, str]:
        """Ensure that the directory of ``key`` exists and is intact; if not, have ``make`` fill an empty one.

        Returns:
            The name of each file and its SHA-256, checked just now.

        Raises:
            OSError: the store cannot be written.
            Exception: what ``make`` raises; then nothing is kept.

        """
        final = self._root / key
        if found := _check(final):
            return found
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / f"{key}.lock"):
            if found := _check(final):
                return found
            self._clear_leftovers(key)
            work = self._root / f".{key}.{os.getpid()}"
            work.mkdir()
            _unfinished.add(work)
            try:
                make(work)
                found = _seal(work)
                work.rename(final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
                _unfinished.discard(work)
        return found

    def keys(self) -> list[str]:
        """The keys of all directories, sorted."""
        return sorted(path.parent.name for path in self._root.glob(f"*/{_MANIFEST}") if path.parent.name[0] != ".")

    def differences(self, key: str) -> list[str]:
        """What differs from what was made, one sentence each; reads every file again. Empty if all is well."""
        _digest.cache_clear()
        return _differences(self._root / key)

    def remove(self, key: str) -> None:
        """Remove the directory of ``key``.

        Raises:
            OSError: it cannot be removed.
        """
        with FileLock(self._root / f"{key}.lock"):
            shutil.rmtree(self._root / key)

    def _clear_leftovers(self, key: str) -> None:
        """Call with the lock held: then whatever exists for this key is damaged, or left by a killed process."""
        final = self._root / key
        if final.exists():
            _log.warning("the stored directory %s is damaged; making it again", key)
            shutil.rmtree(final)
        for leftover in self._root.glob(f".{key}.*"):
            shutil.rmtree(leftover)


def _seal(directory: Path) -> dict[str, str]:
    """Flush the files to disk, then write their digests."""
    digests = {}
    for path in sorted(directory.iterdir()):
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        digests[path.name] = file_digest(path)
    manifest = directory / _MANIFEST
    with manifest.open("w", encoding="utf-8") as file:
        json.dump({"sha256": digests}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return digests


def _check(directory: Path) -> dict[str, str] | None:
    """The digests in the manifest, if every file matches its own."""
    return None if _differences(directory) else _manifest(directory)


def _differences(directory: Path) -> list[str]:
    try:
        digests = _manifest(directory)
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{_MANIFEST} is missing or unreadable"]
    return [text for name, digest in digests.items() if (text := _difference(directory / name, digest))]


def _difference(path: Path, digest: str) -> str | None:
    try:
        return None if file_digest(path) == digest else f"{path.name} differs from what was stored"
    except OSError as exc:
        return f"{path.name} cannot be read: {exc.strerror}"


def _manifest(directory: Path) -> dict[str, str]:
    digests = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
    if not isinstance(digests, dict):
        raise TypeError(_MANIFEST)
    return digests
