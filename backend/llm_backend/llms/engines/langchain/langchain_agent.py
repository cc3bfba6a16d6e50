"""The langchain engine: the same kind of server, through LangChain's ChatOpenAI."""

from __future__ import annotations

from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk, convert_to_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from langsmith import tracing_context
from pydantic import Field

from llm_backend.llms.engines.server.answer_reading import read_answer
from llm_backend.llms.engines.server.chat_format import Piece, chat_options, read_reason, read_usage
from llm_backend.llms.engines.server.openai_client import connect
from llm_backend.llms.engines.server.responses_format import response_options, response_status
from llm_backend.llms.engines.server.server_agent import ServerAgent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import openai
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

    from llm_backend.llms.engines.server.chat_format import Request

__all__ = ["LangChainAgent", "read_message"]

# Where LangChain's packages keep why an answer ended.
_END_KEYS = ("finish_reason", "stop_reason", "done_reason")


class _Message(AIMessage):
    """An answer, and what the server said of it."""

    piece: Any = Field(default=None, exclude=True, repr=False)


class _Chunk(AIMessageChunk):
    """The same for a part of one; added to others it is only their text."""

    piece: Any = Field(default=None, exclude=True, repr=False)


class _Chat(ChatOpenAI):
    """ChatOpenAI, which sends and reads what servers say whole: LangChain's own drops all that OpenAI does not say.

    That is reasoning, what servers want back with the next request, and calls and contents of another shape.
    """

    wire: Any = Field(default=None, exclude=True, repr=False)
    """The messages as the server is to get them."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (LangChain tells it of the answer itself)
        **kwargs: Any,  # noqa: ANN401  (options of the request)
    ) -> ChatResult:
        async with aclosing(self._ask(messages, {**kwargs, "stop": stop, "stream": False})) as pieces:
            piece = await anext(pieces)
        return ChatResult(generations=[ChatGeneration(message=_Message(content=piece.text, piece=piece))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (the same)
        **kwargs: Any,  # noqa: ANN401  (the same)
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        async with aclosing(self._ask(messages, {**kwargs, "stop": stop, "stream": True})) as pieces:
            async for piece in pieces:
                yield ChatGenerationChunk(message=_Chunk(content=piece.text, piece=piece))
        yield ChatGenerationChunk(message=_Chunk(content=""))  # or LangChain fails where nothing came

    async def _ask(self, messages: list[BaseMessage], options: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        payload = self._get_request_payload(messages, **options)
        responses, stream = "input" in payload, options["stream"]
        payload["input" if responses else "messages"] = self.wire
        client: Any = self.root_async_client
        answer = await (client.responses if responses else client.chat.completions).create(**payload)
        async with aclosing(read_answer(answer, responses=responses, stream=stream)) as pieces:
            async for piece in pieces:
                yield piece


class LangChainAgent(ServerAgent):
    """Chat completions, or the Responses API where ``settings.use_responses`` says so.

    Never traces: LANGSMITH_TRACING and its like would send every prompt to a third party, whatever the server.
    """

    engine: ClassVar[str] = "langchain"

    def _connect(self) -> openai.AsyncOpenAI:
        # A client of our own: LangChain shares its clients between agents, so that closing one would close them all.
        return connect(self._server)

    @cached_property
    def _chat(self) -> _Chat:
        client = self._client
        return _Chat(
            model=self.model,
            # All of them, or it would make others, of what the environment says to LangChain.
            root_client=client,
            client=client.chat.completions,
            root_async_client=client,
            async_client=client.chat.completions,
            use_responses_api=self._settings.use_responses,
        )

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        async with aclosing(self._messages(request)) as messages:
            while True:
                # Not around the whole loop: between two pieces the context is the caller's, whose tracing is their own.
                with tracing_context(enabled=False):
                    message = await anext(messages, None)
                if message is None:
                    return
                if piece := self._read(message):
                    yield piece

    async def _messages(self, request: Request) -> AsyncGenerator[AIMessage, None]:
        model, options = self._model(request), self._options(request)
        messages = self._converted(request.messages)
        if not request.stream:
            yield await model.ainvoke(messages, **options)
            return
        chunks = cast("AsyncGenerator[AIMessage, None]", model.astream(messages, **options))  # declared as less
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _converted(self, messages: list[dict[str, Any]]) -> list[BaseMessage]:
        return convert_to_messages(messages)

    def _read(self, message: AIMessage) -> Piece | None:
        """What the server said; None for a part of a stream that LangChain adds of its own."""
        piece: Piece | None = getattr(message, "piece", None)
        if piece or isinstance(message, AIMessageChunk):
            return piece
        return read_message(message)  # which came out of a cache of LangChain's

    def _model(self, request: Request) -> Runnable[LanguageModelInput, AIMessage]:
        """What answers ``request``."""
        client = self._client
        wire = response_options(request)["input"] if self._settings.use_responses else request.messages
        update = {"root_async_client": client, "async_client": client.chat.completions, "wire": wire}
        return self._chat.model_copy(update=update)

    def _options(self, request: Request) -> dict[str, Any]:
        if not self._settings.use_responses:
            return chat_options(request)
        options = response_options(request)
        del options["input"]  # LangChain would take it for another option
        return options


def read_message(message: AIMessage) -> Piece:
    """What a message says that a chat model of LangChain's made."""
    chunk = message
    if not isinstance(chunk, AIMessageChunk):  # which has the calls of both kinds in one list, with their texts
        chunk = AIMessageChunk(content="", tool_calls=message.tool_calls, invalid_tool_calls=message.invalid_tool_calls)
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
    return read_reason(next((metadata[key] for key in _END_KEYS if metadata.get(key)), ""))
