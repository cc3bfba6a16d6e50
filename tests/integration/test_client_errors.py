"""What the client library's errors become, each made as the library makes it."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.errors import (
    BackendError,
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
from llm_backend.llms.engines.server.address import Server
from llm_backend.llms.engines.server.told_errors import BrokenOffError, ToldError
from llm_backend.llms.settings.agent_settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.requires("openai")

Made: TypeAlias = "Callable[[], Exception]"
SERVER = Server("http://here/v1?key=hidden", "sk-secret", AgentSettings(connect_timeout=3, read_timeout=4), "m")


def foreign(
    name: str, text: str = "Error code", *, status: int = 500, cause: Exception | None = None, **told: Any
) -> Exception:
    """Make an error of a library as it raises it; ``told`` holds the reply's body and headers."""
    import httpx2
    import openai

    package, _, kind = name.partition(".")
    error: Any = getattr(import_module(package), kind)
    request = httpx2.Request("POST", "http://here/v1")
    if issubclass(error, openai.APIStatusError):
        response = httpx2.Response(getattr(error, "status_code", status), headers=told.get("headers"), request=request)
        made: Exception = error(text, response=response, body=told.get("body"))
    elif issubclass(error, openai.APITimeoutError):
        made = error(request)
    elif issubclass(error, openai.APIConnectionError):
        made = error(message=text, request=request)
    else:
        made = error(text)
    made.__cause__ = cause
    return made


def translated(error: Exception, server: Server = SERVER) -> Exception:
    """Return what comes out when ``error`` goes in."""
    from llm_backend.llms.engines.server.client_errors import engine_errors

    with pytest.raises(Exception) as caught, engine_errors(server):  # noqa: PT011  (any: it is looked at)
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            partial(foreign, "openai.APITimeoutError"),
            EngineTimeoutError,
            "http://here/v1 sent nothing for 4 s. Raise read_timeout",
        ),
        (partial(foreign, "httpx2.TimeoutException"), EngineTimeoutError, "for 4 s"),
        (partial(foreign, "openai.APIConnectionError", "refused"), EngineConnectionError, "failed: refused. Check"),
        (partial(foreign, "httpx2.TransportError", "reset"), EngineConnectionError, "failed: reset. Check"),
        (partial(foreign, "openai.AuthenticationError", body="who?"), EngineAuthenticationError, "key: who?. Check"),
        (
            partial(foreign, "openai.NotFoundError", body={"detail": "no m"}),
            ModelNotFoundError,
            "no model 'm': no m. Set",
        ),
        (
            partial(foreign, "openai.NotFoundError", body={"detail": "no page"}),
            EngineError,
            "at the requested address: no",
        ),
        (
            partial(foreign, "openai.BadRequestError", body={"other": 1}),
            EngineRefusalError,
            "the request: {'other': 1}. Change",
        ),
        (
            partial(foreign, "openai.BadRequestError", body={"code": "model_not_found"}),
            ModelNotFoundError,
            "has no model 'm'",
        ),
        (
            partial(foreign, "openai.BadRequestError", "prompt is too long"),
            PayloadError,
            "'m' reads: prompt is too long. Sh",
        ),
        (partial(foreign, "openai.RateLimitError"), EngineBusyError, "limits requests: Error code. Wait and try again"),
        (partial(foreign, "openai.InternalServerError", "oh\n  no."), EngineError, "failed: oh no. Check"),
        (partial(TimeoutError, "late"), EngineTimeoutError, "for 4 s"),
        (partial(json.JSONDecodeError, "no JSON", "", 0), EngineResponseError, "cannot be read: no JSON"),
    ],
)
def test_each_family_of_errors(error: Made, kind: type[Exception], words: str) -> None:
    """Each error of the library becomes the matching one of ours, with its cause and the next step."""
    theirs = error()
    ours = translated(theirs)
    assert type(ours) is kind
    assert words in str(ours)
    assert ours.__cause__ is theirs


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
    """The server's figures are on the error."""
    ours = translated(foreign("openai.BadRequestError", body={"message": words}))
    assert isinstance(ours, ContextWindowError)
    assert (ours.prompt_tokens, ours.context_window) == figures


def test_unknown_errors_stay_as_they_are() -> None:
    """An error that we do not know, or that is ours already, stays as it is."""
    for error in (foreign("openai.OpenAIError"), KeyError("x")):
        assert translated(error) is error
    ours = EngineError("already")
    assert translated(ours) is ours


def test_what_the_library_trips_over() -> None:
    """A malformed answer raises our error, which does not show it."""
    ours = translated(RecursionError("private"))
    assert isinstance(ours, EngineResponseError)
    assert str(ours).startswith(
        "The answer of the server at http://here/v1 is malformed (RecursionError). Check base_url"
    )


def test_root_of_the_trouble_is_named() -> None:
    """The error names the root cause, instead of a bare "Connection error" alone."""
    error = foreign("openai.APIConnectionError", cause=foreign("httpx2.ConnectError", "name not known"))
    assert "failed: name not known. Check" in str(translated(error))


def test_what_the_root_changes() -> None:
    """A refused connection and a wrong certificate each get the matching advice."""
    late = foreign("openai.APITimeoutError", cause=foreign("httpx2.ConnectTimeout"))
    mismatch = foreign("httpx2.ConnectError", "[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch")
    bad = foreign("openai.APIConnectionError", cause=mismatch)
    ours = translated(late)
    assert isinstance(ours, EngineConnectionError)
    assert "did not accept the connection within 3 s. Check that base_url" in str(ours)
    words = str(translated(bad))
    assert (
        "certificate of the server at http://here/v1 cannot be trusted: [SSL: CERTIFICATE_VERIFY_FAILED] Hostname"
        in words
    )
    assert "set SSL_CERT_FILE" in words


def test_what_the_headers_add() -> None:
    """The error has the wait that the server asks for, and the place that it redirects to."""
    busy = foreign("openai.RateLimitError", headers={"retry-after": "30"})
    moved = foreign("openai.APIStatusError", headers={"location": "http://there/v1?key=x"})
    assert "Wait 30 s and try again" in str(translated(busy))
    assert "redirects to http://there/v1; neither prompt nor key was sent there. If" in str(translated(moved))


@pytest.mark.parametrize(
    ("error", "retryable", "wait"),
    [
        (partial(foreign, "openai.RateLimitError", headers={"retry-after": "30"}), True, 30),
        (partial(foreign, "openai.RateLimitError", body={"code": "insufficient_quota"}), False, None),
        (partial(foreign, "openai.InternalServerError", status=503), True, None),
        (partial(foreign, "openai.APIStatusError", status=418), False, None),
        (partial(foreign, "openai.APIConnectionError", "refused"), True, None),
        (partial(foreign, "openai.APIConnectionError", "[SSL: CERTIFICATE_VERIFY_FAILED]"), False, None),
        (partial(foreign, "openai.BadRequestError"), False, None),
    ],
)
def test_what_may_be_asked_again(error: Made, wait: float | None, *, retryable: bool) -> None:
    """Each error says whether to ask again, and after how long."""
    ours = translated(error())
    assert isinstance(ours, BackendError)
    assert ours.retryable is retryable
    assert getattr(ours, "retry_after", None) == wait


def test_echoed_key_stays_secret() -> None:
    """A key that the server repeats shows neither in the error nor in its traceback."""
    ours = translated(foreign("openai.AuthenticationError", "bad sk-secret", body={"message": "bad sk-secret"}))
    assert "key: bad ***. Check" in str(ours)
    assert "sk-secret" not in "".join(traceback.format_exception(ours))


def test_broken_text() -> None:
    """Broken bytes and characters raise our errors."""
    sent = UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed")
    assert str(translated(sent)).startswith("The payload or the settings hold '\\ud800', which is not a character.")
    assert isinstance(translated(sent), PayloadError)
    assert isinstance(translated(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "?")), EngineResponseError)


def test_errors_in_groups() -> None:
    """Of several errors in a task group, the first cause is reported."""
    group = ExceptionGroup("unhandled errors in a TaskGroup", [OverflowError("port must be 0-65535")])
    assert "failed: port must be 0-65535. Check" in str(translated(foreign("httpx2.TransportError", cause=group)))
    ours = translated(ExceptionGroup("unhandled errors", [OSError("no route")]))
    assert isinstance(ours, EngineConnectionError)
    assert "failed: no route. Check" in str(ours)


def test_what_a_server_told_without_a_status() -> None:
    """An error inside a stream is the one that its code stands for, number or text."""
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
    """A secret shows neither in an error's causes nor in an address's query."""
    late = foreign("openai.APIConnectionError", cause=ValueError("Illegal header value b'Bearer sk-secret'"))
    told = foreign("openai.NotFoundError", body={"message": "no /v1/chat?key=hidden here"})
    for error in (late, told):
        ours = translated(error)
        shown = "".join(traceback.format_exception(ours))
        assert "sk-secret" not in shown
        assert "hidden" not in shown
        assert "***" in shown


def test_answer_that_breaks_off() -> None:
    """The error of an answer that broke off says how, and names the model if there is one."""
    lost = BrokenOffError()
    lost.__cause__ = foreign("httpx2.ReadError", "reset by peer")
    ours = translated(lost)
    assert isinstance(ours, EngineConnectionError)
    assert ours.retryable
    words = "The server at http://here/v1 broke off before {} had finished its answer: reset by peer. Try again"
    assert str(ours).startswith(words.format("'m'"))
    assert str(translated(lost, replace(SERVER, model=""))).startswith(words.format("it"))
