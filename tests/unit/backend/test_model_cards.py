"""Tests of what servers say about their models."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ConfigError
from backend.llms.model_cards import card_window, only_model


def test_only_model() -> None:
    """The one model of a server is not found, or one of several is taken."""
    assert only_model([{"id": "a"}, {"id": "a"}, {}], "here") == "a"
    with pytest.raises(ConfigError, match=r"the server at here offers none\. Set model \(AF_LLM_MODEL\)"):
        only_model([], "here")
    with pytest.raises(ConfigError, match=r"offers 30\. Set model \(AF_LLM_MODEL\) to one of: m00, .*m19, \.\.\.\.$"):
        only_model([{"id": f"m{number:02}"} for number in range(30)], "here")


@pytest.mark.parametrize(
    ("card", "window"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"context_length": 0, "context_window": 8192}, 8192),
        ({"meta": {"n_ctx": 2048}}, 2048),
        ({"meta": None, "max_model_len": "many"}, None),
    ],
)
def test_card_window(card: dict[str, Any], window: int | None) -> None:
    """A server's way to state the window is not known, or another model's is taken."""
    assert card_window([{"id": "other", "max_model_len": 1}, {"id": "m", **card}], "m") == window
    assert card_window([{"id": "other", **card}], "m") is None
