"""The one place that knows whether the extras' libraries are installed, and whether they work.

"Not installed" means ModuleNotFoundError for that very module; any other import failure is a broken installation.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from llm_backend.errors import BrokenExtraError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = [
    "GGUF_LIBRARIES",
    "OURS",
    "QUANTIZATION_LIBRARIES",
    "import_library",
    "install_advice",
    "is_installed",
    "own_version",
    "require_libraries",
]

OURS = "llm-backend"  # this distribution
# Without accelerate, transformers reports a GGUF file as unreadable.
GGUF_LIBRARIES = ("gguf", "accelerate")
QUANTIZATION_LIBRARIES = ("bitsandbytes", "accelerate")


def is_installed(module: str) -> bool:
    """Whether ``module``, or its top-level one, is installed; it is not imported, so it may still be broken."""
    return find_spec(module.partition(".")[0]) is not None


def own_version() -> str:
    """This package's version, or a note that there is none, because a checkout also runs without installation."""
    try:
        return version(OURS)
    except PackageNotFoundError:
        return "(a checkout that is not installed)"


def require_libraries(libraries: Sequence[str], extra: str, needed_by: str, distribution: str = OURS) -> None:
    """Import all ``libraries``; slow the first time, so keep it off the event loop.

    Args:
        libraries: their modules.
        extra: the extra of ``distribution`` that installs them; empty if the distribution itself does.
        needed_by: who needs them, as worded in the error: "The huggingface engine".
        distribution: the one whose engine it is.

    Raises:
        MissingExtraError: one is not installed.
        BrokenExtraError: one is installed, but does not import.
    """
    for module in libraries:  # fails at once; importing the others first would take seconds
        if not is_installed(module):
            raise _missing(module, needed_by, install_advice(extra, distribution=distribution))
    for module in libraries:
        import_library(module, extra, needed_by, distribution)


def import_library(module: str, extra: str, needed_by: str, distribution: str = OURS) -> ModuleType:
    """Import ``module``, a library that ``extra`` installs (or a module of the engine that needs one).

    Takes and raises as ``require_libraries`` does.
    """
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.addFilter(_is_not_about_kernels)
    try:
        return import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # some call sys.exit, and a panic in Rust is no Exception
        if isinstance(exc, ModuleNotFoundError) and f"{module}.".startswith(f"{exc.name}."):
            raise _missing(module, needed_by, install_advice(extra, distribution=distribution)) from exc
        message = (
            f"{needed_by} needs {module}, which is installed but does not import ({type(exc).__name__}: {exc})."
            f" Install it again with: {install_advice(extra, '--force-reinstall ', distribution)}."
        )
        raise BrokenExtraError(message, name=module) from exc
    finally:
        logger.removeFilter(_is_not_about_kernels)


def install_advice(extra: str, options: str = "", distribution: str = OURS) -> str:
    """How to install ``extra``; ours from a checkout, because anybody could take this package's name on an index."""
    if distribution == OURS:
        return f"pip install {options}'.[{extra}]', in a checkout of llm-backend"
    return f"pip install {options}'{distribution}[{extra}]'" if extra else f"pip install {options}{distribution}"


def _is_not_about_kernels(record: logging.LogRecord) -> bool:
    """Drop bitsandbytes' advice to install ``kernels``, given on CPUs with AVX-512 BF16.

    With ``kernels`` installed, importing it downloads programs from the hub, which we do not recommend.
    """
    return "No module named 'kernels'" not in record.getMessage()


def _missing(module: str, needed_by: str, advice: str) -> MissingExtraError:
    message = f"{needed_by} needs {module}, which is not installed. Install it with: {advice}."
    return MissingExtraError(message, name=module)
