"""Models whose weights bitsandbytes packs into 8 or 4 bits during loading, and what it cannot pack."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.errors import (
    BackendError,
    BrokenExtraError,
    ConfigError,
    MissingExtraError,
    ModelFormatError,
    ModelNotFoundError,
)
from llm_backend.llms.models.memory import model_memory_requirements
from tests.integration.memory import resident
from tests.integration.processors import pretend_processor
from tests.integration.questions import FACT, QUESTION
from tests.integration.test_engine_life_real import configure
from tests.integration.usage import used
from tests.integration.weights import loaded_models, own_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from llm_backend import AgentPayload
    from llm_backend.llms.agent import Agent
    from llm_backend.llms.engines.huggingface.model import ModelKey

pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Agent]]"
Ask: TypeAlias = "Callable[..., AgentPayload]"
UNKNOWN = "nobody/no-such-model"  # a load that looks for it was not refused before


@pytest.mark.requires("llm", "model", "quantization")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize(("quantization", "dtype"), [("int8", "float16"), ("int4", "bfloat16")])
async def test_quantised_model(  # noqa: PLR0913, PLR0917  (a load of some seconds, made once for all that it proves)
    load: Load,
    ask: Ask,
    model_copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    quantization: str,
    dtype: str,
) -> None:
    """A quantised model answers correctly, is held once and packed, goes when closed, and is silent."""
    pretend_processor("bfloat16", monkeypatch)
    configure(tmp_path, quantization=quantization, device="cpu")
    own_weights(model_copy)
    with pytest.raises(ModelNotFoundError):
        await load(UNKNOWN, use_config=True)  # imports the library, which is not part of the model
    async with await load(model_copy, use_config=True) as once:
        await once.invoke(ask(QUESTION, max_new_tokens=1))  # nor is what libraries take at first use and keep

    models, question = loaded_models(), ask(QUESTION, max_new_tokens=7)
    held, taken, left = [], [], []
    for _ in range(3):  # libraries may keep memory in one cycle; the model takes its own in each
        before = resident()
        first, second = await asyncio.gather(*(load(model_copy, use_config=True) for _ in range(2)))
        answer = await first.invoke(question)
        pieces = [piece async for piece in second.stream(question)]
        taken.append(resident() - before)
        held.append(len(loaded_models() - models))
        await first.aclose()
        await second.aclose()
        left.append(resident() - before)

    assert answer.response.startswith(FACT.removesuffix("."))
    assert "".join(pieces) == answer.response
    assert (answer.metadata["quantization"], answer.metadata["dtype"]) == (quantization, dtype)
    assert (held, loaded_models()) == ([1, 1, 1], models)
    needs = model_memory_requirements(model_copy, used(answer).total_tokens, dtype, quantization)  # type: ignore[arg-type]
    assert 0.8 * needs.weights < max(taken)
    assert min(taken) < needs.total
    assert min(taken) < 0.9 * model_memory_requirements(model_copy, dtype="bfloat16").weights
    assert min(left) < 0.5 * needs.weights
    assert [record for record in caplog.records if record.name.startswith("bitsandbytes")] == []


@pytest.mark.requires("llm", "model", "quantization")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.untraced("the model is refused before it can be asked")
async def test_model_that_cannot_be_packed(load: Load, model_copy: Path, tmp_path: Path) -> None:
    """A model whose layers bitsandbytes cannot pack is refused for that."""
    config = model_copy / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"no-such-kind"'))
    configure(tmp_path, quantization="int4", device="cpu")
    with pytest.raises(ModelFormatError, match="choose another model, or set quantization to 'none'"):
        await load(model_copy, use_config=True)


@pytest.mark.parametrize("bits", ["load_in_8bit", "load_in_4bit"])
@pytest.mark.parametrize("library", ["bitsandbytes", "accelerate"])
@pytest.mark.untraced("the load is refused before a model is looked for")
async def test_library_that_is_missing(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: str, library: str
) -> None:
    """A quantised load without its libraries is refused at once, with the extra to install."""
    monkeypatch.setitem(sys.modules, library, None)
    configure(tmp_path, **{bits: True})
    with pytest.raises(
        MissingExtraError,
        match=rf"quantization 'int[84]' needs {library}, which is not installed. .*'\.\[quantization\]'",
    ):
        await load(UNKNOWN, use_config=True)


@pytest.mark.untraced("the load is refused before a model is looked for")
async def test_library_that_is_broken(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A library that does not import is called broken, and of the log only its kernel advice is dropped."""
    (tmp_path / "bitsandbytes.py").write_text(
        "import logging\n"
        "log = logging.getLogger('bitsandbytes.backends.cpu.ops')\n"
        "log.warning('Failed: %s. Please make sure', \"No module named 'kernels'\")\n"
        "log.warning('no CPU library')\n"
        "raise OSError('libgomp.so.1: cannot open')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    configure(tmp_path, quantization="int8")
    with pytest.raises(BrokenExtraError, match=r"needs bitsandbytes, which is installed but .*libgomp.so.1"):
        await load(UNKNOWN, use_config=True)
    assert [record.getMessage() for record in caplog.records] == ["no CPU library"]


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"quantization": "int8", "device": "mps"}, "'int8' needs a CUDA GPU or a CPU, .*device to 'cpu', or quantiz"),
        ({"quantization": "int4", "device": "mps"}, "'int4' needs a CUDA GPU or a CPU, .*device to 'cpu', or quantiz"),
        ({"quantization": "int8", "dtype": "float32"}, "computes in float16, but dtype is 'float32'. Set dtype to 'au"),
        ({"load_in_8bit": True, "dtype": "bfloat16"}, "computes in float16, .*'auto', or quantization to 'int4' or"),
    ],
)
@pytest.mark.untraced("the setting is refused before a model is looked for")
async def test_what_cannot_be_quantised(load: Load, tmp_path: Path, settings: dict[str, Any], refusal: str) -> None:
    """What bitsandbytes cannot do is refused with what works."""
    configure(tmp_path, **settings)
    with pytest.raises(ConfigError, match=refusal):
        await load(UNKNOWN, use_config=True)


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({"quantization": "int8"}, ("cpu", "float16", "int8")),
        ({"load_in_8bit": True, "dtype": "float16"}, ("cpu", "float16", "int8")),
        ({"quantization": "int4", "dtype": "float32"}, ("cpu", "float32", "int4")),
        ({"dtype": "float16"}, ("mps", "float16", "none")),
    ],
)
@pytest.mark.requires("llm", "model", "quantization")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.untraced("the load is given up before weights are read")
async def test_auto_is_what_can_be_quantised(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], chosen: tuple[str, ...]
) -> None:
    """By default a quantised model gets a device and a type that can be quantised."""
    from llm_backend.llms.engines.huggingface import loading as huggingface_loading

    keys: list[ModelKey] = []

    def note(key: ModelKey, _: object) -> None:
        keys.append(key)
        raise BackendError

    monkeypatch.setattr(huggingface_loading, "pick_device", lambda _: "mps")
    monkeypatch.setattr(huggingface_loading, "acquire", note)
    configure(tmp_path, **settings)
    with pytest.raises(BackendError):
        await load(use_config=True)
    assert [(key.device, key.dtype, key.quantization) for key in keys] == [chosen]
