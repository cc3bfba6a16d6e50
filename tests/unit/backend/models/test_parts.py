"""Directories and files that are not a whole model are refused by what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_backend.errors import ModelFormatError, ModelNotFoundError
from llm_backend.llms.models import store as model_store
from llm_backend.llms.models.store import resolve_model

if TYPE_CHECKING:
    from pathlib import Path

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "base"),
    [('{"base_model_name_or_path": "org/base"}', " of 'org/base'"), ("{}", ""), ("[", ""), ("1", "")],
)
def test_adapter(tmp_path: Path, content: str, base: str) -> None:
    """A LoRA adapter is recognised, and the error names its base model."""
    (tmp_path / "adapter_config.json").write_text(content)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 2000)
    with pytest.raises(ModelFormatError, match=rf"is an adapter{base} \(adapter_config.json\).*merge_and_unload"):
        resolve_model(str(tmp_path))


def test_pickled_weights(tmp_path: Path) -> None:
    """Weights in a format that can hold code are refused, with how to convert them."""
    (tmp_path / "config.json").write_text("{}")
    for part in (1, 2):
        (tmp_path / f"pytorch_model-0000{part}-of-00002.bin").write_bytes(b"x")
    with pytest.raises(
        ModelFormatError, match=r"has its weights as pytorch_model-00001-of-00002.bin, pytorch.*convert"
    ):
        resolve_model(str(tmp_path))


def test_many_gguf_files(tmp_path: Path) -> None:
    """A directory with several GGUF files is refused; none is chosen by chance."""
    for name in ("b", "a"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFormatError, match=r"holds its weights as GGUF: a.gguf, b.gguf\. Give the path of one of"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "model.gguf"])
def test_git_lfs_pointer(tmp_path: Path, name: str) -> None:
    """A file that Git LFS did not fetch is recognised, alone and in a directory."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / name).write_text(POINTER)
    places = [tmp_path, tmp_path / name] if name.endswith("gguf") else [tmp_path]
    for place in places:
        with pytest.raises(ModelFormatError, match=rf"{name}' is a Git LFS pointer, .*Run 'git lfs pull' in"):
            resolve_model(str(place))


def test_text_about_git_lfs_is_no_pointer(tmp_path: Path) -> None:
    """Only small files of a model can be Git LFS pointers."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text(POINTER * 20)
    (tmp_path / "NOTES.txt").write_text(POINTER)
    assert resolve_model(str(tmp_path)).directory == tmp_path


def test_adapter_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter on the hub is recognised."""
    (tmp_path / "adapter_config.json").write_text("{}")
    monkeypatch.setattr(model_store, "_local_snapshot", lambda *_: None)
    monkeypatch.setattr(model_store, "_ensure_loadable", lambda *_: None)
    monkeypatch.setattr(model_store, "_hub_directory", lambda *_: tmp_path)
    with pytest.raises(ModelFormatError, match=r"The hub's model 'some/adapter' at revision 'v1' is an adapter"):
        resolve_model("some/adapter", revision="v1")


def test_other_form_in_the_hub_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, what the hub's cache has of a model is named, and the rest is not found."""

    def refuse(*_: object) -> Path:
        message = "The hub did not give it."
        raise ModelNotFoundError(message)

    monkeypatch.setattr(model_store, "_local_snapshot", lambda name, _: tmp_path if name == "some/model" else None)
    monkeypatch.setattr(model_store, "_ensure_loadable", lambda *_: None)
    monkeypatch.setattr(model_store, "_hub_directory", refuse)
    with pytest.raises(ModelNotFoundError):
        resolve_model("some/model")
    (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFormatError, match=r"'some/model' holds its weights as GGUF: model-q4.gguf"):
        resolve_model("some/model")
    with pytest.raises(ModelNotFoundError):
        resolve_model("other/model")
