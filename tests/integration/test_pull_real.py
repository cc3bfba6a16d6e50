"""``llm-backend models pull`` against a hub on loopback, and as the conversion of the packaged model."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms.models import store as model_store
from tests.integration.test_command_real import COMMAND, WAIT, on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("llm")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HEADER = json.dumps({"w": {"dtype": "BF16", "shape": [2_000_000], "data_offsets": [0, 4_000_000]}}).encode()
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": len(HEADER).to_bytes(8, "little") + HEADER + bytes(4_000_000),
    "model.bin": b"is not loaded",
}
SMALL = len(FILES["config.json"]) + len(FILES["tokenizer.json"])
ALL = SMALL + len(FILES["model.safetensors"])


class Hub(ThreadingHTTPServer):
    """Serves one model as the hub does, with only half of its weights before ``gate`` is open."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.gate = threading.Event()
        self.given: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """What the hub's library asks for: the commit, the list of files, and the files."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Describe a file."""
        self._file(FILES[self._name()])

    def do_GET(self) -> None:
        """Send a list, or a file."""
        if "/tree/" in self.path:
            self._json([{"type": "file", "path": name, "size": len(FILES[name]), "oid": "0"} for name in FILES])
        elif self.path.startswith("/api/models/tiny/model/"):
            self._json({"id": "tiny/model", "sha": COMMIT})
        elif self._name() not in FILES:
            self._send(404, b"{}")
        elif "Range" in self.headers:  # the library reads the weights' header first
            self._send(206, FILES[self._name()])
        else:
            self.server.given.append(self._name())
            self._file(FILES[self._name()])
            self._weights()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _name(self) -> str:
        return self.path.rpartition("/")[2]

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def _weights(self) -> None:
        body = FILES[self._name()]
        with suppress(OSError):  # the command has left
            self.wfile.write(body[: len(body) // 2])
            if self._name().endswith(".safetensors"):
                self.server.gate.wait(WAIT)
            self.wfile.write(body[len(body) // 2 :])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub for the commands that a test runs, with an empty cache."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield hub
    hub.gate.set()
    hub.shutdown()
    thread.join()
    hub.server_close()


def pull(*arguments: str, limit: str = "unlimited") -> subprocess.CompletedProcess[str]:
    """Pull a model, off a terminal; no file may exceed ``limit`` blocks of the shell's."""
    command = f"ulimit -f {limit}; exec {shlex.join([*COMMAND, 'models', 'pull', *arguments])}"
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)


def test_pull_in_a_script(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script gets the directory alone; only needed files are downloaded, and only once."""
    hub.gate.set()
    monkeypatch.setenv("FORCE_COLOR", "1")  # as some CI systems do
    done = pull("tiny/model")
    assert (done.returncode, done.stderr) == (0, "")
    found = {path.name: path.read_bytes() for path in Path(done.stdout.removesuffix("\n")).iterdir()}
    assert found == {name: content for name, content in FILES.items() if name != "model.bin"}

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    again = pull("tiny/model")
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_interrupted_pull(hub: Hub, tmp_path: Path) -> None:
    """A terminal shows bytes; Ctrl-C stops at once and leaves no half file; the next pull resumes."""
    with on_terminal("models", "pull", "tiny/model") as terminal:
        terminal.read_until("downloading bytes")
        terminal.read_until(f"{SMALL:,} of {ALL:,}")
        terminal.type("\x03")
        assert terminal.process.wait(WAIT) == 130
        assert "Traceback" not in terminal.shown
    left = [path.name for path in (tmp_path / "hub").rglob("*")]
    assert "config.json" in left
    assert not [name for name in left if name.endswith((".incomplete", ".safetensors"))]

    hub.gate.set()
    with on_terminal("models", "pull", "tiny/model") as terminal:
        terminal.read_until(f"{ALL - SMALL:,} of {ALL - SMALL:,}")
        terminal.read_until(f"{COMMIT}\r\n")
        assert terminal.process.wait(WAIT) == 0
    assert sorted(hub.given) == ["config.json", "model.safetensors", "model.safetensors", "tokenizer.json"]


def test_full_disk(hub: Hub, tmp_path: Path) -> None:
    """A disk that fills up during a download raises our error, and leaves no half file."""
    hub.gate.set()
    done = pull("tiny/model", limit="3000")  # room for coverage's data, but not for the weights
    assert (done.returncode, done.stdout) == (1, "")
    assert "ConfigError: The model 'tiny/model' has to be downloaded, but" in done.stderr
    assert "cannot be written: File too large. Free some space" in done.stderr
    assert not list((tmp_path / "hub").rglob("*.incomplete"))


@pytest.mark.requires("llm", "model")
@pytest.mark.untraced("the conversion is interrupted before it ends")
def test_interrupted_conversion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl-C during a conversion stops at once, without a traceback, and leaves no half model."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path))
    with on_terminal("models", "pull") as terminal:
        terminal.read_until("MB) to safetensors, once")
        terminal.read_until("reading the tokenizer")
        assert len(list((tmp_path / "models").iterdir())) == 2
        terminal.type("\x03")
        assert terminal.process.wait(WAIT) == 130
        assert "Traceback" not in terminal.shown
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_bytes_are_counted_once() -> None:
    """Of the hub library's bars one counts, and progress never goes backwards or past the end."""
    told: list[tuple[Any, ...]] = []
    counter = model_store._byte_counter(lambda *facts: told.append(facts))  # noqa: SLF001
    counter.whole = 10
    with counter(unit="B", total=0) as received, counter(unit="B", total=0) as written, counter(total=3) as files:
        written.update(4)
        received.update(3)
        files.update(1)
        written.update(-2)
        written.update(20)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert {(step, total) for step, _, total in told} == {("downloading bytes", 10)}
    assert told[-1][1] == 10
