"""What servers say about their errors, in whatever form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_backend.llms.engines.server.told_errors import (
    ToldError,
    as_mappings,
    codes_of,
    error_in,
    error_in_event,
    facts_of,
    status_of,
    words_of,
)

TOLD = {"message": "no", "code": 1}
ANSWER = {"choices": [{"message": {"content": "error"}, "finish_reason": "stop"}], "error": None}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": TOLD}, TOLD),
        ({"error": "no"}, "no"),
        ({"error": "no", "code": 429}, {"message": "no", "code": 429}),
        ({"error": ["no"]}, ["no"]),
        ({"error": True, "msg": "no"}, {"error": True, "msg": "no"}),
        ([{"error": TOLD}], TOLD),
        ({"choices": [{"error": TOLD, "message": {"content": "half"}}]}, TOLD),
        ({"choices": [{"finish_reason": "error"}]}, {"message": "the answer ended with error", "code": "error"}),
        (
            {"choices": [{"finish_reason": "abort", "native_finish_reason": "OOM"}]},
            {"message": "the answer ended with OOM and abort", "code": "error"},
        ),
        (
            {"choices": [{"finish_reason": "stop", "native_finish_reason": "network_error"}]},
            {"message": "the answer ended with network_error and stop", "code": "error"},
        ),
        (
            {"choices": [{"finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL"}]},
            {"message": "the answer ended with function_call_filter: MALFORMED_FUNCTION_CALL", "code": "error"},
        ),
        ({"choices": [{"finish_reason": "stop", "native_finish_reason": "end_turn"}]}, None),
        ({"object": "response", "status": "failed", "error": TOLD}, TOLD),
        ({"type": "response.failed", "response": {"object": "response", "status": "failed", "error": TOLD}}, TOLD),
        (
            {"status": "failed", "output": []},
            {"message": "it does not say why", "code": "server_error"},
        ),
        ({"type": "error", "code": "x", "message": "no"}, {"type": "error", "code": "x", "message": "no"}),
        ({"object": "error", "message": "no"}, {"object": "error", "message": "no"}),
        ({"success": False, "errors": [TOLD]}, {"success": False, "errors": [TOLD]}),
        (
            {"choices": None, "base_resp": {"status_code": 1004, "status_msg": "no"}},
            {"status_code": 1004, "status_msg": "no"},
        ),
        ({"error_code": 50001, "text": "no"}, {"error_code": 50001, "text": "no"}),
        ({"detail": "Not Found"}, {"detail": "Not Found"}),
        ({"choices": [], "message": "no"}, {"choices": [], "message": "no"}),
        ({"error": 500}, {"error": 500, "code": 500}),
        ({"error": 0}, None),
        (ANSWER, None),
        ({**ANSWER, "error": {"code": 0, "message": ""}}, None),
        ({**ANSWER, "error": ""}, None),
        ({**ANSWER, "error": 5}, None),
        ({"object": "response", "status": "completed", "error": None, "output": [{}]}, None),
        ({"object": "list", "data": []}, None),
        ({"choices": None}, None),
        ({"choices": "?", "id": 1}, None),
        ([1], None),
        ("error", None),
    ],
)
def test_errors_dressed_as_answers(body: object, error: object) -> None:
    """An error is found wherever an answer holds it, and no answer is taken for one."""
    assert error_in(body) == error


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (f"data: {json.dumps({'error': TOLD})}\n\n", TOLD),
        (f"data:{json.dumps({'error': TOLD})}\r\n\r\n", TOLD),
        ("event: error\ndata: no memory\n\n", "no memory"),
        ('event: error\ndata: {"reason":\ndata: 5}\n\n', {"reason": 5}),
        (f"error: {json.dumps(TOLD)}\n\n", TOLD),
        (json.dumps({"error": TOLD}), TOLD),
        ('data: {"detail": "no", "status": 429}\n\n', {"detail": "no", "status": 429}),
        ('data: {"message": "working on it"}\n\n', None),
        (f"data: {json.dumps(ANSWER)}\n\n", None),
        ("data: [DONE]\n\n", None),
        (": still here\n\n", None),
        ("data: {broken\n\n", None),
        ("data: " + "[" * 10_000 + "\n\n", None),
        ("<html>error</html>", None),
        ("", None),
    ],
)
def test_errors_in_a_stream(event: str, error: object) -> None:
    """An error is found in every form in which a stream can hold it; text about errors is not one."""
    assert error_in_event(event.encode()) == error


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "500"}, 500),
        ({"type": "server_error", "status_code": 503}, 503),
        ({"code": 1234, "type": "authentication_error"}, 401),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, 401),
        ({"code": "insufficient_quota", "type": "invalid_request_error"}, 429),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, 400),
        ({"type": "error", "error": {"type": "overloaded_error"}}, 529),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"status": "PERMISSION_DENIED"}, 403),
        ({"code": "model_not_found"}, 404),
        ({"type": "NotFoundError"}, 404),
        ({"code": "insufficient_system_resource"}, 503),
        ({"type": "BadRequestError"}, 400),
        ({"code": "InsufficientBalance"}, 402),
        ({"code": "DEADLINE_EXCEEDED"}, 504),
        ({"type": "request_too_large"}, 413),
        ({"code": "network_error"}, 502),
        ({"type": "InternalServerError"}, 500),
        ({"errors": [{"code": "rate_limit_exceeded"}]}, 429),
        ({"code": True, "type": None}, None),
        ({"code": 200}, None),
        ({"code": "odd"}, None),
        ("no memory", None),
    ],
)
def test_status_of_an_error(body: object, status: int | None) -> None:
    """A code, number or text, gives the HTTP status that it stands for."""
    assert status_of(body) == status


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("no", "no"),
        ({"message": "no"}, "no"),
        ({"error": {"message": "no"}, "code": 5}, "no"),
        ([{"error": {"message": "no"}}, {"detail": "why"}, {"detail": "why"}], "no; why"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        ({"title": "Too many", "status": 429}, "Too many"),
        ({"other": 1}, "{'other': 1}"),
        (5, "5"),
        (
            {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "no"}}'}},
            "Provider returned error: no",
        ),
        ({"message": "Provider returned error", "metadata": {"raw": "no"}}, "Provider returned error: no"),
        ({"message": "no", "metadata": {"raw": {"detail": "why"}}}, "no: why"),
        ({"message": "no", "metadata": 5}, "no"),
    ],
)
def test_words_of_an_error(body: object, words: str) -> None:
    """The message is what the server said, without its wrapping, and what another server said behind it."""
    assert words_of(body) == words


def test_figures_and_codes() -> None:
    """Figures and codes are found inside nested objects."""
    body: dict[str, Any] = {"error": {"type": "exceed_context_size_error", "n_ctx": 2048, "n_prompt_tokens": "9"}}
    assert codes_of(body) == {"exceedcontextsizeerror"}
    assert (facts_of(body, "n_ctx"), facts_of(body, "n_prompt_tokens")) == (2048, None)


def test_told_error() -> None:
    """The error carries what the library's own errors do, and does not repeat its words."""
    told = ToldError({"message": "private", "code": 400, "param": "temperature"})
    assert (told.status_code, told.code, told.param) == (400, "400", "temperature")
    assert "private" not in str(told)
    assert (ToldError("no").status_code, ToldError("no").code) == (None, None)


def test_what_is_no_object_is_left_out() -> None:
    """Only the objects of a list are read; anything but a list holds no objects."""
    assert as_mappings([{"a": 1}, "b", None]) == [{"a": 1}]
    assert as_mappings(None) == []
