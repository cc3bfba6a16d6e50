"""The one place that knows whether the extras' libraries are there, and whether they work.

"Not installed" means ModuleNotFoundError for that very module; whatever else stops an import is a broken installation.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from llm_backend.errors import BrokenExtraError, MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "GGUF_LIBRARIES",
    "LIBRARIES",
    "import_library",
    "install_advice",
    "is_installed",
    "missing_library",
    "own_version",
    "require_extra",
]

# What an engine, or a setting of one, cannot do without, by the extra that installs it.
LIBRARIES = {
    "openai": ("openai",),
    "langchain": ("langchain_openai",),
    "llm": ("torch", "transformers"),
    "quantization": ("bitsandbytes", "accelerate"),
}
# Without accelerate, transformers calls a GGUF file unreadable.
GGUF_LIBRARIES = ("gguf", "accelerate")


def is_installed(module: str) -> bool:
    """Whether the top-level ``module`` is there; it is not imported, so it may still be broken."""
    return find_spec(module) is not None


def own_version() -> str:
    """This package's version, or that there is none: a checkout runs without being installed, too."""
    try:
        return version("llm-backend")
    except PackageNotFoundError:
        return "(a checkout that is not installed)"


def missing_library(extra: str) -> str | None:
    """Name the first library of ``extra`` that is not installed, without importing any; None if all are there."""
    return next((module for module in LIBRARIES[extra] if not is_installed(module)), None)


def require_extra(extra: str, needed_by: str) -> None:
    """Import all libraries of ``extra``; slow the first time, so not for the event loop.

    Args:
        extra: the extra of this package that installs them.
        needed_by: who needs them, as the error says it: "The huggingface engine".

    Raises:
        MissingExtraError: one is not installed.
        BrokenExtraError: one is installed, but does not import.
    """
    missing = missing_library(extra)  # known at once, where importing the others first would take seconds
    if missing is not None:
        raise _missing(missing, extra, needed_by)
    for module in LIBRARIES[extra]:
        import_library(module, extra, needed_by)


def import_library(module: str, extra: str, needed_by: str) -> ModuleType:
    """Import ``module``, a library that ``extra`` installs (or a module of ours that needs one).

    Takes and raises as ``require_extra`` does.
    """
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.addFilter(_is_not_about_kernels)
    try:
        return import_module(module)
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and exc.name == module:
            raise _missing(module, extra, needed_by) from exc
        message = (
            f"{needed_by} needs {module}, which is installed but does not import ({type(exc).__name__}: {exc})."
            f" Install it again with: {install_advice(extra, '--force-reinstall ')}."
        )
        raise BrokenExtraError(message, name=module) from exc
    finally:
        logger.removeFilter(_is_not_about_kernels)


def install_advice(extra: str, options: str = "") -> str:
    """How to install ``extra``: from a checkout, because on an index anybody could take this package's name."""
    return f"pip install {options}'.[{extra}]', in a checkout of llm-backend"


def _is_not_about_kernels(record: logging.LogRecord) -> bool:
    """Whether it is not bitsandbytes' advice to install ``kernels``, on CPUs with AVX-512 BF16.

    With that installed, its import fetches programs from the hub, which is nothing to advise our users.
    """
    return "No module named 'kernels'" not in record.getMessage()


def _missing(module: str, extra: str, needed_by: str) -> MissingExtraError:
    message = f"{needed_by} needs {module}, which is not installed. Install it with: {install_advice(extra)}."
    return MissingExtraError(message, name=module)
