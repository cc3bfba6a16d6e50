"""Small projects with a contract of their own, in which the plugin is run."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.skipproof import detection
from tests.skipproof.contract import Contract, read_contract
from tests.skipproof.receipts import Receipt, read_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYPROJECT = """
[tool.skipproof]
sources = ["tests", "pyproject.toml", "setup.py"]
locks = "locks"
state = ".matrix"

[tool.skipproof.capabilities]
alpha = { modules = ["skipproof_alpha"], install = "pip install alpha" }
beta = { distributions = ["skipproof-beta"], install = "pip install beta" }
gpu = { probe = "cuda", install = "a machine with a GPU" }

[tool.skipproof.environments]
bare = []
full = ["alpha", "beta"]
big = ["alpha", "beta", "gpu"]

[tool.pytest.ini_options]
addopts = ["-p", "no:cacheprovider", "--import-mode=importlib", "--tb=line"]
testpaths = ["tests/unit", "tests/real"]

[tool.coverage.run]
branch = true
relative_files = true

[tool.coverage.report]
fail_under = 100
"""


class Project:
    """A project in an empty folder: a contract, locks, suites, and libraries that can be installed into it."""

    def __init__(self, pytester: pytest.Pytester, site: Path) -> None:
        self._pytester = pytester
        self.site = site
        self.root = pytester.path
        self.write("pyproject.toml", PYPROJECT)
        for environment in ("bare", "full", "big"):
            self.write(f"locks/{environment}.txt", "")
        for suite in ("unit", "real"):
            (self.root / "tests" / suite).mkdir(parents=True)

    @property
    def contract(self) -> Contract:
        """The project's contract."""
        return read_contract(self.root)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project, and return its path."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def install_alpha(self, code: str = "") -> None:
        """Install the module that capability alpha looks for."""
        (self.site / "skipproof_alpha.py").write_text(code, encoding="utf-8")
        importlib.invalidate_caches()

    def install_beta(self) -> None:
        """Install the distribution that capability beta looks for."""
        metadata = self.site / "skipproof_beta-2.5.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Name: skipproof-beta\nVersion: 2.5\n", encoding="utf-8")
        (metadata / "RECORD").write_text("beta.py,,\n__pycache__/beta.pyc,,\n", encoding="utf-8")
        (self.site / "beta.py").touch()

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest with the plugin, in this process."""
        # A KeyboardInterrupt of a run in here is part of a test, and must not end the run around it.
        options = ["-p", "tests.skipproof.plugin", *arguments]
        return self._pytester.runpytest_inprocess(*options, no_reraise_ctrlc=True)

    def receipt(self, session: str) -> Receipt:
        """Return a session's receipt."""
        return read_receipt(self.root / ".matrix" / "receipts" / f"{session}.json")


@pytest.fixture
def project(pytester: pytest.Pytester, site: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine without a GPU, whatever this machine has."""
    # Other plugins of the environment have no part in these runs, and would slow each of them down.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_ADDOPTS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(detection.PROBES, "cuda", lambda: False)
    return Project(pytester, site)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path; modules named skipproof_* that come from it are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.startswith("skipproof_")]:
        del sys.modules[name]
