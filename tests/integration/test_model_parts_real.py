"""Files and directories that are a part of a model, or another form of one: read, or refused by what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import ModelFormatError
from llm_backend.llms.models.cache import uncompared_cached, verify_cached
from llm_backend.llms.models.store import resolve_model
from tests.integration.small_gguf import write_small_gguf

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requires("llm")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty model cache."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def kept(cache: Path) -> list[str]:
    """The entries of a cache that could be loaded."""
    return [path.name for path in cache.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("without", "lacking"),
    [
        (("blk.0.ffn",), r"lacks 4 of its weights, 'model.layers.0.mlp.down_proj.weight' first"),
        (("output_norm",), r"lacks 1 of its weights, 'model.norm.weight' first"),
        (("token_embd",), r"lacks 1 of its weights, 'model.embed_tokens.weight' first"),
    ],
)
def test_gguf_that_lacks_weights(cache: Path, tmp_path: Path, without: tuple[str, ...], lacking: str) -> None:
    """A GGUF file that lacks weights is refused, and never filled up with random ones."""
    write_small_gguf(tmp_path / "holed.gguf", without=without)
    with pytest.raises(ModelFormatError, match=rf"The model in GGUF file '.*holed.gguf' {lacking}. Fetch it again"):
        resolve_model(str(tmp_path / "holed.gguf"))
    assert kept(cache) == []


def test_gguf_that_shares_its_embeddings(cache: Path, tmp_path: Path) -> None:
    """A GGUF file whose output layer is its embeddings lacks nothing."""
    from transformers import AutoModelForCausalLM

    write_small_gguf(tmp_path / "tied.gguf", without=("output.weight",))
    resolved = resolve_model(str(tmp_path / "tied.gguf"))
    model = AutoModelForCausalLM.from_pretrained(resolved.directory)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert kept(cache) == [resolved.directory.name]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"header": {"split.count": 3, "split.no": 0}}, r"is part 1 of 3 of a model\. Join .*llama-gguf-split --merge"),
        ({"header": {"split.count": 2, "split.no": 1}, "without": ("blk", "out", "token")}, r"is part 2 of 2"),
        ({"header": {"general.type": "adapter"}}, r"is a LoRA adapter, .*Merge it"),
        ({"header": {"general.type": "mmproj"}}, r"is of type 'mmproj', not a language model"),
        ({"kind": "clip"}, r"is of type 'clip', not a language model"),
        ({"without": ("blk", "out", "token")}, r"holds a vocabulary but no weights"),
    ],
)
def test_gguf_that_is_no_whole_model(cache: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """A GGUF file that is not a whole model is refused by what it is, with the next step."""
    write_small_gguf(tmp_path / "part.gguf", **options)
    with pytest.raises(ModelFormatError, match=rf"part.gguf' {words}") as caught:
        resolve_model(str(tmp_path / "part.gguf"))
    assert "truncated" not in str(caught.value)
    assert kept(cache) == []


@pytest.mark.parametrize("name", ["blk.0.attn_q.bias", "blk.0.attn_q.scale", "token_types.weight"])
def test_gguf_of_which_a_part_would_be_ignored(cache: Path, tmp_path: Path, name: str) -> None:
    """A GGUF file with weights that its architecture has no place for is refused."""
    held = sum(weight.size for weight in write_small_gguf(tmp_path / "more.gguf", besides=(name,)).values())
    with pytest.raises(ModelFormatError, match=rf"holds {held:,} weights, .* only {held - 32:,} of them into LlamaFor"):
        resolve_model(str(tmp_path / "more.gguf"))
    assert kept(cache) == []


def test_gguf_with_what_no_answer_needs(cache: Path, tmp_path: Path) -> None:
    """A GGUF file may hold computed tables, and layers for speculation."""
    write_small_gguf(tmp_path / "more.gguf", besides=("rope_freqs.weight", "blk.1.attn_norm.weight"))
    resolved = resolve_model(str(tmp_path / "more.gguf"))
    assert kept(cache) == [resolved.directory.name]


def test_gguf_whose_header_says_nonsense(tmp_path: Path) -> None:
    """A malformed number of parts in the header raises our error."""
    write_small_gguf(tmp_path / "odd.gguf", header={"split.count": "three"})
    assert resolve_model(str(tmp_path / "odd.gguf")).source == "gguf"


def test_gguf_that_is_replaced_while_it_is_converted(cache: Path, tmp_path: Path) -> None:
    """A file replaced during its conversion is never kept under the first's digest."""
    write_small_gguf(tmp_path / "a.gguf")
    write_small_gguf(tmp_path / "b.gguf", header={"general.name": "b"})
    whole = (tmp_path / "a.gguf").read_bytes()

    def replace(*_: object) -> None:
        if (tmp_path / "b.gguf").exists():
            (tmp_path / "b.gguf").replace(tmp_path / "a.gguf")

    with pytest.raises(ModelFormatError, match=r"a.gguf' changed while it was being converted\. Try again"):
        resolve_model(str(tmp_path / "a.gguf"), progress=replace)
    assert kept(cache) == []
    (tmp_path / "a.gguf").write_bytes(whole)
    resolved = resolve_model(str(tmp_path / "a.gguf"))
    assert kept(cache) == [resolved.directory.name]


def test_gguf_of_another_version(tmp_path: Path) -> None:
    """A GGUF file of an unknown version is refused as that, not as truncated."""
    write_small_gguf(tmp_path / "old.gguf")
    content = bytearray((tmp_path / "old.gguf").read_bytes())
    content[4] = 1
    (tmp_path / "old.gguf").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"version 1 which we cannot handle\)\. Convert it with llama.cpp, or"):
        resolve_model(str(tmp_path / "old.gguf"))


def test_gguf_in_a_directory(cache: Path, tmp_path: Path) -> None:
    """The only GGUF file in a directory is the model; an image projector does not count."""
    folder = tmp_path / "folder"
    folder.mkdir()
    write_small_gguf(folder / "model.gguf")
    (folder / "mmproj-model.gguf").write_bytes(b"GGUF")
    (folder / "README.md").write_text("A model.")
    resolved = resolve_model(str(folder))
    assert (resolved.source, kept(cache)) == ("gguf", [resolved.directory.name])
    assert resolve_model(str(folder / "model.gguf")).directory == resolved.directory


def test_hub_cache_without_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub cache with files instead of links, as on Windows, is read and checked."""
    import torch
    from huggingface_hub import constants
    from huggingface_hub.utils import _cache_manager
    from safetensors.torch import save_file

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--a-model"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "blobs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text("{}")
    save_file({"w": torch.zeros(3)}, snapshot / "model.safetensors")
    for reader in (constants, _cache_manager):  # the second copied it from the first at import
        monkeypatch.setattr(reader, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert verify_cached("someone/a-model") == []
    assert uncompared_cached("someone/a-model") == ["config.json", "model.safetensors"]
    weights = snapshot / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert verify_cached("someone/a-model") == ["model.safetensors is damaged or incomplete"]
