"""Translates the errors of OpenAI's client library about an OpenAI-compatible server into ours.

LangChain's own errors derive from the library's, or from Python's, and are found through them.
"""

from __future__ import annotations

import json
import re
import ssl
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import httpx2
import openai

from llm_backend.errors import (
    BackendError,
    ConfigError,
    EngineAuthenticationError,
    EngineBusyError,
    EngineConnectionError,
    EngineError,
    EngineRefusalError,
    EngineResponseError,
    EngineTimeoutError,
    ModelNotFoundError,
    PayloadError,
    printable,
)
from llm_backend.llms.engines.server.address import words_in
from llm_backend.llms.engines.server.context_overflow import read_overflow
from llm_backend.llms.engines.server.secret_masking import mask
from llm_backend.llms.engines.server.time_limits import asked_wait
from llm_backend.llms.engines.server.told_errors import BrokenOffError, ToldError, codes_of, facts_of, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llm_backend.llms.engines.server.address import Server

__all__ = ["engine_errors", "mapper_of"]

Mapper: TypeAlias = "Callable[[BaseException, Server], BackendError]"

_TRANSIENT = (408, 409, *range(500, 600))  # retried by the library as well, besides 429
_OVERFLOWS = (None, 400, 413, 422, 500)
_NO_MODEL = (None, 400, 403, 404, 422)
_NO_MODEL_CODES = ("modelnotfound", "deploymentnotfound", "invalidmodel")
# LiteLLM, Mistral, OpenRouter, DeepSeek, Ollama, vLLM, Together, Zhipu.
_NO_MODEL_WORDS = re.compile(
    r"invalid model\b|(no such|unknown|unable to access) model\b"
    r"|\bmodel\b(?:(?!\b(?:called|file|function|tool)\b)[^.;]){0,100}(not found|(does not|doesn't|not) exist)"
    r"|is not a valid model",
    re.IGNORECASE,
)

# Google, and LiteLLM without a database, refuse a key as a bad request.
_NO_KEY_WORDS = re.compile(
    r"(api|auth)[ _-]?key\b(?:(?! in ).){0,20}(not valid|invalid)|(invalid|incorrect) api[ _-]?key|no connected db",
    re.IGNORECASE,
)
# Forbidden with any key: OpenAI; OpenRouter; Cloudflare.
_FORBIDDEN_TO_ALL = re.compile(
    r"\b(country|region|territory|flagged|moderation)\b|you have been blocked|content.policy", re.IGNORECASE
)


def _timeout(exc: BaseException, server: Server) -> BackendError:
    if _led_by(exc, httpx2.ConnectTimeout):
        return EngineConnectionError(
            f"The server at {server.way} did not accept the connection within {server.settings.connect_timeout:g} s. "
            "Check that base_url (OPENAI_API_URL) is its address, or raise connect_timeout."
        )
    return EngineTimeoutError(
        f"The server at {server.way} sent nothing for {server.settings.read_timeout:g} s. "
        "Raise read_timeout, or find out what keeps the server busy."
    )


def _connection(exc: BaseException, server: Server) -> BackendError:
    words = server.words(exc)
    if "CERTIFICATE_VERIFY_FAILED" in words_in(exc):  # the library keeps only the words of that error
        return EngineConnectionError(
            f"The certificate of the server at {server.way} cannot be trusted: {words}. "
            "Check that base_url names the server as its certificate does; "
            "if your own authority signed it, set SSL_CERT_FILE to that authority's certificate.",
            retryable=False,
        )
    if _led_by(exc, httpx2.DecodingError):
        return _unreadable(exc, server)
    if server.proxy and _led_by(exc, httpx2.ProxyError):
        return _proxy_refused(words, server)
    advice = "Check that the server runs, and that base_url (OPENAI_API_URL) is its address."
    if server.proxy:
        advice += " If it needs no proxy, name its host in NO_PROXY."
    return EngineConnectionError(f"The connection to the server at {server.way} failed: {words}. {advice}")


def _led_by(exc: BaseException | None, kind: type[BaseException]) -> bool:
    return exc is not None and (isinstance(exc, kind) or _led_by(exc.__cause__, kind))


def _broke_off(exc: BaseException, server: Server) -> BackendError:
    what = repr(server.model) if server.model else "it"
    return EngineConnectionError(
        f"The server at {server.way} broke off before {what} had finished its answer: {server.words(exc)}. "
        "Try again, and check the server's log."
    )


def _proxy_refused(words: str, server: Server) -> BackendError:
    return EngineConnectionError(
        f"The proxy refused the connection to the server at {server.way}: {words}. Check HTTP_PROXY, HTTPS_PROXY "
        "or ALL_PROXY, and the name and password in it; if the server needs no proxy, name its host in NO_PROXY.",
        retryable=False,
    )


def _authentication(exc: BaseException, server: Server) -> BackendError:
    return EngineAuthenticationError(
        f"The server at {server.way} refused the key: {server.words(exc)}. Check api_key (OPENAI_API_KEY)."
    )


def _no_model(exc: BaseException, server: Server) -> BackendError:
    return ModelNotFoundError(
        f"The server at {server.place} has no model {server.model!r}: {server.words(exc)}. "
        "Set model (AF_LLM_MODEL) to one that it lists under /models."
    )


def _not_found(exc: BaseException, server: Server) -> BackendError:
    if server.model and re.search(rf"(?<!\w){re.escape(server.model)}(?!\w)", words_in(exc)):
        return _no_model(exc, server)
    return EngineError(
        f"The server at {server.way} has nothing at the requested address: {server.words(exc)}. "
        "Check base_url (OPENAI_API_URL): it usually ends in /v1."
    )


def _refused(exc: BaseException, server: Server) -> BackendError:
    return EngineRefusalError(
        f"The server at {server.place} refused the request: {server.words(exc)}. "
        "Change what it names in the payload or the settings."
    )


def _limited(exc: BaseException, server: Server) -> BackendError:
    wait = asked_wait(_headers(exc), limited=True)
    unpaid = _status(exc) == _UNPAID or "insufficientquota" in _codes(exc)  # OpenAI's code for an exhausted budget
    advice = f"Wait {wait:.0f} s" if wait else "Wait"
    advice = "Pay for more" if unpaid else f"{advice} and try again"
    return EngineBusyError(
        f"The server at {server.place} limits requests: {server.words(exc)}. {advice}, or raise the limit there.",
        retry_after=wait,
        retryable=not unpaid,
    )


def _failed(exc: BaseException, server: Server) -> BackendError:
    place = mask(printable(_headers(exc).get("location", "")).partition("?")[0], server.secrets)
    place = re.sub(r"(?<=//)[^/]*@", "", place)  # drop a name and password
    if place:
        return EngineError(
            f"The server at {server.place} redirects to {place}; neither prompt nor key was sent there. "
            "If you trust that address, set base_url (OPENAI_API_URL) to it."
        )
    return EngineError(
        f"The server at {server.way} failed: {server.words(exc)}. Check the server's log.",
        retryable=_status(exc) in _TRANSIENT,
        retry_after=asked_wait(_headers(exc)),
    )


def _unreadable(exc: BaseException, server: Server) -> BackendError:
    return EngineResponseError(
        f"The answer of the server at {server.way} cannot be read: {server.words(exc)}. "
        "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
    )


def _malformed(exc: BaseException, server: Server) -> BackendError:
    """The library failed on the answer; its message may quote a tool's arguments, which may be private."""
    return EngineResponseError(
        f"The answer of the server at {server.way} is malformed ({type(exc).__name__}). "
        "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
    )


def _unsendable(exc: BaseException, _: Server) -> BackendError:
    wrong = exc.object[exc.start] if isinstance(exc, UnicodeEncodeError) else exc
    return PayloadError(f"The payload or the settings hold {wrong!r}, which is not a character. Replace it.")


def _no_address(exc: BaseException, server: Server) -> BackendError:
    return ConfigError(
        f"base_url is {server.place}, which is not an address: {server.words(exc)}. "
        "Set base_url (OPENAI_API_URL) to a server's address, such as http://127.0.0.1:8000/v1."
    )


def _told(exc: BaseException, server: Server) -> BackendError:
    """The server's own error, by its status or code; first what no status tells."""
    status, codes, words = _status(exc), _codes(exc), words_in(exc)
    if status in _OVERFLOWS:
        facts = (facts_of(_body(exc), name) for name in ("n_prompt_tokens", "n_ctx"))  # llama.cpp's
        overflow = read_overflow(words, codes, *facts)
        if overflow:
            return overflow.error(server.model, server.words(exc))
    if status in _NO_MODEL and (_NO_MODEL_WORDS.search(words) or not codes.isdisjoint(_NO_MODEL_CODES)):
        return _no_model(exc, server)
    if status == _BAD and _NO_KEY_WORDS.search(words):
        return _authentication(exc, server)
    if status == _FORBIDDEN and _FORBIDDEN_TO_ALL.search(words):
        return _refused(exc, server)
    if status == _FORBIDDEN and server.proxy and not isinstance(_body(exc), dict):  # a server would answer in JSON
        return _proxy_refused(words, server)
    return _STATUSES.get(status or 0, _failed)(exc, server)


_BAD, _UNPAID, _FORBIDDEN = 400, 402, 403
_STATUSES: dict[int, Mapper] = {
    400: _refused,
    401: _authentication,
    402: _limited,
    403: _authentication,
    404: _not_found,
    405: _not_found,
    407: lambda exc, server: _proxy_refused(server.words(exc), server),
    413: _refused,
    415: _refused,
    422: _refused,
    429: _limited,
    451: _refused,
    529: _limited,  # Anthropic's status for too many requests from everybody
}
_MAPPERS: dict[type, Mapper] = {
    ToldError: _told,
    BrokenOffError: _broke_off,
    openai.APIError: _told,
    openai.APIConnectionError: _connection,
    openai.APIResponseValidationError: _unreadable,
    openai.APITimeoutError: _timeout,
    httpx2.HTTPError: _connection,
    httpx2.TimeoutException: _timeout,
    httpx2.DecodingError: _unreadable,
    httpx2.StreamError: _connection,
    httpx2.InvalidURL: _no_address,
    httpx2.CookieConflict: _malformed,
    TimeoutError: _timeout,
    ssl.SSLError: _connection,
    json.JSONDecodeError: _unreadable,
    RecursionError: _malformed,
    UnicodeDecodeError: _malformed,
    UnicodeEncodeError: _unsendable,
    ValueError: _malformed,  # a number with more digits than Python reads
    ExceptionGroup: _connection,
}


def mapper_of(kind: type) -> Mapper | None:
    """The mapper for errors of this class; None if they are not translated."""
    return next((mapper for base in kind.__mro__ if (mapper := _MAPPERS.get(base))), None)


def _body(exc: BaseException) -> object:
    return getattr(exc, "body", None)


def _codes(exc: BaseException) -> frozenset[str]:
    return codes_of(_body(exc)) | codes_of({"code": getattr(exc, "code", None)})


def _status(exc: BaseException) -> int | None:
    """The server's status, or the one it would have sent, had it not begun its answer with a success."""
    status: int | None = getattr(exc, "status_code", None)
    return status or status_of(_body(exc))


def _headers(exc: BaseException) -> Mapping[str, str]:
    """The headers of the answer that the library rejected; empty if there was none."""
    headers: Mapping[str, str] = getattr(getattr(exc, "response", None), "headers", {})
    return headers


@contextmanager
def engine_errors(server: Server) -> Iterator[None]:
    """Turn the library's errors into ours.

    The library's error stays as the cause, unless its text, or that of one of its causes, holds a secret.

    Raises:
        BackendError: the one that matches the library's.
    """
    try:
        yield
    except BackendError:
        raise
    except Exception as exc:
        mapper = mapper_of(type(exc))
        if mapper is None:
            raise
        text = f"{''.join(traceback.format_exception(exc))} {_body(exc)}"
        leaks = mask(text, server.secrets) != text
        raise mapper(exc, server) from None if leaks else exc
