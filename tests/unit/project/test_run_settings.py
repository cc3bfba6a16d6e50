"""What holds in every test run of this project: no network, no model hub, no careless coverage exclusion."""

from __future__ import annotations

import os
import re
import socket
import tomllib
from pathlib import Path

import pytest
from pytest_socket import SocketConnectBlockedError

PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))


# The guard warns before it refuses; elsewhere the warning alone, an error, refuses.
@pytest.mark.filterwarnings("ignore:A test tried to use socket:UserWarning")
def test_only_loopback_can_be_reached() -> None:
    """A test cannot reach the network."""
    # 192.0.2.1 is reserved for documentation: even if the guard is broken, no real machine is contacted.
    with socket.socket() as client, pytest.raises(SocketConnectBlockedError, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 80))


def test_loopback_can_be_reached() -> None:
    """A test can reach a server on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        connection, address = server.accept()
        with connection:
            assert address == client.getsockname()


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_model_hub_is_never_asked(name: str) -> None:
    """A test never asks the model hub."""
    assert os.environ[name] == "1"


def test_coverage_leaves_out_only_whole_lines() -> None:
    """Every coverage exclusion is anchored to a whole line."""
    report, run = (PYPROJECT["tool"]["coverage"][name] for name in ("report", "run"))
    patterns = report["exclude_also"]
    assert patterns
    assert [pattern for pattern in patterns if not re.fullmatch(r"\^.*[^\\]\$", pattern)] == []
    assert report["fail_under"] == 100
    assert {"exclude_lines", "omit", "partial_branches", "partial_also"}.isdisjoint(report)
    assert {"include", "omit"}.isdisjoint(run)
    assert run["source_dirs"] == ["backend", "matrix", "packages", "tests"]
