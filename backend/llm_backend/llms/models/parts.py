"""Recognises files and directories that hold a part or another form of a model, and says what to do with them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llm_backend.errors import ModelFormatError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["gguf_files", "missing_part", "other_form", "refuse_gguf_part", "refuse_pointers"]

_POINTER = b"version https://git-lfs"  # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_LONGEST_POINTER = 1024  # bytes
_STORED_BY_LFS = frozenset({".safetensors", ".gguf", ".json", ".model"})


def missing_part(directory: Path) -> str | None:
    """What a directory lacks to load as a model; None where it is complete."""
    if not (directory / "config.json").is_file():
        return "config.json"
    if not any(directory.glob("*.safetensors")):
        return "weights (*.safetensors)"
    return None


def gguf_files(directory: Path) -> list[Path]:
    """The GGUF files in a directory that may be a model by themselves: not those that turn images into tokens."""
    return sorted(path for path in directory.glob("*.gguf") if not path.name.startswith("mmproj"))


def other_form(directory: Path) -> str | None:
    """What an incomplete model's directory holds instead, as the end of a sentence; None where it is unknown."""
    adapter = directory / "adapter_config.json"
    if adapter.is_file():
        base: Any = None
        with suppress(ValueError, AttributeError):
            base = json.loads(adapter.read_bytes()).get("base_model_name_or_path")
        of = f" of {shown(repr(base))}" if base else ""
        return (
            f"is an adapter{of} (adapter_config.json), not a model by itself. Merge it into its base model with "
            "peft's merge_and_unload(), save that with save_pretrained(), and give its directory."
        )
    pickled = sorted(path.name for path in directory.glob("pytorch_model*.bin"))
    if pickled:
        return (
            f"has its weights as {shown(', '.join(pickled))}, a format that is not read because it can hold code. "
            "If you trust it, convert it once: "
            "AutoModelForCausalLM.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)."
        )
    ggufs = [path.name for path in gguf_files(directory)]
    if ggufs:
        return f"holds its weights as GGUF: {shown(', '.join(ggufs))}. Give the path of one of these files."
    return None


def refuse_pointers(*files: Path) -> None:
    """Refuse the pointers that Git LFS leaves for files it did not fetch.

    Raises:
        ModelFormatError: one of ``files`` is such a pointer.
    """
    for file in files:
        if file.suffix in _STORED_BY_LFS and file.stat().st_size < _LONGEST_POINTER:
            with file.open("rb") as content:
                pointer = content.read(len(_POINTER)) == _POINTER
            if pointer:
                message = (
                    f"The file {str(file)!r} is a Git LFS pointer, not the file itself. "
                    f"Run 'git lfs pull' in {str(file.parent)!r}, or fetch the model again."
                )
                raise ModelFormatError(message)


def refuse_gguf_part(file: Path, fields: Mapping[str, Any], tensors: int) -> None:
    """Refuse a GGUF file that is not a complete model, by the keys of its header.

    The keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

    Raises:
        ModelFormatError: it is a part of one, an adapter, another kind of file, or only a vocabulary.
    """

    def said(key: str) -> Any:  # noqa: ANN401  (a header holds numbers and texts)
        return fields[key].contents() if key in fields else None

    def number(key: str) -> int:
        value = said(key)
        return value if isinstance(value, int) else 0

    kind, parts = said("general.type") or "model", number("split.count")
    if parts > 1:
        fact = (
            f"is part {number('split.no') + 1} of {parts} of a model. "
            "Join the parts with llama.cpp's 'llama-gguf-split --merge', and give the whole file."
        )
    elif kind == "adapter":
        fact = (
            "is a LoRA adapter, not a model by itself. "
            "Merge it into its base model with llama.cpp's 'llama-export-lora', and give the result."
        )
    elif kind != "model" or said("general.architecture") == "clip":
        fact = f"is of type {kind if kind != 'model' else 'clip'!r}, not a language model. Give the model's own file."
    elif not tensors:
        fact = "holds a vocabulary but no weights. Give the model's own file."
    else:
        return
    message = f"The file {str(file)!r} {fact}"
    raise ModelFormatError(message)
