"""Popular plugins of pytest, one after the other beside pytest-skipproof: none may change what a run proves.

A small project is run without any of them, then with each: bare, in an environment that has what its tests need, with
faults in its tests, and without naming an environment. Verdict, outcomes and violations have to stay the same. Uses
only the standard library, and uv, which makes a room for each plugin.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PLUGINS", "SOURCE", "main", "proof", "run"]

SOURCE = Path(__file__).resolve().parent.parent / "packages" / "skipproof"
UV = (sys.executable, "-m", "uv", "--quiet")

# By plugin: options that have it do something.
PLUGINS: dict[str, tuple[str, ...]] = {
    "allure-pytest": ("--alluredir=allure",),
    "anyio": (),
    "flaky": ("--force-flaky",),
    "hypothesis": ("--hypothesis-show-statistics",),
    "pytest-asyncio": ("--asyncio-mode=auto",),
    "pytest-bdd": ("--gherkin-terminal-reporter",),
    "pytest-benchmark": (),
    "pytest-clarity": ("-vv",),
    "pytest-cov": ("--cov=tests",),
    "pytest-dependency": (),
    "pytest-django": (),
    "pytest-env": (),
    "pytest-forked": (),  # with --forked it fails alone, too: 1.7.5 cannot send the reports of pytest 9.2
    "pytest-freezer": (),
    "pytest-html": ("--html=report.html",),
    "pytest-httpx": (),
    "pytest-instafail": ("--instafail",),
    "pytest-json-report": ("--json-report",),
    "pytest-metadata": ("--metadata", "machine", "ours"),
    "pytest-mock": (),
    "pytest-order": (),
    "pytest-picked": (),
    "pytest-randomly": (),
    "pytest-repeat": (),
    "pytest-rerunfailures": ("--reruns=1",),
    "pytest-retry": ("--retries=1",),
    "pytest-socket": ("--disable-socket",),
    "pytest-split": ("--splits=1", "--group=1"),
    "pytest-subtests": (),
    "pytest-sugar": (),
    "pytest-timeout": ("--timeout=60",),
    "pytest-xdist": ("-n", "2"),
}
LIBRARY = "tomli-w"
PROJECT = {
    "pyproject.toml": """
[tool.skipproof]
sources = ["tests", "pyproject.toml"]
locks = "locks"
state = ".matrix"

[tool.skipproof.capabilities]
writer = { modules = ["tomli_w"], install = "pip install tomli-w" }

[tool.skipproof.environments]
bare = []
full = ["writer"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "tests/test_plain.py": """
import os
import unittest

import pytest

SICK = "SICK" in os.environ


@pytest.fixture
def closing():
    yield
    assert not SICK


@pytest.mark.parametrize("number", [1, 2])
def test_numbers(number):
    assert number != 2 or not SICK


def test_closing(closing, tmp_path, capsys):
    print("said")
    assert capsys.readouterr().out == "said\\n"


def test_skip():
    if SICK:
        pytest.skip("later")


def test_xfail():
    if SICK:
        pytest.xfail("later")


class TestClass:
    def test_method(self, monkeypatch):
        monkeypatch.setenv("ONE", "1")
        assert os.environ["ONE"] == "1"


class TestCase(unittest.TestCase):
    def test_case(self):
        for number in (1, 2):
            with self.subTest(number=number):
                self.assertGreater(number, 0)
""",
    "tests/test_writer.py": """
import pytest

pytestmark = pytest.mark.requires("writer")


def test_written():
    import tomli_w

    assert tomli_w.dumps({"one": 1}) == "one = 1\\n"
""",
}
# By session: its environment, and whether its tests are sick.
SESSIONS: dict[str, tuple[str | None, bool]] = {
    "bare": ("bare", False),
    "full": ("full", False),
    "sick": ("full", True),
    "unnamed": (None, False),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every plugin, or those that are named, and print which of them changes what."""
    parser = argparse.ArgumentParser(prog="python -m matrix.plugins", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True, help="where rooms and projects are made")
    parser.add_argument("--lock", type=Path, required=True, help="the versions of everything")
    parser.add_argument("plugins", nargs="*", default=list(PLUGINS), metavar="plugin")
    told = parser.parse_args(arguments)
    folder = told.folder.resolve()
    run(folder, [*UV, "build", "--wheel", str(SOURCE), "--out-dir", str(folder)])
    install = ["--find-links", str(folder), "--constraints", str(told.lock.resolve())]
    honest = proof(folder / "none", install)
    red = []
    for plugin in told.plugins:
        changed = differences(honest, proof(folder / plugin, install, plugin))
        red += [plugin] if changed else []
        _say(f"{plugin}: {'; '.join(changed) or 'nothing changed'}")
    _say(f"{len(told.plugins)} plugins, of these {len(red)} change what a run proves{': ' * bool(red)}{', '.join(red)}")
    return 1 if red else 0


def proof(folder: Path, install: Sequence[str], plugin: str | None = None) -> dict[str, Any]:
    """Make a project and a room with a plugin in a folder, run every session, and return what each proved."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    room = folder / ".venv"
    python = room / "bin" / "python"
    run(folder, [*UV, "venv", "--clear", "--python", sys.executable, str(room)])
    pip = [*UV, "pip", "install", "--python", str(python), *install]
    run(folder, [*pip, "pytest-skipproof", "coverage", *([plugin] if plugin else [])])
    found = {}
    (folder / "locks").mkdir(exist_ok=True)
    for session, (environment, sick) in SESSIONS.items():
        if environment == "full":
            run(folder, [*pip, LIBRARY])
        versions = run(folder, [*UV, "pip", "freeze", "--python", str(python)]).stdout
        (folder / "locks" / f"{environment or 'full'}.txt").write_text(versions, encoding="utf-8")
        options = ["--skipproof", environment, "--skipproof-session", session] if environment else []
        command = [str(python), "-m", "pytest", *options, *PLUGINS.get(plugin or "", ())]
        done = run(folder, command, sick=sick, may_fail=True)
        found[session] = proved(folder, session if environment else None, done)
    return found


def proved(folder: Path, session: str | None, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return a run's verdict, and from its receipt the outcomes and violations; for a run that left none, its words."""
    receipt = folder / ".matrix" / "receipts" / f"{session}.json"
    facts: dict[str, Any] = {"exit status": done.returncode}
    if session is None:
        return facts
    if not receipt.is_file():
        return {**facts, "output": (done.stdout + done.stderr)[-2000:]}
    told = json.loads(receipt.read_text(encoding="utf-8"))
    outcomes = {name: test["outcome"] for name, test in told["tests"].items()}
    return {**facts, "outcomes": outcomes, "violations": sorted(told["violations"])}


def differences(honest: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Name what another run proved differently, by session and fact."""
    return [
        f"{session}: {fact} {_rest(found[session].get(fact), honest[session].get(fact))}, "
        f"without it {_rest(honest[session].get(fact), found[session].get(fact))}"
        for session in honest
        for fact in sorted(honest[session].keys() | found[session].keys())
        if honest[session].get(fact) != found[session].get(fact)
    ]


def _rest(one: object, other: object) -> object:
    """Return one value without what the other one has too, which nobody needs to read."""
    if isinstance(one, dict) and isinstance(other, dict):
        return dict(one.items() - other.items())
    return [each for each in one if each not in other] if isinstance(one, list) and isinstance(other, list) else one


def run(
    folder: Path, command: Sequence[str], *, sick: bool = False, may_fail: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; one that fails ends everything, unless it may."""
    environ = {**os.environ, **({"SICK": "1"} if sick else {})}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        message = f"{' '.join(command)} failed: {done.stderr}"
        raise SystemExit(message)
    return done


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
