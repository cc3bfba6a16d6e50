"""Shields these tests from the settings of the person who runs them."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from llm_backend.llms import agent_loader
from llm_backend.llms.agent_loader import ENGINES, Engine
from llm_backend.llms.availability import LIBRARIES
from llm_backend.llms.settings.agent_settings import ENGINE_NAMES

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
    """Put the fake agent behind every engine's name; torch is installed."""
    module: Any = ModuleType("fake_engine")
    module.FakeAgent = FakeAgent
    monkeypatch.setitem(sys.modules, "fake_engine", module)
    monkeypatch.setitem(LIBRARIES, "fake", ("json",))
    for name in ENGINE_NAMES:
        monkeypatch.setitem(ENGINES, name, Engine("fake_engine", "FakeAgent", "fake"))
    monkeypatch.setattr(agent_loader, "is_installed", lambda name: name == "torch")
