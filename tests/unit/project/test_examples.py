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


def example_pins(name: str) -> list[locks.Pin]:
    """Return the pins of a lock of the example."""
    return list(locks.pins((EXAMPLE / "environments" / f"{name}.txt").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["bare", "fast", "full", "report"])
def test_a_lock_of_the_example_is_one_for_this_plugin(name: str) -> None:
    """It pins this version of the plugin, whose wheel has no lasting hash, and all else by hash, without an address."""
    text = (EXAMPLE / "environments" / f"{name}.txt").read_text(encoding="utf-8")
    pins = {each.requirement.partition("==")[0]: each for each in example_pins(name)}
    own = f"{PLUGIN['name']}=={PLUGIN['version']}"
    without = {each.requirement for each in pins.values() if not each.hashes}
    assert without == ({own} if name == "report" else {"-e .", own})
    extra = PLUGIN["optional-dependencies"]["report"] if name == "report" else []
    for asked in map(Requirement, [*PLUGIN["dependencies"], *extra]):
        assert asked.specifier.contains(pins[asked.name].requirement.partition("==")[2])
    assert re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*", text) == []


def test_the_bare_environment_of_the_example_holds_nothing_for_the_plugin() -> None:
    """Beside the project, what measures, and pytest with what it brings, there is the plugin alone."""
    found = {Requirement(each.requirement).name for each in example_pins("bare") if each.requirement != "-e ."}
    brought = {"colorama", "iniconfig", "packaging", "pluggy", "pygments", "pytest"}
    assert found == {"coverage", PLUGIN["name"], *brought}
