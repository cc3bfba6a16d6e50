"""The plugin's sabotage table once more, with every run distributed to a worker of pytest-xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.requires("nox")  # which only the environment of the session "sabotage" has


def test_every_deceit_is_caught_in_workers_too() -> None:
    """Each deceit is caught by the same gate, with the same words, where another process runs the tests."""
    table = "packages/skipproof/tests/test_sabotage.py"
    command = [sys.executable, "-m", "pytest", table, "-n", "2", "-k", "caught", "-q", "-p", "no:cacheprovider"]
    # Not in the session's own folder: there, a project without settings would find this repository's above it.
    environ = {name: value for name, value in os.environ.items() if name != "TMPDIR"} | {"SKIPPROOF_TEST_WORKERS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
