"""A copy of this very project, with one test, in which real sessions run and deceits are planted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from skipproof.table import read_contract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
# Besides the sources; of these, one test in one suite is enough.
FILES = ("LICENSE", "tests/__init__.py", "tests/conftest.py")
FOLDERS = ("environments",)
SUITE = (
    "tests/integration/__init__.py",
    "tests/integration/conftest.py",
    "tests/integration/processors.py",
)
REAL = "tests/integration/test_small_real.py"
TEST = '''"""The only real tests of the copy."""

import pytest

pytestmark = pytest.mark.requires("llm", "model")


async def test_capital(agent, ask) -> None:
    """A real model answers."""
    answer = await agent.invoke(ask("What is the capital city of Japan?"))
    assert "Tokyo" in answer.response
'''
# Nothing of the surrounding run may reach the copy's sessions.
FOREIGN = ("COVERAGE_", "GITHUB_", "NOX", "PYTEST_", "PYTHON", "REQUIRE_", "TOX_", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended: its exit status, and all that it printed."""

    status: int
    said: str

    @property
    def gate_status(self) -> int:
        """The status of the gate: what pytest or the merge exited with, where nox has only 0 and 1."""
        inner = re.search(r"(?:failed with exit code|(?m:^)[\w-]+: exit) (\d+)", self.said)
        return int(inner[1]) if inner else self.status


def run(folder: Path, command: Sequence[str | Path], variables: Mapping[str, str]) -> Ending:
    """Run a command in a folder, without what belongs to the run around this one; ``variables`` go over the rest."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Ending(ended.returncode, ended.stdout)


@dataclass(eq=False, slots=True)
class Copy:
    """The copy, in a folder of its own.

    Attributes:
        root: the folder of its noxfile.
        honest: a folder with its files as they were after green sessions.
    """

    root: Path
    honest: Path
    _swapped: dict[Path, Path | None] = field(default_factory=dict)

    def create(self) -> None:
        """Copy what the sessions need of this project, and add one test."""
        sources = [name for name in read_contract(ROOT).sources if name != "tests"]
        for name in (*FOLDERS, *(name for name in sources if (ROOT / name).is_dir())):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__", ".nox", ".tox"))
        for name in (*FILES, *SUITE, *(name for name in sources if (ROOT / name).is_file())):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.root / name)
        self.write(REAL, TEST)
        # Left out: fixtures that one test does not use, sessions that are not run here, lines that it cannot cover.
        self.edit("tests/conftest.py", r'(?m)^    "tests\.integration\..*\n', "")
        self.edit(
            "noxfile.py",
            r"(?m)^    sessions = \[\*units, .*\n    return .*$",
            '    return ["--expect", "skip-check", "--expect", "integration-cpu"]',
        )
        self.edit("noxfile.py", r'"llm-cpu", \*UNIT, INTEGRATION', '"llm-cpu", INTEGRATION')
        self.edit("pyproject.toml", r"(?m)^fail_under = 100$", "fail_under = 1")
        self.edit("pyproject.toml", r"(?m)^testpaths = .*$", 'testpaths = ["tests/integration"]')

    def keep(self) -> None:
        """Remember the files, receipts and coverage data as they are now."""
        shutil.copytree(self.root, self.honest, ignore=shutil.ignore_patterns(".nox", "__pycache__"))

    def restore(self) -> None:
        """Remove every deceit."""
        for path, original in self._swapped.items():
            path.unlink(missing_ok=True)
            if original is not None:
                original.replace(path)
            elif path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        self._swapped.clear()
        for path in self.root.iterdir():
            if path.is_dir() and path.name != ".nox":
                shutil.rmtree(path)
        shutil.copytree(self.honest, self.root, dirs_exist_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.root / name).write_text(text, encoding="utf-8")

    def edit(self, name: str, pattern: str, new: str) -> None:
        """Edit a file of the project, which has to contain the pattern."""
        text, count = re.subn(pattern, new, (self.root / name).read_text(encoding="utf-8"))
        assert count, f"{name} has nothing like {pattern}"
        self.write(name, text)

    def site(self, session: str) -> Path:
        """Return the site-packages folder of a session's room."""
        [site] = (self.root / ".nox" / session).glob("lib/python*/site-packages")
        return site

    def swap(self, path: Path, text: str) -> None:
        """Replace a file of a room, or add one.

        The file is never changed itself: it is a link to uv's cache, and so the same file in every room.
        """
        original = path.with_name(f"{path.name}.honest") if path.exists() else None
        if original is not None:
            path.replace(original)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._swapped[path] = original

    def take(self, path: Path) -> None:
        """Remove a file from a room."""
        self.swap(path, "")
        path.unlink()

    def nox(self, session: str, *options: str, **variables: str) -> Ending:
        """Run one real session."""
        return run(self.root, [sys.executable, "-m", "nox", "-s", session, *options], variables)

    def pytest(self, session: str, environment: str, **variables: str) -> Ending:
        """Run pytest in a session's room as it is, without nox, which would restore the room to its lock."""
        python = self.root / ".nox" / session / "bin" / "python"
        return run(self.root, [str(python), "-m", "pytest", "--skipproof", environment, "tests/integration"], variables)
