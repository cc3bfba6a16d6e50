"""The HTTP client under OpenAI's library: what to retry, how long to wait, and what counts as an answer.

The library retries after every lost connection and every silence. But a server that has begun to answer keeps
working, even if it is asked again; so this retries only what the server has surely not begun, and what it refused.
"""

from __future__ import annotations

import json
import re
import ssl
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import openai

from llm_backend.llms.engines.server.time_limits import asked_wait, seconds_left
from llm_backend.llms.engines.server.told_errors import BrokenOffError, ToldError, error_in, error_in_event, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["WatchedClient"]

_BUSY = (429, 503, 529)
_GATEWAY_TIMEOUTS = (504, 524)  # sent by a gateway that gave up waiting for a server that has begun
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds; the library's own
_BODY_HEADERS = {"content-encoding", "content-length", "transfer-encoding"}
_LOST = (httpx2.NetworkError, httpx2.RemoteProtocolError, ssl.SSLError, anyio.EndOfStream)  # of connections
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")  # with any line ends, even mixed


class WatchedClient(openai.DefaultAsyncHttpxClient):
    """Sends the library's requests, and shows it servers' errors as errors.

    An answer with status 200 that is an error gets the status that fits, so that the library treats it like any other;
    in a stream it is raised as ToldError.

    Args:
        query: sent with every request. It may hold a key, so it is kept out of the address, which httpx logs.
        options: httpx's own.
    """

    def __init__(self, *, query: str = "", **options: Any) -> None:  # noqa: ANN401  (passed on)
        super().__init__(**options)
        self._query = query.encode()

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:  # noqa: ANN401  (passed on)
        """Send ``request``.

        Raises:
            ToldError: the answer is an error for which there is no status.
            BrokenOffError: the connection ended in the middle of the answer.
            openai.APIConnectionError: the connection failed, and a retry would not help.
        """
        progress = _Progress()
        request.extensions["trace"] = progress.note
        if self._query:
            request.extensions["target"] = request.url.raw_path + b"?" + self._query
        timeouts = request.extensions.get("timeout")
        if not stream and request.method == "POST" and isinstance(timeouts, dict):
            # A whole answer comes only once it is complete; the limit on the whole request bounds this wait.
            request.extensions["timeout"] = {**timeouts, "read": None}
        try:
            response = await super().send(request, stream=stream, **options)
        except (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream) as exc:
            if progress.answered and isinstance(exc, _LOST):
                raise BrokenOffError from exc
            if progress.may_try_again(exc) and _pause(request) < seconds_left():
                raise
            timed_out = isinstance(exc, httpx2.TimeoutException)
            raise (openai.APITimeoutError if timed_out else openai.APIConnectionError)(request=request) from exc
        if response.is_success:
            response = _watched(response) if stream else _as_told(response)
        _decide_on_another_try(response)
        return response


class _Progress:
    """How far a request got, as recorded by the transport below.

    Attributes:
        answered: whether the server has begun to answer.
    """

    def __init__(self) -> None:
        self._connected = self._sent = self.answered = False
        self._to_proxy = False  # only the CONNECT to the proxy is being sent

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.started"):
            self._connected = True
        elif event.endswith("send_request_headers.started"):
            self._to_proxy = info["request"].method == b"CONNECT"
        elif event.endswith("send_request_body.complete"):
            self._sent = not self._to_proxy
        elif event.endswith("receive_response_headers.complete"):
            self.answered = not self._to_proxy

    def may_try_again(self, exc: Exception) -> bool:
        """Whether the server has surely not begun, and a retry may succeed.

        A connection kept from an earlier request that ends before any answer was closed by the server as the request
        arrived: it has not read it.
        """
        if isinstance(exc, httpx2.ProxyError | httpx2.LocalProtocolError | httpx2.UnsupportedProtocol):
            return False
        if "CERTIFICATE_VERIFY_FAILED" in str(exc):
            return False
        kept = not self._connected and not isinstance(exc, httpx2.TimeoutException)
        return not self.answered and (kept or not self._sent)


def _pause(request: httpx2.Request) -> float:
    """How long the library waits before a retry, in seconds, if the server does not say."""
    tries = int(request.headers.get("x-stainless-retry-count", "0"))
    return float(min(_FIRST_PAUSE * 2.0 ** min(tries, 10), _LONGEST_PAUSE))


def _decide_on_another_try(response: httpx2.Response) -> None:
    """Tell the library, in a header of the answer, whether and when to retry.

    It would wait in vain if the wait is longer than the request may take, and then report a timeout instead of what
    the server said.
    """
    asked = asked_wait(response.headers, limited=response.status_code in _BUSY)
    wait = _pause(response.request) if asked is None else asked
    if wait > seconds_left() or response.status_code in _GATEWAY_TIMEOUTS:
        response.headers["x-should-retry"] = "false"
    elif asked is not None:
        response.headers["retry-after-ms"] = f"{asked * 1000:.0f}"


def _as_told(response: httpx2.Response) -> httpx2.Response:
    """``response``, with the status that fits if it is an error."""
    try:
        error = error_in(json.loads(response.content))
    except (ValueError, RecursionError):
        return response
    if error is None:
        return response
    status = status_of(error)
    if status is None:
        raise ToldError(error)
    headers = [(name, value) for name, value in response.headers.items() if name not in _BODY_HEADERS]
    return httpx2.Response(status, headers=headers, json={"error": error}, request=response.request)


def _watched(response: httpx2.Response) -> httpx2.Response:
    """``response`` with its events checked before they are passed on."""
    headers = [(name, value) for name, value in response.headers.items() if name not in _BODY_HEADERS]
    return httpx2.Response(
        response.status_code,
        headers=headers,
        stream=_Events(response),
        request=response.request,
        extensions=response.extensions,
    )


class _Events(httpx2.AsyncByteStream):
    """The complete events of a stream, up to one that reports an error."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest, seen, begun = b"", 0, False  # the incomplete event, and how much of it has been searched for its end
        async for data in self._data():
            rest += data
            if not begun and len(rest) >= len(BOM_UTF8):
                rest, begun = rest.removeprefix(BOM_UTF8), True  # not part of the first field's name
            while end := _EVENT_END.search(rest, seen):
                event, rest, seen = rest[: end.end()], rest[end.end() :], 0
                self._look(event)
                yield b"\n".join(event.splitlines()) + b"\n\n"  # the library knows only one kind of line end
            seen = max(0, len(rest) - 3)
        self._look(rest)
        yield rest

    async def _data(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._response.aiter_bytes():
                yield data
        except _LOST as exc:
            raise BrokenOffError from exc

    def _look(self, event: bytes) -> None:
        error = error_in_event(event)
        if error is not None:
            told = ToldError(error)
            told.response = self._response
            raise told

    async def aclose(self) -> None:
        await self._response.aclose()
