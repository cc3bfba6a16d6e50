"""Lists, checks and removes what the caches hold: the packaged model, converted models, and the hub's own cache."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from llm_backend.errors import ModelError, ModelFormatError, ModelNotFoundError
from llm_backend.llms.availability import is_installed
from llm_backend.llms.models.directory_store import DirectoryStore, file_digest
from llm_backend.llms.models.memory import check_safetensors
from llm_backend.llms.models.store import PACKAGED_MODEL, cache_directory, conversion_key, hub_snapshot, packaged_gguf

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CachedModel", "find_cached", "list_cached", "remove_cached", "uncompared_cached", "verify_cached"]

_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256_LENGTH = 64


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model on this machine.

    Attributes:
        name: its name in commands; a hub name, or the key of a converted model.
        kind: where it came from.
        size: bytes on the disk.
        note: anything else worth knowing.
        directory: the files of the newest revision; None where they are not ready to load.
    """

    name: str
    kind: Literal["packaged", "converted", "hub"]
    size: int
    note: str
    directory: Path | None


def list_cached() -> list[CachedModel]:
    """Every model that needs no download."""
    keys = DirectoryStore(cache_directory()).keys()
    converted = {key: cache_directory() / key for key in keys}
    found: list[CachedModel] = []
    if (gguf := packaged_gguf()) is not None:
        key = conversion_key(file_digest(gguf))
        note = f"converted as {key}" if key in converted else "not converted yet"
        found.append(CachedModel(PACKAGED_MODEL, "packaged", gguf.stat().st_size, note, converted.get(key)))
    for key, directory in converted.items():
        size = sum(path.stat().st_size for path in directory.iterdir())
        found.append(CachedModel(key, "converted", size, "from a GGUF file", directory))
    for repo in _hub_models().values():
        newest = max(repo.revisions, key=lambda revision: revision.last_modified)
        note = f"{len(repo.revisions)} revision(s)"
        found.append(CachedModel(repo.repo_id, "hub", repo.size_on_disk, note, newest.snapshot_path))
    return found


def find_cached(name: str) -> CachedModel:
    """The model called ``name`` in the caches; for the packaged model, its conversion.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    models = {model.name: model for model in list_cached()}
    found = models.get(name)
    if found and found.kind == "packaged":
        found = models[found.directory.name] if found.directory else None
    if found is None:
        known = ", ".join(model.name for model in models.values() if model.directory) or "nothing"
        message = (
            f"The caches hold no model {name!r}; they hold {known}. Fetch it with: llm-backend models pull {name!r}"
        )
        raise ModelNotFoundError(message)
    return found


def verify_cached(name: str) -> list[str]:
    """Read every file of a model, and list what differs from what was stored; empty if all is well.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    model = find_cached(name)
    if model.kind == "converted":
        return DirectoryStore(cache_directory()).differences(model.name)
    files = _hub_files(name)
    damaged = [fact for path in sorted(files) if (fact := _damage(path, files[path]))]
    return damaged if hub_snapshot(name) else [*damaged, "is incomplete; 'models pull' fetches what is missing"]


def uncompared_cached(name: str) -> list[str]:
    """The files of a model that came without a digest, so that ``verify_cached`` can only check their form.

    The hub's cache names each file by its digest and links to it; without symbolic links, as often on Windows, it has
    only the files: https://huggingface.co/docs/huggingface_hub/guides/manage-cache#limitations

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    if find_cached(name).kind == "converted":
        return []
    return sorted(file for path, file in _hub_files(name).items() if not _DIGEST.fullmatch(path.name))


def remove_cached(name: str) -> None:
    """Remove a model from the caches. An installed package stays.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
        ModelError: it cannot be removed.
    """
    model = find_cached(name)
    try:
        if model.kind == "converted":
            DirectoryStore(cache_directory()).remove(model.name)
            return
        revisions = [revision.commit_hash for revision in _hub_models()[name].revisions]
        hub: Any = import_module("huggingface_hub")
        hub.scan_cache_dir().delete_revisions(*revisions).execute()
    except OSError as exc:
        message = f"The model {name!r} cannot be removed: {exc.strerror or exc}. Fix the permissions of its files."
        raise ModelError(message) from exc


def _hub_models() -> dict[str, Any]:
    """The models in the hub's cache, by name, as its library describes them."""
    if not is_installed("huggingface_hub"):
        return {}
    hub: Any = import_module("huggingface_hub")
    try:
        repos = hub.scan_cache_dir().repos
    except hub.errors.CacheNotFound:
        return {}
    models = {str(repo.repo_id): repo for repo in repos if repo.repo_type == "model" and repo.revisions}
    return dict(sorted(models.items()))


def _hub_files(name: str) -> dict[Path, str]:
    """The paths and the names of a model's files in the hub's cache."""
    return {file.blob_path: file.file_name for revision in _hub_models()[name].revisions for file in revision.files}


def _damage(path: Path, name: str) -> str | None:
    """What is wrong with a file of the hub's cache; checked by digest where the file is named by it, else by form."""
    if _DIGEST.fullmatch(path.name):
        return None if _blob_name(path) == path.name else f"{name} differs from what the hub sent"
    try:
        if path.suffix == ".safetensors":
            check_safetensors(path)
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except (ModelFormatError, ValueError):
        return f"{name} is damaged or incomplete"
    return None


def _blob_name(blob: Path) -> str:
    """The name of a file with this content in the hub's cache: SHA-256 of large files, git's digest of the others."""
    if len(blob.name) == _SHA256_LENGTH:
        return file_digest(blob)
    content = blob.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
