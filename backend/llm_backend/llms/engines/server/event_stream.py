"""Reads the events of a stream before OpenAI's library parses them as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import openai
from openai._streaming import ServerSentEvent, SSEDecoder

from llm_backend.llms.engines.server.chat_format import DONE_EVENT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

__all__ = ["StreamingClient"]

_END = "[DONE]"
_NOTHING = ("", "null")
_SIGNS_OF_LIFE = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})


class StreamingClient(openai.AsyncOpenAI):
    """The library's client, with this module's decoder for streams."""

    def _make_sse_decoder(self) -> SSEDecoder:
        return _EventDecoder()


class _EventDecoder(SSEDecoder):
    """The library's decoder, which skips empty events and adds one for the end of the stream.

    Events without data are to be ignored (https://html.spec.whatwg.org/multipage/server-sent-events.html), but the
    library takes them for broken JSON (https://github.com/openai/openai-python/issues/2722); and it cannot tell a
    stream that ended from one that broke off.
    """

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncGenerator[ServerSentEvent, None]:
        """Yield every event with data."""
        async for event in super().aiter_bytes(iterator):
            if event.data.strip() in _NOTHING or event.event in _SIGNS_OF_LIFE:
                continue
            if event.data.strip().startswith(_END):
                yield ServerSentEvent(data=json.dumps(DONE_EVENT))
                yield ServerSentEvent(data=_END)  # the only spelling, without spaces, that the library recognises
            else:
                yield event
