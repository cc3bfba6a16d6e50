"""What is between an engine and its server: connections, silence, retries, proxies, certificates, variables."""

from __future__ import annotations

import asyncio
import json
import socket
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload
from llm_backend.errors import (
    ConfigError,
    EngineAuthenticationError,
    EngineBusyError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    MissingExtraError,
)
from tests.integration.server_engines import CARDS, KEY, QUESTION, joined, message_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

PAYLOAD = AgentPayload(QUESTION)
ELSEWHERE = "http://api.elsewhere.invalid/v1"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the proxies and certificates of whoever runs the tests out of them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the library would wait before each retry; none of them passes."""
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr("anyio.sleep", nap)
    return naps


def hang_up(server: ScriptedServer) -> None:
    """Let the next request be read, and answered by closing the connection."""

    async def script(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        pass

    server.scripts.append(script)


@asynccontextmanager
async def proxy(answer: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that answers each request with ``answer``: its address, and the first lines that it got."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.splitlines()[0])
        writer.write(f"HTTP/1.1 {answer}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


@pytest.mark.usefixtures("naps")
async def test_what_is_tried_again(connect: Connect, scripted: ScriptedServer) -> None:
    """A request that the server read is not sent again, and its error is retryable."""
    agent = await connect(scripted.url)
    for ask in (lambda: agent.invoke(PAYLOAD), lambda: joined(agent, PAYLOAD)):
        scripted.received.clear()
        hang_up(scripted)
        with pytest.raises(EngineConnectionError, match="failed: ") as caught:
            await ask()
        assert caught.value.retryable
        assert len(scripted.received) == 1


async def test_connection_that_nobody_took(connect: Connect, naps: list[float]) -> None:
    """A refused connection is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    agent = await connect(f"http://127.0.0.1:{port}/v1", max_retries=2)
    with pytest.raises(EngineConnectionError, match="Check that the server runs"):
        await agent.invoke(PAYLOAD)
    assert len(naps) == 2


@pytest.mark.usefixtures("naps")
async def test_connection_that_was_kept(connect: Connect) -> None:
    """A request survives a server that closes the idle connection as it arrives."""
    body = json.dumps(message_of(content="here"))
    answer = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    taken = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        await reader.read(1)  # of the next request, if there is one
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        agent = await connect(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
        for _ in range(2):
            assert (await agent.invoke(PAYLOAD)).response == "here"
        assert len(taken) == 2
        await agent.aclose()


async def test_silence_in_a_stream_is_no_reason_to_ask_again(connect: Connect, scripted: ScriptedServer) -> None:
    """A server that reads a long prompt does not get the same work again."""
    agent = await connect(scripted.url, read_timeout=0.1, max_retries=5)
    for _ in range(2):
        scripted.keep_silent()
        with pytest.raises(EngineTimeoutError, match=r"sent nothing for 0\.1 s") as caught:
            await joined(agent, PAYLOAD)
        assert caught.value.retryable
    assert len(scripted.received) == 2


async def test_whole_answer_takes_its_time(connect: Connect, scripted: ScriptedServer) -> None:
    """A whole answer may take longer than a silence within a stream."""
    asked = asyncio.Event()

    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        scripted.complete("here")
        await scripted.scripts.pop(0)(_, writer)
        asked.set()

    scripted.scripts.append(slowly)
    agent = await connect(scripted.url, read_timeout=0.1)
    assert (await agent.invoke(PAYLOAD)).response == "here"
    assert asked.is_set()
    assert len(scripted.received) == 1


@pytest.mark.parametrize("status", [504, 524])
async def test_gateway_that_waited_in_vain(connect: Connect, scripted: ScriptedServer, status: int) -> None:
    """A server that still works behind a gateway does not get the same work again."""
    scripted.answer({"error": {"message": "upstream is late"}}, status, x_should_retry="")
    with pytest.raises(EngineError, match="failed: upstream is late") as caught:
        await (await connect(scripted.url)).invoke(PAYLOAD)
    assert caught.value.retryable
    assert len(scripted.received) == 1


async def test_floods_have_one_end(connect: Connect, scripted: ScriptedServer, naps: list[float]) -> None:
    """Retries end within the time limit, with what the server said."""
    agent = await connect(scripted.url, timeout=5, max_retries=1000)
    for _ in range(6):
        scripted.answer({"error": {"message": "busy"}}, 503, x_should_retry="true")
    with pytest.raises(EngineError, match="failed: busy"):
        await agent.invoke(PAYLOAD)
    assert len(naps) == len(scripted.received) - 1 < 6
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    naps.clear()
    with pytest.raises(EngineConnectionError, match="Check that the server runs"):
        await (await connect(f"http://127.0.0.1:{port}/v1", timeout=5, max_retries=1000)).invoke(PAYLOAD)
    assert len(naps) < 6


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x_ratelimit_reset_requests": "7s"}, 7),
        ({"x_ms_retry_after_ms": "2500"}, 2.5),
        ({"ratelimit_reset": "3"}, 3),
        ({"retry_after": "nan", "x_ratelimit_reset": "4"}, 4),
    ],
)
async def test_waits_of_every_vendor(
    connect: Connect, scripted: ScriptedServer, naps: list[float], headers: dict[str, str], wait: float
) -> None:
    """The wait in any vendor's field is kept before a retry, and is on the last error."""
    for _ in range(2):
        scripted.answer({"error": {"message": "slow"}}, 429, x_should_retry="", **headers)
    with pytest.raises(EngineBusyError, match=f"Wait {wait:.0f} s") as caught:
        await (await connect(scripted.url, max_retries=1)).invoke(PAYLOAD)
    assert (naps, caught.value.retry_after) == ([wait], wait)


async def test_failing_server_says_when(connect: Connect, scripted: ScriptedServer) -> None:
    """The wait that a failing server asks for is on the error."""
    scripted.answer({"error": {"message": "starting"}}, 503, retry_after="20")
    with pytest.raises(EngineError, match="starting") as caught:
        await (await connect(scripted.url)).invoke(PAYLOAD)
    assert caught.value.retry_after == 20


async def test_loopback_goes_directly(
    connect: Connect, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy of the environment gets a prompt for this machine."""
    async with proxy("403 Forbidden\r\n\r\n") as (address, asked):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{address}")
        scripted.complete("here")
        assert (await (await connect(scripted.url)).invoke(PAYLOAD)).response == "here"
        scripted.complete("there")
        named = scripted.url.replace("127.0.0.1", "localhost")
        assert (await (await connect(named)).invoke(PAYLOAD)).response == "there"
        assert asked == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ("403 Forbidden\r\n\r\n<h1>No</h1>", EngineConnectionError, "The proxy refused the connection .*: <h1>No</h1>"),
        ("407 Proxy Authentication Required\r\n\r\n", EngineConnectionError, "The proxy refused the connection .*: "),
        ("502 Bad Gateway\r\n\r\nno", EngineError, "failed: no"),
        (
            '403 Forbidden\r\ncontent-type: application/json\r\n\r\n{"error": {"message": "who?"}}',
            EngineAuthenticationError,
            r"refused the key: who\?",
        ),
    ],
)
async def test_proxy_in_the_way(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, answer: str, kind: type[EngineError], words: str
) -> None:
    """A connection's error names the proxy without its password; a proxy's refusal is not the server's."""
    async with proxy(answer) as (address, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hid%2Fden@{address}")
        agent = await connect(ELSEWHERE, api_key=KEY, max_retries=0)
        for ask in (lambda: agent.invoke(PAYLOAD), lambda: joined(agent, PAYLOAD)):
            with pytest.raises(kind, match=words) as caught:
                await ask()
            assert f"{ELSEWHERE} (through the proxy http://{address})" in str(caught.value)
            assert "hid" not in "".join(traceback.format_exception(caught.value))
        assert asked == [f"POST {ELSEWHERE}/chat/completions HTTP/1.1"] * 2


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required"])
async def test_proxy_that_lets_nobody_through(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, naps: list[float], status: str
) -> None:
    """A proxy that builds no tunnel is named, and not asked again."""
    async with proxy(f"{status}\r\n\r\n") as (address, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        agent = await connect("https://api.elsewhere.invalid/v1", api_key=KEY)
        with pytest.raises(
            EngineConnectionError, match=f"The proxy refused the connection .*{address}.*: {status}"
        ) as caught:
            await agent.invoke(PAYLOAD)
        assert (caught.value.retryable, naps) == (False, [])
        assert asked == ["CONNECT api.elsewhere.invalid:443 HTTP/1.1"]


async def test_proxy_that_is_not_there(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not run is named, with the way around it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("HTTP_PROXY", address)
    agent = await connect(ELSEWHERE, max_retries=0)
    with pytest.raises(EngineConnectionError, match=rf"proxy http://{address}\) failed: .*name its host in NO_PROXY"):
        await agent.invoke(PAYLOAD)


@pytest.mark.parametrize(
    ("variables", "kind", "words"),
    [
        ({"ALL_PROXY": "socks4://127.0.0.1:1"}, ConfigError, "names a proxy"),
        ({"ALL_PROXY": "http://127.0.0.1:99999"}, ConfigError, "names a proxy"),
        ({"HTTP_PROXY": "http://a b"}, ConfigError, "names a proxy"),
        (
            {"HTTP_PROXY": "http://me:hidden@999.1.1.1:80"},
            ConfigError,
            r"Proxy\('http://999\.1\.1\.1:80'\), which is not a proxy",
        ),
        ({"SSL_CERT_FILE": "/nowhere/certificates.pem"}, ConfigError, r"SSL_CERT_FILE \(/nowhere/certificates\.pem\)"),
    ],
)
async def test_environment_that_cannot_be_used(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: type[Exception], words: str
) -> None:
    """An unusable proxy or certificate in the environment raises our error, which names it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    agent = await connect(ELSEWHERE)
    for ask in (lambda: agent.invoke(PAYLOAD), lambda: joined(agent, PAYLOAD), agent.get_context_window):
        with pytest.raises(kind, match=words):
            await ask()


async def test_address_that_is_none(connect: Connect) -> None:
    """An address that only the HTTP library refuses is reported as a wrong setting."""
    with pytest.raises(ConfigError, match=r"base_url is http://999\.1\.1\.1/v1, which is not an address: Invalid IPv4"):
        await (await connect("http://999.1.1.1/v1?key=hidden")).invoke(PAYLOAD)


async def test_certificates_that_are_none(connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file without certificates is named."""
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(nothing))
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE \(.*nothing\.pem\) holds no readable certificates"):
        await (await connect("https://localhost:1/v1")).invoke(PAYLOAD)


async def test_proxy_that_needs_a_library(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy without its library is reported, with what to install."""
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hidden@127.0.0.1:1")
    agent = await connect(ELSEWHERE)
    with pytest.raises(
        MissingExtraError, match=r"socks5://127\.0\.0\.1:1.* needs socksio.*pip install socksio"
    ) as caught:
        await agent.invoke(PAYLOAD)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
async def test_variables_that_our_settings_do_not_know(
    connect: Connect, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, *, responses: bool
) -> None:
    """Variables for OpenAI's library or LangChain reach no server, and change nothing."""
    for name in (
        "OPENAI_ADMIN_KEY",
        "OPENAI_API_BASE",
        "OPENAI_API_KEY",
        "OPENAI_API_TYPE",
        "OPENAI_API_VERSION",
        "OPENAI_ORGANIZATION",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_PROXY",
        "OPENAI_WEBHOOK_SECRET",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_ENDPOINT",
        "LANGSMITH_API_KEY",
    ):
        monkeypatch.setenv(name, f"somebody-{name}")
    custom = "Authorization: somebody-authorization\nX-Custom: somebody-custom\nUser-Agent: somebody"
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", custom)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    agent = await connect(scripted.url, use_responses=responses, api_key=KEY, max_retries=0)
    scripted.answer(CARDS)
    assert await agent.get_context_window() == 4096
    for ask in (lambda: agent.invoke(PAYLOAD), lambda: joined(agent, PAYLOAD)):
        scripted.answer({"error": {"message": "no"}}, 400)
        with pytest.raises(EngineError, match="no"):
            await ask()
    assert len(scripted.received) == 3
    for request in scripted.received:
        assert "somebody" not in f"{request.headers} {request.body} {request.target}"
        assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [KEY + "/a+b='c'\\d\"", "sk with spaces inside"])
async def test_key_in_every_form(connect: Connect, scripted: ScriptedServer, key: str) -> None:
    """A server's echo of the key shows nothing of it, in any encoding."""
    agent = await connect(scripted.url, api_key=key)
    echoes: list[Any] = [
        {"error": {"message": f"bad {key!r}"}},
        {"error": f"bad {json.dumps(key)}"},
        f"bad {json.dumps({'a': json.dumps(key)})}",
        {"error": {"odd": key, "code": key}},
    ]
    for echo in echoes:
        for status in (401, 500, 200):
            scripted.answer(echo, status)
            with pytest.raises(EngineError) as caught:
                await agent.invoke(PAYLOAD)
            shown = "".join(traceback.format_exception(caught.value))
            assert not any(form in shown for form in (key, repr(key)[1:-1], json.dumps(key)[1:-1]))
