"""Says what a file or a directory is that is a part of a model, or another form of one, and what to do with it."""

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
    """What a directory lacks to be a model that loads; None where it is whole."""
    if not (directory / "config.json").is_file():
        return "config.json"
    if not any(directory.glob("*.safetensors")):
        return "weights (*.safetensors)"
    return None


def gguf_files(directory: Path) -> list[Path]:
    """The GGUF files in a directory that could be a model by themselves: not those that turn images into tokens."""
    return sorted(path for path in directory.glob("*.gguf") if not path.name.startswith("mmproj"))


def other_form(directory: Path) -> str | None:
    """What a directory is that is no whole model, as the end of a sentence; None where that has no name."""
    adapter = directory / "adapter_config.json"
    if adapter.is_file():
        base: Any = None
        with suppress(ValueError, AttributeError):
            base = json.loads(adapter.read_bytes()).get("base_model_name_or_path")
        of = f" of {shown(repr(base))}" if base else ""
        return (
            f"is an adapter{of} (adapter_config.json), and no model by itself. Merge it into its base model with "
            "peft's merge_and_unload(), save that with save_pretrained(), and give its directory."
        )
    pickled = sorted(path.name for path in directory.glob("pytorch_model*.bin"))
    if pickled:
        return (
            f"has its weights as {shown(', '.join(pickled))}, which is not read here: that format can hold code. "
            "If you trust it, convert it once: "
            "AutoModelForCausalLM.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)."
        )
    ggufs = [path.name for path in gguf_files(directory)]
    if ggufs:
        return f"holds its weights as GGUF: {shown(', '.join(ggufs))}. Give the path of one such file."
    return None


def refuse_pointers(*files: Path) -> None:
    """Refuse what Git LFS puts in the place of a file that was not fetched.

    Raises:
        ModelFormatError: one of ``files`` is only such a pointer.
    """
    for file in files:
        if file.suffix in _STORED_BY_LFS and file.stat().st_size < _LONGEST_POINTER:
            with file.open("rb") as content:
                pointer = content.read(len(_POINTER)) == _POINTER
            if pointer:
                message = (
                    f"The file {str(file)!r} is a Git LFS pointer, and not the file itself. "
                    f"Run 'git lfs pull' in {str(file.parent)!r}, or fetch the model again."
                )
                raise ModelFormatError(message)


def refuse_gguf_part(file: Path, fields: Mapping[str, Any], tensors: int) -> None:
    """Refuse a GGUF file that is no whole model; the keys are those of its header.

    They stand in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

    Raises:
        ModelFormatError: it is a part of one, an adapter, another kind of file, or a vocabulary alone.
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
            "is a LoRA adapter, and no model by itself. "
            "Merge it into its base model with llama.cpp's 'llama-export-lora', and give what comes of that."
        )
    elif kind != "model" or said("general.architecture") == "clip":
        fact = (
            f"is of the kind {kind if kind != 'model' else 'clip'!r}, and no language model. Give the model's own file."
        )
    elif not tensors:
        fact = "holds a vocabulary, and no weights at all. Give the model's own file."
    else:
        return
    message = f"The file {str(file)!r} {fact}"
    raise ModelFormatError(message)
