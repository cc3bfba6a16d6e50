"""Load and check agents, converse with them, and let them use tools.

The names are resolved on first use, so that ``import backend`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.llms.agent_loader import load_agent
    from backend.llms.chat_model import as_chat_model, wrap_chat_model
    from backend.llms.config_file import find_config_file, get_agent_config
    from backend.llms.conversation import Conversation
    from backend.llms.conversation_store import MemoryStore, SQLiteStore
    from backend.llms.tool_rounds import run_with_tools
    from backend.llms.tools import Tool
    from backend.llms.validation import validate_agent, validate_agent_report

__all__ = [
    "Conversation",
    "MemoryStore",
    "SQLiteStore",
    "Tool",
    "as_chat_model",
    "find_config_file",
    "get_agent_config",
    "load_agent",
    "run_with_tools",
    "validate_agent",
    "validate_agent_report",
    "wrap_chat_model",
]

_HOMES = {
    "Conversation": "backend.llms.conversation",
    "MemoryStore": "backend.llms.conversation_store",
    "SQLiteStore": "backend.llms.conversation_store",
    "Tool": "backend.llms.tools",
    "as_chat_model": "backend.llms.chat_model",
    "find_config_file": "backend.llms.config_file",
    "get_agent_config": "backend.llms.config_file",
    "load_agent": "backend.llms.agent_loader",
    "run_with_tools": "backend.llms.tool_rounds",
    "validate_agent": "backend.llms.validation",
    "validate_agent_report": "backend.llms.validation",
    "wrap_chat_model": "backend.llms.chat_model",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
