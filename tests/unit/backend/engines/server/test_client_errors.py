"""Tests of where a server is and of what its errors become."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from llm_backend.errors import (
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
)
from llm_backend.llms.engines.server.client_errors import Server, engine_errors
from llm_backend.llms.engines.server.told_errors import ToldError
from llm_backend.llms.settings.agent_settings import AgentSettings

SERVER = Server("http://here/v1?key=hidden", "sk-secret", AgentSettings(connect_timeout=3, read_timeout=4), "m")


def foreign(name: str, text: str = "Error code", **fields: Any) -> Exception:
    """An error as the library ``name`` belongs to would raise it."""
    package, _, kind = name.partition(".")
    error: Exception = type(kind, (Exception,), {"__module__": f"{package}._somewhere"})(text)
    for key, value in fields.items():
        setattr(error, key, value)
    return error


def translated(error: Exception) -> Exception:
    """What comes out when ``error`` goes in."""
    with pytest.raises(Exception) as caught, engine_errors(SERVER):  # noqa: PT011  (any: it is looked at)
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"base_url": "http://here/v1"}, ("http://here/v1", "no-key-needed", "max_tokens")),
        ({"base_url": "http://here/v1", "api_key": "k"}, ("http://here/v1", "k", "max_tokens")),
        ({"api_key": "k"}, ("https://api.openai.com/v1", "k", "max_completion_tokens")),
        (
            {"base_url": "https://eu.api.openai.com/v1"},
            ("https://eu.api.openai.com/v1", "no-key-needed", "max_completion_tokens"),
        ),
    ],
)
def test_where_the_server_is(settings: dict[str, str], expected: tuple[str, str, str]) -> None:
    """The wrong server is asked, gets a key that is not its own, or ignores the limit of tokens."""
    server = Server.from_settings(AgentSettings(model="m", **settings))
    assert (server.url, server.key, server.limit_name) == expected


def test_no_server() -> None:
    """Settings without a server fail late, or do not say how to name one."""
    with pytest.raises(ConfigError, match=r"neither base_url \(OPENAI_API_URL\) nor api_key \(OPENAI_API_KEY\) is set"):
        Server.from_settings(AgentSettings(model="m"))


def test_secrets_stay_out_of_repr() -> None:
    """A server's key, or one in its address, shows."""
    assert repr(SERVER) == "Server('http://here/v1')"
    assert replace(SERVER, url="http://here/v1#key").place == "http://here/v1"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            foreign("openai.APITimeoutError"),
            EngineTimeoutError,
            "http://here/v1 sent nothing for 4 s. Set read_timeout",
        ),
        (foreign("httpx2.TimeoutException"), EngineTimeoutError, "for 4 s"),
        (foreign("openai.APIConnectionError", "refused"), EngineConnectionError, "failed: refused. Check"),
        (foreign("httpx.TransportError", "reset"), EngineConnectionError, "failed: reset. Check"),
        (foreign("openai.AuthenticationError", body="who?"), EngineAuthenticationError, "key: who?. Check"),
        (foreign("openai.NotFoundError", body={"detail": "no m"}), ModelNotFoundError, "no model 'm': no m. Set"),
        (foreign("openai.NotFoundError", body={"detail": "no page"}), EngineError, "at the address that was asked: no"),
        (foreign("openai.BadRequestError", body={"other": 1}), EngineRefusalError, "the request: {'other': 1}. Change"),
        (foreign("openai.BadRequestError", code="model_not_found"), ModelNotFoundError, "has no model 'm'"),
        (foreign("openai.BadRequestError", "prompt is too long"), PayloadError, "'m' reads: prompt is too long. Sh"),
        (foreign("openai.RateLimitError"), EngineBusyError, "limits requests: Error code. Wait and try again"),
        (foreign("openai.InternalServerError", "oh\n  no."), EngineError, "failed: oh no. Look"),
        (foreign("openai.LengthFinishReasonError"), EngineResponseError, "cannot be read: Error code. Check"),
        (json.JSONDecodeError("no JSON", "", 0), EngineResponseError, "cannot be read: no JSON"),
    ],
)
def test_each_family_of_errors(error: Exception, kind: type[Exception], words: str) -> None:
    """An error of the library becomes the wrong one of ours, or loses its cause or the next step."""
    ours = translated(error)
    assert type(ours) is kind
    assert words in str(ours)
    assert ours.__cause__ is error


@pytest.mark.parametrize(
    ("words", "figures"),
    [
        ("maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens", (9000, 8192)),
        (
            "maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages)",
            (9000, 8192),
        ),
    ],
)
def test_overflow_with_figures(words: str, figures: tuple[int, int]) -> None:
    """The figures that a server gives are not there to shorten the prompt by."""
    ours = translated(foreign("openai.BadRequestError", body={"message": words}))
    assert isinstance(ours, ContextWindowError)
    assert (ours.prompt_tokens, ours.context_window) == figures


def test_unknown_errors_stay_as_they_are() -> None:
    """A mistake of ours passes for the server's."""
    for error in (foreign("openai.OpenAIError"), foreign("elsewhere.APIError"), KeyError("x")):
        assert translated(error) is error
    ours = EngineError("already")
    assert translated(ours) is ours


def test_what_the_library_trips_over() -> None:
    """A malformed answer gives a foreign error, or shows what may be private."""
    ours = translated(RecursionError("private"))
    assert isinstance(ours, EngineResponseError)
    assert str(ours).startswith(
        "The answer of the server at http://here/v1 is malformed (RecursionError). Check base_url"
    )


def test_root_of_the_trouble_is_named() -> None:
    """The error says "Connection error." and no more, as the library does."""
    error = foreign("openai.APIConnectionError", "Connection error.")
    error.__cause__ = foreign("httpx2.ConnectError", "name not known")
    assert "failed: name not known. Check" in str(translated(error))


def test_what_the_root_changes() -> None:
    """A connection that nobody took, or a certificate of somebody else, gets advice for other troubles."""
    late, bad = foreign("openai.APITimeoutError"), foreign("openai.APIConnectionError")
    late.__cause__ = foreign("httpx2.ConnectTimeout")
    bad.__cause__ = foreign("httpx2.ConnectError", "[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch")
    ours = translated(late)
    assert isinstance(ours, EngineConnectionError)
    assert "did not take the connection within 3 s. Check that base_url" in str(ours)
    words = str(translated(bad))
    assert (
        "certificate of the server at http://here/v1 cannot be trusted: [SSL: CERTIFICATE_VERIFY_FAILED] Hostname"
        in words
    )
    assert "set SSL_CERT_FILE" in words


def test_what_the_headers_add() -> None:
    """The time that a server asks to wait, or the place that it sends requests to, is lost."""
    busy = foreign("openai.RateLimitError", response=SimpleNamespace(headers={"retry-after": "30"}))
    moved = foreign("openai.APIStatusError", response=SimpleNamespace(headers={"location": "http://there/v1?key=x"}))
    assert "Wait 30 s and try again" in str(translated(busy))
    assert "sends requests on to http://there/v1, where neither prompt nor key was sent. If" in str(translated(moved))


@pytest.mark.parametrize(
    ("error", "retryable", "wait"),
    [
        (foreign("openai.RateLimitError", response=SimpleNamespace(headers={"retry-after": "30"})), True, 30),
        (foreign("openai.RateLimitError", code="insufficient_quota"), False, None),
        (foreign("openai.InternalServerError", status_code=503), True, None),
        (foreign("openai.APIStatusError", status_code=418), False, None),
        (foreign("openai.APIConnectionError", "refused"), True, None),
        (foreign("openai.APIConnectionError", "[SSL: CERTIFICATE_VERIFY_FAILED]"), False, None),
        (foreign("openai.BadRequestError", status_code=400), False, None),
    ],
)
def test_what_may_be_asked_again(error: Exception, wait: float | None, *, retryable: bool) -> None:
    """A program asks a server again in vain, gives up what only takes a little longer, or does not know how long."""
    ours = translated(error)
    assert isinstance(ours, BackendError)
    assert ours.retryable is retryable
    assert getattr(ours, "retry_after", None) == wait


def test_echoed_key_stays_secret() -> None:
    """A server that repeats the key brings it into the error or its traceback."""
    ours = translated(foreign("openai.AuthenticationError", "bad sk-secret", body={"message": "bad sk-secret"}))
    assert "key: bad ***. Check" in str(ours)
    assert "sk-secret" not in "".join(traceback.format_exception(ours))


def test_broken_text() -> None:
    """Bytes or characters that are none reach callers as an error of Python's."""
    sent = UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed")
    assert str(translated(sent)).startswith("The payload or the settings hold '\\ud800', which is no character.")
    assert isinstance(translated(sent), PayloadError)
    assert isinstance(translated(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "?")), EngineResponseError)


def test_errors_in_groups() -> None:
    """An error among several, as a loop's task group raises them, is told by the first that led to it."""
    cause = foreign("httpx2.TransportError")
    cause.__cause__ = ExceptionGroup("unhandled errors in a TaskGroup", [OverflowError("port must be 0-65535")])
    assert "failed: port must be 0-65535. Check" in str(translated(cause))
    ours = translated(ExceptionGroup("unhandled errors", [OSError("no route")]))
    assert isinstance(ours, EngineConnectionError)
    assert "failed: no route. Check" in str(ours)


def test_what_a_server_told_without_a_status() -> None:
    """An error inside a stream is the one that its code stands for, by number or by text."""
    for body, kind in (
        ({"message": "no", "code": "429"}, EngineBusyError),
        ({"message": "no", "type": "authentication_error"}, EngineAuthenticationError),
        ({"message": "no", "code": 500}, EngineError),
        ("no memory", EngineError),
    ):
        ours = translated(ToldError(body))
        assert type(ours) is kind
        assert isinstance(ours, BackendError)
        assert ours.retryable is (body != "no memory" and kind is not EngineAuthenticationError)


def test_secrets_in_causes_and_addresses() -> None:
    """A secret in an error that led to another, or in a query that a server repeats, does not show."""
    late = foreign("openai.APIConnectionError", "Connection error.")
    late.__cause__ = ValueError("Illegal header value b'Bearer sk-secret'")
    told = foreign("openai.NotFoundError", body={"message": "no /v1/chat?key=hidden here"})
    for error in (late, told):
        ours = translated(error)
        shown = "".join(traceback.format_exception(ours))
        assert "sk-secret" not in shown
        assert "hidden" not in shown
        assert "***" in shown
