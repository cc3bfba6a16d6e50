"""What servers say about their models."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend.errors import ConfigError
from llm_backend.llms.engines.server.model_cards import card_window, find_window, only_model, unlisted

LLAMA = {"llama.context_length": 131072}


def test_only_model() -> None:
    """A server's only model is taken; with none or several, one has to be named."""
    assert only_model([{"id": "a"}, {"id": "a"}, {}], "here") == "a"
    with pytest.raises(ConfigError, match=r"the server at here offers none\. Set model \(AF_LLM_MODEL\)"):
        only_model([], "here")
    with pytest.raises(ConfigError, match=r"offers 30\. Set model \(AF_LLM_MODEL\) to one of: m00, .*m19, \.\.\.\.$"):
        only_model([{"id": f"m{number:02}"} for number in range(30)], "here")
    with pytest.raises(ConfigError, match=r"to one of: a-\*\*\*, b\.$"):
        only_model([{"id": "a-sk-1"}, {"id": "b"}], "here", ["sk-1"])


@pytest.mark.parametrize(
    ("card", "window"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"context_length": 0, "context_window": 8192}, 8192),
        ({"max_context_length": 131072, "loaded_context_length": 4096}, 4096),
        ({"max_input_tokens": 512, "max_tokens": 128}, 512),
        ({"model_info": {"max_input_tokens": 512}}, 512),
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, 2048),
        ({"meta": None, "max_model_len": "many"}, None),
        ({"max_model_len": True}, None),
    ],
)
def test_card_window(card: dict[str, Any], window: int | None) -> None:
    """The window is the one of the model's own card, by any of its names; a loaded one wins over a possible one."""
    for own in ({"id": "m"}, {"id": "x", "aliases": ["m", "n"]}, {"model_name": "m"}):
        assert card_window([{"id": "other", "max_model_len": 1}, {**own, **card}], "m") == window
    assert card_window([{"id": "other", "aliases": "m", **card}], "m") is None


def test_a_model_that_is_not_listed() -> None:
    """The message says that the server does not list the name, and only where that is so."""
    cards: list[dict[str, Any]] = [{"id": "b"}, {"id": "a", "aliases": ["c"]}]
    assert unlisted(cards, "m", "here") == "The server at here does not list 'm'; it lists: a, b. "
    assert unlisted(cards, "m", "here", ["b"]).endswith("it lists: a, ***. ")
    assert unlisted(cards, "c", "here") == unlisted([], "m", "here") == unlisted([{}], "m", "here") == ""


@pytest.mark.parametrize(
    ("pages", "window"),
    [
        ({"/api/v0/models": {"data": [{"id": "m", "loaded_context_length": 4096}, 5]}}, 4096),
        ({"/model/info": {"data": [{"model_name": "m", "model_info": {"max_input_tokens": 512}}]}}, 512),
        ({"/props": {"default_generation_settings": {"n_ctx": 2048}}}, 2048),
        ({"/info": {"model_id": "x", "max_total_tokens": 4096, "max_input_tokens": 4095}}, 4096),
        ({"/api/ps": {"models": [{"name": "m", "context_length": 8192}]}}, 8192),
        (
            {"/api/show": {"model_info": {"llama.context_length": 131072}, "parameters": "stop x\nnum_ctx    8192"}},
            8192,
        ),
        ({"/api/show": {"model_info": {"llama.context_length": 131072}}}, 4096),
        ({"/api/show": {"model_info": {"llama.context_length": 2048}, "parameters": None}}, 2048),
        ({"/api/show": {"model_info": None}}, None),
        ({"/props": {"default_generation_settings": None}, "/api/v0/models": {"data": None}}, None),
        ({}, None),
    ],
)
async def test_windows_beside_the_cards(pages: dict[str, Any], window: int | None) -> None:
    """A window is found where the server keeps it; with Ollama, the one that it really uses."""
    bodies: list[object] = []

    async def ask(url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        bodies.append(body)
        page: dict[str, Any] = pages.get(url.removeprefix("http://here"), {})
        return page

    assert await find_window(ask, "http://here", "m") == window
    assert [body for body in bodies if body] in ([], [{"model": "m"}]), "no prompt is sent to find a window"
