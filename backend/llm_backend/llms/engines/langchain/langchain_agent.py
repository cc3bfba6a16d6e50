"""The langchain engine: a ChatOpenAI, wrapped as by ``wrap_chat_model``, on the server that the settings name."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field

from llm_backend.llms.engines.langchain.wrapped import WrappedAgent
from llm_backend.llms.engines.server.answer_reading import read_answer
from llm_backend.llms.engines.server.chat_format import chat_options
from llm_backend.llms.engines.server.openai_client import connect
from llm_backend.llms.engines.server.responses_format import response_options
from llm_backend.llms.engines.server.server_agent import ServerAgent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import openai
    from langchain_core.messages import AIMessage, BaseMessage

    from llm_backend.llms.engines.server.chat_format import Piece, Request
    from llm_backend.llms.payloads import Usage

__all__ = ["LangChainAgent"]


class _Message(AIMessageChunk):
    """An answer or a part of one, with the server's own data; adding others keeps only the text."""

    piece: Any = Field(default=None, exclude=True, repr=False)


class _Chat(ChatOpenAI):
    """ChatOpenAI that sends and reads everything servers say: LangChain's own drops what OpenAI does not say.

    That includes reasoning, what servers want back with the next request, and calls and contents of other shapes.
    """

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (LangChain tells it of the answer itself)
        **kwargs: Any,  # noqa: ANN401  (options of the request)
    ) -> ChatResult:
        async with aclosing(self._ask(messages, stop=stop, stream=False, **kwargs)) as pieces:
            piece = await anext(pieces)
        return ChatResult(generations=[ChatGeneration(message=_Message(content=piece.text, piece=piece))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (the same)
        **kwargs: Any,  # noqa: ANN401  (the same)
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        async with aclosing(self._ask(messages, stop=stop, stream=True, **kwargs)) as pieces:
            async for piece in pieces:
                yield ChatGenerationChunk(message=_Message(content=piece.text, piece=piece))
        # Otherwise LangChain fails if nothing came, and reports a broken-off answer as ended.
        yield ChatGenerationChunk(message=_Message(content="", chunk_position="last"))

    async def _ask(self, messages: list[BaseMessage], *, wire: object, **options: Any) -> AsyncGenerator[Piece, None]:  # noqa: ANN401  (the same)
        """Have LangChain build a request from ``messages``, and send it with ``wire`` as the messages."""
        payload = self._get_request_payload(messages, **options)
        responses, stream = "input" in payload, options["stream"]
        payload["input" if responses else "messages"] = wire
        client: Any = self.root_async_client
        answer = await (client.responses if responses else client.chat.completions).create(**payload)
        async with aclosing(read_answer(answer, responses=responses, stream=stream)) as pieces:
            async for piece in pieces:
                yield piece


class LangChainAgent(ServerAgent, WrappedAgent):
    """Chat completions, or the Responses API where ``settings.use_responses`` says so.

    What its server tells (ServerAgent) takes precedence over what any LangChain chat model can tell (WrappedAgent).
    """

    def _connect(self) -> openai.AsyncOpenAI:
        # Our own client: LangChain shares its clients between agents, so closing one would close them all.
        return connect(self._server)

    def _model(self, request: Request) -> _Chat:  # noqa: ARG002  (its tools are among the options)
        client = self._client
        return _Chat(
            model=self.model,
            # All clients, or LangChain would create the others from its own environment variables.
            root_client=client,
            client=client.chat.completions,
            root_async_client=client,
            async_client=client.chat.completions,
            use_responses_api=self._settings.use_responses,
        )

    def _options(self, request: Request) -> dict[str, Any]:
        if not self._settings.use_responses:
            return {"wire": request.messages, **chat_options(request)}
        options = response_options(request)
        return {"wire": options.pop("input"), **options}

    def _read(self, message: AIMessage, spent: Usage | None) -> Piece | None:
        # Any other message came out of a LangChain cache.
        return message.piece if isinstance(message, _Message) else super()._read(message, spent)
