"""Any LangChain chat model as one of our agents."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, get_buffer_string
from langsmith import tracing_context

from llm_backend.errors import (
    BackendError,
    ConfigError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    PayloadError,
)
from llm_backend.llms.engines.langchain.extras import message_extras, with_message_extras
from llm_backend.llms.engines.server.chat_format import Piece, Request, given, read_reason, read_usage
from llm_backend.llms.engines.server.dialect import can_be_given_up, taken_options
from llm_backend.llms.engines.server.prompt_sizes import PromptSizes
from llm_backend.llms.engines.server.remote_agent import RemoteAgent
from llm_backend.llms.engines.server.responses_format import response_status
from llm_backend.llms.payloads import Usage
from llm_backend.llms.settings.agent_settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from llm_backend.llms.payloads import AgentPayload
    from llm_backend.llms.prepared_request import PreparedRequest

__all__ = ["WrappedAgent", "wrap"]

# The fields in which LangChain's packages keep why an answer ended.
_END_KEYS = ("finish_reason", "stop_reason", "done_reason")
# Each package has its own errors; these words in their class names are what they have in common.
_KINDS: tuple[tuple[str, type[EngineError]], ...] = (
    ("Timeout", EngineTimeoutError),  # before "Connect": OpenAI's and Anthropic's timeouts are connection errors too
    ("Connect", EngineConnectionError),
    ("Authentication", EngineAuthenticationError),
    ("PermissionDenied", EngineAuthenticationError),
)


class WrappedAgent(RemoteAgent):
    """Answers with a chat model that the caller built, configures and closes.

    Generation options that are set go to the model under LangChain's usual names (``temperature``, ``top_p``,
    ``top_k``, ``max_tokens``, ``seed``, ``stop``, ``reasoning_effort``); unset ones are as the model was built. A model
    that does not know one ignores it or fails: only ``stop`` works with all, because the answer is also cut here. An
    output schema goes into the prompt, and the answer is checked. A model without async methods runs in a thread,
    where leaving early stops it only at its next piece.

    Never traced: LANGSMITH_TRACING and the like would send every prompt to a third party, whatever the model.
    """

    engine: ClassVar[str] = "langchain"
    _advice: ClassVar[str] = "Make a new one with wrap_chat_model"
    _tells_schema: ClassVar[bool] = True
    _wrapped: BaseChatModel

    @property
    def identity(self) -> dict[str, str]:
        """The engine, the model, and the parameters by which LangChain tells models of one kind apart."""
        return {"engine": self.engine, "model": self.model, "wrapped": str(self._wrapped.asdict())}

    async def get_context_window(self) -> int:
        """How many tokens prompt and answer may have together, as given by the caller.

        Raises:
            ConfigError: the caller gave none.
        """
        self._check_open()
        if self._settings.context_window is None:
            message = (
                f"LangChain does not say how many tokens {self.model!r} reads. Give wrap_chat_model a context_window."
            )
            raise ConfigError(message)
        return self._settings.context_window

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """An upper bound for the tokens in the prompt of ``payload``.

        Counted by the model's ``custom_get_token_ids`` if it was built with one, else estimated as for a server. The
        model's own ``get_num_tokens_from_messages`` is not used: it may load another model's tokenizer, or use the
        network.
        """
        request, count = self._prepared(payload), self._wrapped.custom_get_token_ids
        messages, tools = request.messages, request.payload.tools_available
        if count is None:
            return self._sizes.estimate(messages, tools)
        with self._errors():
            counted = sum(len(count(get_buffer_string([message]))) for message in with_message_extras(messages))
        return counted + PromptSizes().estimate([], tools)  # plus the tools, and what the template adds

    def _request(self, prepared: PreparedRequest, refused: AbstractSet[str], *, stream: bool) -> Request:
        generation = taken_options(prepared.payload.generation, refused)
        return Request(
            messages=prepared.messages,
            tools=prepared.payload.tools_available,
            generation=generation,
            effort=self._effort(prepared.payload),
            stream=stream,
            ours=can_be_given_up((), generation, None, refused),
        )

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        spent: Usage | None = None
        async with aclosing(self._messages(request)) as messages:
            while True:
                # Not around the whole loop: between two pieces the caller's code runs, whose tracing is its own affair.
                with tracing_context(enabled=False):
                    message = await anext(messages, None)
                if message is None:
                    return
                if piece := self._read(message, spent):
                    spent = piece.usage or spent
                    yield piece

    async def _messages(self, request: Request) -> AsyncGenerator[AIMessage, None]:
        model, options = self._model(request), self._options(request)
        messages = with_message_extras(request.messages)
        if not request.stream:
            yield await model.ainvoke(messages, **options)
            return
        chunks = cast("AsyncGenerator[AIMessage, None]", model.astream(messages, **options))  # declared less precisely
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _read(self, message: AIMessage, spent: Usage | None) -> Piece | None:
        """The content of a message; adds what was ``spent`` before it, because each reports only its own figures."""
        chunk = message
        if not isinstance(chunk, AIMessageChunk):  # chunks have both kinds of calls in one list, as text
            sound, broken = message.tool_calls, message.invalid_tool_calls
            chunk = AIMessageChunk(content="", tool_calls=sound, invalid_tool_calls=broken, chunk_position="last")
        usage = read_usage(message.usage_metadata, "input_tokens", "output_tokens")
        if usage and spent:
            usage = Usage(
                prompt_tokens=spent.prompt_tokens + usage.prompt_tokens,
                completion_tokens=spent.completion_tokens + usage.completion_tokens,
            )
        calls: list[Mapping[str, Any]] = [
            {
                "index": call.get("index"),
                "id": call.get("id"),
                "function": {"name": call.get("name"), "arguments": call.get("args")},
            }
            for call in chunk.tool_call_chunks
        ]
        return Piece(
            text=_text(message),
            reasoning="".join(str(block.get("reasoning", "")) for block in message.content_blocks),
            calls=calls,
            # Not every model gives a reason; one that broke off has raised an error.
            finish_reason=_finish_reason(message) or ("stop" if chunk.chunk_position else ""),
            usage=usage,
            extras=message_extras(message),
        )

    def _model(self, request: Request) -> Runnable[LanguageModelInput, AIMessage]:
        if not request.tools:
            return self._wrapped
        try:
            return self._wrapped.bind_tools([dict(tool) for tool in request.tools])
        except NotImplementedError as exc:
            message = f"{type(self._wrapped).__name__} takes no tools. Leave them out, or wrap a model that does."
            raise PayloadError(message) from exc

    def _options(self, request: Request) -> dict[str, Any]:
        options = asdict(request.generation) | {"stop": list(request.generation.stop)}
        limit, effort = options.pop("max_new_tokens"), request.effort and request.effort.effort
        return given({**options, "max_tokens": limit, "reasoning_effort": effort})

    def _errors(self) -> AbstractContextManager[None]:
        return _model_errors(type(self._wrapped).__name__, self.model)


def wrap(chat_model: BaseChatModel, *, context_window: int | None, timeout: float) -> WrappedAgent:
    """The work of ``wrap_chat_model``."""
    kind = type(chat_model).__name__
    if not isinstance(chat_model, BaseChatModel):
        message = (
            f"chat_model is of type {kind}. Give one of LangChain's chat models, without bind or a chain around it."
        )
        raise ConfigError(message)
    names = (getattr(chat_model, name, None) for name in ("model_name", "model"))
    model = next((name for name in names if name and isinstance(name, str)), kind)
    settings = AgentSettings(model=model, timeout=timeout, context_window=context_window)
    agent = WrappedAgent(settings, f"the other end of {kind}")
    agent._wrapped = chat_model  # noqa: SLF001  (acts as a class method)
    return agent


def _text(message: AIMessage) -> str:
    refusals = [part.get("refusal") for part in message.content if isinstance(part, dict)]
    return str(message.text) or "".join(map(str, filter(None, [*refusals, message.additional_kwargs.get("refusal")])))


def _finish_reason(message: AIMessage) -> str:
    """Why the answer ended; empty if unknown."""
    metadata = message.response_metadata
    if "status" in metadata:
        return response_status(metadata)
    return read_reason(next((metadata[key] for key in _END_KEYS if metadata.get(key)), ""))


@contextmanager
def _model_errors(kind: str, model: str) -> Iterator[None]:
    try:
        yield
    except BackendError:
        raise
    except Exception as exc:
        names = [each.__name__ for each in type(exc).__mro__]
        fitting = (error for word, error in _KINDS if any(word in name for name in names))
        # Without its words, which may quote the prompt or a key.
        message = (
            f"{kind} failed with {type(exc).__name__} on {model!r}. "
            "See this error's cause (__cause__), and check how the chat model was built."
        )
        raise next(fitting, EngineError)(message) from exc
