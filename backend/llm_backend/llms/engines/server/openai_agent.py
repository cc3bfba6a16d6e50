"""The openai engine: any OpenAI-compatible server, through OpenAI's own client library."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from llm_backend.llms.engines.server.answer_reading import read_answer
from llm_backend.llms.engines.server.chat_format import chat_options
from llm_backend.llms.engines.server.openai_client import connect
from llm_backend.llms.engines.server.responses_format import response_options
from llm_backend.llms.engines.server.server_agent import ServerAgent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import openai

    from llm_backend.llms.engines.server.chat_format import Piece, Request

__all__ = ["OpenAIAgent"]


class OpenAIAgent(ServerAgent):
    """Chat completions, or the Responses API where ``settings.use_responses`` says so.

    ``top_k`` is not in OpenAI's format; if given, it is sent for local servers that know it.
    """

    engine: ClassVar[str] = "openai"

    def _connect(self) -> openai.AsyncOpenAI:
        return connect(self._server)

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        answer = await self._send(request)
        responses = self._settings.use_responses
        async with aclosing(read_answer(answer, responses=responses, stream=request.stream)) as pieces:
            async for piece in pieces:
                yield piece

    async def _send(self, request: Request) -> Any:  # noqa: ANN401  (whatever the library returns)
        # `stream` is always sent: `transformers serve` streams responses unless told not to.
        if self._settings.use_responses:
            return await self._client.responses.create(
                model=self.model, stream=request.stream, **response_options(request)
            )
        options = chat_options(request)
        return await self._client.chat.completions.create(
            model=self.model, messages=request.messages, stream=request.stream, **options
        )
