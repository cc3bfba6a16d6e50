"""What the caches hold: the packaged model, converted models, and the hub's own cache; looked at, checked, removed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from backend.errors import ModelError, ModelNotFoundError
from backend.llms.availability import is_installed
from backend.llms.directory_store import DirectoryStore, file_digest
from backend.llms.model_store import PACKAGED_MODEL, cache_directory, conversion_key, hub_snapshot, packaged_gguf

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CachedModel", "cached_size", "list_cached", "remove_cached", "verify_cached"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that is here.

    Attributes:
        name: what commands call it; a hub name, or the key of a converted model.
        kind: who brought it.
        size: bytes on the disk.
        note: what else there is to know.
        directory: the files, of the newest revision; None where they are not ready to be loaded.
    """

    name: str
    kind: Literal["packaged", "converted", "hub"]
    size: int
    note: str
    directory: Path | None


def list_cached() -> list[CachedModel]:
    """Every model that is here without a download."""
    store, packaged = DirectoryStore(cache_directory()), _packaged_key()
    keys = store.keys()
    found: list[CachedModel] = []
    if packaged is not None:
        gguf, key = packaged
        note = f"converted as {key}" if key in keys else "not converted yet"
        found.append(CachedModel(PACKAGED_MODEL, "packaged", gguf.stat().st_size, note, None))
    for key in keys:
        directory = cache_directory() / key
        found.append(CachedModel(key, "converted", _size(directory), "from a GGUF file", directory))
    for repo in _hub_models():
        newest = max(repo.revisions, key=lambda revision: revision.last_modified)
        note = f"{len(repo.revisions)} revision(s)"
        found.append(CachedModel(repo.repo_id, "hub", repo.size_on_disk, note, newest.snapshot_path))
    return found


def verify_cached(name: str) -> list[str]:
    """Read every file of a model, and say what is not as it was stored; empty when all is well.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    if (key := _key_of(name)) is not None:
        return DirectoryStore(cache_directory()).differences(key)
    repo = _hub_model(name)
    files = {file.blob_path: file.file_name for revision in repo.revisions for file in revision.files}
    damaged = [f"{files[blob]} is not what the hub gave" for blob in sorted(files) if _blob_name(blob) != blob.name]
    return damaged if hub_snapshot(name) else [*damaged, "is not all here; 'models pull' fetches what is missing"]


def cached_size(name: str) -> int:
    """How many bytes removing a model would free.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    key = _key_of(name)
    return int(_hub_model(name).size_on_disk) if key is None else _size(cache_directory() / key)


def remove_cached(name: str) -> None:
    """Remove a model from the caches. An installed package stays.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
        ModelError: it cannot be removed.
    """
    key = _key_of(name)
    try:
        if key is not None:
            DirectoryStore(cache_directory()).remove(key)
            return
        revisions = [revision.commit_hash for revision in _hub_model(name).revisions]
        hub: Any = import_module("huggingface_hub")
        hub.scan_cache_dir().delete_revisions(*revisions).execute()
    except OSError as exc:
        message = f"The model {name!r} cannot be removed: {exc.strerror or exc}. Mend the permissions of its files."
        raise ModelError(message) from exc


def _packaged_key() -> tuple[Path, str] | None:
    gguf = packaged_gguf()
    return None if gguf is None else (gguf, conversion_key(file_digest(gguf)))


def _key_of(name: str) -> str | None:
    """The key of the converted model called ``name``; None when the caches hold no such one."""
    keys = DirectoryStore(cache_directory()).keys()
    if name == PACKAGED_MODEL:
        packaged = _packaged_key()
        name = packaged[1] if packaged else name
    return name if name in keys else None


def _hub_models() -> list[Any]:
    if not is_installed("huggingface_hub"):
        return []
    hub: Any = import_module("huggingface_hub")
    try:
        repos = hub.scan_cache_dir().repos
    except hub.errors.CacheNotFound:
        return []
    return sorted(
        (repo for repo in repos if repo.repo_type == "model" and repo.revisions), key=lambda repo: repo.repo_id
    )


def _hub_model(name: str) -> Any:  # noqa: ANN401  (the hub's library is not typed)
    for repo in _hub_models():
        if repo.repo_id == name:
            return repo
    known = ", ".join(model.name for model in list_cached()) or "nothing"
    message = f"The caches hold no model {name!r}; they hold {known}. Fetch it with: llm-backend models pull {name!r}"
    raise ModelNotFoundError(message)


def _blob_name(blob: Path) -> str:
    """What the hub's cache calls a file of this content: SHA-256 of large files, git's digest of the others."""
    if _SHA256.fullmatch(blob.name):
        return file_digest(blob)
    content = blob.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())
