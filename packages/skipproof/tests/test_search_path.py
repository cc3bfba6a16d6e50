"""Folders from which packages leak into an environment, and modules that come from elsewhere."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skipproof import search_path
from skipproof.search_path import folders, leaks, libraries

if TYPE_CHECKING:
    from support.project import Project


@pytest.fixture
def leak(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that is not part of the environment."""
    folder = (tmp_path / "leak").resolve()
    folder.mkdir()
    monkeypatch.setattr(search_path, "folders", lambda: [project.site, folder])
    return folder


def test_path_is_read_as_python_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders are the existing entries of sys.path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "absent"), str(tmp_path / "." / ".")])
    assert folders() == [tmp_path.resolve()]
    assert Path(pytest.__file__).resolve().parents[1] in libraries()


def test_python_and_the_project_are_no_leak(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of Python, the environment and the project are not leaks."""
    own = [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("scripts")), project.root, project.site]
    (project.root / "tests" / "unit").mkdir(exist_ok=True)
    nested = project.root / "tests" / "unit"
    monkeypatch.setattr(search_path, "folders", lambda: [folder.resolve() for folder in (*own, nested)])
    assert leaks(project.contract) == []


def test_room_inside_the_project_is_a_leak(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another environment below the root is a leak."""
    room = project.root / ".nox" / "other"
    monkeypatch.setattr(search_path, "folders", lambda: [room])
    [found] = leaks(project.contract)
    assert found.startswith(f"{room} is on this Python's path but not part of the environment: nothing says")


def test_python_path_is_named(project: Project, leak: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that PYTHONPATH adds is named with that variable."""
    monkeypatch.setenv("PYTHONPATH", str(leak))
    fact = f"{leak} is on this Python's path but not part of the environment"
    assert leaks(project.contract) == [f"{fact}: PYTHONPATH names it; unset PYTHONPATH"]


def test_user_site_is_named(project: Project, leak: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user site is named, with how to keep it out."""
    monkeypatch.setattr(site, "getusersitepackages", functools.partial(str, leak))
    assert leaks(project.contract)[0].endswith(": it is the user site; set PYTHONNOUSERSITE=1")


def test_path_file_is_named(project: Project, leak: Path) -> None:
    """A folder that a .pth file adds is named with that file."""
    (project.site / "a.pth").write_text("import sys\n\nelsewhere\n")
    file = project.site / "b.pth"
    file.write_text(f"{leak}\n")
    assert leaks(project.contract)[0].endswith(
        f": {file} names it; remove that file, and install from a wheel what was installed editable from there"
    )


def test_system_packages_are_named(project: Project, leak: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's packages in an environment are named."""
    monkeypatch.setattr(sys, "base_prefix", str(leak.parent))
    assert leaks(project.contract)[0].endswith(
        ": pyvenv.cfg lets it in; recreate the environment without --system-site-packages"
    )
