"""Sessions side by side share the processors, instead of each taking all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from matrix import processors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000\n", 8), ("200000 100000\n", 2), ("50000 100000\n", 1), ("6400000 100000\n", 8), (None, 8)],
)
def test_a_container_has_fewer_processors_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, count: int
) -> None:
    """Broken: in a container with a quota, every thread but a few only waits for its turn."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    assert processors.available(path) == count


def test_a_system_without_affinity_is_asked_for_its_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: on a system other than Linux, no session can start."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert processors.available(tmp_path / "none") == 6


def test_only_sessions_side_by_side_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a lone session leaves processors idle, two take each other's, or the user's word is lost."""
    monkeypatch.setattr(processors, "available", lambda: 12)
    for name in processors.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert processors.thread_limits(parallel=False) == {}
    assert processors.thread_limits(parallel=True) == dict.fromkeys(processors.VARIABLES, "6")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert processors.thread_limits(parallel=True) == {"RAYON_NUM_THREADS": "6"}
    monkeypatch.setattr(processors, "available", lambda: 1)
    assert processors.thread_limits(parallel=True) == {"RAYON_NUM_THREADS": "1"}
