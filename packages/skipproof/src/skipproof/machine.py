"""Which machine a run was on: its processor, and the features of it that change numerical results.

Uses only the standard library. How a project's own libraries use the machine, such as their kernels and threads, the
project reports through the hook ``pytest_skipproof_facts``.
"""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

__all__ = ["FEATURES", "available", "facts", "features", "has_feature", "run_facts", "told"]

# As Linux names them, on x86-64 and on ARM. Which of them a library uses decides the order and width of its sums.
FEATURES = (
    *("avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_fp16", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16"),
)
_CPUINFO = Path("/proc/cpuinfo")


def facts() -> dict[str, str]:
    """Return what a receipt keeps of the machine, each fact as a string."""
    found = {"processor": _processor(), "features": " ".join(features()), "processors": str(available())}
    return {name: text for name, text in found.items() if text}


def run_facts(config: pytest.Config) -> dict[str, str]:
    """Return what a receipt keeps of the machine, with what the project can report about it so far."""
    by_project: list[dict[str, str]] = config.hook.pytest_skipproof_facts()
    # A number is easily told too, and would end a whole run where it is read.
    return facts() | {str(name): str(text) for each in reversed(by_project) for name, text in each.items()}


def told(found: Mapping[str, str]) -> str:
    """Return facts as one line to read."""
    return "; ".join(f"{name}: {text}" for name, text in found.items())


def features(cpuinfo: Path = _CPUINFO) -> list[str]:
    """Return the features of this processor, in the order of FEATURES; empty on systems other than Linux."""
    flags = {*_value(cpuinfo, "flags").split(), *_value(cpuinfo, "Features").split()}
    return [name for name in FEATURES if name in flags]


def has_feature(name: str) -> bool:
    """Say whether this processor has a feature."""
    return name in features()


def available(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many processors this process may use, given the machine, its affinity and its container's quota.

    Args:
        quota: file where Linux (cgroup 2) has the quota: microseconds of work per period, or "max", and the period.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
        return max(1, min(count, int(allowed) // int(period)))
    except (OSError, ValueError):  # no cgroup 2, or no limit
        return count


@cache
def _processor(cpuinfo: Path = _CPUINFO) -> str:
    return _value(cpuinfo, "model name") or _brand() or platform.processor() or platform.machine()


def _brand(command: tuple[str, ...] = ("sysctl", "-n", "machdep.cpu.brand_string")) -> str:
    """Return what macOS calls the processor; empty where the command or the name does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _value(cpuinfo: Path, key: str) -> str:
    """Return what Linux reports for the first processor under a key; empty when it reports nothing."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
