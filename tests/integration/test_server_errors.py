"""What servers say about their errors, in any form, is the same error as with a status of its own."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload
from llm_backend.errors import (
    BackendError,
    ContextWindowError,
    EngineAuthenticationError,
    EngineBusyError,
    EngineError,
    EngineRefusalError,
    EngineResponseError,
    ModelNotFoundError,
)
from tests.integration.server import END, chunk, delta
from tests.integration.server_engines import KEY, QUESTION, joined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

PAYLOAD = AgentPayload(QUESTION)
GZIP: dict[str, Any] = {"content-encoding": "gzip"}
ABOUT: dict[str, Any] = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": []}
ABOUT |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
WORDS = "request (6031 tokens) exceeds the available context size (2048 tokens), try increasing it"
TOO_LONG: dict[str, Any] = {
    "message": WORDS,
    "code": 400,
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 6031,
    "n_ctx": 2048,
}
# What a server says, the status that goes with it, and the error that it becomes.
TOLD: dict[str, tuple[Any, int, type[BackendError], str]] = {
    "401": ({"message": f"wrong key {KEY}", "code": 401}, 401, EngineAuthenticationError, r"the key: wrong key \*\*\*"),
    "auth": ({"message": "who?", "code": "invalid_api_key"}, 401, EngineAuthenticationError, "the key: who"),
    "429": ({"message": "slow", "code": "429"}, 429, EngineBusyError, "limits requests: slow"),
    "limit": ({"message": "slow", "type": "rate_limit_error"}, 429, EngineBusyError, "limits requests: slow"),
    "402": ({"message": "no money", "code": 402}, 402, EngineBusyError, "no money. Pay for more"),
    "529": ({"message": "later", "type": "overloaded_error"}, 529, EngineBusyError, "later. Wait"),
    "400": ({"message": "a bad idea", "code": 400}, 400, EngineRefusalError, "request: a bad idea"),
    "413": ({"message": "too large", "code": 413}, 413, EngineRefusalError, "request: too large"),
    "500": ({"message": "no memory", "code": "500"}, 500, EngineError, "failed: no memory"),
    "model": ({"message": "no", "code": "model_not_found"}, 404, ModelNotFoundError, "no model 'm': no"),
    "openrouter": (
        {"message": "Provider returned error", "code": 429, "metadata": {"raw": '{"error": {"message": "slow"}}'}},
        429,
        EngineBusyError,
        "limits requests: Provider returned error: slow",
    ),
}  # fmt: skip


async def _answers(
    scripted: ScriptedServer, connect: Connect, *, responses: bool
) -> list[Callable[[Any], Awaitable[Any]]]:
    """Ways to get an error with status 200: whole, and in a stream, at its beginning or after a word."""
    agent = await connect(scripted.url, api_key=KEY, use_responses=responses, max_retries=0)
    first = [{"type": "response.output_text.delta", "delta": "He", "output_index": 0, "content_index": 0}]
    words = first if responses else [delta("He")]
    failed = {**ABOUT, "status": "failed"}

    async def whole(error: Any) -> Any:
        scripted.answer({**failed, "error": error} if responses else {"error": error})
        await agent.invoke(PAYLOAD)

    async def whole_for_a_stream(error: Any) -> Any:
        scripted.answer({"error": error})
        await joined(agent, PAYLOAD)

    async def first_event(error: Any) -> Any:
        scripted.stream(
            {"type": "response.failed", "response": {**failed, "error": error}} if responses else {"error": error}
        )
        await joined(agent, PAYLOAD)

    async def later_event(error: Any) -> Any:
        event = chunk(f"event: error\ndata: {json.dumps({'type': 'error', **error})}\n\n")
        scripted.stream(*words, ending=event + END)
        stream = agent.stream(PAYLOAD)
        assert await anext(stream) == "He"
        await anext(stream)

    async def choice(error: Any) -> Any:
        chosen = {
            "index": 0,
            "finish_reason": "error",
            "error": error,
            "message": {"role": "assistant", "content": "He"},
        }
        scripted.answer({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [chosen]})
        await agent.invoke(PAYLOAD)

    async def streamed_choice(error: Any) -> Any:
        last = delta("", "error")
        last["choices"][0]["error"] = error
        scripted.stream(delta("He"), last)
        await joined(agent, PAYLOAD)

    return [whole, whole_for_a_stream, first_event, later_event, *([] if responses else [choice, streamed_choice])]


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
async def test_error_in_every_dress(
    connect: Connect, scripted: ScriptedServer, told: tuple[Any, int, type[BackendError], str], *, responses: bool
) -> None:
    """An error is the same one with its status, with status 200, as a choice, and in a stream."""
    error, status, kind, words = told
    ways = await _answers(scripted, connect, responses=responses)
    scripted.answer({"error": error}, status)
    with pytest.raises(kind, match=words) as as_status:
        await (await connect(scripted.url, api_key=KEY)).invoke(PAYLOAD)
    for way in ways:
        with pytest.raises(kind, match=words) as caught:
            await way(error)
        assert type(caught.value) is type(as_status.value), way.__name__
        assert caught.value.retryable is as_status.value.retryable, way.__name__


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
async def test_overflow_in_every_dress(connect: Connect, scripted: ScriptedServer, *, responses: bool) -> None:
    """llama.cpp's overflow is reported with both numbers, wherever they stand."""
    ways = await _answers(scripted, connect, responses=responses)

    async def as_status(error: Any) -> None:
        scripted.answer({"error": error}, 400)
        await (await connect(scripted.url)).invoke(PAYLOAD)

    for way in (as_status, *ways):
        with pytest.raises(ContextWindowError, match="longer than 'm' reads") as caught:
            await way(TOO_LONG)
        assert (caught.value.prompt_tokens, caught.value.context_window) == (6031, 2048)


async def test_answer_too_long_for_the_window(scripted: ScriptedServer, told: ServerAgent) -> None:
    """A small prompt with a large answer limit is told to lower that limit."""
    words = "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 8192 "
    words += "tokens and your request has 100 input tokens (8192 > 8192 - 100). (parameter=max_tokens, value=8192)"
    scripted.answer({"error": {"message": words, "type": "BadRequestError", "code": 400}}, 400)
    with pytest.raises(
        ContextWindowError, match=r"prompt \(100 tokens\).*Set max_new_tokens to at most 8092"
    ) as caught:
        await told.invoke(PAYLOAD)
    assert (caught.value.prompt_tokens, caught.value.context_window) == (100, 8192)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (
            "/chat/completions: Invalid model name passed in model=m. Call `/v1/models` to view available models",
            400,
            "/chat/completions: Inv",
        ),
        ("m is not a valid model ID", 400, "m is"),
        ("Model Not Exist", 400, "Model"),
        ("The API deployment for this resource does not exist.", 404, "The API"),
        ("Unable to access model. Please visit our page", 404, "Unable"),
    ],
)
async def test_models_that_are_not_there(
    scripted: ScriptedServer, told: ServerAgent, body: str, status: int, words: str
) -> None:
    """A missing model is reported, in whatever words the server says so."""
    code = "DeploymentNotFound" if "deployment" in body else str(status)
    scripted.answer({"error": {"message": body, "type": "None", "param": "None", "code": code}}, status)
    with pytest.raises(ModelNotFoundError, match=f"no model 'm': {words}"):
        await told.invoke(PAYLOAD)


GEMINI = {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ([GEMINI], 400, (EngineRefusalError, "request: no")),
        ([GEMINI], 200, (EngineRefusalError, "request: no")),
        (
            [{"error": {"code": 400, "message": "API key not valid."}}],
            400,
            (EngineAuthenticationError, "the key: API key"),
        ),
        (
            {"error": {"message": "No connected db.", "code": "400"}},
            400,
            (EngineAuthenticationError, "the key: No conn"),
        ),
        ({"detail": [{"loc": ["body", "n"], "msg": "too small"}]}, 422, (EngineRefusalError, "request: too small")),
        ({"title": "Gone", "status": 410}, 410, (EngineError, "failed: Gone")),
        ({"detail": "Method Not Allowed"}, 405, (EngineError, "nothing at the requested address")),
        ({"success": False, "errors": [{"code": 1, "message": "no"}]}, 200, (EngineError, "failed: no")),
    ],
)
async def test_bodies_of_every_shape(
    scripted: ScriptedServer, told: ServerAgent, body: Any, status: int, expected: tuple[type[EngineError], str]
) -> None:
    """An error is read also from a list, or from a framework's own format."""
    kind, words = expected
    for ask in (lambda: told.invoke(PAYLOAD), lambda: joined(told, PAYLOAD)):
        scripted.answer(body, status)
        with pytest.raises(kind, match=words):
            await ask()


async def test_code_that_nobody_knows(scripted: ScriptedServer, told: ServerAgent) -> None:
    """An error with an unknown code is reported in its words, and not retried."""
    for body in ({"error": "out of order"}, {"error": {"message": "out of order", "code": "odd"}}):
        scripted.answer(body, x_should_retry="")
        with pytest.raises(EngineError, match=r"failed: out of order\. Check") as caught:
            await told.invoke(PAYLOAD)
        assert not caught.value.retryable
    assert len(scripted.received) == 2


async def test_error_with_status_200_is_tried_again(connect: Connect, scripted: ScriptedServer) -> None:
    """A busy gateway is asked again, whichever status it says that with."""
    agent = await connect(scripted.url)
    scripted.answer({"error": {"message": "slow", "code": 429}}, x_should_retry="true", retry_after_ms="1")
    scripted.complete("here")
    assert (await agent.invoke(PAYLOAD)).response == "here"


async def test_refused_option_in_a_stream(connect: Connect, scripted: ScriptedServer) -> None:
    """A default option is dropped also where its refusal comes inside a stream."""
    agent = await connect(scripted.url)
    scripted.stream({"error": {"message": "no such thing", "param": "temperature", "code": 400}})
    scripted.stream(delta("ok"), delta(None, "stop"))
    assert await joined(agent, PAYLOAD) == "ok"
    assert ["temperature" in request.body for request in scripted.received] == [True, False]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_events_however_they_are_cut(scripted: ScriptedServer, told: ServerAgent, line_end: str) -> None:
    """A stream is read whole with any line ends, wherever the network cuts it."""
    events = [delta("He"), delta("llo"), delta(None, "stop")]
    text = (
        "".join(f": hi{line_end}data: {json.dumps(event)}{line_end * 2}" for event in events)
        + f"data: [DONE]{line_end}"
    )
    scripted.stream(ending=b"".join(map(chunk, text)) + END)
    assert await joined(told, PAYLOAD) == "Hello"


async def test_stream_that_is_packed(connect: Connect, scripted: ScriptedServer) -> None:
    """A compressed stream is read, and a broken one is reported as unreadable."""
    told = await connect(scripted.url, max_retries=0)
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in (delta("He"), delta(None, "stop")))
    scripted.send(gzip.compress(text.encode()), "text/event-stream", **GZIP)
    assert await joined(told, PAYLOAD) == "He"
    error = gzip.compress(json.dumps({"error": {"message": "slow", "code": 429}}).encode())
    scripted.send(error, "application/json", **GZIP)
    with pytest.raises(EngineBusyError, match="slow"):
        await told.invoke(PAYLOAD)
    for ask in (lambda: told.invoke(PAYLOAD), lambda: joined(told, PAYLOAD)):
        scripted.send(b"no gzip", "application/json", **GZIP)
        with pytest.raises(EngineResponseError, match="cannot be read"):
            await ask()
