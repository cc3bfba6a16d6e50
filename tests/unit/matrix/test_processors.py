"""Sessions side by side share the processors, instead of each taking all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix import processors

if TYPE_CHECKING:
    import pytest


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
