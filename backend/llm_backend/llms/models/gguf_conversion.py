"""Converts a GGUF file into a directory of safetensors that transformers loads fast.

Separate from the store, because this needs torch and transformers, which it imports when called.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from llm_backend.errors import ModelFormatError
from llm_backend.llms.availability import GGUF_LIBRARIES, require_libraries
from llm_backend.llms.engine_registry import ENGINES, LOCAL_ENGINE
from llm_backend.llms.models.memory import conversion_memory, ensure_ram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Progress", "convert_gguf", "loading", "quiet_transformers", "refuse_lacking_weights"]

# Receives the current step, how much of it is done, and the total; None where the total is unknown.
Progress: TypeAlias = Callable[[str, int, int | None], None]

_log = logging.getLogger(__name__)
_LOADING = threading.Lock()


@contextmanager
def loading() -> Iterator[None]:
    """Hold the process-wide lock on loading weights, and silence progress bars.

    Two concurrent ``from_pretrained`` leave broken models: each changes torch's default dtype, and how layers are
    made, for the whole process.
    """
    with _LOADING, quiet_transformers():
        yield


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Turn off transformers' progress bars, which it draws even without a terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()


@contextmanager
def _counted_tensors(progress: Progress) -> Iterator[None]:
    """Count tensors by replacing a progress bar of transformers that no setting turns off."""
    reader: Any = import_module("transformers.modeling_gguf_pytorch_utils")
    bar = reader.tqdm

    def count(tensors: Sequence[Any], **_: object) -> Iterator[Any]:
        for done, tensor in enumerate(tensors, start=1):
            yield tensor
            progress("converting tensors", done, len(tensors))

    reader.tqdm = count
    try:
        yield
    finally:
        reader.tqdm = bar


def refuse_lacking_weights(place: str, model: Any, info: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Refuse a model that transformers completed with random weights; ``info`` is its report on the load.

    Raises:
        ModelFormatError: the model in ``place`` lacks weights.
    """
    lacking = sorted(info["missing_keys"]) + [name for name, weight in model.named_parameters() if weight.is_meta]
    if lacking:
        message = (
            f"The model in {place} lacks {len(lacking)} of its weights, {lacking[0]!r} first. "
            "Fetch it again, or choose another model."
        )
        raise ModelFormatError(message)


def _refuse_ignored_weights(source: Path, model: Any) -> None:  # noqa: ANN401
    """Refuse a model that transformers silently read only in part.

    Ignores what transformers computes itself (``rope_*``), and layers after the last, which only predict further ahead.

    Raises:
        ModelFormatError: the file holds more weights than the model.
    """
    layers = model.config.get_text_config().num_hidden_layers
    held = 0
    for tensor in import_module("gguf").GGUFReader(source).tensors:
        layer = re.match(r"blk\.(\d+)\.", tensor.name)
        if not (tensor.name.startswith("rope_") or (layer and int(layer[1]) >= layers)):
            held += int(tensor.n_elements)
    taken = sum({weight.data_ptr(): weight.numel() for weight in model.state_dict().values()}.values())
    if held > taken:
        message = (
            f"The file {str(source)!r} holds {held:,} weights, but transformers loads only {taken:,} of them into "
            f"{type(model).__name__}, which would give wrong answers. "
            "Use the model's safetensors, or a server that reads GGUF."
        )
        raise ModelFormatError(message)


def convert_gguf(source: Path, target: Path, progress: Progress) -> None:
    """Write the model and the tokenizer of the GGUF file ``source`` into the directory ``target``, in bfloat16.

    Raises:
        MissingExtraError: torch, transformers, gguf or accelerate is not installed.
        ModelFormatError: the file is truncated, lacks weights, or is a model that transformers does not fully support.
        InsufficientMemoryError: the conversion needs more memory than is free; nothing has been written.
        OSError: the target cannot be written.

    """
    needed_by = f"Converting {source.name}"
    local = ENGINES[LOCAL_ENGINE]
    require_libraries((*local.libraries, *GGUF_LIBRARIES), local.extra, needed_by)
    ensure_ram(conversion_memory(source), needed_by)
    _log.info("converting %r (%.0f MB) to safetensors, once", source.name, source.stat().st_size / 1e6)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with loading(), _counted_tensors(progress):
        try:
            progress("reading the tokenizer", 0, None)
            tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
            model, info = AutoModelForCausalLM.from_pretrained(
                str(source.parent),
                gguf_file=source.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
                output_loading_info=True,
            )
        except Exception as exc:  # the file is complete: its header and tensors' sizes were checked before
            message = (
                f"The file {str(source)!r} cannot be read as a GGUF model ({type(exc).__name__}: {exc}). "
                "Choose another model, or another format of this one."
            )
            raise ModelFormatError(message) from exc
        refuse_lacking_weights(f"GGUF file {str(source)!r}", model, info)
        _refuse_ignored_weights(source, model)
        progress("writing", 0, None)
        try:
            model.save_pretrained(target)
        except SafetensorError as exc:  # raised when the disk is full
            raise OSError(str(exc)) from exc
        tokenizer.save_pretrained(target)
