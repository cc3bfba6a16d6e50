"""What the tests of ``skipproof init`` share: how they write a project, and how they read a proposal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skipproof import init

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from .project import Project

MINIMAL = '[project]\nname = "skipproof-own"\n'
TEST = "def test_a(): pass\n"
MARK = ": add @pytest.mark.requires("


def lay_out(project: Project, **contents: str) -> None:
    """Write a project with one test; more files by name, with "__" for a dot."""
    project.write("pyproject.toml", MINIMAL)
    project.write("skipproof_own/__init__.py", "")
    project.write("tests/test_a.py", TEST)
    for name, text in contents.items():
        project.write(name.replace("__", "."), text)


def adopt(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run init, and return what it prints."""
    assert init.main(arguments) == 0
    return capsys.readouterr().out


def files(root: Path) -> dict[str, bytes]:
    """Return every file of a project."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write(project: Project, contents: Mapping[str, str]) -> None:
    """Write files, each without the indentation of its first line."""
    for name, text in contents.items():
        lines = text.strip("\n").splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
        project.write(name, "".join(f"{line.removeprefix(' ' * indent)}\n" for line in lines))


def proposed(said: str) -> tuple[list[str], list[str]]:
    """Return the marks of a proposal, as "file:line capabilities", and what it leaves to a person."""
    marks = []
    for line in said.splitlines():
        where, found, rest = line.partition(MARK)
        if found:
            names = rest.partition(")")[0].replace(", ", " ").replace('"', "")
            marks.append(f"{where} {names}")
    _, _, left = said.partition("left to a person:\n")
    return marks, left.partition("\n\n")[0].splitlines()
