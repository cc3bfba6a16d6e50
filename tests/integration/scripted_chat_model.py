"""One of LangChain's own chat models for tests, which says what the test wants and records what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class Scripted:
    """One of LangChain's own chat models for tests, and what it was asked; no model answers."""

    def __init__(self, *answers: Any, fault: Exception | None = None, **fields: Any) -> None:
        from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
        from langsmith.utils import tracing_is_enabled

        class Recording(GenericFakeChatModel):
            def _generate(_, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> Any:  # noqa: N805
                self.received.append(messages)
                self.options.append(options | ({"stop": stop} if stop else {}))
                self.traced.append(tracing_is_enabled())
                if fault:
                    raise fault
                return super()._generate(messages, stop, run_manager)

            def bind_tools(self, tools: Any, **_: Any) -> Any:
                return self.bind(tools=tools)

        self.received: list[list[Any]] = []
        self.options: list[dict[str, Any]] = []
        self.traced: list[object] = []
        self.model: BaseChatModel = Recording(messages=iter(answers), **fields)


def message(content: str = "", **fields: Any) -> Any:
    """Make an answer of a chat model."""
    from langchain_core.messages import AIMessage

    return AIMessage(content, **fields)
