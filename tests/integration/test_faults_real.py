"""What may happen to a model in a process: crowds, other loops, forks, exits, many lives, and changing files."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.errors import ConfigError, EngineBusyError
from llm_backend.llms.models.store import resolve_model
from tests.integration import questions
from tests.integration.memory import growth, resident
from tests.integration.questions import FACT, QUESTION
from tests.integration.small_gguf import write_small_gguf
from tests.integration.test_engine_life_real import Gate, configure
from tests.integration.weights import destroy_weights, loaded_models, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
Ask: TypeAlias = "Callable[..., AgentPayload]"
# Texts to continue; each first token leads by more than a nat in float32 (margins.py).
CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Russia": "Moscow",
    "China": "Beijing",
    "Greece": "Athens",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Hungary": "Budapest",
    "England": "London",
    "Sweden": "Stockholm",
    "Chile": "Santiago",
    "Korea": "Seoul",
    "Kenya": "Nairobi",
}
MEGABYTE = 10**6
# Loads a model, answers, is forked, and exits while it generates.
SHORT_LIFE = """
import asyncio, os, sys, threading, warnings
from llm_backend import AgentPayload, BackendError, GenerationOptions
from llm_backend.llms import load_agent

started = threading.Event()

async def refused(work):
    try:
        await work
    except BackendError as exc:
        print(type(exc).__name__, "spawn" in str(exc), flush=True)

async def in_the_fork(agent):
    await refused(agent.invoke(AgentPayload("Hello!")))
    await refused(anext(agent.stream(AgentPayload("Hello!"))))
    await refused(load_agent("huggingface", validate=False, use_config=False))
    await agent.aclose()

async def load():
    agent = await load_agent("huggingface", validate=False)
    answer = await agent.invoke(AgentPayload("What is the capital city of Japan?"))
    print(answer.response, "bitsandbytes" in sys.modules, flush=True)
    return agent

async def generate(agent):
    story = AgentPayload("Tell me a story.", generation=GenerationOptions(max_new_tokens=8000))
    async for piece in agent.stream(story):
        started.set()

agent = asyncio.run(load())
warnings.simplefilter("ignore")  # Python warns of forks in a process with threads, which this one means to have
if os.fork() == 0:
    asyncio.run(in_the_fork(agent))
    sys.exit()
print("fork ended with", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
threading.Thread(target=lambda: asyncio.run(generate(agent)), daemon=True).start()
started.wait()
print("leaving", flush=True)
"""


def inference_threads() -> int:
    """Count the inference threads."""
    return sum(thread.name == "generate" for thread in threading.enumerate())


def swap_for_broken(model: Path) -> None:
    """Swap a model for the same one with its weights destroyed."""
    shutil.copytree(model.rename(model.with_name("away")), model, symlinks=True)
    destroy_weights(model)


async def test_64_requests_at_once(load: Load, ask: Ask, model_copy: Path, tmp_path: Path) -> None:
    """64 requests at once are answered correctly and in order, within the bound and little memory."""
    (model_copy / "chat_template.jinja").unlink()
    configure(tmp_path, max_queued=63)
    countries = list(CAPITALS) * 4
    answered: list[int] = []

    async with await load(model_copy, use_config=True) as asked:

        async def answer(number: int) -> str:
            reply = await asked.invoke(ask(f"The capital of {countries[number]} is", max_new_tokens=1))
            answered.append(number)
            return reply.response

        await answer(0)
        gate, before = Gate(asked), resident()
        crowd = []
        for number in range(64):
            crowd.append(asyncio.create_task(answer(number)))
            await until(lambda: len(asked._running) == len(crowd))  # type: ignore[attr-defined]  # noqa: SLF001
        with pytest.raises(EngineBusyError, match="and 63 are waiting"):
            await answer(0)
        gate.open()
        answers = await asyncio.gather(*crowd)
        grown = resident() - before
    assert answers == [CAPITALS[country] for country in countries]
    assert answered == [0, *range(64)]
    assert grown < 64 * MEGABYTE


async def test_two_event_loops(agent: Agent, load: Load, ask: Ask) -> None:
    """Two threads' event loops can use one model, and each gets its own answers."""
    countries = list(questions.CAPITALS)[:2]
    answers: dict[str, str] = {}

    async def talk(country: str) -> None:
        question = ask(questions.question_of(country))
        async with await load() as own:
            whole, other = await asyncio.gather(own.invoke(question), agent.invoke(question))
            pieces = [piece async for piece in own.stream(question)]
        assert "".join(pieces) == whole.response == other.response
        answers[country] = whole.response

    threads = [threading.Thread(target=asyncio.run, args=[talk(country)]) for country in countries]
    for thread in threads:
        thread.start()
    await until(lambda: not any(thread.is_alive() for thread in threads))
    assert answers == {country: questions.fact_of(country) for country in countries}


@pytest.mark.untraced("another process generates")
@pytest.mark.usefixtures("other_processes")
def test_fork_and_exit_while_generating(tmp_path: Path) -> None:
    """A process with a model can fork, and can exit while it generates, in silence."""
    script = tmp_path / "short_life.py"
    script.write_text(SHORT_LIFE)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert process.stderr == ""
    assert process.stdout.splitlines() == [
        f"{FACT} False",
        *["EngineError True"] * 3,
        "fork ended with 0",
        "leaving",
    ]
    assert process.returncode == 0


@pytest.mark.untraced("asks a small model of random weights, which it writes itself")
async def test_200_lives(load: Load, ask: Ask, tmp_path: Path) -> None:
    """Loading and closing a model 200 times leaves no memory, no thread and no model behind."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    write_small_gguf(tmp_path / "small.gguf")
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path), gguf_file="small.gguf")
    tokenizer.save_pretrained(tmp_path / "small")
    # A megabyte of weights: 200 of them would show if they stayed.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "small")

    async def live() -> None:
        async with await load(tmp_path / "small") as agent:
            await agent.invoke(ask("Hi", max_new_tokens=1))

    models = loaded_models()
    gc.freeze()  # each life ends with a collection, which need not walk what was there before
    threads, memory = [], []
    for _ in range(10):
        for _ in range(20):
            await live()
        threads.append(inference_threads())
        memory.append(resident())
    assert loaded_models() == models
    assert threads == [threads[0]] * 10
    assert growth(memory[1:]) < 4 * MEGABYTE, "20 lives more leave a fifth of their weights at most"


@pytest.mark.untraced("its directory holds other weights by the time that their digest is taken")
async def test_directory_swapped_while_loaded(load: Load, ask: Ask, model_copy: Path) -> None:
    """Replacing a model's directory leaves its agent alone; the next one gets the new weights."""
    question = ask(QUESTION)
    async with await load(model_copy) as old:
        swap_for_broken(model_copy)
        async with await load(model_copy) as new:
            assert (await old.invoke(question)).response == FACT
            assert "Tokyo" not in (await new.invoke(question)).response


@pytest.mark.untraced("the model is refused before it can be asked")
def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only or full cache raises our error, and leaves no half model behind."""
    write_small_gguf(tmp_path / "small.gguf")
    monkeypatch.setenv("LLM_BACKEND_CACHE", "/sys/llm-backend")  # where not even root can make a folder
    with pytest.raises(ConfigError, match=r"'/sys/llm-backend.* cannot be written"):
        resolve_model(str(tmp_path / "small.gguf"))

    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path / "cache"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the weights are larger
    try:
        with pytest.raises(ConfigError, match=r"cannot be written"):
            resolve_model(str(tmp_path / "small.gguf"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert resolve_model(str(tmp_path / "small.gguf")).directory.is_dir()
