"""Distributions that bring engines, installed as users install them: from a wheel, by pip."""

from __future__ import annotations

import ensurepip
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Folder", "echo_engine", "install", "write_wheel"]

_EXAMPLE = Path(__file__).parents[3] / "examples" / "echo_engine"
_COMMAND = "import sys; sys.argv[0] = 'llm-backend'; from llm_backend.cli import main; main()"


@dataclass(frozen=True)
class Folder:
    """A folder of installed distributions, for a Python that also has what these tests run with."""

    place: Path

    def run(self, code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program, with ``variables`` added to the environment."""
        path = os.pathsep.join(filter(None, [str(self.place), *sys.path]))
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": path, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``llm-backend``."""
        return self.run(_COMMAND, *arguments, **variables)

    def says(self, code: str) -> Any:
        """Return the JSON that a program prints; the program has to succeed."""
        done = self.run(code)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def doctor(self) -> dict[str, dict[str, str]]:
        """Return the findings of ``llm-backend doctor``, by what each looks at."""
        return {finding["what"]: finding for finding in json.loads(self.command("doctor", "--json").stdout)}


def write_wheel(folder: Path, name: str, engines: Mapping[str, str], modules: Mapping[str, str]) -> Path:
    """Write a wheel of version 1.0 with these modules, and with engines by their entry points."""
    file = name.replace("-", "_")
    about = f"{file}-1.0.dist-info"
    listed = "".join(f"{engine} = {place}\n" for engine, place in engines.items())
    content = {
        **modules,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[llm_backend.engines]\n{listed}",
    }
    content[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{about}/RECORD"])
    wheel = folder / f"{file}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def echo_engine(folder: Path) -> Path:
    """The wheel of examples/echo_engine, built from what its pyproject.toml says."""
    project = tomllib.loads((_EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    modules = {str(path.relative_to(_EXAMPLE)): path.read_text("utf-8") for path in _EXAMPLE.rglob("*.py")}
    return write_wheel(folder, project["name"], project["entry-points"]["llm_backend.engines"], modules)


def install(place: Path, *wheels: Path) -> Folder:
    """Install wheels into a folder with Python's own pip, offline."""
    [pip] = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    options = [
        "--isolated",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
        "--target",
        str(place),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *map(str, wheels)],
        env={**os.environ, "PYTHONPATH": str(pip)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Folder(place)
