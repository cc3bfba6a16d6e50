"""Small projects with a contract of their own, in which the plugin is run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from skipproof import detection, search_path

# Their assertions show values too; not imported before this is said.
pytest.register_assert_rewrite("support")
from support.project import CODE, Project  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester, site: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine without a GPU, whatever this machine has."""
    # Other plugins of the environment have no part in these runs, and would slow each of them down.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_ADDOPTS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(detection, "_has_cuda", lambda: False)
    return Project(pytester, site)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path; modules named skipproof_* that come from it are forgotten afterwards.

    For preflight it is the whole environment, whatever is installed beside it.
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
def measured(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with one source file, ``code.py``, of which coverage data can be written; and in its folder."""
    project.write("code.py", CODE)
    monkeypatch.chdir(project.root)
    return project
