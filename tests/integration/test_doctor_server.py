"""What doctor says of a server is what an agent would meet there."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from backend.cli import inspection
from backend.cli.chatting import Where
from tests.integration.server_engines import CARDS, KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.server import ScriptedServer

    Look = Callable[[str], Awaitable[tuple[dict[str, Any], str]]]

pytestmark = pytest.mark.requires("openai")


@pytest.fixture
def look(scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Look:
    """What doctor finds of the scripted server, where this model is set, and all that it printed."""
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_URL", scripted.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def look(model: str) -> tuple[dict[str, Any], str]:
        monkeypatch.setenv("AF_LLM_MODEL", model)
        await asyncio.to_thread(inspection.show_health, Where(None, None, None, use_config=False), as_json=True)
        printed = capsys.readouterr().out
        [found] = [finding for finding in json.loads(printed) if finding["what"] == "server"]
        return found, printed

    return look


WRONG = {"error": {"message": f"Invalid key {KEY}"}}
SEVERAL = {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, CARDS, ("ok", "is reached, takes the key, and lists 1 models", "")),
        (200, SEVERAL, ("note", "does not list 'm'; it lists: a, b", "set model to one of these")),
        (401, WRONG, ("broken", "refused the key: Invalid key ***", "Check api")),
        (200, {"error": {"message": "who?", "code": 401}}, ("broken", "refused the key: who?", "Check api_key")),
        (404, {"detail": "Not Found"}, ("note", "has nothing at the address", "Check base_url")),
        (429, {"error": {"message": "slow"}}, ("note", "limits requests: slow", "Wait and try again")),
    ],
)
async def test_server_is_asked_with_the_key(
    scripted: ScriptedServer, look: Look, status: int, body: Any, expected: tuple[str, str, str]
) -> None:
    """A server that refuses the key, or does not list the model, is not called ok."""
    scripted.answer(body, status)
    found, printed = await look("m")
    state, fact, todo = expected
    assert found["state"] == state
    assert fact in found["fact"]
    assert found["todo"].startswith(todo)
    assert KEY not in printed
    [request] = scripted.received
    assert request.target == "GET /v1/models HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_server_without_a_key(scripted: ScriptedServer, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no key is set, the server is said to ask for none; where no model is and several are there, none loads."""
    monkeypatch.delenv("OPENAI_API_KEY")
    scripted.answer(CARDS)
    scripted.answer(CARDS)
    found, _ = await look("")
    assert found["fact"] == f"{scripted.url} is reached, asks for no key, and lists 1 models"
    scripted.answer(SEVERAL)
    found, _ = await look("")
    assert (found["state"], "offers 2" in found["fact"]) == ("broken", True)
