"""Load and check agents. The names are resolved on first use, so that ``import backend`` stays light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.llms.agent_loader import load_agent, validate_agent
    from backend.llms.config_file import find_config_file, get_agent_config

__all__ = ["find_config_file", "get_agent_config", "load_agent", "validate_agent"]

_HOMES = {
    "find_config_file": "backend.llms.config_file",
    "get_agent_config": "backend.llms.config_file",
    "load_agent": "backend.llms.agent_loader",
    "validate_agent": "backend.llms.agent_loader",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
