"""The checks that payloads run on themselves, and their error messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from llm_backend.errors import PayloadError, shown

__all__ = ["require", "require_choice", "require_count", "require_json", "require_kind", "require_list", "require_text"]


def require(condition: bool, message: str) -> None:  # noqa: FBT001  (a check reads best as `require(x > 0, ...)`)
    """Raise PayloadError with ``message`` unless ``condition`` holds."""
    if not condition:
        raise PayloadError(message)


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of ``choices``."""
    require(value in choices, f"{name} is {shown(repr(value))}. Use one of: {', '.join(choices)}.")


def require_count(name: str, value: object) -> None:
    """Refuse anything but a whole number of at least 1."""
    message = f"{name} is {shown(repr(value))}. Give a whole number of at least 1."
    require(isinstance(value, int) and not isinstance(value, bool) and value >= 1, message)


def require_kind(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Refuse a value that is not an instance of ``kind``, which ``expected`` puts into words."""
    require(isinstance(value, kind), f"{name} is of type {type(value).__name__}. Give {expected}.")


def require_text(name: str, value: object) -> None:
    """Refuse anything but a string that UTF-8 can encode."""
    require_kind(name, value, str, "a string")
    try:
        str(value).encode()
    except UnicodeEncodeError as exc:  # a lone surrogate, as in a string that was cut or wrongly decoded
        message = f"{name} holds {exc.object[exc.start]!r} at {exc.start}, which is not a character. Replace it."
        raise PayloadError(message) from exc


def require_list(name: str, value: object, kind: type, element: str) -> None:
    """Refuse anything but a sequence of ``kind``."""
    sound = isinstance(value, Sequence) and all(isinstance(item, kind) for item in value)
    require(sound, f"{name} is not a sequence, or holds something that is not a {kind.__name__}. Give {element}.")


def require_json(name: str, value: object) -> None:
    """Refuse what JSON cannot represent."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False, default=_as_dict).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        message = f"{name} cannot be written as JSON: {exc}. Use only strings, numbers, lists and dicts."
        raise PayloadError(message) from exc


def _as_dict(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    message = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(message)
