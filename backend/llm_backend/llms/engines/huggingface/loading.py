"""From settings to a model in memory: where it runs, in which type, and whether it fits."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from llm_backend.errors import (
    BackendError,
    ConfigError,
    EngineError,
    InsufficientMemoryError,
    MissingExtraError,
    ModelFormatError,
)
from llm_backend.llms.availability import QUANTIZATION_LIBRARIES, require_libraries
from llm_backend.llms.engines.huggingface.loaded_models import acquire
from llm_backend.llms.engines.huggingface.model import GenerationCancelledError, ModelKey
from llm_backend.llms.models.memory import (
    WEIGHT_BYTES,
    ensure_ram,
    get_available_memory,
    model_memory_requirements,
    pick_device,
)
from llm_backend.llms.models.store import is_hub_name, resolve_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llm_backend.llms.engines.huggingface.model import LoadedModel
    from llm_backend.llms.models.store import ResolvedModel
    from llm_backend.llms.settings.agent_settings import AgentSettings, Quantization

__all__ = ["choose_context_window", "choose_dtype", "engine_errors", "load_model"]

_log = logging.getLogger(__name__)
_MODEL_FILES = frozenset({".safetensors", ".json", ".jinja", ".py"})
# With memory for a shorter context than this, in tokens, a model is useless.
LEAST_CONTEXT = 1024
_NO_DOCSTRINGS = "Run Python without -OO (PYTHONOPTIMIZE=2): transformers reads docstrings, which that removes. "


def load_model(settings: AgentSettings) -> tuple[ResolvedModel, LoadedModel]:
    """Find the model that ``settings`` choose, and load it unless it is in memory; ``release`` it afterwards.

    Raises as ``HuggingFaceAgent.create`` does. Blocks.
    """
    quantization = settings.chosen_quantization()
    if quantization != "none":
        _ensure_quantisable(settings, quantization)
    narrowest = "bfloat16" if settings.dtype == "auto" else settings.dtype
    least = WEIGHT_BYTES[narrowest if quantization == "none" else quantization]
    resolved = resolve_model(settings.model, revision=settings.revision, weight_bytes=least)
    if settings.trust_remote_code and resolved.source == "directory" and is_hub_name(resolved.name):
        # Trusting a model on the hub does not mean trusting a folder of that name in the working directory.
        message = (
            f"trust_remote_code is on, and {resolved.name!r} is a folder in the working directory, but you may mean"
            f" a model on the hub. To run that folder's code, write ./{resolved.name} instead."
        )
        raise ConfigError(message)
    device = _device(settings, resolved.directory, narrowest)
    key = ModelKey(
        directory=resolved.directory,
        files=_files(resolved.directory),
        device=device,
        dtype=choose_dtype(settings.dtype, device, quantization),
        quantization=quantization,
        trust_remote_code=settings.trust_remote_code,
    )
    with _load_errors(resolved, key):
        return resolved, acquire(key, lambda: _ensure_fits(key, settings.context_window))


def choose_context_window(name: str, loaded: LoadedModel, wanted: int | None) -> int:
    """How many tokens prompt and answer may have together.

    The model's own window, or less: what is ``wanted``, or what there was memory for when the model was loaded.

    Raises:
        ConfigError: more is wanted than the model's window.
        InsufficientMemoryError: more is wanted than there was memory for.
    """
    says: Any = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if says is not None and wanted is not None and wanted > says:
        message = f"context_window is {wanted}, but the model reads at most {says} tokens. Give at most {says}."
        raise ConfigError(message)
    window = wanted or int(says)  # with neither, model_memory_requirements has refused the model
    if window <= loaded.cache_tokens:
        return window
    if wanted:
        message = (
            f"context_window is {wanted}, but {name!r} was loaded with memory for {loaded.cache_tokens} tokens. "
            f"Give at most {loaded.cache_tokens}."
        )
        raise InsufficientMemoryError(message, required=None, available=_free(loaded.key.device))
    _log.warning(
        "%r reads %d tokens, but there is memory for the cache of only %d, which limits its context window",
        name,
        says,
        loaded.cache_tokens,
    )
    return loaded.cache_tokens


def _files(directory: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells the current model from one that replaces it: inode and modification time of each file."""
    found = ((path.name, path.stat()) for path in sorted(directory.iterdir()) if path.suffix in _MODEL_FILES)
    return tuple((name, stat.st_ino, stat.st_mtime_ns) for name, stat in found)


def _ensure_quantisable(settings: AgentSettings, quantization: Quantization) -> None:
    """Refuse what bitsandbytes cannot do, or its absence, before anything is fetched or converted."""
    if settings.device == "mps":
        message = (
            f"quantization {quantization!r} needs a CUDA GPU or a CPU, but device is 'mps'. "
            "Set device to 'cpu', or quantization to 'none'."
        )
        raise ConfigError(message)
    if quantization == "int8" and settings.dtype not in {"auto", "float16"}:
        message = (
            f"quantization 'int8' computes in float16, but dtype is {settings.dtype!r}. "
            "Set dtype to 'auto', or quantization to 'int4' or 'none'."
        )
        raise ConfigError(message)
    require_libraries(QUANTIZATION_LIBRARIES, "quantization", f"quantization {quantization!r}")


def _device(settings: AgentSettings, directory: Path, narrowest: str) -> str:
    wanted, quantization = settings.device, settings.chosen_quantization()
    if wanted == "auto":
        context = settings.context_window or LEAST_CONTEXT
        device = pick_device(model_memory_requirements(directory, context, narrowest, quantization).total)
        return "cpu" if device == "mps" and quantization != "none" else device
    kind, _, index = wanted.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,  # ROCm's devices too
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if int(index or 0) >= there:
        message = f"The device {wanted!r} does not exist here: torch sees {there} of that kind. Use 'auto' or 'cpu'."
        raise ConfigError(message)
    return "cuda:0" if wanted == "cuda" else wanted  # one name per device, so that agents on it share weights


def choose_dtype(wanted: str, device: str, quantization: Quantization) -> str:
    """The type of the weights in memory: the chosen one, else bfloat16 if the hardware computes in it.

    A CPU without instructions for it emulates it: decoding is a quarter faster than in float32, but reading a prompt
    takes three to four times as long (figures by ``nox -s bench``, in docs/configuration.md).
    """
    if wanted != "auto":
        return wanted
    if quantization == "int8":
        return "float16"  # the type in which bitsandbytes computes int8
    # Older versions of torch cannot tell what a CPU supports.
    cpu: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has_it = (
        (device == "cpu" and any(cpu.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")))
        or (device == "mps" and torch.backends.mps.is_macos_or_newer(14, 0))
        or (device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False))
    )
    return "bfloat16" if has_it else "float32"


def _free(device: str) -> int:
    """Bytes of memory free on ``device``."""
    if device.startswith("cuda"):
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return get_available_memory()


def _ensure_fits(key: ModelKey, wanted: int | None) -> int:
    """For how many tokens of context there is memory beside the weights.

    Raises:
        InsufficientMemoryError: the weights do not fit with ``wanted`` tokens or, if unset, with a short context.
    """
    one, whole = (
        model_memory_requirements(key.directory, context, key.dtype, key.quantization) for context in (1, wanted)
    )
    free, fixed = _free(key.device), one.weights + one.overhead
    least = min(wanted or LEAST_CONTEXT, whole.kv_cache // one.kv_cache)
    needed_by = f"The model in {str(key.directory)!r} with a context of {least:,} tokens on {key.device!r}"
    ensure_ram(fixed + least * one.kv_cache, needed_by, free)
    return (free - fixed) // one.kv_cache


@contextmanager
def _load_errors(resolved: ResolvedModel, key: ModelKey) -> Iterator[None]:
    """Translate what loading a model can raise into our errors."""
    try:
        yield
    except BackendError:
        raise
    except ImportError as exc:
        message = f"Loading {resolved.name!r} needs a library that is not installed: {exc}"
        raise MissingExtraError(message, name=exc.name) from exc
    except torch.OutOfMemoryError as exc:
        raise _out_of_memory(resolved.name, key.device) from exc
    except Exception as exc:
        message = (
            f"The model {resolved.name!r} in {str(resolved.directory)!r} cannot be loaded "
            f"({_reason(exc)}). "
            + (_NO_DOCSTRINGS if sys.flags.optimize > 1 else "")
            + "Fetch it again, or choose another model"
            + (", or set quantization to 'none'" if key.quantization != "none" else "")
            + (", or set trust_remote_code to true if you trust its code." if "custom code" in str(exc) else ".")
        )
        raise ModelFormatError(message) from exc


@contextmanager
def engine_errors(model: str, device: str) -> Iterator[None]:
    """Translate what generating can raise into our errors."""
    try:
        yield
    except (BackendError, GenerationCancelledError):
        raise
    except torch.OutOfMemoryError as exc:
        raise _out_of_memory(model, device) from exc
    except Exception as exc:
        message = f"The model {model!r} failed while answering ({_reason(exc)}). Try another model or device."
        raise EngineError(message) from exc


def _reason(exc: Exception) -> str:
    """Name the foreign error, with the first line of its message: some fill a page."""
    return f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}"


def _out_of_memory(model: str, device: str) -> InsufficientMemoryError:
    free = _free(device)
    message = (
        f"The device {device!r} ran out of memory running {model!r}, with {free:,} bytes left. "
        "Use a smaller model, a shorter prompt, or device 'cpu'."
    )
    return InsufficientMemoryError(message, required=None, available=free)
