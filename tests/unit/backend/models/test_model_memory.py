"""A model's memory is worked out from its files, and a damaged file is refused."""

from __future__ import annotations

import json
import sys
from math import prod
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import ModelFormatError
from llm_backend.llms.models.memory import ModelMemory, conversion_memory, model_memory_requirements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = {
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "max_position_embeddings": 100,
}


def _tensor_file(path: Path, tensors: Mapping[str, tuple[str, list[int], int]], *, cut: int = 0) -> None:
    """Write a safetensors file with tensors of (dtype, shape, bytes), without its last ``cut`` bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end - cut))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with 30 weights in 16 bits."""
    _tensor_file(tmp_path / "model.safetensors", {"a": ("BF16", [2, 5], 20), "b": ("BF16", [20], 40)})
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return tmp_path


def test_a_models_memory_is_counted(model: Path) -> None:
    """The estimate holds all weights, and the cache of the full context window."""
    needs = model_memory_requirements(model)
    assert needs == ModelMemory(parameters=30, weights=60, kv_cache=2 * 3 * 2 * 8 * 100 * 2, overhead=12 + 64 * 2**20)
    assert needs.total == 60 + 19200 + 12 + 64 * 2**20


@pytest.mark.parametrize(("context", "counted"), [(10, 10), (1000, 100)])
def test_a_context_window_narrows_the_cache(model: Path, context: int, counted: int) -> None:
    """A narrower window needs a smaller cache; a wider one needs the model's own."""
    assert model_memory_requirements(model, context).kv_cache == 2 * 3 * 2 * 8 * counted * 2


@pytest.mark.parametrize(
    ("config", "values"),
    [
        pytest.param(
            {"n_layer": 6, "n_head": 12, "n_embd": 768, "n_positions": 1024}, 2 * 6 * 12 * 64 * 1024, id="GPT-2's names"
        ),
        pytest.param(CONFIG | {"head_dim": 5}, 2 * 3 * 2 * 5 * 100, id="own size of heads"),
        pytest.param(CONFIG | {"head_dim": None}, 2 * 3 * 2 * 8 * 100, id="no size of heads"),
        pytest.param({"text_config": CONFIG, "num_hidden_layers": 99}, 2 * 3 * 2 * 8 * 100, id="nested"),
    ],
)
def test_the_cache_of_other_families_is_counted(model: Path, config: dict[str, Any], values: int) -> None:
    """Families that name their sizes differently are estimated correctly."""
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert model_memory_requirements(model).kv_cache == values * 2


def test_wide_and_packed_weights_are_told_apart(model: Path) -> None:
    """The cache of a 32-bit model has 4 bytes a value, that of a 4-bit model 2."""
    _tensor_file(model / "model.safetensors", {"a": ("F32", [10], 40)})
    wide = model_memory_requirements(model, 1)
    _tensor_file(model / "model.safetensors", {"a": ("F4", [80], 40)})
    packed = model_memory_requirements(model, 1)
    assert (wide.kv_cache, packed.kv_cache) == (96 * 4, 96 * 2)


def test_what_quantisation_packs_is_told_apart(model: Path) -> None:
    """Embeddings and norms are not packed, and the copies made while packing count."""
    (model / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 50}), encoding="utf-8")
    large = 10_000_000
    shapes = {"embed": [50, 64], "head": [64, 50], "norm": [64], "small": [8, 8], "large": [large, 8]}
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps(header).encode()  # the weights' bytes are never read
    (model / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)

    needs = model_memory_requirements(model, 1, "bfloat16", "int8")
    kept = 2 * (sizes["embed"] + sizes["head"] + sizes["norm"])
    assert (needs.weights, needs.kv_cache) == (kept + sizes["small"] + sizes["large"], 96 * 2)
    assert needs.overhead == 16 * sizes["large"]
    four_bits = model_memory_requirements(model, 1, "float32", "int4")
    packed = sizes["small"] + sizes["large"]
    assert (four_bits.weights, four_bits.kv_cache) == (2 * kept + packed * 9 // 16, 96 * 4)


def test_all_files_without_an_index_count(model: Path) -> None:
    """Without an index, every file of the model counts."""
    _tensor_file(model / "more.safetensors", {"c": ("BF16", [3], 6)})
    assert model_memory_requirements(model).parameters == 33


def test_with_an_index_only_its_files_count(model: Path) -> None:
    """With an index, only its files count."""
    _tensor_file(model / "part-1.safetensors", {"c": ("BF16", [3], 6)})
    _tensor_file(model / "part-2.safetensors", {"d": ("BF16", [4], 8)})
    shards = {"c": "part-1.safetensors", "d": "part-2.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    assert model_memory_requirements(model).parameters == 7


@pytest.fixture
def gguf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A GGUF file of 30 weights, read by a stand-in for the library, which not every environment has."""
    said = {"block_count": 3, "attention.head_count": 8, "attention.head_count_kv": [2, 1, 2], "embedding_length": 64}
    fields = {f"kind.{name}": SimpleNamespace(contents=lambda v=value: v) for name, value in said.items()}
    fields["kind.context_length"] = SimpleNamespace(contents=lambda: 100)
    fields["tokenizer.block_count"] = SimpleNamespace(contents=lambda: 99)

    def read(file: Path) -> SimpleNamespace:
        if not file.read_bytes():
            message = "empty"
            raise ValueError(message)
        return SimpleNamespace(fields=fields, tensors=[SimpleNamespace(n_elements=n, shape=[n]) for n in (10, 20)])

    library = ModuleType("gguf")
    library.GGUFReader = read  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gguf", library)
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    return tmp_path / "small.gguf"


def test_a_gguf_files_memory_is_counted(gguf: Path) -> None:
    """A GGUF file is estimated as its conversion, and so is the conversion's own memory."""
    needs = model_memory_requirements(gguf)
    assert needs == ModelMemory(parameters=30, weights=60, kv_cache=2 * 3 * 2 * 8 * 100 * 2, overhead=12 + 64 * 2**20)
    assert model_memory_requirements(gguf, dtype="float32").weights == 120
    assert conversion_memory(gguf) == 30 * 2 + 20 * 12 + 2**28


def test_a_gguf_file_that_cannot_be_read_is_refused(gguf: Path) -> None:
    """A damaged GGUF file raises our error."""
    gguf.write_bytes(b"")
    assert _refusal(gguf) == (
        f"The file {str(gguf)!r} cannot be read as a GGUF model (ValueError: empty)."
        " It may be truncated: fetch it again, or choose another model."
    )


def _refusal(directory: Path) -> str:
    with pytest.raises(ModelFormatError) as caught:
        model_memory_requirements(directory)
    return str(caught.value)


def test_a_file_that_was_cut_short_is_refused(model: Path) -> None:
    """A file that was cut short is refused."""
    _tensor_file(model / "model.safetensors", {"a": ("BF16", [2, 5], 20)}, cut=1)
    assert _refusal(model) == (
        f"{model / 'model.safetensors'} is not a complete safetensors file: its tensors need 20 bytes, but it holds 19."
        " Fetch the model again."
    )


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "its header does not follow the format"),
        (b"GGUF\0\0\0\1", f"it claims a header of {0x0100_0000_4655_4747:,} bytes"),
        ((200_000_000).to_bytes(8, "little"), "it claims a header of 200,000,000 bytes"),
        ((2).to_bytes(8, "little") + b"[]", "its header does not follow the format"),
        ((2).to_bytes(8, "little") + b"{\xff", "its header does not follow the format"),
        ((8).to_bytes(8, "little") + b'{"a":{}}', "its header does not follow the format"),
        ((7).to_bytes(8, "little") + b'{"a":1}', "its header does not follow the format"),
    ],
)
def test_a_damaged_header_is_refused(model: Path, content: bytes, fact: str) -> None:
    """A damaged header is refused with what is wrong about it."""
    (model / "model.safetensors").write_bytes(content)
    assert _refusal(model) == (
        f"{model / 'model.safetensors'} is not a complete safetensors file: {fact}. Fetch the model again."
    )


def test_a_huge_header_is_refused_unread(model: Path) -> None:
    """A header of impossible length is refused without being read."""
    with (model / "model.safetensors").open("wb") as stream:
        stream.write((100_000_001).to_bytes(8, "little"))
        stream.truncate(200_000_000)  # sparse: uses no disk space
    assert "it claims a header of 100,000,001 bytes" in _refusal(model)


def test_a_missing_part_is_refused(model: Path) -> None:
    """A model that lacks one of its files is refused."""
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"c": "part-1.safetensors"}}), encoding="utf-8"
    )
    assert _refusal(model) == (
        f"{model / 'part-1.safetensors'} is not a complete safetensors file: "
        "it cannot be read: No such file or directory. Fetch the model again."
    )


def test_an_index_without_a_map_is_refused(model: Path) -> None:
    """A damaged index raises our error."""
    index = model / "model.safetensors.index.json"
    index.write_text("{}", encoding="utf-8")
    assert _refusal(model) == f"{index} has no weight_map. Fetch the model again."


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    """A directory without weights is refused."""
    assert _refusal(tmp_path) == f"{tmp_path} holds no safetensors file. Give the directory of a complete model."


def test_a_model_of_nothing_is_refused(model: Path) -> None:
    """A file without tensors is refused."""
    _tensor_file(model / "model.safetensors", {})
    assert _refusal(model) == f"{model} holds no weights. Fetch the model again."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "{path} is not valid JSON: "),
        ("[]", "{path} holds a list, not an object. Fetch the model again."),
        ("{}", "{path} has no number for num_hidden_layers or n_layer, so the size of the model's cache is unknown."),
        (json.dumps(CONFIG | {"num_attention_heads": 0}), "{path} has no number for num_attention_heads or n_head, "),
    ],
)
def test_a_damaged_config_is_refused(model: Path, text: str, message: str) -> None:
    """A damaged config.json raises our error."""
    path = model / "config.json"
    path.write_text(text, encoding="utf-8")
    refusal = _refusal(model)
    assert refusal.startswith(message.format(path=path))
    assert refusal.endswith("Fetch the model again.")


def test_a_missing_config_is_refused(model: Path) -> None:
    """Weights without a config.json raise our error."""
    (model / "config.json").unlink()
    assert _refusal(model) == (
        f"{model / 'config.json'} cannot be read: No such file or directory. Give the directory of a complete model."
    )
