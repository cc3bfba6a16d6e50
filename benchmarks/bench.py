"""Measures the figures that the documents quote, on the packaged model, and prints them with how they were taken.

Timings are measured here and never asserted in a test: they say something about one machine at one time.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from backend import AgentPayload, GenerationOptions
from backend.llms import load_agent
from backend.llms.config import AgentSettings
from backend.llms.engines.openai import OpenAIAgent
from backend.llms.gguf_conversion import quiet_transformers
from backend.llms.model_store import packaged_gguf, resolve_model

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MEGABYTE = 1e6


def main() -> None:
    """Print one line for each figure."""
    bare, ours = (best_of_20(statement) for statement in ("pass", "import backend"))
    report("import backend, over a bare interpreter", f"{(ours - bare) * 1e3:.0f} ms", "best of 20 processes each")
    gguf = packaged_gguf()
    if gguf is None:
        sys.exit("The packaged model is not installed. Run this by: nox -s bench")
    report("find the converted model, digests checked", seconds(resolve_model), "first time in this process")
    # Before this thread uses torch itself: a second pool of OpenMP threads would slow the model's own.
    asyncio.run(agent_figures())
    asyncio.run(server_figures())
    directory = resolve_model().directory
    with quiet_transformers():
        report("load the GGUF directly", seconds(lambda: load_gguf(gguf)), "tokenizer and weights, after the imports")
        report("load the converted model", seconds(lambda: load_converted(directory)), "the same")


def best_of_20(statement: str) -> float:
    """Seconds that a fresh interpreter takes for ``statement``, start and end included."""
    command = [sys.executable, "-c", statement]
    return min(timed(lambda: subprocess.run(command, check=True)) for _ in range(20))  # noqa: S603


def load_gguf(path: Path) -> None:
    """Load what a person without the model store would load."""
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )


def load_converted(directory: Path) -> None:
    """Load what the model store hands out."""
    AutoTokenizer.from_pretrained(directory)
    AutoModelForCausalLM.from_pretrained(directory, dtype="auto")


async def agent_figures() -> None:
    """Print the speed of one stream, and resident memory before, during and after an agent's life."""
    payload = AgentPayload("Count from 1 to 100.", generation=GenerationOptions(max_new_tokens=64))
    async with await load_agent("huggingface"):
        pass  # what the libraries keep for themselves once they were used is no part of the model
    before = resident()
    agent = await load_agent("huggingface")
    held = resident()
    answers = [await agent.invoke(payload) for _ in range(3)]
    await agent.aclose()
    speed = max(a.metadata["usage"].completion_tokens / a.metadata["timings"].total for a in answers)
    report("generate, one stream", f"{speed:.0f} tokens/s", "64 greedy tokens, best of 3")
    report("resident memory after load and validation", f"+{(held - before) / MEGABYTE:.0f} MB", "over before the load")
    after = (resident() - before) / MEGABYTE
    report("resident memory after the last agent closed", f"{after:+.0f} MB", "over before the load")


async def server_figures() -> None:
    """Print how many messages a second the openai engine gets from a server that answers at once, and its library."""
    program = str(Path(__file__).with_name("instant_server.py"))
    server = await asyncio.create_subprocess_exec(sys.executable, program, stdout=subprocess.PIPE)
    assert server.stdout  # noqa: S101  (asked for one line above)
    url = f"http://127.0.0.1:{int(await server.stdout.readline())}/v1"
    messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
    payload = AgentPayload(messages[0]["content"])
    settings = AgentSettings(base_url=url, model="m")
    async with await OpenAIAgent.create(settings) as agent, openai.AsyncOpenAI(base_url=url, api_key="none") as bare:
        ours, theirs = [], []
        for _ in range(3):  # in turns, so that a busy moment of the machine meets both
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
    """The same, to be read."""
    return f"{timed(work):.2f} s"


def report(what: str, figure: str, how: str) -> None:
    """Print one figure."""
    print(f"{what:48} {figure:>14}   {how}", flush=True)  # noqa: T201  (what this program is for)


if __name__ == "__main__":
    main()
