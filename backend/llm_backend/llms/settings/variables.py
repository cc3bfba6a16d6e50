"""Environment variables in the strings of a configuration: ``${NAME}``; ``$${`` stands for a plain ``${``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from llm_backend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["expand", "variables_in"]

_PLACEHOLDER = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")


def expand(value: object, where: str) -> object:
    """``value`` with variables replaced in all its strings; errors name ``where`` it stands.

    Raises:
        ConfigError: a variable is not set, or a ``${`` starts no variable.
    """
    if isinstance(value, dict):
        return {key: expand(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, where) for inner in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _replacement(match, where), value)
    return value


def variables_in(value: object) -> Iterator[str]:
    """The name of each variable that ``expand`` would read."""
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from variables_in(inner)
    elif isinstance(value, str):
        yield from (match["name"] for match in _PLACEHOLDER.finditer(value) if match["name"])


def _replacement(placeholder: re.Match[str], where: str) -> str:
    if placeholder[0] == "$${":
        return "${"
    name = placeholder["name"]
    if name is None:
        message = f"{where} holds a '${{' that starts no ${{NAME}}. Write ${{NAME}}, or '$${{' for a plain '${{'."
        raise ConfigError(message)
    value = os.environ.get(name)
    if not value:
        message = (
            f"{where} uses ${{{name}}}, but the environment variable {name} is unset or empty."
            f" Set it, or write the value itself ('$${{' stands for a plain '${{')."
        )
        raise ConfigError(message)
    return value
