"""Sessions that run side by side share the processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix import processors

if TYPE_CHECKING:
    import pytest


def test_only_sessions_side_by_side_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone session uses all processors, parallel sessions share them, and a user's own setting stands."""
    monkeypatch.setattr(processors, "available", lambda: 12)
    for name in processors.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert processors.thread_limits(parallel=False) == {}
    assert processors.thread_limits(parallel=True) == dict.fromkeys(processors.VARIABLES, "6")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert processors.thread_limits(parallel=True) == {"RAYON_NUM_THREADS": "6"}
    monkeypatch.setattr(processors, "available", lambda: 1)
    assert processors.thread_limits(parallel=True) == {"RAYON_NUM_THREADS": "1"}


def test_only_a_lone_session_has_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that runs alone on several processors distributes its tests, and no other one does."""
    monkeypatch.setattr(processors, "available", lambda: 2)
    assert processors.workers(parallel=False) == ["-n", "2", "--dist", "worksteal"]
    assert processors.workers(parallel=True) == []
    monkeypatch.setattr(processors, "available", lambda: 1)
    assert processors.workers(parallel=False) == []
