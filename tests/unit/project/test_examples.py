"""Tests of examples/tour.py."""

from __future__ import annotations

import subprocess
import sys

from .sessions import ROOT


def test_tour_without_an_engine_says_how_to_call_it() -> None:
    """The tour, called with no engine, names the engines and shows no traceback."""
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "tour.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == "Which engine? python examples/tour.py huggingface, openai or langchain\n"
