"""The kinds of value in a project's table; a value of another kind is an error that says where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .contract import ContractError, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def refuse_unknown_keys(where: str, entry: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Raise ContractError for a key that is not allowed."""
    for key in entry:
        if key not in allowed:
            raise ContractError(f"{where}: " + unknown("key", key, allowed))


def string(where: str, value: object) -> str:
    """Return a string that is not empty, or raise ContractError."""
    if not isinstance(value, str) or not value.strip():
        message = f"{where} is {value!r}: write a string that is not empty"
        raise ContractError(message)
    return value


def strings(where: str, value: object) -> tuple[str, ...]:
    """Return a list of strings, each of them once, or raise ContractError."""
    if not isinstance(value, list):
        message = f"{where} is {value!r}: write a list of strings"
        raise ContractError(message)
    texts = tuple(string(where, item) for item in value)
    for text in texts:
        if texts.count(text) > 1:
            message = f"{where} names {text!r} more than once: name it once"
            raise ContractError(message)
    return texts


def one_or_more(where: str, value: object) -> tuple[str, ...]:
    """Return a string, or a list of at least one, or raise ContractError."""
    texts = strings(where, value if isinstance(value, list) else [string(where, value)])
    if not texts:
        message = f"{where} is []: name at least one"
        raise ContractError(message)
    return texts
