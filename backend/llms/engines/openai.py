"""The openai engine: any OpenAI-compatible server, through OpenAI's own client library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from backend.llms.engines.openai_client import connect
from backend.llms.openai_format import as_mapping, chat_options, read_chunk, read_completion
from backend.llms.responses_format import read_event, read_response, response_options
from backend.llms.server_agent import ServerAgent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import openai

    from backend.llms.openai_format import Piece, Reply, Request

__all__ = ["OpenAIAgent"]


class OpenAIAgent(ServerAgent):
    """Chat completions, or the Responses API where ``settings.use_responses`` says so.

    ``top_k`` is not in OpenAI's format: it is sent, when given, for the local servers that know it.
    """

    engine: ClassVar[str] = "openai"

    def _connect(self) -> openai.AsyncOpenAI:
        return connect(self._server)

    async def _reply(self, request: Request) -> Reply:
        # `stream` is said aloud: `transformers serve` streams responses unless told not to.
        answer = as_mapping(await self._send(request, stream=False))
        return read_response(answer) if self._settings.use_responses else read_completion(answer)

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        read = read_event if self._settings.use_responses else read_chunk
        async with await self._send(request, stream=True) as parts:
            async for part in parts:
                yield read(as_mapping(part))

    async def _send(self, request: Request, *, stream: bool) -> Any:  # noqa: ANN401  (what the server made of it)
        if self._settings.use_responses:
            return await self._client.responses.create(model=self.model, stream=stream, **response_options(request))
        options = chat_options(request, limit_name=self._server.limit_name)
        return await self._client.chat.completions.create(
            model=self.model, messages=request.messages, stream=stream, **options
        )
