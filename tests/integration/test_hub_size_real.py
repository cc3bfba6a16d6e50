"""The real library asks a hub on loopback for a model's size before it downloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("llm")

HEADER = json.dumps({"a": {"dtype": "BF16", "shape": [10**7, 10**7], "data_offsets": [0, 2 * 10**14]}}).encode()
# 200 terabytes by its header, whose rest nobody requests.
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER
LOAD = """
from llm_backend.errors import InsufficientMemoryError
from llm_backend.llms.models.store import resolve_model
try:
    resolve_model("some/model")
except InsufficientMemoryError as exc:
    print(exc.required, f"{exc.available:,}" in str(exc))
"""


class Hub(BaseHTTPRequestHandler):
    """A hub with one file of one model."""

    asked: list[tuple[str, str]]

    def do_HEAD(self) -> None:
        """Describe the file."""
        self._answer(b"")

    def do_GET(self) -> None:
        """Send the file's beginning, which is all there is."""
        self._answer(WEIGHTS if self.path.endswith("/model.safetensors") else b"{}")

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, body: bytes) -> None:
        self.asked.append((self.command, self.path))
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", "one")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hub() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Start a hub; yield its address, and the requests for the model."""
    Hub.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", Hub.asked
        finally:
            server.shutdown()


def test_model_that_cannot_fit_is_not_downloaded(tmp_path: Path) -> None:
    """A model that no memory here can hold is refused before the download."""
    with hub() as (address, asked):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        process = subprocess.run(
            [sys.executable, "-c", LOAD],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env=environment,
        )
    assert process.stdout == f"{round(10**14 * 0.5625)} True\n", process.stderr
    file = "/some/model/resolve/main/model.safetensors"
    assert [(verb, path) for verb, path in asked if path.startswith("/some")] == [("HEAD", file), ("GET", file)]
