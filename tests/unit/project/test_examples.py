"""Tests of examples/tour.py, and of what no session of the plugin's example shows: its locks, and what they pin."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from matrix import locks

from .sessions import ROOT

PLUGIN = tomllib.loads((ROOT / "packages" / "skipproof" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXAMPLE = ROOT / "packages" / "skipproof" / "examples" / "rowfile"


def test_tour_without_an_engine_says_how_to_call_it() -> None:
    """Without an engine, the tour lists the engines and shows no traceback."""
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "tour.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == "Which engine? python examples/tour.py huggingface, openai or langchain\n"


@pytest.mark.parametrize("name", ["bare", "fast", "full"])
def test_a_lock_of_the_example_is_one_for_this_plugin(name: str) -> None:
    """It pins this version of the plugin, whose wheel has no lasting hash, and all else by hash, without an address."""
    text = (EXAMPLE / "environments" / f"{name}.txt").read_text(encoding="utf-8")
    pins = {each.requirement.partition("==")[0]: each for each in locks.pins(text)}
    own = f"{PLUGIN['name']}=={PLUGIN['version']}"
    assert {each.requirement for each in pins.values() if not each.hashes} == {"-e .", own}
    for asked in map(Requirement, PLUGIN["dependencies"]):
        assert asked.specifier.contains(pins[asked.name].requirement.partition("==")[2])
    assert re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*", text) == []
