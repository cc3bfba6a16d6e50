"""Any chat model of LangChain's as one of our agents: the langchain engine on a model that the caller built."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import get_buffer_string

from llm_backend.errors import (
    AgentClosedError,
    BackendError,
    ConfigError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    PayloadError,
)
from llm_backend.llms.agent import as_payload
from llm_backend.llms.engines.langchain.extras import message_extras, with_message_extras
from llm_backend.llms.engines.langchain.langchain_agent import LangChainAgent, read_message
from llm_backend.llms.engines.server.address import Server
from llm_backend.llms.engines.server.chat_format import Piece, given
from llm_backend.llms.engines.server.prompt_sizes import PromptSizes
from llm_backend.llms.payloads import Usage
from llm_backend.llms.prompting import build_messages
from llm_backend.llms.settings.agent_settings import AgentSettings
from llm_backend.llms.structured_output import tell_schema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from collections.abc import Set as AbstractSet

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable

    from llm_backend.llms.engines.server.chat_format import Request
    from llm_backend.llms.payloads import AgentPayload

__all__ = ["WrappedAgent"]

# Each package has errors of its own; these words in the names of their classes are what they have in common.
_KINDS: tuple[tuple[str, type[EngineError]], ...] = (
    ("Timeout", EngineTimeoutError),  # before "Connect": OpenAI's and Anthropic's timeouts are connection errors too
    ("Connect", EngineConnectionError),
    ("Authentication", EngineAuthenticationError),
    ("PermissionDenied", EngineAuthenticationError),
)


class WrappedAgent(LangChainAgent):
    """Answers by a chat model that the caller built, and that stays theirs to configure and to close.

    Generation options that somebody chose are handed to the model under LangChain's usual names (``temperature``,
    ``top_p``, ``top_k``, ``max_tokens``, ``seed``, ``stop``, ``reasoning_effort``); what nobody chose is as the model
    was built. A model that does not know one ignores it or fails: only ``stop`` holds with all, as the answer is cut
    here too. An output schema is told in the prompt, and the answer is checked. A model without async methods of its
    own works in a thread, where leaving early stops it only at its next piece.
    """

    _wrapped: BaseChatModel

    @classmethod
    def around(cls, chat_model: BaseChatModel, *, context_window: int | None, timeout: float) -> Self:
        """An agent on ``chat_model``; ``timeout`` in seconds bounds all waits of one request together.

        Raises:
            ConfigError: it is no chat model, or another argument is wrong.
        """
        kind = type(chat_model).__name__
        if not isinstance(chat_model, BaseChatModel):
            message = f"chat_model is a {kind}. Give one of LangChain's chat models, as it is before bind or a chain."
            raise ConfigError(message)
        names = (getattr(chat_model, name, None) for name in ("model_name", "model"))
        settings = AgentSettings(
            model=next((name for name in names if name and isinstance(name, str)), kind),
            base_url="http://unknown",  # the model knows where it asks
            timeout=timeout,
            context_window=context_window,
        )
        agent = cls(settings, replace(Server.from_settings(settings), url=f"the other end of {kind}"))
        agent._wrapped = chat_model
        agent._refused = frozenset({"temperature"})  # the model's own stays, unless somebody chooses another
        return agent

    @property
    def identity(self) -> dict[str, str]:
        """As every server's, and what LangChain tells models of one kind apart by."""
        return {**super().identity, "wrapped": str(self._wrapped.asdict())}

    async def get_context_window(self) -> int:
        """How many tokens prompt and answer may have together, as the caller said.

        Raises:
            ConfigError: the caller did not.
        """
        self._check_open()
        if self._settings.context_window is None:
            message = (
                f"LangChain does not say how many tokens {self.model!r} reads. Give wrap_chat_model a context_window."
            )
            raise ConfigError(message)
        return self._settings.context_window

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """How many tokens the prompt of ``payload`` has at most.

        Counted by the model's ``custom_get_token_ids`` where it was built with one; else estimated as for a server.
        The model's own ``get_num_tokens_from_messages`` is not asked: it may load a tokenizer that is not the model's,
        or ask the network for the count.
        """
        self._check_open()
        told = tell_schema(as_payload(payload))
        messages, count = build_messages(told), self._wrapped.custom_get_token_ids
        if count is None:
            return self._sizes.estimate(messages, told.tools_available)
        with self._errors():
            counted = sum(len(count(get_buffer_string([message]))) for message in self._converted(messages))
        return counted + PromptSizes().estimate([], told.tools_available)  # and the tools, and the template's own

    def _check_open(self) -> None:
        if self._closed:
            message = f"This agent on {self.model!r} is closed. Make a new one with wrap_chat_model."
            raise AgentClosedError(message)

    def _request(self, payload: AgentPayload, refused: AbstractSet[str], *, stream: bool) -> Request:
        return super()._request(tell_schema(payload), refused, stream=stream)

    def _converted(self, messages: list[dict[str, Any]]) -> list[BaseMessage]:
        return with_message_extras(messages)

    def _read(self, message: AIMessage) -> Piece:
        return replace(read_message(message), extras=message_extras(message))

    def _model(self, request: Request) -> Runnable[LanguageModelInput, AIMessage]:
        if not request.tools:
            return self._wrapped
        try:
            return self._wrapped.bind_tools([dict(tool) for tool in request.tools])
        except NotImplementedError as exc:
            message = f"{type(self._wrapped).__name__} takes no tools. Leave them out, or wrap a model that does."
            raise PayloadError(message) from exc

    def _options(self, request: Request) -> dict[str, Any]:
        generation = request.generation
        return given(
            {
                "temperature": generation.temperature,
                "top_p": generation.top_p,
                "top_k": generation.top_k,
                "max_tokens": generation.max_new_tokens,
                "seed": generation.seed,
                "stop": list(generation.stop),
                "reasoning_effort": request.effort and request.effort.effort,
            }
        )

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        ended, spent = False, Usage(prompt_tokens=0, completion_tokens=0)
        async with aclosing(super()._pieces(request)) as pieces:
            async for piece in pieces:
                ended = ended or bool(piece.finish_reason)
                if piece.usage:  # of a chunk; LangChain has callers add them up
                    spent = Usage(
                        prompt_tokens=spent.prompt_tokens + piece.usage.prompt_tokens,
                        completion_tokens=spent.completion_tokens + piece.usage.completion_tokens,
                    )
                yield replace(piece, usage=piece.usage and spent)
        if not ended:  # not every model says why; one that broke off has raised an error
            yield Piece(finish_reason="stop")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BackendError:
            raise
        except Exception as exc:
            names = [kind.__name__ for kind in type(exc).__mro__]
            fitting = (kind for word, kind in _KINDS if any(word in name for name in names))
            # Not its words, which may quote the prompt or a key.
            message = (
                f"{type(self._wrapped).__name__} failed with {type(exc).__name__} on {self.model!r}. "
                "See this error's cause (__cause__), and how the chat model was built."
            )
            raise next(fitting, EngineError)(message) from exc
