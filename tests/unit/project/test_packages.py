"""Tests of what the packages in this workspace may know about each other."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .sessions import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = {path.name for path in (*ROOT.iterdir(), *(ROOT / "backend").glob("*")) if path.is_dir()} | {"llm_backend"}


def imported(source: str) -> Iterator[str]:
    """Yield the top-level name of each module that a file imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_the_tests_of_the_plugin_know_nothing_of_this_project() -> None:
    """The plugin's own tests import nothing from this project, and so run from its sdist."""
    files = sorted((ROOT / "packages" / "skipproof" / "tests").rglob("*.py"))
    assert files
    names = {(path.name, name) for path in files for name in imported(path.read_text(encoding="utf-8"))}
    assert ("test_assembly.py", "skipproof") in names
    assert {each for each in names if each[1] in OURS} == set()
