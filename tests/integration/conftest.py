"""Fixtures of the real tests: the packaged model, agents on it, and copies of it that tests change."""

from __future__ import annotations

import gc
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, GenerationOptions
from llm_backend.llms import load_agent
from llm_backend.llms.models.store import PACKAGED_MODEL, resolve_model
from tests.integration import processors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from llm_backend.llms.agent import Agent
    from llm_backend.llms.models.store import ResolvedModel


CHOSEN_MODEL = os.environ.get("AF_LLM_MODEL") or PACKAGED_MODEL


@pytest.fixture(scope="session")
def chosen_model() -> str:
    """The model that AF_LLM_MODEL chose for this run, or else the packaged one."""
    return CHOSEN_MODEL


@pytest.fixture(scope="session", autouse=True)
def _type_of_the_weights() -> Iterator[None]:
    """Run all tests in the type that LLM_BACKEND_TEST_DTYPE names, or else in the processor's choice."""
    with pytest.MonkeyPatch.context() as patch:
        processors.pretend_processor(os.environ.get(processors.VARIABLE), patch)
        yield


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in ("AF_LLM_MODEL", "OPENAI_API_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "LLM_BACKEND_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def other_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let processes that a test starts load models in the type under test, by a named configuration."""
    path = tmp_path / "type.toml"
    path.write_text(f"[agent]\ndtype = {processors.dtype_under_test()!r}\n", encoding="utf-8")
    monkeypatch.setenv("LLM_BACKEND_CONFIG", str(path))


@pytest.fixture(scope="session")
def packaged_model() -> ResolvedModel:
    """The packaged model, converted."""
    return resolve_model()


@pytest.fixture(scope="session")
def model_directory(packaged_model: ResolvedModel) -> Path:
    """The packaged model's directory: safetensors, tokenizer and chat template."""
    return packaged_model.directory


@pytest.fixture(scope="session")
async def agent() -> AsyncIterator[Agent]:
    """One agent on the packaged model, for every test that does not change it."""
    async with await load_agent("huggingface", PACKAGED_MODEL, validate=False, use_config=False) as agent:
        gc.freeze()  # a collection follows each freed model, and need not walk all of torch every time
        yield agent


@pytest.fixture
def load(agent: Agent) -> Callable[..., Awaitable[Agent]]:
    """Load an agent of the huggingface engine, by default without validating it and without a config file.

    On the packaged model it shares the weights of the session's agent, and so is there at once.
    """
    assert agent

    async def load(model: str | Path | None = None, **options: Any) -> Agent:
        options = {"validate": False, "use_config": False, **options}
        return await load_agent("huggingface", str(model) if model else None, **options)

    return load


@pytest.fixture
def model_copy(model_directory: Path, tmp_path: Path) -> Path:
    """A copy of the packaged model for a test to change; the weights are a link until the test replaces them."""
    copy = tmp_path / "model-copy"
    shutil.copytree(model_directory, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "model.safetensors").symlink_to(model_directory / "model.safetensors")
    return copy


@pytest.fixture(scope="session")
def ask() -> Callable[..., Any]:
    """Make a short, greedy payload."""

    def ask(message: str, *, max_new_tokens: int = 12, **options: Any) -> AgentPayload:
        fields = {name: options.pop(name) for name in AgentPayload.__slots__ if name in options}
        return AgentPayload(message, generation=GenerationOptions(max_new_tokens=max_new_tokens, **options), **fields)

    return ask
