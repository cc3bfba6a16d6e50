"""A small project with a contract of its own, that the plugin runs in."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from skipproof.receipts import Receipt, read_receipt
from skipproof.table import read_contract

from .in_worker import SITE

if TYPE_CHECKING:
    from pathlib import Path

    from skipproof.contract import Contract

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

[tool.coverage.report]
fail_under = 100
"""

XDIST = ("-p", "xdist", "-p", "xdist.looponfail")
"""The options that load pytest-xdist where pytest loads no plugin by itself."""

WORKERS = "SKIPPROOF_TEST_WORKERS"
"""An environment variable: how many workers of pytest-xdist every run of a project has."""

LOCK = "skipproof-alpha==1.5\nskipproof-beta==2.5\n"

CODE = "def answer(x):\n    if x:\n        return 1\n    return 2\n"


class Project:
    """A project in an empty folder: a contract, locks, suites, and libraries that can be installed into it."""

    def __init__(self, pytester: pytest.Pytester, site: Path) -> None:
        self._pytester = pytester
        self.site = site
        self.workers = int(os.environ.get(WORKERS, "0"))
        self.root = pytester.path
        self.write("pyproject.toml", PYPROJECT)
        self.write("setup.py", "")
        for environment, lock in (("bare", ""), ("full", LOCK), ("big", LOCK)):
            self.write(f"locks/{environment}.txt", lock)
        for suite in ("unit", "real"):
            (self.root / "tests" / suite).mkdir(parents=True)

    @property
    def contract(self) -> Contract:
        """The project's contract."""
        return read_contract(self.root)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project and return its path."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def install_alpha(self, code: str = "") -> None:
        """Install the module that capability alpha looks for."""
        self.install("skipproof-alpha", "1.5", {"skipproof_alpha.py": code})

    def install_beta(self) -> None:
        """Install the distribution that capability beta looks for."""
        metadata = self.install("skipproof-beta", "2.5", {"beta.py": ""})
        with (metadata / "RECORD").open("a", encoding="utf-8") as record:
            record.write("__pycache__/beta.pyc,,\n")

    def install(self, name: str, version: str, files: dict[str, str]) -> Path:
        """Install a distribution with these files, as an installer does, and return its metadata folder."""
        metadata = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n", encoding="utf-8")
        lines = [f"{metadata.name}/RECORD,,\n"]
        for file, text in files.items():
            content = text.encode()
            path = self.site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            lines.append(f"{file},sha256={digest},{len(content)}\n")
        (metadata / "RECORD").write_text("".join(lines), encoding="utf-8")
        importlib.invalidate_caches()
        return metadata

    def git(self, *arguments: str) -> None:
        """Run git in the project's folder."""
        subprocess.run(["git", "-C", self.root, *arguments], check=True)  # noqa: S607 - as the user's path has it

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest with the plugin in this process; with ``workers``, its tests in so many others."""
        # A KeyboardInterrupt in this run is part of a test, and must not end the outer run.
        options = ["-p", "skipproof.plugin", *arguments]
        if not self.workers:
            return self._pytester.runpytest_inprocess(*options, no_reraise_ctrlc=True)
        with pytest.MonkeyPatch.context() as patch:
            # Where workers look for modules; frozen when pytest-xdist was imported, which may be the outer run's.
            patch.setattr(importlib.import_module("xdist.workermanage"), "_sys_path", list(sys.path))
            patch.setenv(SITE, str(self.site))
            options += [*XDIST, "-p", "support.in_worker", "-n", str(self.workers)]
            return self._pytester.runpytest_inprocess(*options, no_reraise_ctrlc=True)

    def receipt(self, session: str) -> Receipt:
        """Return a session's receipt."""
        return read_receipt(self.root / ".matrix" / "receipts" / f"{session}.json")
