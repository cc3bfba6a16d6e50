"""Consent to a configuration file that nobody named: what it may say without, and where consent is kept.

A config.toml that was only found came with a folder, from whoever made that. It may say how to answer; who answers,
what is told to them, and whose code runs are up to the user. Consent is given to one path and the very bytes that are
there, and kept in a file that only its owner can write: any other content, anywhere else, has none.
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

# Whatever is not listed here needs consent: `extra_body`, for one, can have a server call up another with the text.
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
    """What a section says that a file which was only found may not: names of settings, and of variables as ``${NAME}``.

    A key that no setting has is none of them: it is an error in any file.
    """
    known = AgentSettings.model_fields.keys() - HOW_TO_ANSWER
    return [name for name in settings if name in known] + [f"${{{name}}}" for name in variables_in(dict(settings))]


def standing_of(path: Path, content: bytes) -> Standing:
    """Whether the user trusts this content at this path, trusted another one there, or none."""
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
    """Keep the user's consent to this content at this path; it replaces any earlier one.

    Raises:
        ConfigError: it cannot be kept.
    """
    record = _record(path)
    if _came_along(path, record):
        message = (
            f"Consent would be kept in {str(record.parent)!r}, in the repository that {str(path)!r} came with, which "
            "may bring consent along, too. Name a folder elsewhere in LLM_BACKEND_DATA, or name the file itself."
        )
        raise ConfigError(message)
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=record.parent)  # for its owner only
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
    """Withdraw consent to whatever is at this path, and return whether there was any.

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
    """Whether the record is in the file's own repository: where the home folder is one, or LLM_BACKEND_DATA in it."""
    tops = (folder for folder in path.parents if os.path.lexists(folder / ".git"))
    top = next(tops, None)
    return top is not None and record.resolve().is_relative_to(top)


def _consent(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b" " + _line(path)


def _line(path: Path) -> bytes:
    return os.fsencode(path) + b"\n"


def _only_owner_writes(about: os.stat_result) -> bool:
    """Whether nobody else can have written it; a file that a repository brought along can be read by others, too."""
    shared = stat.S_IMODE(about.st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    return os.name == "nt" or (about.st_uid == os.getuid() and not shared)  # Windows has neither


def _unwritable(record: Path, exc: OSError) -> ConfigError:
    return ConfigError(
        f"Consent is kept in {str(record.parent)!r}, which cannot be written: {exc.strerror or exc}. "
        "Make room or repair its permissions, or name another folder in LLM_BACKEND_DATA."
    )
