"""Tests of the door to LangChain where LangChain is not there; with it, it is tested on real chains."""

from __future__ import annotations

from typing import Any

import pytest
from llm_backend.errors import MissingExtraError
from llm_backend.llms import as_chat_model, availability, wrap_chat_model

from tests.unit.backend.fake_agent import FakeAgent


def test_without_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no LangChain is not told how to get it."""
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match=r"^as_chat_model needs langchain_openai, which is not installed\. Install"
    ):
        as_chat_model(FakeAgent())


def test_wrapping_without_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no LangChain is not told how to get it, or is told that another function needs it."""
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    model: Any = object()
    with pytest.raises(MissingExtraError, match=r"^wrap_chat_model needs langchain_openai, which is not installed"):
        wrap_chat_model(model)
