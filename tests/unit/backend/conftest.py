"""Shields these tests from the settings of the person who runs them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms.engine_registry import ENGINES
from tests.unit.backend.fake_agent import FakeAgent

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from an empty directory and without our environment variables."""
    ours = {name for name in os.environ if name.startswith(("OPENAI_", "AF_LLM_", "LLM_BACKEND_"))}
    for name in ours | {"LLM_BACKEND_CONFIG"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fake agent behind every engine's name; its library is there."""
    module: Any = ModuleType("fake_engine")
    module.FakeAgent = FakeAgent
    monkeypatch.setitem(sys.modules, "fake_engine", module)
    for name, engine in ENGINES.items():
        fake = replace(engine, agent="fake_engine:FakeAgent", libraries=("json",), extra="fake")
        monkeypatch.setitem(ENGINES, name, fake)
