"""Two kinds of server on loopback: a real one with a real model behind it, and one that misbehaves as it is told.

`model_server` is Hugging Face's own ``transformers serve``, so it proves that our engines get along with somebody
else's idea of the format. `ScriptedServer` is for what a healthy server does not do; nothing in it infers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import threading
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.processors import dtype_under_test

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


END = b"0\r\n\r\n"  # ends a body that is sent in chunks


@dataclass(frozen=True)
class ModelServer:
    """Where the real server listens, what it calls its model, and what it loaded for it."""

    url: str
    model: str
    served: Any = field(repr=False)


@pytest.fixture(scope="session")
def model_server(model_directory: Path) -> Iterator[ModelServer]:
    """``transformers serve`` with the packaged model, in a thread: it shares the tests' import of torch."""
    serve: Any = import_module("transformers.cli.serve").Serve
    # By default it takes the file's type, bfloat16, which most processors emulate with other rounding.
    dtype = dtype_under_test()
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def start_server(self: Any) -> None:
            # The socket listens already: clients wait in its queue, and nobody has to poll for the start.
            self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
            self.thread.start()

        on_our_socket = type("OnOurSocket", (serve,), {"start_server": start_server})
        running = on_our_socket(str(model_directory), device="cpu", dtype=dtype, log_level="error", non_blocking=True)
        [served] = running._model_manager.loaded_models.values()  # noqa: SLF001
        leave_traces(served.model, model_directory)
        show_logs()
        yield ModelServer(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", str(model_directory), served)
        running.server.should_exit = True
        running.thread.join()
        running.reset_loaded_models()


def show_logs() -> None:
    """Pass the server's log to pytest, which shows it with a test that fails."""
    for name in ("transformers", "uvicorn", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()  # they write to the terminal, whatever fails
        logger.propagate = True
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.INFO)


def leave_traces(model: Any, directory: Path) -> None:
    """Have a model raise the engine's audit event for each generation, which the server itself does not.

    It only looks on. Each token takes one pass through the model, also the first: the server reads a prompt at once.
    """
    from llm_backend.llms.engines.huggingface.model import GENERATE_EVENT

    generate, passes = model.generate, [0]

    def count(*_: object) -> None:
        passes[0] += 1

    def traced(*arguments: Any, **options: Any) -> Any:
        before, started = passes[0], time.perf_counter()
        try:
            return generate(*arguments, **options)
        finally:
            sys.audit(GENERATE_EVENT, str(directory), passes[0] - before, time.perf_counter() - started)

    model.register_forward_hook(count)
    model.generate = traced


@dataclass
class Received:
    """One request as it came over the wire."""

    target: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ScriptedServer:
    """Speaks real HTTP, and answers each request with the next script."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    # What it answers at a path beside those of the API: JSON, or a status, or both.
    pages: dict[str, object] = field(default_factory=dict)
    beside: list[Received] = field(default_factory=list)  # what it was asked there; other paths have nothing

    def answer(self, body: object, status: int = 200, **headers: str) -> None:
        """Answer with JSON, or with a text ``body`` as it is."""
        text, kind = (body, "text/html") if isinstance(body, str) else (json.dumps(body), "application/json")
        # Without this the client would retry after half a second; a test that wants that says so itself.
        fields = {"x-should-retry": "false", **{name.replace("_", "-"): value for name, value in headers.items()}}

        self.send(text.encode(), kind, status, **fields)

    def send(self, body: bytes, kind: str, status: int = 200, /, **fields: str) -> None:
        """Answer with these bytes."""

        async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(_head(status, kind, {"content-length": str(len(body)), **fields}) + body)

        self.scripts.append(script)

    def complete(self, text: str | None, **message: Any) -> None:
        """Answer with a chat completion."""
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        self.answer({**about, "choices": [choice], "usage": usage})

    def stream(self, *events: dict[str, Any], ending: bytes = END, hold: bool = False) -> None:
        """Answer with a stream of events; ``ending`` is sent last, ``hold`` waits for the client to leave."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(_head(200, "text/event-stream", {"transfer-encoding": "chunked"}))
            for event in events:
                writer.write(chunk(f"data: {json.dumps(event)}\n\n"))
            if hold:
                await reader.read()
                self.left.set()
            writer.write(ending)

        self.scripts.append(script)

    def keep_silent(self) -> None:
        """Accept the request and say nothing until the client leaves."""

        async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        self.scripts.append(script)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection, which carries one request."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(lines[0], headers, json.loads(body or b"{}"))
        path = lines[0].split()[1].partition("?")[0]
        if path.endswith(("/chat/completions", "/responses", "/models")) and path not in self.pages:
            self.received.append(received)
            await self.scripts.pop(0)(reader, writer)
        else:
            self.beside.append(received)
            page = self.pages.get(path, 404)
            page = (page, {"error": {"message": "?"}}) if isinstance(page, int) else page
            status, said = page if isinstance(page, tuple) else (200, page)
            body = json.dumps(said).encode()
            writer.write(_head(status, "application/json", {"content-length": str(len(body))}) + body)
        writer.close()


def delta(text: str | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One part of a streamed chat completion."""
    choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": finish_reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def _head(status: int, kind: str, headers: dict[str, str]) -> bytes:
    fields = {"content-type": kind, "connection": "close", **headers}
    return "".join([f"HTTP/1.1 {status} Scripted\r\n", *(f"{k}: {v}\r\n" for k, v in fields.items()), "\r\n"]).encode()


def chunk(text: str) -> bytes:
    """A piece of a body of unknown length."""
    return f"{len(text.encode()):x}\r\n{text}\r\n".encode()


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    """A server that answers as the test says."""
    async with _running(ScriptedServer()) as server:
        yield server


@asynccontextmanager
async def _running(server: ScriptedServer) -> AsyncIterator[ScriptedServer]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    async with listening:
        yield server
