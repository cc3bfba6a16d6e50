"""Load and check agents, converse with them, and let them use tools.

The names are resolved on first use, so that ``import llm_backend`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_backend.llms.agent_loader import load_agent
    from llm_backend.llms.agent_validation import validate_agent, validate_agent_report
    from llm_backend.llms.conversations.conversation import Conversation
    from llm_backend.llms.conversations.store import MemoryStore, SQLiteStore
    from llm_backend.llms.engines.langchain import as_chat_model, wrap_chat_model
    from llm_backend.llms.settings.config_file import find_config_file, get_agent_config
    from llm_backend.llms.tools.definitions import Tool
    from llm_backend.llms.tools.rounds import run_with_tools

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
    "Conversation": "llm_backend.llms.conversations.conversation",
    "MemoryStore": "llm_backend.llms.conversations.store",
    "SQLiteStore": "llm_backend.llms.conversations.store",
    "Tool": "llm_backend.llms.tools.definitions",
    "as_chat_model": "llm_backend.llms.engines.langchain",
    "find_config_file": "llm_backend.llms.settings.config_file",
    "get_agent_config": "llm_backend.llms.settings.config_file",
    "load_agent": "llm_backend.llms.agent_loader",
    "run_with_tools": "llm_backend.llms.tools.rounds",
    "validate_agent": "llm_backend.llms.agent_validation",
    "validate_agent_report": "llm_backend.llms.agent_validation",
    "wrap_chat_model": "llm_backend.llms.engines.langchain",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
