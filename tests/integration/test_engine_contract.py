"""What every engine has to do, with real inference: one suite for all of them.

The engines that ask a server ask a real one, with the same real model that the huggingface engine runs by itself; so
all of them have to give the same answers. Where one cannot do something, its ``Case`` says so.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry
from llm_backend.errors import AgentClosedError, PayloadError, StructuredOutputError
from llm_backend.llms.agent import Agent
from llm_backend.llms.payloads import End, Reasoning, Text, ToolCallEvent, UsageEvent
from llm_backend.llms.tools.rounds import run_with_tools
from tests.integration.engines import heard_generations
from tests.integration.questions import CAPITALS, FACT, fact_of, question_of
from tests.integration.server_engines import QUESTION, TOOL, joined
from tests.integration.usage import used
from tests.integration.weights import count_passes, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.engines import Case, Open
    from tests.integration.server import ModelServer

STORY = "Tell me a story."
Ask: TypeAlias = "Callable[..., AgentPayload]"
Template: TypeAlias = "Callable[[str], None]"
# What a template says of a request; one that drops something would be refused.
SAID = (
    "{% for message in messages %}{{ message.content }}{{ message.tool_calls or '' }}\n{% endfor %}{{ tools or '' }}\n"
)
# A model this small reasons and calls tools only if it has something to copy.
THINKING = SAID + "Answer: <think>No</think>Yes<|im_end|>\n" * 3 + "Answer:"
CALL = 'Call: <tool_call>{"name":"sky","arguments":{"city":"Rome"}}</tool_call><|im_end|>\n'
KNOWN = (
    "{% set known = messages[0].content %}"
    + SAID
    + "{{ known }}<|im_end|>\n" * 5
    + "{{ known.partition(' mango')[0] }}"
)
JSON = SAID + 'JSON: {"name":"Rome"}<|im_end|>\n' * 5 + "JSON:"
RESULT = "{% set told = 'It is ' ~ messages[-1].content ~ '<|im_end|>\n' %}{{ told }}{{ told }}{{ told }}It is"
CALLING = SAID + "{% if messages[-1].role == 'tool' %}" + RESULT + "{% elif tools %}" + CALL * 3 + "Call:{% endif %}"


@dataclass
class City:
    """The class of an answer."""

    name: str


async def test_invoke(case: Case, one: Agent, ask: Ask) -> None:
    """The model's answer arrives, with where it came from."""
    answer = await one.invoke(ask(QUESTION, session_id="visit-7"))
    assert isinstance(one, Agent)
    assert answer.response == FACT
    assert (answer.thinking, answer.code, answer.tool_calls) == ("", None, ())
    about = answer.metadata
    assert (about["engine"], about["session_id"], about["finish_reason"]) == (case.engine, "visit-7", "stop")


async def test_usage_and_timings(one: Agent, behind: tuple[Any, Any], ask: Ask) -> None:
    """The tokens are those of prompt and answer, and the times are those of this request."""
    tokenizer = behind[1]
    messages = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    answer = await one.invoke(ask(QUESTION, max_new_tokens=2))
    usage, timings = used(answer), answer.metadata["timings"]
    assert usage.prompt_tokens == len(tokenizer(prompt)["input_ids"])
    assert (usage.completion_tokens, usage.total_tokens) == (2, usage.prompt_tokens + 2)
    assert 0 <= timings.queued < timings.total


async def test_stream_equals_invoke(one: Agent, ask: Ask) -> None:
    """Pieces arrive while the answer is made, and add up to it."""
    assert await one.supports_streaming()
    pieces = [piece async for piece in one.stream(ask(QUESTION, max_new_tokens=4))]
    assert len(pieces) > 1
    assert "".join(pieces) == "The capital city of"


async def test_plain_text(one: Agent) -> None:
    """A text is answered, streamed and counted as the payload that holds only it."""
    payload = AgentPayload(QUESTION)
    answer = await one.invoke(payload)
    assert (await one.invoke(QUESTION)).response == answer.response
    assert "".join([piece async for piece in one.stream(QUESTION)]) == answer.response
    assert await one.count_tokens(QUESTION) == await one.count_tokens(payload)


async def test_memory(one: Agent, ask: Ask) -> None:
    """Earlier turns reach the model, with the roles in which they were said."""
    memory = [MemoryEntry("user", "The dragon is called Fafnir."), MemoryEntry("assistant", "I see.")]
    answer = await one.invoke(ask("What is the dragon called?", max_new_tokens=6, memory=memory))
    assert answer.response.startswith("The dragon is called Fa")


async def test_system_context(one: Agent, ask: Ask) -> None:
    """The system prompt reaches the model."""
    answer = await one.invoke(ask("Hello!", max_new_tokens=6, system_context="You are a cat. Say meow."))
    assert answer.response == "Hello! I'm a cat"


async def test_user_profile(one: Agent, templated: Template, ask: Ask) -> None:
    """The user's profile reaches the model."""
    templated(KNOWN)
    known = {"system_context": "You are helpful.", "user_profile": {"favourite fruit": "mango"}}
    answer = await one.invoke(ask("Which fruit do I like?", max_new_tokens=4, **known))
    assert answer.response == "mango"


@pytest.mark.requires("llm", "model")
async def test_what_nobody_told(agent: Agent, ask: Ask) -> None:
    """Without memory or profile the model does not give the answers that the tests above ask for."""
    for question, told in (("What is the dragon called?", "Fa"), ("Hello!", "cat")):
        assert told not in (await agent.invoke(ask(question, max_new_tokens=16))).response


async def test_cancelled_answer(case: Case, one: Agent, behind: tuple[Any, Any], ask: Ask) -> None:
    """Cancelling a task that waits for an answer stops the work, and the next answer succeeds."""
    with count_passes(behind[0]) as passes, heard_generations() as heard:
        task = asyncio.create_task(one.invoke(ask(STORY, max_new_tokens=6)))
        await until(lambda: passes.count)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(heard)
    assert (heard() == [6]) is case.computes_on
    assert (await one.invoke(ask(QUESTION, max_new_tokens=1))).response == "The"


async def test_cancelled_stream(one: Agent, ask: Ask) -> None:
    """Cancelling a task that reads a stream stops the work."""
    began = asyncio.Event()

    async def read() -> None:
        async for _ in one.stream(ask(STORY, max_new_tokens=400)):
            began.set()

    with heard_generations() as heard:
        task = asyncio.create_task(read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(heard)
    assert sum(heard()) < 100


async def test_stream_closed_early(one: Agent, ask: Ask) -> None:
    """Closing a stream early stops the work."""
    with heard_generations() as heard:
        async with aclosing(one.stream(ask(STORY, max_new_tokens=400))) as stream:
            await anext(stream)
        await until(heard)
    assert sum(heard()) < 100


async def test_concurrent_answers(one: Agent, ask: Ask) -> None:
    """Answers that are asked for at the same time each reach their own caller."""
    countries = list(CAPITALS)[:2]
    asked = [ask(question_of(country), max_new_tokens=12) for country in countries]
    answers = await asyncio.gather(*map(one.invoke, asked))
    assert [answer.response for answer in answers] == [fact_of(country) for country in countries]


async def test_limit(case: Case, open_agent: Open) -> None:
    """The payload's limit wins over the settings', and a cut answer says that it was cut."""
    async with await open_agent(max_new_tokens=100) as verbose:
        short = await verbose.invoke(AgentPayload(QUESTION, generation=GenerationOptions(max_new_tokens=2)))
    assert short.response == "The capital"
    assert used(short).completion_tokens == 2
    assert short.metadata["finish_reason"] == case.cut


@pytest.mark.usefixtures("sampling")
async def test_sampling(one: Agent, ask: Ask) -> None:
    """Temperature and top_p reach generation: samples differ, and with one allowed token they are greedy."""
    hot = [await one.invoke(ask(STORY, max_new_tokens=3, temperature=2.0)) for _ in range(2)]
    narrow = await one.invoke(ask(QUESTION, max_new_tokens=2, temperature=2.0, top_p=1e-6))
    assert hot[0].response != hot[1].response
    assert narrow.response == "The capital"


@pytest.mark.usefixtures("sampling")
async def test_seed(case: Case, one: Agent, ask: Ask) -> None:
    """The same seed gives the same answer, or is refused where the API has no place for it."""
    payload = ask(STORY, max_new_tokens=3, temperature=2.0, seed=1)
    answers = [await _answer(one, payload) for _ in range(2)]
    assert answers[0] == answers[1]
    assert ("refused" in answers) is ("seed" in case.refused)
    assert await _answer(one, ask(STORY, max_new_tokens=1)) != "refused"


async def test_stop(case: Case, one: Agent, ask: Ask) -> None:
    """A stop text ends the answer, or is refused where the API has no place for it."""
    expected = "refused" if "stop" in case.refused else "The capital city"
    assert await _answer(one, ask(QUESTION, max_new_tokens=4, stop=(" of",))) == expected
    assert await _answer(one, ask(QUESTION, max_new_tokens=1)) == "The"


async def _answer(agent: Agent, payload: AgentPayload) -> str:
    try:
        return (await agent.invoke(payload)).response
    except PayloadError:
        return "refused"


async def test_reasoning_and_events(one: Agent, templated: Template, ask: Ask) -> None:
    """Reasoning is kept apart from the answer, and events are those of the answer, in order."""
    templated(THINKING)
    payload = ask(QUESTION, max_new_tokens=12)
    answer = await one.invoke(payload)
    *parts, usage, end = [event async for event in one.stream_events(payload)]
    assert answer.thinking == "No"
    assert answer.response == "Yes"
    reasoning = [part.text for part in parts if isinstance(part, Reasoning)]
    assert "".join(reasoning) == answer.thinking
    assert "".join(part.text for part in parts[len(reasoning) :] if isinstance(part, Text)) == answer.response
    assert isinstance(usage, UsageEvent)
    assert usage.usage == answer.metadata["usage"]
    assert usage.timings.total > 0
    assert end == End(answer.metadata["finish_reason"])


async def test_tools(one: Agent, templated: Template, ask: Ask) -> None:
    """The model gets its tools, its call is read, and the result reaches it."""
    templated(CALLING)
    asked: list[str] = []

    def sky(city: str) -> str:
        asked.append(city)
        return "blue"

    answer = await run_with_tools(one, ask("Which colour has the sky?", max_new_tokens=30), [sky])
    assert asked == ["Rome"]
    assert answer.response == "blue"


@pytest.mark.usefixtures("parsing")
async def test_streamed_tools(case: Case, one: Agent, templated: Template, ask: Ask) -> None:
    """A stream holds the call that the server read in the text, and its End says so."""
    templated(CALLING)
    payload = ask("Which colour has the sky?", max_new_tokens=30, tools_available=[TOOL])
    *parts, _, end = [event async for event in one.stream_events(payload)]
    calls = [part.call for part in parts if isinstance(part, ToolCallEvent)]
    named_by_server = [(call.name, call.arguments, call.id is not None) for call in calls]
    assert named_by_server == [("sky", {"city": "Rome"}, case.asks_server)]
    assert end == End("tool_calls")


async def test_structured_output(one: Agent, templated: Template, ask: Ask) -> None:
    """An answer in JSON becomes its object."""
    templated(JSON)
    answer = await one.invoke(ask("Which city?", output_schema=City))
    assert answer.parsed == City(name="Rome")
    assert json.loads(answer.response) == {"name": "Rome"}


async def test_schema_is_held(case: Case, one: Agent, ask: Ask) -> None:
    """An answer that does not fit the schema is impossible, or an error."""
    payload = ask(QUESTION, output_schema={"enum": ["yes", "no"]})
    if case.holds_schemas:
        assert (await one.invoke(payload)).parsed in ("yes", "no")
    else:
        with pytest.raises(StructuredOutputError, match="does not match the output schema"):
            await one.invoke(payload)


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_unknown_model(case: Case, open_agent: Open) -> None:
    """An unknown model raises a named error that names it."""
    with pytest.raises(case.unknown_model, match="nobody/no-such-model") as caught:
        async with await open_agent(model="nobody/no-such-model") as lost:
            await lost.invoke(AgentPayload(QUESTION))
    assert caught.type is case.unknown_model


@pytest.mark.untraced("the payload is refused before anything can be asked")
async def test_bad_tools(one: Agent) -> None:
    """A malformed tool is refused before anything is asked."""
    with pytest.raises(PayloadError, match="tools_available"):
        await one.invoke_with_tools(AgentPayload(QUESTION), ["roll"])  # type: ignore[list-item]


@pytest.mark.untraced("a closed agent infers nothing")
async def test_use_after_close(open_agent: Open) -> None:
    """A closed agent raises our error, and can be closed again."""
    async with await open_agent() as agent:
        await agent.aclose()
    await agent.aclose()
    payload = AgentPayload(QUESTION)
    uses: list[Callable[[], Awaitable[object]]] = [
        lambda: agent.invoke(payload),
        lambda: agent.invoke_with_tools(payload, [TOOL]),
        lambda: joined(agent, payload),
        lambda: agent.count_tokens(payload),
        agent.get_context_window,
        agent.supports_streaming,
    ]
    for use in uses:
        with pytest.raises(AgentClosedError, match=r"is closed\. Load a new one with load_agent"):
            await use()


@pytest.mark.requires("llm", "model")
@pytest.mark.untraced("asks the server for something that it does not have")
async def test_log_of_the_server(model_server: ModelServer, caplog: pytest.LogCaptureFixture) -> None:
    """A failing test shows the real server's log."""
    with pytest.raises(HTTPError, match="404"):
        await asyncio.to_thread(urlopen, f"{model_server.url}/nothing")
    assert "GET /v1/nothing" in caplog.text
