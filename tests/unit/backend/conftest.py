"""Shields these tests from the settings of the person who runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from an empty directory and without our environment variables."""
    ours = {name for name in os.environ if name.startswith(("OPENAI_", "AF_LLM_", "LLM_BACKEND_"))}
    for name in ours | {"LLM_BACKEND_CONFIG"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
