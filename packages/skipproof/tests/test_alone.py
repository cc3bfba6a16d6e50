"""The plugin in an environment that has nothing but pytest: whatever else it held, tests there could not miss."""

from __future__ import annotations

import shutil
import subprocess
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import skipproof
from skipproof.receipts import read_receipt
from support.project import PYPROJECT

PLUGIN = "pytest-skipproof"
TEST = """
import sys

def test_a():
    assert not {"coverage", "pydantic", "rich", "typing_extensions"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a folder with a virtual environment that holds the plugin and what it depends on, nothing else."""
    root = tmp_path_factory.mktemp("alone").resolve()
    room = root / ".venv"
    venv.create(room, symlinks=True)
    [site] = room.glob("lib/python*/site-packages")
    install_plugin(site)
    names = needed(PLUGIN)
    for name in names - {PLUGIN}:
        install(name, site)
    (root / "locks").mkdir()
    (root / "locks" / "bare.txt").write_text(
        "".join(f"{name}=={metadata.version(name)}\n" for name in names), encoding="utf-8"
    )
    for name in ("full", "big"):
        (root / "locks" / f"{name}.txt").touch()
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (root / "setup.py").touch()
    (root / "tests" / "unit").mkdir(parents=True)
    (root / "tests" / "real").mkdir()
    (root / "tests" / "unit" / "test_a.py").write_text(TEST, encoding="utf-8")
    return root


def needed(name: str) -> set[str]:
    """Return the distributions that one without its extras depends on here, itself included."""
    asked = map(Requirement, metadata.requires(name) or [])
    wanted = {each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})}
    return {canonicalize_name(name)}.union(*map(needed, wanted))


def install(name: str, site: Path) -> None:
    """Copy the files of a distribution that is installed here."""
    files = {site / file: Path(str(file.locate())) for file in metadata.files(name) or []}
    # What Python compiled is listed too, and need not be there.
    for target, source in ((target, source) for target, source in files.items() if source.is_file()):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def install_plugin(site: Path) -> None:
    """Install the plugin as from its wheel, also where it is installed editable."""
    here = metadata.distribution(PLUGIN)
    told = site / f"pytest_skipproof-{here.version}.dist-info"
    told.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (told / name).write_text(here.read_text(name) or "", encoding="utf-8")
    shutil.copytree(Path(skipproof.__file__).parent, site / "skipproof", ignore=shutil.ignore_patterns("__pycache__"))
    files = [path.relative_to(site).as_posix() for path in (site / "skipproof").rglob("*") if path.is_file()]
    (told / "RECORD").write_text("".join(f"{name},,\n" for name in files), encoding="utf-8")


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the environment in the project's folder."""
    command = [str(root / ".venv" / "bin" / "python"), "-I", "-m", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_plugin_brings_what_pytest_brings() -> None:
    """Of all that is in the environment, only the plugin is not there with any pytest."""
    assert needed(PLUGIN) == {PLUGIN} | needed("pytest")


def test_a_named_run_needs_nothing_else(alone: Path) -> None:
    """A run proves its environment there, and leaves its receipt."""
    ended = run(alone, "pytest", "--skipproof", "bare")
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout + ended.stderr
    receipt = read_receipt(alone / ".matrix" / "receipts" / "bare.json")
    assert [test.outcome for test in receipt.tests.values()] == ["passed"]


def test_the_doctor_needs_nothing_else(alone: Path) -> None:
    """What a run would say is said there too."""
    ended = run(alone, "skipproof", "doctor", "--environment", "bare")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "nothing to correct"), ended.stdout


@pytest.mark.parametrize("command", ["merge", "report"])
def test_a_command_that_needs_more_says_how_to_get_it(alone: Path, command: str) -> None:
    """Merging and reporting name what is not installed, and the extra that brings it."""
    ended = run(alone, "skipproof", command)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert ended.stderr in [
        f"skipproof {command}: needs {name}, which is not installed: pip install 'pytest-skipproof[report]'\n"
        for name in ("coverage", "rich")
    ]
