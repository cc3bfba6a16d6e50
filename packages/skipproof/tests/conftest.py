"""Small projects, each with a contract of its own, that the plugin runs in."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from skipproof import detection, search_path

# So that their assertions show values too; this must come before the import.
pytest.register_assert_rewrite("support")
from support.project import CODE, Project  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["pytester"]
# What rich, coverage, git, Python and pytest read. Coverage's own variable for processes that tests start has to stay.
FOREIGN = (
    *("CLICOLOR", "COLUMNS", "COV_CORE_", "COVERAGE_CORE", "COVERAGE_FILE", "COVERAGE_RCFILE", "FORCE_COLOR", "GIT_"),
    *("GITHUB_", "LINES", "NO_COLOR", "PY_COLORS", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONOPTIMIZE"),
    *("PYTHONWARNINGS", "TERM", "TTY_"),
)


@pytest.fixture(autouse=True)
def _own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without what whoever runs the tests has set for other programs."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # one at least, on every machine
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)


@pytest.fixture
def project(pytester: pytest.Pytester, site: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine without a GPU, whatever this machine has."""
    # Other plugins in the environment are not needed here, and would slow down each run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(detection, "_has_cuda", lambda: False)
    return Project(pytester, site)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path; modules named skipproof_* that come from it are forgotten afterwards.

    Preflight sees it as the whole environment, whatever else is installed.
    """
    folder = (tmp_path / "site").resolve()
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(search_path, "folders", lambda: [folder])
    monkeypatch.setattr(search_path, "libraries", lambda: [folder])
    yield folder
    for name in [name for name in sys.modules if name.startswith("skipproof_")]:
        del sys.modules[name]


@pytest.fixture
def empty(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without files, whose folder is the working folder."""
    for path in [path for path in project.root.rglob("*") if path.is_file()]:
        path.unlink()
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def measured(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with one source file, ``code.py``, whose coverage data can be written; run in its folder."""
    project.write("code.py", CODE)
    monkeypatch.chdir(project.root)
    return project
