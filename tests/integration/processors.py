"""The processor that the real tests run on: the weights' type that it chooses, and what torch makes of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# float32 or bfloat16: tests then run as on a processor that chooses this type for dtype "auto".
VARIABLE = "LLM_BACKEND_TEST_DTYPE"


def pretend_processor(dtype: str | None, patch: pytest.MonkeyPatch) -> None:
    """Make dtype "auto" mean ``dtype`` on the CPU, native or emulated; None leaves it as it is.

    Raises:
        ValueError: it is not a type that "auto" can be.
    """
    if dtype is None:
        return
    if dtype not in {"float32", "bfloat16"}:
        message = f"{VARIABLE} is {dtype!r}: set it to float32 or bfloat16, or leave it unset"
        raise ValueError(message)
    import torch

    # Older versions of torch lack it.
    really: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    said = {**really, **dict.fromkeys(("avx512_bf16", "amx_bf16", "bf16"), dtype == "bfloat16")}
    patch.setattr(torch.cpu, "get_capabilities", lambda: said, raising=False)


def dtype_under_test() -> str:
    """The weights' type in most tests: that of dtype "auto" on the CPU."""
    from llm_backend.llms.engines.huggingface.loading import choose_dtype

    return choose_dtype("auto", "cpu", "none")


def facts() -> dict[str, str]:
    """What a receipt says about torch on this machine: its kernels, its threads, and the weights' type in most tests.

    It imports nothing: without torch, or before torch is needed, there is nothing to report.
    """
    torch = sys.modules.get("torch")
    if torch is None or "transformers" not in sys.modules:
        return {}
    return {
        "torch": f"{torch.__version__}, kernels {torch.backends.cpu.get_cpu_capability()}",
        "threads": str(torch.get_num_threads()),
        "dtype": os.environ.get(VARIABLE) or dtype_under_test(),
    }
