"""The door through which LangChain uses our agents; what stands behind it needs LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.llms.availability import import_library, require_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from backend.llms.protocol import Agent

__all__ = ["as_chat_model"]


def as_chat_model(agent: Agent) -> BaseChatModel:
    """Offer ``agent`` to LangChain and LangGraph as a chat model, with streaming, tool calls and usage.

    Call it where the agent was loaded, so that the model knows the agent's event loop: then its sync methods work
    from other threads. In the thread of an event loop only the async methods work. The agent stays the caller's to
    close.

    Raises:
        MissingExtraError: LangChain is not installed.
        BrokenExtraError: it is installed, but does not import.
    """
    needed_by = "as_chat_model"
    require_extra("langchain", needed_by)
    module = import_library("backend.llms.engines.langchain_chat_model", "langchain", needed_by)
    model: BaseChatModel = module.AgentChatModel.around(agent)
    return model
