"""The way into LangChain where LangChain is not installed; with it, real chains test it."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend.errors import MissingExtraError
from llm_backend.llms import as_chat_model, availability, wrap_chat_model
from tests.unit.backend.fake_agent import FakeAgent


def test_without_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LangChain the error says how to install it."""
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match=r"^as_chat_model needs langchain_openai, which is not installed\. Install"
    ):
        as_chat_model(FakeAgent())


def test_wrapping_without_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LangChain the error names the function that needs it, and how to install it."""
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    model: Any = object()
    with pytest.raises(MissingExtraError, match=r"^wrap_chat_model needs langchain_openai, which is not installed"):
        wrap_chat_model(model)
