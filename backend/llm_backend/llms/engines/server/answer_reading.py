"""Reads what OpenAI's client library returns, from either API, whole or as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_backend.llms.engines.server.chat_format import as_mapping, read_chunk, read_completion
from llm_backend.llms.engines.server.responses_format import read_event, read_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_backend.llms.engines.server.chat_format import Piece

__all__ = ["read_answer"]


async def read_answer(answer: Any, *, responses: bool, stream: bool) -> AsyncGenerator[Piece, None]:  # noqa: ANN401
    """The pieces of what ``create`` returned, a stream or one whole answer; closing this closes the connection.

    Raises:
        EngineError: the server says that it failed, or its answer cannot be read.
    """
    if not stream:
        yield (read_response if responses else read_completion)(as_mapping(answer))
        return
    async with answer as parts:
        async for part in parts:
            yield (read_event if responses else read_chunk)(as_mapping(part))
