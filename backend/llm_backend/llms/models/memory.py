"""Measures the machine and the model, and decides what fits. All sizes are in bytes."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from llm_backend.errors import InsufficientMemoryError, ModelFormatError
from llm_backend.llms.availability import import_library, is_installed
from llm_backend.llms.models.parts import refuse_gguf_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_backend.llms.settings.agent_settings import Quantization

__all__ = [
    "WEIGHT_BYTES",
    "ModelMemory",
    "check_safetensors",
    "conversion_memory",
    "ensure_ram",
    "get_available_memory",
    "get_available_vram",
    "model_memory_requirements",
    "pick_device",
]

_log = logging.getLogger(__name__)

_OWN_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_MOUNT = Path("/sys/fs/cgroup")
_LARGEST_HEADER = 100_000_000  # bytes; the format's own limit
_LENGTH_FIELD = 8  # bytes before the header that hold its length
_SMALLEST_VALUE = 2  # bytes; packed weights still compute, and so cache, in 16 bits
_CONVERTED_BYTES = 2  # of a weight, as bfloat16
_DEQUANTISING_BYTES = (
    12  # of each weight of the current tensor: the float32 values, their product with the scales, a copy
)
_READING_BYTES = 256 * 2**20  # for the header with its vocabulary, and for the tokenizer
# Bytes of one weight in memory, including the scale of each block of 64 weights in 4 bits.
WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5625}
# Activations and the runtime: a share of the weights (https://blog.eleuther.ai/transformer-math/), plus a constant for
# what does not grow with them, such as the scores of a piece of prompt. With SmolLM2-135M, both came to 61 MB.
_OVERHEAD, _OVERHEAD_BYTES = 0.2, 64 * 2**20
# While it quantises a tensor, bitsandbytes holds copies of it: on a CPU, 12 bytes a weight for int8 and 14.4 for int4
# (measured as the peak of RssAnon above the loaded model, whose largest packed tensor had 16.8 million weights).
_QUANTISING_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMemory:
    """How much memory a model takes, on whatever device it runs.

    Attributes:
        parameters: number of weights.
        weights: bytes of the weights, in their stored type unless another was asked for.
        kv_cache: bytes of the key-value cache for one sequence that fills the context window.
        overhead: bytes for activations and the runtime; a rule of thumb, not a measurement.
    """

    parameters: int
    weights: int
    kv_cache: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it together, in bytes."""
        return self.weights + self.kv_cache + self.overhead


def get_available_memory() -> int:
    """Bytes of RAM available without swapping, within the limits of the process's control groups."""
    return max(0, min([psutil.virtual_memory().available, *_cgroup_headrooms()]))


def get_available_vram(index: int = 0) -> int:
    """Bytes free on the NVIDIA GPU ``index`` (in NVML's order); does not initialise CUDA.

    Returns:
        0 if there is no such GPU, no driver or no ``pynvml``; also, with a logged warning, if NVML fails.
    """
    if not is_installed("pynvml"):
        return 0
    nvml = import_module("pynvml")
    try:
        nvml.nvmlInit()
        try:
            if index >= nvml.nvmlDeviceGetCount():
                return 0
            return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index)).free)
        finally:
            nvml.nvmlShutdown()
    except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
        return 0
    except nvml.NVMLError as exc:
        _log.warning("the NVIDIA driver does not answer, so the memory of GPU %d is not counted: %s", index, exc)
        return 0


def ensure_ram(required: int, needed_by: str = "This", available: int | None = None) -> None:
    """Refuse work that needs more memory than is free.

    Args:
        required: bytes.
        needed_by: what needs them, as worded in the error: "Converting model.gguf".
        available: bytes free; by default those of RAM, so pass a GPU's own.

    Raises:
        InsufficientMemoryError: less is free.
    """
    if available is None:
        available = get_available_memory()
    if required > available:
        message = (
            f"{needed_by} needs {required:,} bytes of memory, but only {available:,} are free. Choose a smaller model,"
            " a smaller context_window, quantization or another device, close other programs, or use a larger machine."
        )
        raise InsufficientMemoryError(message, required=required, available=available)


def pick_device(min_vram: int = 0) -> str:
    """Choose where a model runs.

    Args:
        min_vram: bytes that must be free on a GPU for it to be chosen.

    Returns:
        "cuda:N" for the first GPU that torch can use and that has room, else "mps" where available, else "cpu".

    Raises:
        BrokenExtraError: torch is installed, but does not import.
    """
    if not is_installed("torch"):
        return "cpu"
    torch = import_library("torch", "llm", "Choosing a device")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            # From torch rather than NVML, because the two may number the GPUs differently.
            if min_vram == 0 or torch.cuda.mem_get_info(index)[0] >= min_vram:
                return f"cuda:{index}"
    if torch.backends.mps.is_available() and get_available_memory() >= min_vram:
        return "mps"
    return "cpu"


def model_memory_requirements(
    model: Path, context_window: int | None = None, dtype: str | None = None, quantization: Quantization = "none"
) -> ModelMemory:
    """Estimate how much memory ``model`` takes, without loading it.

    Weights and parameters are read from the headers of the safetensors or GGUF files. The key-value cache is
    ``2 * layers * kv_heads * head_dim * context * bytes_per_value`` (keys and values of every layer, see
    https://huggingface.co/blog/kv-cache-quantization), with values as wide as the weights.

    Args:
        model: a directory with config.json and the weights, or a GGUF file.
        context_window: tokens; by default the model's own.
        dtype: the type of the weights in memory, a name in ``WEIGHT_BYTES``; by default that of the file, or for GGUF
            bfloat16, to which it is converted.
        quantization: how the layers are packed. Embeddings, output and norms keep the ``dtype``.

    Raises:
        ModelFormatError: a file is missing, cut short, or cannot be read.
        MissingExtraError: it is a GGUF file, and gguf is not installed.
    """
    if model.is_file():
        source, reader = model, _open_gguf(model)
        config = _gguf_config(reader)
        shapes = [tuple(map(int, tensor.shape)) for tensor in reader.tensors]
        tensors = [(shape, prod(shape) * _CONVERTED_BYTES) for shape in shapes]
    else:
        tensors = [tensor for file in _weight_files(model) for tensor in _tensors(file)]
        source = model / "config.json"
        config = _language_part(_read_object(source))
    parameters = sum(prod(shape) for shape, _ in tensors)
    if not parameters:
        message = f"{model} holds no weights. Fetch the model again."
        raise ModelFormatError(message)
    packed = [prod(shape) for shape, _ in tensors if _is_packed(shape, config, quantization)]
    width = WEIGHT_BYTES[dtype] if dtype else sum(size for _, size in tensors) / parameters
    weights = round((parameters - sum(packed)) * width + sum(packed) * WEIGHT_BYTES.get(quantization, width))
    return ModelMemory(
        parameters=parameters,
        weights=weights,
        kv_cache=_cached_values(config, source, context_window) * max(_SMALLEST_VALUE, round(width)),
        overhead=max(round(weights * _OVERHEAD) + _OVERHEAD_BYTES, max(packed, default=0) * _QUANTISING_BYTES),
    )


def _is_packed(shape: tuple[int, ...], config: Mapping[str, Any], quantization: Quantization) -> bool:
    """Whether a quantised load packs a tensor: all but norms, and the embeddings and output, with a row per token."""
    return quantization != "none" and len(shape) > 1 and config.get("vocab_size") not in shape


def conversion_memory(file: Path) -> int:
    """Estimate from the header how many bytes of memory the conversion of the GGUF ``file`` takes.

    transformers dequantises the tensors one by one in float32, and keeps them in bfloat16 until they are written
    (``load_gguf_checkpoint`` in its modeling_gguf_pytorch_utils.py). So the largest tensor counts on top of all
    converted weights. For the packaged model this gives 877 MB; in one measurement, converting it raised the peak of
    the resident memory by 679 MB (``ru_maxrss``; transformers 5.23 on a CPU, already imported).

    Raises:
        ModelFormatError: the file is cut short, or cannot be read.
        MissingExtraError: gguf is not installed.
    """
    sizes = [int(tensor.n_elements) for tensor in _open_gguf(file).tensors]
    return sum(sizes) * _CONVERTED_BYTES + max(sizes, default=0) * _DEQUANTISING_BYTES + _READING_BYTES


def _cgroup_headrooms() -> Iterator[int]:
    """Bytes left in each control group of this process that has a limit."""
    for line in _read_text(_OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, limit, usage, cached = _CGROUP_MOUNT, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            mount, cached = _CGROUP_MOUNT / "memory", "total_inactive_file"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = mount / path.lstrip("/")
        # The limits of all ancestors apply, too. In a container the path may be the host's: then only the mount exists.
        for directory in (own, *own.parents[: len(own.parts) - len(mount.parts)]):
            yield from _headroom(directory, limit, usage, cached)


def _headroom(directory: Path, limit: str, usage: str, cached: str) -> Iterator[int]:
    allowed, used = _read_text(directory / limit).strip(), _read_text(directory / usage).strip()
    if allowed.isdigit() and used.isdigit():  # otherwise there is no file, or it says "max", which means no limit
        counters = dict(line.split(" ", 1) for line in _read_text(directory / "memory.stat").splitlines())
        yield int(allowed) - int(used) + int(counters.get(cached, 0))  # the kernel drops such cache on demand


def _read_text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""


def _weight_files(directory: Path) -> list[Path]:
    """The files named by the index; without an index, all of them."""
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        files = sorted(directory.glob("*.safetensors"))
        if not files:
            message = f"{directory} holds no safetensors file. Give the directory of a complete model."
            raise ModelFormatError(message)
        return files
    shards = _read_object(index).get("weight_map")
    if not isinstance(shards, dict):
        message = f"{index} has no weight_map. Fetch the model again."
        raise ModelFormatError(message)
    return [directory / name for name in sorted({str(name) for name in shards.values()})]


def _tensors(file: Path) -> Iterator[tuple[tuple[int, ...], int]]:
    """Shape and size in bytes of each tensor in a safetensors file.

    The format: https://github.com/huggingface/safetensors#format
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_FIELD), "little")
            if length > min(_LARGEST_HEADER, file.stat().st_size):
                raise ModelFormatError(_damaged(file, f"it claims a header of {length:,} bytes"))
            header = json.loads(stream.read(length))
            data = os.fstat(stream.fileno()).st_size - stream.tell()
        header.pop("__metadata__", None)
        tensors = [(tuple(map(int, tensor["shape"])), tensor["data_offsets"]) for tensor in header.values()]
        sizes = [(shape, end - begin) for shape, (begin, end) in tensors]
        needed = max((end for _, (_, end) in tensors), default=0)
    except OSError as exc:
        raise ModelFormatError(_damaged(file, f"it cannot be read: {exc.strerror}")) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelFormatError(_damaged(file, "its header does not follow the format")) from exc
    if needed != data:
        raise ModelFormatError(_damaged(file, f"its tensors need {needed:,} bytes, but it holds {data:,}"))
    yield from sizes


def check_safetensors(file: Path) -> None:
    """Check that a safetensors file is complete, by comparing its length with what its header says.

    Raises:
        ModelFormatError: it is not.
    """
    for _ in _tensors(file):
        pass


def _open_gguf(file: Path) -> Any:  # noqa: ANN401  (the library is not typed)
    """A reader of the file's header; it maps the weights, and leaves them on disk."""
    gguf: Any = import_library("gguf", "llm", f"Reading {file.name}")
    try:
        reader = gguf.GGUFReader(file)
    except Exception as exc:
        old = "file appears to be version" in str(exc)
        advice = "Convert it with llama.cpp" if old else "It may be truncated: fetch it again"
        message = (
            f"The file {str(file)!r} cannot be read as a GGUF model ({type(exc).__name__}: {exc}). "
            f"{advice}, or choose another model."
        )
        raise ModelFormatError(message) from exc
    refuse_gguf_part(file, reader.fields, len(reader.tensors))
    return reader


def _gguf_config(reader: Any) -> dict[str, Any]:  # noqa: ANN401  (the library is not typed)
    """The header's values under their names in config.json; None for those it lacks.

    The header's names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#llm
    """
    said = {name.partition(".")[2]: field for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
    names = {
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length",
        "hidden_size": "embedding_length",
        "max_position_embeddings": "context_length",
        "vocab_size": "vocab_size",
    }
    values = {name: said[theirs].contents() if theirs in said else None for name, theirs in names.items()}
    return {name: max(value) if isinstance(value, list) else value for name, value in values.items()}  # one per layer


def _damaged(file: Path, fact: str) -> str:
    return f"{file} is not a complete safetensors file: {fact}. Fetch the model again."


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as exc:
        message = f"{path} cannot be read: {exc.strerror}. Give the directory of a complete model."
        raise ModelFormatError(message) from exc
    except ValueError as exc:
        message = f"{path} is not valid JSON: {exc}. Fetch the model again."
        raise ModelFormatError(message) from exc
    if not isinstance(content, dict):
        message = f"{path} holds a {type(content).__name__}, not an object. Fetch the model again."
        raise ModelFormatError(message)
    return content


def _language_part(config: dict[str, Any]) -> dict[str, Any]:
    nested = config.get("text_config")  # in models that also take images or audio
    return nested if isinstance(nested, dict) else config


def _cached_values(text: Mapping[str, Any], source: Path, context_window: int | None) -> int:
    """How many values the key-value cache holds when the context window is full."""
    layers = _number(text, source, "num_hidden_layers", "n_layer")
    heads = _number(text, source, "num_attention_heads", "n_head")
    kv_heads = _number(text, source, "num_key_value_heads", "num_attention_heads", "n_head")
    if text.get("head_dim") is None:  # families that fix it leave it out, or write null
        head_dim = _number(text, source, "hidden_size", "n_embd") // heads
    else:
        head_dim = _number(text, source, "head_dim")
    longest = _number(text, source, "max_position_embeddings", "n_positions", "n_ctx")
    return 2 * layers * kv_heads * head_dim * min(context_window or longest, longest)


def _number(config: Mapping[str, Any], source: Path, *names: str) -> int:
    """The first of ``names`` that ``config`` has as a count; model families use different names."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and value > 0:
            return value
    message = (
        f"{source} has no number for {' or '.join(names)}, so the size of the model's cache is unknown."
        " Fetch the model again."
    )
    raise ModelFormatError(message)
