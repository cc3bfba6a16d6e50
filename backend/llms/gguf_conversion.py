"""Converts a GGUF file into a directory of safetensors that transformers loads quickly.

Apart from the store, because this needs torch and transformers, which it imports when it is called.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backend.errors import ModelFormatError
from backend.llms.availability import import_library, require_extra
from backend.llms.safety import conversion_memory, ensure_ram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["convert_gguf", "loading", "quiet_transformers"]

_LOADING = threading.Lock()


@contextmanager
def loading() -> Iterator[None]:
    """Hold the process's one right to load weights, quietly.

    Two ``from_pretrained`` at once leave broken models behind: each changes torch's default dtype and how layers are
    made, for the whole process.
    """
    with _LOADING, quiet_transformers():
        yield


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' own progress bars off, which it draws even where there is no terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()


def convert_gguf(source: Path, target: Path) -> None:
    """Write the model and the tokenizer of the GGUF file ``source`` into the directory ``target``, in bfloat16.

    Shows a progress bar where standard error is a terminal.

    Raises:
        MissingExtraError: torch, transformers or gguf is not installed.
        ModelFormatError: the file is truncated, or no model that transformers knows.
        InsufficientMemoryError: the conversion needs more memory than is free; nothing has been written.
        OSError: the target cannot be written.

    """
    needed_by = f"Converting {source.name}"
    require_extra("llm-cpu", needed_by)
    import_library("gguf", "llm-cpu", needed_by)
    ensure_ram(conversion_memory(source), needed_by)
    import torch
    from safetensors import SafetensorError
    from tqdm import tqdm  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    bar = tqdm(total=3, desc=f"Converting {source.name}", unit="step", disable=not sys.stderr.isatty())
    with loading(), bar as progress:
        try:
            progress.set_postfix_str("reading the tokenizer")
            tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
            progress.update()
            progress.set_postfix_str("reading the weights")
            model = AutoModelForCausalLM.from_pretrained(
                str(source.parent),
                gguf_file=source.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            )
            progress.update()
        except Exception as exc:
            message = (
                f"The file {str(source)!r} cannot be read as a GGUF model ({type(exc).__name__}: {exc}). "
                "It may be truncated: fetch it anew, or choose another model."
            )
            raise ModelFormatError(message) from exc
        progress.set_postfix_str("writing")
        try:
            model.save_pretrained(target)
        except SafetensorError as exc:  # how it reports that the disk is full
            raise OSError(str(exc)) from exc
        tokenizer.save_pretrained(target)
        progress.update()
