"""What vLLM 0.32, and LiteLLM 1.108 in front of it, say where they differ from other servers, word for word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, GenerationOptions
from llm_backend.errors import ContextWindowError, EngineConnectionError, EngineRefusalError, PayloadError
from tests.integration.server import END, chunk
from tests.integration.server_engines import QUESTION, joined

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

PAYLOAD = AgentPayload(QUESTION)
TOO_LONG = (
    "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, "
    "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. "
    "(parameter=input_tokens, value=2049)"
)
BY_CHARACTERS = (
    "This model's maximum context length is 2048 tokens. However, your prompt contains 500148 characters (more than "
    "165888 characters, which is the upper bound for 2048 input tokens). Please reduce the length of the input prompt. "
    "(parameter=input_text, value=500148)"
)
NO_ROOM = "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"
NO_ROOM_IN_RESPONSES = "The engine prompt length 2048 exceeds the max_model_len 2048. Please reduce prompt."
STOPS = (
    "2 validation errors:\n  {'type': 'string_type', 'loc': 'body.stop', 'msg': 'Input should be a valid string', "
    "'input': '<list of 5 items>'}\n  {'type': 'too_long', 'loc': 'body.stop', 'msg': 'List should have at most 4 "
    "items after validation, not 5', 'input': '<list of 5 items>', 'ctx': {'field_type': 'List', 'max_length': 4, "
    "'actual_length': 5}}"
)
SCHEMA = 'Grammar error: Unimplemented keys: ["uniqueItems"]'


def error(words: str, param: str | None = None, kind: str = "BadRequestError") -> dict[str, Any]:
    """What vLLM says of a request that it refuses."""
    return {"error": {"message": words, "type": kind, "param": param, "code": 400}}


TOLD_BY_VLLM = json.dumps(error(TOO_LONG, "input_tokens"), separators=(",", ":"))
TOLD_BY_LITELLM = {
    "message": "litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError: "
    f"Hosted_vllmException - {TOLD_BY_VLLM}\nmodel=smol. context_window_fallbacks=None. fallbacks=None.\n\nSet "
    "'context_window_fallback' - https://docs.litellm.ai/docs/routing#fallbacks\n\nLiteLLM: model group 'smol' failed "
    "with the error above. No fallback was attempted.",
    "type": "invalid_request_error",
    "param": None,
    "code": "400",
}
# The last event before the connection was closed.
BEGUN = (
    'event: response.output_text.delta\ndata: {"content_index":0,"delta":" was","item_id":"msg_bb310444a3ca20f7",'
    '"logprobs":[],"output_index":0,"sequence_number":27,"type":"response.output_text.delta"}\n\n'
)


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
@pytest.mark.parametrize(
    ("body", "figures"),
    [
        pytest.param(error(TOO_LONG, "input_tokens"), (2049, 2048), id="too long"),
        pytest.param(error(BY_CHARACTERS, "input_text"), (2049, 2048), id="too many characters"),
        pytest.param(
            error(NO_ROOM_IN_RESPONSES, "input", "invalid_request_error"), (2048, 2048), id="no room, Responses API"
        ),
        pytest.param(error(NO_ROOM, "max_tokens"), None, id="no room"),
        pytest.param({"error": TOLD_BY_LITELLM}, (2049, 2048), id="through LiteLLM"),
    ],
)
async def test_prompts_that_do_not_fit(
    connect: Connect,
    scripted: ScriptedServer,
    body: dict[str, Any],
    figures: tuple[int, int] | None,
    *,
    responses: bool,
) -> None:
    """A prompt that does not fit is reported as that, with any figures, in both APIs."""
    agent = await connect(scripted.url, use_responses=responses)
    for ask in (lambda: agent.invoke(PAYLOAD), lambda: joined(agent, PAYLOAD)):
        scripted.answer(body, 400)
        with pytest.raises(PayloadError, match="Shorten the message or the memory") as caught:
            await ask()
        told = caught.value
        assert (isinstance(told, ContextWindowError) and (told.prompt_tokens, told.context_window)) == (
            figures or False
        )


async def test_schema_that_is_refused_in_a_stream(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A refusal inside a stream is the same as that of a whole answer."""
    scripted.stream(error(SCHEMA), ending=chunk("data: [DONE]\n\n") + END)
    with pytest.raises(EngineRefusalError, match='Unimplemented keys: \\["uniqueItems"\\]') as caught:
        await joined(told, PAYLOAD)
    assert not caught.value.retryable


async def test_stream_that_dies_without_a_word(connect: Connect, scripted: ScriptedServer) -> None:
    """A Responses API stream that vLLM drops without an event has broken off."""
    agent = await connect(scripted.url, use_responses=True)
    scripted.stream(ending=chunk(BEGUN))
    stream = agent.stream(PAYLOAD)
    assert await anext(stream) == "was"
    with pytest.raises(
        EngineConnectionError, match="broke off before 'm' had finished its answer: peer closed"
    ) as caught:
        await anext(stream)
    assert caught.value.retryable
    assert "base_url" not in str(caught.value)


async def test_stop_texts_that_are_too_many(told: ServerAgent, scripted: ScriptedServer) -> None:
    """vLLM, which refuses a fifth stop text by its path, gets four; the answer still ends at it."""
    scripted.answer(error(STOPS, "body.stop", "Bad Request"), 400)
    scripted.complete("The capital city of Japan")
    stops = ("aa", "bb", "cc", "dd", " of")
    answer = await told.invoke(AgentPayload(QUESTION, generation=GenerationOptions(stop=stops)))
    assert answer.response == "The capital city"
    assert [request.body["stop"] for request in scripted.received] == [list(stops), list(stops[:4])]


async def test_count_of_a_prompt_that_is_too_long(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A server that refuses to count a prompt beyond its window is still asked for the next one's count."""
    path = "/v1/messages/count_tokens"
    refusal = {"type": "error", "error": {"type": "BadRequestError", "message": TOO_LONG}}
    scripted.pages = {path: (400, refusal)}
    assert await told.count_tokens("word " * 3000) > 2048
    scripted.pages = {path: {"input_tokens": 38, "context_management": {"original_input_tokens": 38}}}
    assert await told.count_tokens(QUESTION) == 38


async def test_count_that_is_a_guess(connect: Connect, scripted: ScriptedServer) -> None:
    """A count that LiteLLM guessed with another tokenizer, 15 tokens for 38, is not used."""
    guess = {"input_tokens": 15, "litellm_count_source": "local_estimate"}
    counted = {"input_tokens": 38, "litellm_count_source": "provider"}
    paths = ("/v1/responses/input_tokens", "/v1/messages/count_tokens")
    scripted.pages = dict.fromkeys(paths, guess)
    for responses in (False, True):
        agent = await connect(scripted.url, use_responses=responses)
        assert await agent.count_tokens(QUESTION) >= 38
    scripted.pages = dict.fromkeys(paths, counted)
    assert await (await connect(scripted.url)).count_tokens(QUESTION) == 38
