"""Adapters between LangChain and our agents, one in each direction; the modules behind them need LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_backend.llms.engine_registry import ENGINES, import_part

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from llm_backend.llms.agent import Agent

__all__ = ["as_chat_model", "wrap_chat_model"]


def as_chat_model(agent: Agent) -> BaseChatModel:
    """Offer ``agent`` to LangChain and LangGraph as a chat model, with streaming, tool calls and usage.

    Call it where the agent was loaded, so that the model knows the agent's event loop: then its sync methods work
    from other threads. In the thread of an event loop only the async methods work. Closing the agent is up to the
    caller.

    Raises:
        MissingExtraError: LangChain is not installed.
        BrokenExtraError: it is installed, but does not import.
    """
    made_of = import_part(ENGINES["langchain"], f"{__name__}.chat_model:AgentChatModel", "as_chat_model")
    model: BaseChatModel = made_of.around(agent)
    return model


def wrap_chat_model(chat_model: BaseChatModel, *, context_window: int | None = None, timeout: float = 300.0) -> Agent:
    """Wrap a LangChain chat model that the caller built as an agent; it is never traced to LangSmith.

    Options that a payload leaves unset are as the model was built; the agent's class says what happens to the others.
    Closing the agent leaves the model open.

    Args:
        chat_model: any of LangChain's.
        context_window: how many tokens it reads, because LangChain does not say; without it ``get_context_window``
            raises a ConfigError.
        timeout: seconds for all waits of one request together.

    Raises:
        MissingExtraError: LangChain is not installed.
        BrokenExtraError: it is installed, but does not import.
        ConfigError: it is not a chat model, or another argument is wrong.
    """
    wrap = import_part(ENGINES["langchain"], f"{__name__}.wrapped:wrap", "wrap_chat_model")
    agent: Agent = wrap(chat_model, context_window=context_window, timeout=timeout)
    return agent
