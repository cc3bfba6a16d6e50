"""What a network and a server can do to an engine that asks one, each with a real socket or a real process.

Refused connections, silence, malformed answers, refusals, broken streams and callers that leave a stream are in
``test_bad_servers``; here is what needs more than one scripted answer, and what a misplaced key would show.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
import threading
from asyncio.subprocess import PIPE
from contextlib import ExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload
from llm_backend.errors import (
    EngineAuthenticationError,
    EngineBusyError,
    EngineConnectionError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    ModelNotFoundError,
)
from tests.integration.server import ScriptedServer, chunk, delta
from tests.integration.server_engines import CARDS, KEY, QUESTION, joined, message_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server_engines import Connect

PAYLOAD = AgentPayload(QUESTION)
WRONG_NAME = Path(__file__).with_name("wrong_name.pem")
EVENTS = "text/event-stream"
# Sends its first client what it is told to, then waits to be killed.
MORTAL_SERVER = """
import signal, socket, sys
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    client, _ = listening.accept()
    client.recv(1)
    client.sendall(sys.argv[1].encode())
    signal.pause()
"""


def event(data: object) -> str:
    """One event of a stream."""
    return f"data: {json.dumps(data)}\n\n"


def head(kind: str) -> bytes:
    """The headers of an answer of unknown length."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def drip(server: ScriptedServer, kind: str, text: str) -> None:
    """Let the next answer repeat ``text``, a little at a time, until the client leaves."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(kind))
        while not (reader.at_eof() or writer.is_closing()):
            writer.write(chunk(text))
            await asyncio.sleep(0.01)
        server.left.set()

    server.scripts.append(script)


def hold(server: ScriptedServer, asked: asyncio.Event) -> None:
    """Let the next request set ``asked`` and get no answer until the client leaves."""

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        server.left.set()

    server.scripts.append(script)


@asynccontextmanager
async def listening(
    server: ScriptedServer, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Run ``server`` at an address of its own; ``host`` is its name there."""
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls) as started:
        server.url = f"http{'s' if tls else ''}://{host}:{started.sockets[0].getsockname()[1]}/v1"
        yield server


def answer_as_servers_do(server: ScriptedServer, status: int, message: str, **headers: str) -> None:
    """Refuse the next request, and let the client decide whether to ask again."""
    server.answer({"error": {"message": message}}, status, x_should_retry="", **headers)


def openai_client(url: str) -> Any:
    """The library's client, with nothing of ours around it."""
    import openai

    return openai.AsyncOpenAI(base_url=url, api_key="none")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the library would wait before each retry; none of them passes."""
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr("anyio.sleep", nap)
    return naps


async def test_server_killed_in_the_middle_of_a_stream(connect: Connect) -> None:
    """A server that dies in the middle of a stream raises an error at once."""
    beginning = head(EVENTS) + chunk(event(delta("He")))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", MORTAL_SERVER, beginning.decode(), stdout=PIPE)
    assert process.stdout
    port = int(await process.stdout.readline())
    agent = await connect(f"http://127.0.0.1:{port}/v1")
    async with aclosing(agent.stream(PAYLOAD)) as stream:
        assert await anext(stream) == "He"
        process.kill()
        await process.wait()
        with pytest.raises(EngineConnectionError, match="broke off before"):
            await anext(stream)
    with pytest.raises(EngineConnectionError, match="Check that the server runs"):
        await (await connect(f"http://127.0.0.1:{port}/v1", max_retries=0)).invoke(PAYLOAD)


async def test_server_that_never_answers(connect: Connect) -> None:
    """A server that accepts connections and never answers runs into the time limit, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        silent, late = r"sent nothing for 0\.1 s", r"did not finish .* within 0\.2 s"
        agent = await connect(url, read_timeout=0.1, timeout=0.2)
        # A whole answer is sent when it is complete, so silence before it means nothing.
        for ask, words in (
            (agent.invoke(PAYLOAD), late),
            (joined(agent, PAYLOAD), silent),
            (agent.get_context_window(), silent),
            (connect(url, None, read_timeout=0.1), silent),
        ):
            with pytest.raises(EngineTimeoutError, match=words):
                await ask
        agent = await connect(url, timeout=0.1)
        for ask in (agent.invoke(PAYLOAD), joined(agent, PAYLOAD), agent.get_context_window()):
            with pytest.raises(EngineTimeoutError, match=r"did not finish .* within 0\.1 s"):
                await ask


async def test_server_that_takes_no_connection(connect: Connect) -> None:
    """A full queue of connections runs into connect_timeout, and the error names that."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        agent = await connect(f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect_timeout=0.1, max_retries=0)
        for ask in (agent.invoke(PAYLOAD), joined(agent, PAYLOAD)):
            with pytest.raises(EngineConnectionError, match=r"did not accept the connection within 0\.1 s"):
                await ask


async def test_slow_drip(connect: Connect, scripted: ScriptedServer) -> None:
    """A stream that never ends runs into the time limit, and the connection is closed."""
    agent = await connect(scripted.url, read_timeout=30, timeout=0.3)
    drip(scripted, EVENTS, event(delta("a")))
    pieces = []
    with pytest.raises(EngineTimeoutError, match=r"did not finish its answer within 0\.3 s\. Raise timeout"):
        pieces += [piece async for piece in agent.stream(PAYLOAD)]
    await scripted.left.wait()
    scripted.left.clear()
    drip(scripted, "application/json", " ")
    with pytest.raises(EngineTimeoutError, match=r"within 0\.3 s"):
        await agent.invoke(PAYLOAD)
    await scripted.left.wait()


async def test_half_a_json(connect: Connect, scripted: ScriptedServer) -> None:
    """Half an answer raises our error, whether the server ends it or dies."""
    half = '{"choices": [{"index": 0, "message": {"content": "Par'
    agent = await connect(scripted.url, max_retries=0)
    scripted.answer(half, content_type="application/json")
    with pytest.raises(EngineResponseError, match="cannot be read: Unterminated string"):
        await agent.invoke(PAYLOAD)

    async def die(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head("application/json") + chunk(half))

    scripted.scripts.append(die)
    with pytest.raises(EngineConnectionError, match=r"broke off before .*: peer closed connection"):
        await agent.invoke(PAYLOAD)


@pytest.mark.parametrize(("body", "kind"), [("<html>hello</html>", "text/html"), (CARDS, "application/json")])
async def test_wrong_content_type(scripted: ScriptedServer, told: ServerAgent, body: object, kind: str) -> None:
    """A page or a whole answer is not read as a stream, nor a stream as an answer."""
    scripted.answer(body, content_type=kind)
    with pytest.raises(EngineResponseError, match=r"(not an event stream|malformed).*Check base_url"):
        await joined(told, PAYLOAD)
    scripted.stream(delta("He"), delta(None, "stop"))
    with pytest.raises(EngineResponseError, match="Check base_url"):
        await told.invoke(PAYLOAD)


@pytest.mark.parametrize("status", [401, 404])
async def test_refusals_for_good(scripted: ScriptedServer, told: ServerAgent, status: int) -> None:
    """A refusal that no retry can change is not asked again."""
    kind, message = {401: (EngineAuthenticationError, "who?"), 404: (ModelNotFoundError, "no model 'm'")}[status]
    answer_as_servers_do(scripted, status, message)
    with pytest.raises(kind, match=re.escape(message)):
        await told.invoke(PAYLOAD)
    assert len(scripted.received) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_busy_server(connect: Connect, scripted: ScriptedServer, naps: list[float], status: int) -> None:
    """A busy server is asked again after growing waits, as often as the settings allow."""
    for _ in range(2):
        answer_as_servers_do(scripted, status, "busy")
    scripted.complete("here")
    assert (await (await connect(scripted.url)).invoke(PAYLOAD)).response == "here"
    first, second = naps
    assert 0 < first < second
    answer_as_servers_do(scripted, status, "too busy")
    with pytest.raises(EngineError, match="too busy") as caught:
        await (await connect(scripted.url, max_retries=0)).invoke(PAYLOAD)
    assert caught.value.retryable
    assert len(scripted.received) == 4


async def test_retry_after(connect: Connect, scripted: ScriptedServer, naps: list[float]) -> None:
    """A server that says when to ask again is not asked before that."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    agent = await connect(scripted.url)
    for asked in ("7", later):
        answer_as_servers_do(scripted, 429, "slow down", retry_after=asked)
    scripted.stream(delta("here"), delta(None, "stop"))
    assert await joined(agent, PAYLOAD) == "here"
    assert naps == [7, pytest.approx(90, abs=30)]


# The library itself waits at most two minutes.
@pytest.mark.parametrize(("limit", "asked"), [(10, 60), (3600, 180)])
async def test_retry_after_the_end(
    connect: Connect, scripted: ScriptedServer, naps: list[float], limit: int, asked: int
) -> None:
    """A wait longer than the request may take is not waited for, and is on the error."""
    answer_as_servers_do(scripted, 429, "come back", retry_after=str(asked))
    agent = await connect(scripted.url, timeout=limit)
    with pytest.raises(EngineBusyError, match=rf"limits requests: come back\. Wait {asked} s and try again") as caught:
        await agent.invoke(PAYLOAD)
    assert caught.value.retry_after == asked
    assert (naps, len(scripted.received)) == ([], 1)


@pytest.mark.parametrize("status", [301, 307])
async def test_redirect_to_another_host(scripted: ScriptedServer, told: ServerAgent, status: int) -> None:
    """A redirect to another host gets no prompt and no key."""
    async with listening(ScriptedServer(), "localhost") as elsewhere:
        place = elsewhere.url + "/chat/completions"
        for ask in (told.invoke(PAYLOAD), joined(told, PAYLOAD)):
            scripted.answer("", status, location=f"{place}?key=hidden")
            with pytest.raises(EngineError, match=rf"redirects to {place}; neither prompt nor key"):
                await ask
        assert elsewhere.received == []
        # The library alone follows it, so the list above could have filled.
        scripted.answer("", status, location=place)
        elsewhere.complete("theirs")
        async with openai_client(scripted.url) as client:
            await client.chat.completions.create(model="m", messages=[])
        assert len(elsewhere.received) == 1


async def test_tls_to_a_wrong_name(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot prove its name gets no key, and the error is about trust."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(WRONG_NAME)
    async with listening(ScriptedServer(), tls=tls) as server:
        for trusted, words in ((None, "self-signed certificate"), (WRONG_NAME, "not valid for '127.0.0.1'")):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            agent = await connect(server.url, api_key=KEY, max_retries=0)
            with pytest.raises(EngineConnectionError, match=rf"cannot be trusted: .*{words}.*SSL_CERT_FILE"):
                await agent.invoke(PAYLOAD)
        assert server.received == []


async def test_client_that_leaves(scripted: ScriptedServer, told: ServerAgent) -> None:
    """Cancelling the caller closes the connection, before the answer or in the middle of it."""
    for ask in (told.invoke(PAYLOAD), joined(told, PAYLOAD)):
        asked = asyncio.Event()
        hold(scripted, asked)
        task = asyncio.ensure_future(ask)
        await asked.wait()
        assert not scripted.left.is_set()
        task.cancel()
        await scripted.left.wait()
        with pytest.raises(asyncio.CancelledError):
            await task
        scripted.left.clear()


async def test_two_event_loops(connect: Connect) -> None:
    """Two threads' event loops can use one agent, each with its own connections."""
    body = json.dumps(message_of(content="here"))
    answer = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := re.search(rb"content-length: (\d+)", await reader.readuntil(b"\r\n\r\n"), re.IGNORECASE):
            await reader.readexactly(int(request[1]))
            writer.write(answer.encode())

    async def talk() -> list[str]:
        try:
            return [(await agent.invoke(PAYLOAD)).response for _ in range(20)]
        finally:
            talked.release()
            await asyncio.to_thread(closed.wait)

    talked, closed = threading.Semaphore(0), threading.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        agent = await connect(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
        talks = [asyncio.create_task(asyncio.to_thread(asyncio.run, talk())) for _ in range(2)]
        for _ in talks:
            await asyncio.to_thread(talked.acquire)
        await agent.aclose()
        closed.set()
        assert await asyncio.gather(*talks) == [["here"] * 20] * 2


async def test_headers_tell_nothing_of_the_machine(scripted: ScriptedServer, told: ServerAgent) -> None:
    """No request tells the server about the caller's machine."""
    scripted.complete("ok")
    await told.invoke(PAYLOAD)
    headers = scripted.received[0].headers
    assert not {name for name in headers if name.endswith(("-os", "-arch", "-runtime", "-runtime-version"))}
