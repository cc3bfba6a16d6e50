"""How much memory this process holds, and whether it grows."""

from __future__ import annotations

import gc
import os
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence


def resident() -> int:
    """Memory of this process in bytes: resident, plus tensors on a GPU.

    What is free but not yet returned does not count: a model's thread returns it only after its answer is out, and on a
    busy machine long after.
    """
    import torch

    from llm_backend.llms.engines.huggingface.model import _return_memory

    gc.collect()
    _return_memory()
    return psutil.Process(os.getpid()).memory_info().rss + int(torch.cuda.memory_allocated())


def growth(samples: Sequence[float]) -> float:
    """How much each sample adds to the one before: the median slope of all pairs (Theil-Sen).

    What a library keeps for a while, or frees late, moves single samples by tens of megabytes, and this by next to
    nothing: more than a quarter of the samples would have to lie.
    """
    pairs = combinations(enumerate(samples), 2)
    return median((later - earlier) / (after - before) for (before, earlier), (after, later) in pairs)
