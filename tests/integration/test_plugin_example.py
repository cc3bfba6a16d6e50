"""The plugin's example, copied out of this repository: it proves its extras by nox and by tox, and catches deceits."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from matrix import rooms
from skipproof.exits import ExitStatus

from .extra_rooms import ROOT, build_wheel
from .sabotage_project import Ending, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.requires("nox", "tox")
PLUGIN = ROOT / "packages" / "skipproof"
# By runner: how it is told of one session, and the folder of its rooms.
RUNNERS = {"nox": ("-s", ".nox"), "tox": ("-e", ".tox")}
# By environment: what the example's tests do there, in their order.
OUTCOMES = {
    "bare": ["passed", "skipped", "skipped", "passed"],
    "fast": ["passed", "passed", "skipped", "passed"],
    "full": ["passed", "passed", "passed", "passed"],
}


@dataclass(frozen=True, slots=True)
class Example:
    """A copy of the example.

    Attributes:
        root: its folder.
        runner: "nox" or "tox".
    """

    root: Path
    runner: str

    def all_sessions(self) -> Ending:
        """Run what the runner runs when it is told nothing."""
        return self._run()

    def session(self, name: str) -> Ending:
        """Run one session."""
        option, _ = RUNNERS[self.runner]
        return self._run(option, name)

    def site(self, environment: str) -> Path:
        """Return the site-packages folder of an environment's room."""
        [site] = (self.root / RUNNERS[self.runner][1] / environment).glob("lib/python*/site-packages")
        return site

    def _run(self, *options: str) -> Ending:
        # pytest clears old folders out of the one for temporary files, which may take long where others have theirs.
        variables = packages() | {"TMPDIR": str(self.root.parent)}
        return run(self.root, [sys.executable, "-m", self.runner, *options], variables)


def packages() -> dict[str, str]:
    """Say where packages come from: whence this machine has its own, and the plugin from the folder of its wheel."""
    told = rooms.package_source("sabotage", rooms.Machine()).variables
    links = told.get("UV_FIND_LINKS") or os.environ.get("UV_FIND_LINKS")
    return {**told, "UV_FIND_LINKS": ",".join(filter(None, ["wheels", links]))}


@pytest.fixture(scope="module", params=RUNNERS)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example in an empty folder, with the plugin's wheel, as its README says, after its sessions proved it."""
    folder = tmp_path_factory.mktemp("of somebody else")
    copied = Example(folder / "rowfile", request.param)
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "wheels")
    shutil.copytree(PLUGIN / "examples" / "rowfile", copied.root, ignore=unwanted)
    build_wheel(copied.root / "wheels", PLUGIN)
    ending = copied.all_sessions()
    assert ending.status == 0, ending.said
    assert "Proved: 3 sessions agree, and the gate of 100 % is reached." in ending.said
    yield copied
    shutil.rmtree(folder)


def test_every_session_is_proved(example: Example) -> None:
    """Each environment runs what it can and skips the rest; that they are proved together, the fixture has seen."""
    receipts = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in (example.root / ".matrix" / "receipts").glob("*.json")
    }
    found = {name: [test["outcome"] for test in receipt["tests"].values()] for name, receipt in receipts.items()}
    assert found == OUTCOMES
    assert {receipt["environment"] for receipt in receipts.values()} == OUTCOMES.keys()


def test_the_plugin_is_the_one_of_the_wheel(example: Example) -> None:
    """The plugin is installed as its users install it: nothing leads back into this repository."""
    assert all((example.site(name) / "skipproof" / "plugin.py").is_file() for name in OUTCOMES)


def test_a_skip_is_caught(example: Example) -> None:
    """A test that skips itself where its library is there makes the session red."""
    path = example.root / "tests" / "test_rowfile.py"
    honest = path.read_text(encoding="utf-8")
    sick = honest.replace("    import orjson\n", "    pytest.skip('later')\n", 1)
    assert sick != honest
    path.write_text(sick, encoding="utf-8")
    ending = example.session("fast")
    path.write_text(honest, encoding="utf-8")
    assert ending.gate_status == ExitStatus.RUN, ending.said
    assert "::test_the_fast_reader_is_taken: skipped ('later') although the environment has all it needs" in ending.said


def test_a_deleted_test_is_caught(example: Example) -> None:
    """A test that is deleted, and so runs in no session any more, makes the merge red by its name."""
    path = example.root / "tests" / "test_rowfile.py"
    honest = path.read_text(encoding="utf-8")
    path.write_text(honest.replace("def test_a_missing_extra_is_named", "def named"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != honest
    ending = example.all_sessions()
    path.write_text(honest, encoding="utf-8")
    assert ending.gate_status == ExitStatus.MERGE, ending.said
    assert "tests/test_rowfile.py::test_a_missing_extra_is_named is gone: bring back what was lost" in ending.said


def test_a_leak_is_caught(example: Example) -> None:
    """An extra's real library that can be imported in the bare environment stops its session before the first test."""
    leak = example.site("bare") / "elsewhere.pth"
    leak.write_text(f"{example.site('fast')}\n", encoding="utf-8")
    ending = example.session("bare")
    leak.unlink()
    assert ending.gate_status == ExitStatus.PREFLIGHT, ending.said
    assert "contaminated: bare does not promise orjson, but module orjson is here" in ending.said
