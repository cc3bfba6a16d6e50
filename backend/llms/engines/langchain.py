"""The langchain engine: the same kind of server, through LangChain's ChatOpenAI."""

from __future__ import annotations

from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_core.messages import AIMessageChunk, convert_to_messages
from langchain_openai import ChatOpenAI
from langsmith import tracing_context

from backend.llms.engines.openai_client import connect
from backend.llms.openai_format import Piece, chat_options, read_usage
from backend.llms.responses_format import response_options, response_status
from backend.llms.server_agent import ServerAgent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import openai
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from backend.llms.openai_format import Request

__all__ = ["LangChainAgent"]

# Where LangChain's packages keep why an answer ended, and what Anthropic's and Google's models call it.
_END_KEYS = ("finish_reason", "stop_reason", "done_reason")
_ENDS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


class LangChainAgent(ServerAgent):
    """Chat completions, or the Responses API where ``settings.use_responses`` says so.

    Never traces: LANGSMITH_TRACING and its like would send every prompt to a third party, whatever the server.
    LangChain drops reasoning beside the text, all but the summaries of the Responses API, and refusals in the stream of
    a chat completion.
    """

    engine: ClassVar[str] = "langchain"
    # What LangChain raises when it takes a malformed answer apart.
    _unreadable: ClassVar[tuple[type[Exception], ...]] = (AttributeError, LookupError, TypeError, ValueError)

    def _connect(self) -> openai.AsyncOpenAI:
        # A client of our own: LangChain shares its clients between agents, so that closing one would close them all.
        return connect(self._server)

    @cached_property
    def _chat(self) -> ChatOpenAI:
        return ChatOpenAI(
            model=self.model,
            root_async_client=self._client,
            async_client=self._client.chat.completions,  # or it would make one, and ask for a key
            use_responses_api=self._settings.use_responses,
            stream_chunk_timeout=None,  # the client has its own, which counts a server's signs of life
        )

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        async with aclosing(self._messages(request)) as messages:
            while True:
                # Not around the whole loop: between two pieces the context is the caller's, whose tracing is their own.
                with tracing_context(enabled=False):
                    message = await anext(messages, None)
                if message is None:
                    return
                yield _read(message)

    async def _messages(self, request: Request) -> AsyncGenerator[AIMessage, None]:
        model, options = self._model(request), self._options(request)
        messages = convert_to_messages(request.messages)
        if not request.stream:
            yield await model.ainvoke(messages, **options)
            return
        chunks = cast("AsyncGenerator[AIMessage, None]", model.astream(messages, **options))  # declared as less
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _model(self, request: Request) -> Runnable[LanguageModelInput, AIMessage]:  # noqa: ARG002  (for other models)
        """What answers ``request``."""
        client = self._client
        return self._chat.model_copy(update={"root_async_client": client, "async_client": client.chat.completions})

    def _options(self, request: Request) -> dict[str, Any]:
        if not self._settings.use_responses:
            return chat_options(request, limit_name=self._server.limit_name)
        options = response_options(request)
        del options["input"]  # LangChain makes it from its own messages
        return options


def _read(message: AIMessage) -> Piece:
    chunk = message
    if not isinstance(chunk, AIMessageChunk):  # which has the calls of both kinds in one list, with their texts
        chunk = AIMessageChunk(content="", tool_calls=message.tool_calls, invalid_tool_calls=message.invalid_tool_calls)
    calls: list[Mapping[str, Any]] = [
        {**call, "function": {"name": call.get("name"), "arguments": call.get("args")}}
        for call in chunk.tool_call_chunks
    ]
    return Piece(
        text=_text(message),
        reasoning="".join(str(block.get("reasoning", "")) for block in message.content_blocks),
        calls=calls,
        finish_reason=_finish_reason(message),
        usage=read_usage(message.usage_metadata, "input_tokens", "output_tokens"),
    )


def _text(message: AIMessage) -> str:
    refusals = [part.get("refusal") for part in message.content if isinstance(part, dict)]
    return str(message.text) or "".join(map(str, filter(None, [*refusals, message.additional_kwargs.get("refusal")])))


def _finish_reason(message: AIMessage) -> str:
    """Why the answer ended; empty where that is not said."""
    metadata = message.response_metadata
    if "status" in metadata:
        return response_status(metadata)
    reason = next((str(metadata[key]) for key in _END_KEYS if metadata.get(key)), "")
    return _ENDS.get(reason.lower(), reason)
