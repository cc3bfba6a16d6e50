"""Where an OpenAI-compatible server is, and what the errors of OpenAI's client library say about it in our words.

The library's classes are known by name, so that this module needs no library and serves each engine that is built on
that one. LangChain's own errors derive from the library's, and are found through them.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from backend.errors import (
    BackendError,
    ConfigError,
    ContextWindowError,
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
    shown,
)
from backend.llms.gateway_settings import secrets_in
from backend.llms.time_limits import asked_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from backend.llms.config import AgentSettings

__all__ = ["ERROR_NAMES", "Server", "engine_errors", "qualified_name"]

_OPENAIS = (".api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_OPENAI_URL = "https://api.openai.com/v1"
# Servers of one's own need no key, but the client library refuses to start without one.
_NO_KEY = "no-key-needed"
_TRANSIENT = (408, 409, *range(500, 600))  # those that the library, too, tries again, beside 429
_OVERFLOW = re.compile(r"context.?(length|window)|too many (input )?tokens|prompt is too long", re.IGNORECASE)
_WINDOW = re.compile(r"context (?:length|window|size)\D{0,20}(\d+)")
_PROMPT = re.compile(r"(?:resulted in|contains?|has|requested|request)\D{0,30}(\d+)(?: \w+)? tokens")


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """Where an engine's server is, and what opens it.

    Attributes:
        url: its address.
        key: what opens it.
        settings: how long to wait for it.
        model: what the server calls the model; empty until it is known.
    """

    url: str
    key: str
    settings: AgentSettings
    model: str = ""

    @classmethod
    def from_settings(cls, settings: AgentSettings) -> Server:
        """The server that ``settings`` name: the one at ``base_url``, or OpenAI's own when only a key is there.

        Raises:
            ConfigError: there is neither.
        """
        if settings.base_url is None and settings.api_key is None:
            message = (
                "There is no server to ask: neither base_url (OPENAI_API_URL) nor api_key (OPENAI_API_KEY) is set. "
                "Set OPENAI_API_URL to a server's address, such as http://127.0.0.1:8000/v1, "
                "or OPENAI_API_KEY to a key for api.openai.com."
            )
            raise ConfigError(message)
        key = settings.api_key.get_secret_value() if settings.api_key else _NO_KEY
        return cls(settings.base_url or _OPENAI_URL, key, settings, settings.model or "")

    @property
    def place(self) -> str:
        """The address without its query, which may hold a key."""
        return self.url.partition("?")[0]

    @property
    def limit_name(self) -> str:
        """What this server calls the limit on the answer's tokens.

        OpenAI's reasoning models refuse the old name; Ollama, LM Studio and older llama.cpp ignore the new one
        without a word (https://github.com/ollama/ollama/issues/7125).
        """
        own = (urlsplit(self.url).hostname or "").endswith(("api.openai.com", ".openai.azure.com"))
        return "max_completion_tokens" if own else "max_tokens"

    @property
    def is_openais(self) -> bool:
        """Whether it is OpenAI's own, or Azure's, which have nothing beside OpenAI's API."""
        host = urlsplit(self.url).hostname or ""
        return host == "api.openai.com" or host.endswith(_OPENAIS)

    def __repr__(self) -> str:
        return f"Server({self.place!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show: the key, and what the settings add for gateways."""
        return (self.key, *secrets_in(self.settings.extra_headers, self.settings.extra_body))

    def words(self, exc: BaseException) -> str:
        """What the server says about its error, shortened, and without secrets should it echo them."""
        said = getattr(exc, "body", None)
        if isinstance(said, dict):
            said = next((said[key] for key in ("message", "detail", "error") if said.get(key)), said)
        words = str(said or _root(exc))
        for secret in self.secrets:
            words = words.replace(secret, "***")
        return shown(words.rstrip(". \n"))


def _root(exc: BaseException) -> BaseException:
    """The first of the errors that led to ``exc``: the library's own say no more than "Connection error."."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return exc


def _timeout(exc: BaseException, server: Server) -> BackendError:
    if "Connect" in type(_root(exc)).__name__:
        return EngineConnectionError(
            f"The server at {server.place} did not take the connection within {server.settings.connect_timeout:g} s. "
            "Check that base_url (OPENAI_API_URL) is its address, or set connect_timeout to more seconds."
        )
    return EngineTimeoutError(
        f"The server at {server.place} sent nothing for {server.settings.read_timeout:g} s. "
        "Set read_timeout to more seconds, or find out what keeps the server busy."
    )


def _connection(exc: BaseException, server: Server) -> BackendError:
    words = server.words(exc)
    if "CERTIFICATE_VERIFY_FAILED" in words:  # the library keeps no more than the words of that error
        return EngineConnectionError(
            f"The certificate of the server at {server.place} cannot be trusted: {words}. "
            "Check that base_url names the server as its certificate does; "
            "if an authority of your own signed it, set SSL_CERT_FILE to that authority's certificate.",
            retryable=False,
        )
    return EngineConnectionError(
        f"The connection to the server at {server.place} failed: {words}. "
        "Check that the server runs, and that base_url (OPENAI_API_URL) is its address."
    )


def _authentication(exc: BaseException, server: Server) -> BackendError:
    return EngineAuthenticationError(
        f"The server at {server.place} refused the key: {server.words(exc)}. Check api_key (OPENAI_API_KEY)."
    )


def _not_found(exc: BaseException, server: Server) -> BackendError:
    words = server.words(exc)
    if getattr(exc, "code", None) == "model_not_found" or (server.model and server.model in words):
        return ModelNotFoundError(
            f"The server at {server.place} has no model {server.model!r}: {words}. "
            "Set model (AF_LLM_MODEL) to one that it offers under /models."
        )
    return EngineError(
        f"The server at {server.place} has nothing at the address that was asked: {words}. "
        "Check base_url (OPENAI_API_URL): it usually ends in /v1."
    )


def _refused(exc: BaseException, server: Server) -> BackendError:
    words = server.words(exc)
    if getattr(exc, "code", None) == "model_not_found":
        return _not_found(exc, server)
    if getattr(exc, "code", None) == "context_length_exceeded" or _OVERFLOW.search(words):
        return _overflow(words, server)
    return EngineRefusalError(
        f"The server at {server.place} refused the request: {words}. "
        "Change what it names in the payload or the settings."
    )


def _overflow(words: str, server: Server) -> BackendError:
    message = (
        f"The prompt is longer than {server.model!r} reads: {words}. Shorten the message or the memory, "
        "or take a model with a larger context window."
    )
    window, prompt = _WINDOW.search(words), _PROMPT.search(words)
    if window and prompt:
        return ContextWindowError(message, prompt_tokens=int(prompt[1]), context_window=int(window[1]))
    return PayloadError(message)


def _limited(exc: BaseException, server: Server) -> BackendError:
    wait = asked_wait(_headers(exc))
    advice = "Wait" if wait is None else f"Wait {max(0, wait):.0f} s"
    return EngineBusyError(
        f"The server at {server.place} limits requests: {server.words(exc)}. {advice} and try again, "
        "or raise the limit there.",
        retry_after=wait,
        retryable=getattr(exc, "code", None) != "insufficient_quota",  # OpenAI's word for an account without money
    )


def _failed(exc: BaseException, server: Server) -> BackendError:
    place = printable(_headers(exc).get("location", "")).partition("?")[0]
    if place:
        return EngineError(
            f"The server at {server.place} sends requests on to {place}, where neither prompt nor key was sent. "
            "If you trust that place, set base_url (OPENAI_API_URL) to it."
        )
    return EngineError(
        f"The server at {server.place} failed: {server.words(exc)}. Look into the server's log.",
        retryable=getattr(exc, "status_code", 0) in _TRANSIENT,
    )


def _unreadable(exc: BaseException, server: Server) -> BackendError:
    return EngineResponseError(
        f"The answer of the server at {server.place} cannot be read: {server.words(exc)}. "
        "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
    )


def _malformed(exc: BaseException, server: Server) -> BackendError:
    """The library tripped over the answer; what it says may quote a tool's arguments, which may be private."""
    return EngineResponseError(
        f"The answer of the server at {server.place} is malformed ({type(exc).__name__}). "
        "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
    )


def _unsendable(exc: BaseException, _: Server) -> BackendError:
    wrong = exc.object[exc.start] if isinstance(exc, UnicodeEncodeError) else exc
    return PayloadError(f"The payload or the settings hold {wrong!r}, which is no character. Replace it.")


_MAPPERS: dict[str, Callable[[BaseException, Server], BackendError]] = {
    "openai.APIConnectionError": _connection,
    "openai.APIError": _failed,
    "openai.APIResponseValidationError": _unreadable,
    "openai.APIStatusError": _failed,
    "openai.APITimeoutError": _timeout,
    "openai.AuthenticationError": _authentication,
    "openai.BadRequestError": _refused,
    "openai.ConflictError": _failed,
    "openai.ContentFilterFinishReasonError": _unreadable,
    "openai.InternalServerError": _failed,
    "openai.LengthFinishReasonError": _unreadable,
    "openai.NotFoundError": _not_found,
    "openai.OAuthError": _authentication,
    "openai.PermissionDeniedError": _authentication,
    "openai.RateLimitError": _limited,
    "openai.SubjectTokenProviderError": _authentication,
    "openai.UnprocessableEntityError": _refused,
    "openai.WebSocketConnectionClosedError": _connection,
    "openai.WebSocketQueueFullError": _connection,
    "httpx.TimeoutException": _timeout,
    "httpx.TransportError": _connection,
    "httpx2.TimeoutException": _timeout,
    "httpx2.TransportError": _connection,
    "json.JSONDecodeError": _unreadable,
    "builtins.RecursionError": _malformed,
    "builtins.UnicodeDecodeError": _malformed,
    "builtins.UnicodeEncodeError": _unsendable,
    "langchain_openai.StreamChunkTimeoutError": _timeout,
}
ERROR_NAMES = frozenset(_MAPPERS)


def qualified_name(kind: type) -> str:
    """A class's name behind its package's: where inside the package it is defined is the package's own business."""
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _headers(exc: BaseException) -> Mapping[str, str]:
    """The header fields of the answer that the library was not content with; empty where there was no answer."""
    headers: Mapping[str, str] = getattr(getattr(exc, "response", None), "headers", {})
    return headers


@contextmanager
def engine_errors(server: Server, *, unreadable: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn the library's errors into ours; ``unreadable`` are those with which it meets malformed answers.

    The library's error stays as the cause, except where its text holds the key.

    Raises:
        BackendError: the one that fits, from the library's.
    """
    try:
        yield
    except BackendError:
        raise
    except Exception as exc:
        names = map(qualified_name, type(exc).__mro__)
        mapper = next((_MAPPERS[name] for name in names if name in _MAPPERS), None)
        if mapper is None and isinstance(exc, unreadable):
            mapper = _malformed
        if mapper is None:
            raise
        said = f"{exc} {getattr(exc, 'body', '')}"
        leaks = any(secret in said for secret in server.secrets)
        raise mapper(exc, server) from None if leaks else exc
