"""Reads what a table says besides capabilities and environments: known failures, and subsets of the suites."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from .contract import ContractError, KnownFailure, Subset
from .table_values import one_or_more, refuse_unknown_keys, string

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = ("issue", "raises", "reason", "where")
_OPTIONS = {"-m": "marks", "-k": "keywords"}


def read_known_failures(where: str, entries: object) -> tuple[KnownFailure, ...]:
    """Return the known failures, or raise ContractError for one that is wrong."""
    return tuple(_known_failure(f"{where} {name}", name, entry) for name, entry in _entries(where, entries).items())


def read_subsets(where: str, entries: object) -> dict[str, Subset]:
    """Return the subsets by name, or raise ContractError for one that is wrong."""
    found: dict[str, Subset] = {}
    for name, text in _entries(where, entries).items():
        subset = _subset(f"{where} {name}", name, string(f"{where} {name}", text))
        same = [other.name for other in found.values() if other.options == subset.options]
        if same:
            message = f"{where} {name} is the same as {same[0]}: keep one of them"
            raise ContractError(message)
        found[name] = subset
    return found


def _known_failure(where: str, name: str, entry: object) -> KnownFailure:
    if not isinstance(entry, dict):
        message = f"{where} is {entry!r}: write a table with 'reason' and 'issue'"
        raise ContractError(message)
    refuse_unknown_keys(where, entry, _KEYS)
    for key in ("reason", "issue"):
        if key not in entry:
            message = f"{where} has no {key!r}: a failure is known if somebody can read why it is still there"
            raise ContractError(message)
    file, separator, rest = name.partition("::")
    if "*" in file or not separator or not rest:
        message = f"{where} is not the id of a test: write FILE::TEST, where * stands for anything in TEST"
        raise ContractError(message)
    return KnownFailure(
        name,
        string(f"{where} reason", entry["reason"]),
        string(f"{where} issue", entry["issue"]),
        one_or_more(f"{where} raises", entry["raises"]) if "raises" in entry else (),
        one_or_more(f"{where} where", entry["where"]) if "where" in entry else (),
    )


def _subset(where: str, name: str, text: str) -> Subset:
    try:
        parts = shlex.split(text)
    except ValueError as error:
        message = f"{where} is {text!r}, which no shell reads ({error}): write options, such as \"-m 'not slow'\""
        raise ContractError(message) from error
    options, expressions = parts[::2], parts[1::2]
    if len(parts) % 2 or not set(options) <= set(_OPTIONS) or len(set(options)) < len(options) or not all(expressions):
        message = f"{where} is {text!r}: write -m or -k, each once and with its expression, as pytest takes them"
        raise ContractError(message)
    given = {_OPTIONS[option]: " ".join(text.split()) for option, text in zip(options, expressions, strict=True)}
    return Subset(name, **given)


def _entries(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value:
        message = f"{where} is {value!r}: write a table with at least one entry, or none"
        raise ContractError(message)
    return value
