"""Measures the figures that the documents quote, on the packaged model, and prints how each was taken.

Timings are measured here, and never asserted in a test: they only describe one machine at one time.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import openai
import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from llm_backend import AgentPayload, GenerationOptions
from llm_backend.llms import load_agent
from llm_backend.llms.engines.huggingface.huggingface_agent import HuggingFaceAgent
from llm_backend.llms.engines.server.openai_agent import OpenAIAgent
from llm_backend.llms.models.gguf_conversion import quiet_transformers
from llm_backend.llms.models.store import PACKAGED_MODEL, packaged_gguf, resolve_model
from llm_backend.llms.settings.agent_settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_backend import AgentResponse
    from llm_backend.llms.agent import Agent

MEGABYTE = 1e6


def main() -> None:
    """Print one line for each figure."""
    bare, ours = (best_of_20(statement) for statement in ("pass", "import llm_backend"))
    report("import llm_backend, over a bare interpreter", f"{(ours - bare) * 1e3:.0f} ms", "best of 20 processes each")
    gguf = packaged_gguf()
    if gguf is None:
        sys.exit("The packaged model is not installed. Run this with: nox -s bench")
    report("find the converted model, digests checked", seconds(resolve_model), "first time in this process")
    # Before this thread uses torch itself: a second pool of OpenMP threads would slow the model's own.
    asyncio.run(agent_figures())
    asyncio.run(loop_figures())
    asyncio.run(overhead_figures())
    asyncio.run(type_figures())
    asyncio.run(life_figures())
    asyncio.run(server_figures())
    directory = resolve_model().directory
    with quiet_transformers():
        report("load the GGUF directly", seconds(lambda: load_gguf(gguf)), "tokenizer and weights, after the imports")
        report("load the converted model", seconds(lambda: load_converted(directory)), "the same")


def best_of_20(statement: str) -> float:
    """Seconds that a fresh interpreter takes for ``statement``, including its start and end."""
    command = [sys.executable, "-c", statement]
    return min(timed(lambda: subprocess.run(command, check=True)) for _ in range(20))  # noqa: S603


def load_gguf(path: Path) -> None:
    """Load what one would load without the model store."""
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )


def load_converted(directory: Path) -> None:
    """Load what the model store returns."""
    AutoTokenizer.from_pretrained(directory)
    AutoModelForCausalLM.from_pretrained(directory, dtype="auto")


def written(answer: AgentResponse) -> int:
    """How many tokens an answer has."""
    usage = answer.metadata["usage"]
    return usage.completion_tokens if usage else 0


async def agent_figures() -> None:
    """Print the speed of one stream, and resident memory before, during and after an agent's life."""
    payload = AgentPayload("Count from 1 to 100.", generation=GenerationOptions(max_new_tokens=64))
    async with await load_agent("huggingface"):
        pass  # what the libraries keep after first use is not part of the model
    before = resident()
    agent = await load_agent("huggingface")
    held = resident()
    answers = [await agent.invoke(payload) for _ in range(3)]
    await agent.aclose()
    speed = max(written(answer) / answer.metadata["timings"].total for answer in answers)
    report("generate, one stream", f"{speed:.0f} tokens/s", "64 greedy tokens, best of 3")
    report("resident memory after load and validation", f"+{(held - before) / MEGABYTE:.0f} MB", "over before the load")
    after = (resident() - before) / MEGABYTE
    report("resident memory after the last agent closed", f"{after:+.0f} MB", "over before the load")


async def loop_figures() -> None:
    """Print the event loop's lag during a load and during decoding, and how soon abandoned work stops."""
    how = "repeated sleeps of 5 ms: how much longer they took"
    lags: list[float] = []
    async with measured_lag(lags):
        agent = await load_agent("huggingface", validate=False)
    report("event loop's lag while a model loads", percentiles(lags), f"{how}; libraries imported before")
    async with agent, measured_lag(lags):
        await agent.invoke(AgentPayload("Tell me a story.", generation=GenerationOptions(max_new_tokens=128)))
    report("event loop's lag while a model decodes", percentiles(lags), how)
    async with await load_agent("huggingface", validate=False) as agent:
        how = "worst of 5: wait of a request sent right after the cancellation"
        report("stop in decode", f"{await worst_stop(agent, 'Tell me a story.') * 1e3:.0f} ms", how)
        prompt = "The sky is blue. " * 300
        tokens = await agent.count_tokens(AgentPayload(prompt))
        report(f"stop in a prefill of {tokens} tokens", f"{await worst_stop(agent, prompt) * 1e3:.0f} ms", how)


@asynccontextmanager
async def measured_lag(lags: list[float]) -> AsyncIterator[None]:
    """Fill ``lags`` with how much longer than requested this loop's sleeps take, in seconds."""
    lags.clear()

    async def sleep_on() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - start - 0.005)

    sleeper = asyncio.create_task(sleep_on())
    try:
        yield
    finally:
        sleeper.cancel()


def percentiles(lags: list[float]) -> str:
    """The 99th percentile and the largest of them."""
    return f"{quantiles(lags, n=100, method='inclusive')[98] * 1e3:.0f}, {max(lags) * 1e3:.0f} ms"


async def worst_stop(agent: Agent, prompt: str) -> float:
    """Seconds until the model is free after an answer to ``prompt`` was cancelled 0.3 s after the request."""
    waits: list[float] = []
    for _ in range(5):
        task = asyncio.create_task(agent.invoke(AgentPayload(prompt, generation=GenerationOptions(max_new_tokens=400))))
        await asyncio.sleep(0.3)
        task.cancel()
        answer = await agent.invoke(AgentPayload("Hi.", generation=GenerationOptions(max_new_tokens=1)))
        waits.append(answer.metadata["timings"].queued)
    return max(waits)


async def overhead_figures() -> None:
    """Print the speed of the engine and of ``generate`` alone, on the same model, prompt and thread."""
    payload = AgentPayload("Count from 1 to 100.", generation=GenerationOptions(max_new_tokens=64))
    async with await load_agent("huggingface", validate=False) as agent:
        loaded = agent._loaded  # type: ignore[attr-defined]  # noqa: SLF001
        text = loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": payload.user_message}], add_generation_prompt=True, tokenize=False
        )
        prompt = loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt").to(loaded.device)

        def bare() -> float:
            return timed(lambda: loaded.model.generate(**prompt, max_new_tokens=64, do_sample=False))

        ours, theirs = [], []
        for _ in range(5):  # in turns, so that a busy moment of the machine affects both
            theirs.append(await asyncio.wrap_future(loaded._thread.submit(bare, 0)))  # noqa: SLF001
            start = time.perf_counter()
            answer = await agent.invoke(payload)
            ours.append(time.perf_counter() - start)
        tokens = written(answer)
    how = f"the same {tokens} greedy tokens, prompt to text, best of 5 in turns"
    report("generate alone", f"{tokens / min(theirs):.1f} tokens/s", how)
    report("the huggingface engine", f"{tokens / min(ours):.1f} tokens/s", how)


async def type_figures() -> None:
    """Print the basis for dtype "auto": how fast each type of weights reads a prompt and decodes on this processor."""
    kernels = torch.backends.cpu.get_cpu_capability()
    how = f"kernels {kernels}, {torch.get_num_threads()} threads, best of 5 in turns"
    prompts = {"short": "Count from 1 to 100.", "long": "The sky is blue. " * 180}
    async with AsyncExitStack() as stack:
        agents = {
            dtype: await stack.enter_async_context(
                await HuggingFaceAgent.create(AgentSettings(model=PACKAGED_MODEL, dtype=dtype, device="cpu"))
            )
            for dtype in ("float32", "bfloat16")
        }
        decoding: dict[str, list[float]] = {dtype: [] for dtype in agents}
        reading: dict[tuple[str, str], list[float]] = {(name, dtype): [] for name in prompts for dtype in agents}
        for _ in range(5):  # in turns, so that a busy moment of the machine affects both
            for dtype, agent in agents.items():
                payload = AgentPayload(prompts["short"], generation=GenerationOptions(max_new_tokens=64))
                answer = await agent.invoke(payload)
                timings = answer.metadata["timings"]
                decoding[dtype].append((written(answer) - 1) / (timings.total - (timings.first_token or 0.0)))
                for name, prompt in prompts.items():
                    short = AgentPayload(prompt, generation=GenerationOptions(max_new_tokens=1))
                    reading[name, dtype].append((await agent.invoke(short)).metadata["timings"].total)
        sizes = {name: await agents["float32"].count_tokens(AgentPayload(prompt)) for name, prompt in prompts.items()}
    for dtype, speeds in decoding.items():
        report(f"decode in {dtype}", f"{max(speeds):.1f} tokens/s", how)
    for (name, dtype), times in reading.items():
        report(f"read {sizes[name]} tokens in {dtype}", f"{min(times):.3f} s", how)


async def life_figures() -> None:
    """Print what 20 loads and closes of the packaged model leave in memory."""

    async def live(times: int) -> None:
        for _ in range(times):
            async with await load_agent("huggingface", validate=False) as agent:
                await agent.invoke(AgentPayload("Hi.", generation=GenerationOptions(max_new_tokens=1)))

    await live(10)  # by then the C library's arenas have reached their lasting size
    before = resident()
    await live(20)
    grown = (resident() - before) / MEGABYTE
    report("resident memory after 20 loads and closes", f"{grown:+.0f} MB", "over that after 10; each says a token")


async def server_figures() -> None:
    """Print how many messages per second the openai engine, and its library alone, get from an instant server."""
    program = str(Path(__file__).with_name("instant_server.py"))
    server = await asyncio.create_subprocess_exec(sys.executable, program, stdout=subprocess.PIPE)
    assert server.stdout  # noqa: S101  (requested one line above)
    url = f"http://127.0.0.1:{int(await server.stdout.readline())}/v1"
    messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
    payload = AgentPayload(messages[0]["content"])
    settings = AgentSettings(base_url=url, model="m")
    async with await OpenAIAgent.create(settings) as agent, openai.AsyncOpenAI(base_url=url, api_key="none") as bare:
        ours, theirs = [], []
        for _ in range(3):  # in turns, so that a busy moment of the machine affects both
            ours.append(await rate(lambda: agent.invoke(payload)))
            theirs.append(await rate(lambda: bare.chat.completions.create(model="m", messages=messages)))
    server.kill()
    await server.wait()
    how = "500 one by one, best of 3, over loopback"
    report("openai engine, answers at once", f"{max(ours):.0f} messages/s", how)
    report("its library alone", f"{max(theirs):.0f} messages/s", how)


async def rate(ask: Callable[[], Awaitable[object]]) -> float:
    """How often a second ``ask`` is answered."""
    start = time.perf_counter()
    for _ in range(500):
        await ask()
    return 500 / (time.perf_counter() - start)


def resident() -> int:
    """Resident memory of this process, in bytes."""
    return psutil.Process(os.getpid()).memory_info().rss


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds(work: Callable[[], object]) -> str:
    """The same, for reading."""
    return f"{timed(work):.2f} s"


def report(what: str, figure: str, how: str) -> None:
    """Print one figure."""
    print(f"{what:48} {figure:>14}   {how}", flush=True)  # noqa: T201  (the purpose of this program)


if __name__ == "__main__":
    main()
