"""Consent to a configuration file that nobody named: what it may set without, and where consent is stored.

A config.toml that was only found came with a folder, from whoever made it. It may say how to answer, but who answers,
what they are told, and whose code runs is up to the user. Consent covers one path and exactly the bytes found there,
and is stored in a file that only its owner can write; other content, or another path, has none.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from llm_backend.errors import ConfigError
from llm_backend.llms.settings.agent_settings import AgentSettings
from llm_backend.llms.settings.environment import data_folder
from llm_backend.llms.settings.variables import variables_in

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Standing", "needs_consent", "standing_of", "trust", "withdraw"]

Standing: TypeAlias = Literal["named", "trusted", "changed", "found"]

# Whatever is not listed here needs consent: `extra_body`, for one, can make a server send the text to another.
HOW_TO_ANSWER = frozenset(
    {
        "timeout",
        "connect_timeout",
        "read_timeout",
        "max_retries",
        "reasoning_effort",
        "device",
        "temperature",
        "max_new_tokens",
        "top_p",
        "top_k",
        "do_sample",
        "context_window",
        "dtype",
        "quantization",
        "load_in_8bit",
        "load_in_4bit",
        "max_queued",
        "keep_alive",
    }
)


def needs_consent(settings: Mapping[str, object]) -> list[str]:
    """What a section sets that needs consent in a found file: names of settings, and of variables as ``${NAME}``.

    Unknown keys are not among them: they are errors in any file.
    """
    known = AgentSettings.model_fields.keys() - HOW_TO_ANSWER
    return [name for name in settings if name in known] + [f"${{{name}}}" for name in variables_in(dict(settings))]


def standing_of(path: Path, content: bytes) -> Standing:
    """Whether the user trusts this content at this path, trusted other content there, or none."""
    record = _record(path)
    if _came_along(path, record):
        return "found"
    try:
        with record.open("rb") as file:
            about, kept = os.fstat(file.fileno()), file.read()
    except OSError:
        return "found"
    if not _only_owner_writes(about) or not kept.endswith(_line(path)):
        return "found"
    return "trusted" if kept == _consent(path, content) else "changed"


def trust(path: Path, content: bytes) -> None:
    """Store the user's consent to this content at this path, replacing any earlier consent.

    Raises:
        ConfigError: it cannot be stored.
    """
    record = _record(path)
    if _came_along(path, record):
        message = (
            f"Consent would be stored in {str(record.parent)!r}, in the same repository as {str(path)!r}, which could "
            "then bring its own consent. Set LLM_BACKEND_DATA to a folder elsewhere, or name the file itself."
        )
        raise ConfigError(message)
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=record.parent)  # readable only by its owner
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_consent(path, content))
            Path(name).replace(record)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as exc:
        raise _unwritable(record, exc) from exc


def withdraw(path: Path) -> bool:
    """Withdraw any consent for this path, and return whether there was one.

    Raises:
        ConfigError: it cannot be withdrawn.
    """
    record = _record(path)
    try:
        with suppress(FileNotFoundError):
            record.unlink()
            return True
    except OSError as exc:
        raise _unwritable(record, exc) from exc
    return False


def _record(path: Path) -> Path:
    return data_folder() / "trusted" / hashlib.sha256(os.fsencode(path)).hexdigest()


def _came_along(path: Path, record: Path) -> bool:
    """Whether the record is in the file's own repository: the home folder may be one, or hold LLM_BACKEND_DATA."""
    tops = (folder for folder in path.parents if os.path.lexists(folder / ".git"))
    top = next(tops, None)
    return top is not None and record.resolve().is_relative_to(top)


def _consent(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b" " + _line(path)


def _line(path: Path) -> bytes:
    return os.fsencode(path) + b"\n"


def _only_owner_writes(about: os.stat_result) -> bool:
    """Whether only the owner can have written it; files that come with a repository are readable by others, too."""
    shared = stat.S_IMODE(about.st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    return os.name == "nt" or (about.st_uid == os.getuid() and not shared)  # Windows has no such owner or mode


def _unwritable(record: Path, exc: OSError) -> ConfigError:
    return ConfigError(
        f"Consent is stored in {str(record.parent)!r}, which cannot be written: {exc.strerror or exc}. "
        "Free some space, fix its permissions, or set LLM_BACKEND_DATA to another folder."
    )
