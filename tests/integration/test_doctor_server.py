"""What doctor says of a server is what an agent would meet there."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.cli import inspection
from llm_backend.cli.chatting import Where
from tests.integration.server import ScriptedServer
from tests.integration.server_engines import CARDS, KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Look = Callable[[str], tuple[dict[str, Any], str]]

pytestmark = pytest.mark.requires("openai")


@contextmanager
def running(server: ScriptedServer) -> Iterator[None]:
    """Run ``server`` in a thread, as doctor is not a coroutine."""
    started, stopped = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
            started.set()
            await stopped.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    started.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers as the test says."""
    server = ScriptedServer()
    with running(server):
        yield server


@pytest.fixture
def look(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Look:
    """What doctor finds about the scripted server with this model, and all that it printed."""
    for other in ("_libraries", "_machine", "_models"):  # not needed here, and slow to import
        monkeypatch.setattr(inspection, other, tuple)
    monkeypatch.setenv("OPENAI_API_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def look(model: str) -> tuple[dict[str, Any], str]:
        monkeypatch.setenv("AF_LLM_MODEL", model)
        inspection.show_health(Where(None, None, None, use_config=False), as_json=True)
        printed = capsys.readouterr().out
        [found] = [finding for finding in json.loads(printed) if finding["what"] == "server"]
        return found, printed

    return look


WRONG = {"error": {"message": f"Invalid key {KEY}"}}
SEVERAL = {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, CARDS, ("ok", "is reached, takes the key, and lists 1 model", "")),
        (200, SEVERAL, ("note", "does not list 'm'; it lists: a, b", "set model to one of these")),
        (401, WRONG, ("broken", "refused the key: Invalid key ***", "Check api")),
        (200, {"error": {"message": "who?", "code": 401}}, ("broken", "refused the key: who?", "Check api_key")),
        (404, {"detail": "Not Found"}, ("note", "has nothing at the requested address", "Check base_url")),
        (429, {"error": {"message": "slow"}}, ("note", "limits requests: slow", "Wait and try again")),
    ],
)
def test_server_is_asked_with_the_key(
    server: ScriptedServer, look: Look, status: int, body: Any, expected: tuple[str, str, str]
) -> None:
    """Doctor asks with the key, and reports a refused key or an unlisted model."""
    server.answer(body, status)
    found, printed = look("m")
    state, fact, todo = expected
    assert found["state"] == state
    assert fact in found["fact"]
    assert found["todo"].startswith(todo)
    assert KEY not in printed
    [request] = server.received
    assert request.target == "GET /v1/models HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_server_without_a_key(server: ScriptedServer, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, doctor says that none is asked for; without a model, having several is a fault."""
    monkeypatch.delenv("OPENAI_API_KEY")
    server.answer(CARDS)
    server.answer(CARDS)
    found, _ = look("")
    assert found["fact"] == f"{server.url} is reached, asks for no key, and lists 1 model"
    server.answer(SEVERAL)
    found, _ = look("")
    assert (found["state"], "offers 2" in found["fact"]) == ("broken", True)
