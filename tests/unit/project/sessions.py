"""The noxfile's sessions, read without nox, which no test environment has."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
NOXFILE = ROOT / "noxfile.py"


@dataclass(frozen=True)
class MenuSession:
    """One session as ``nox -l`` shows it."""

    name: str
    docstring: str
    default: bool
    tags: frozenset[str]
    parallel: bool


def menu() -> list[MenuSession]:
    """Return every session in the order of the file, once for each Python that it names."""
    module = ast.parse(NOXFILE.read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.List)
    }
    found = []
    for function in (node for node in module.body if isinstance(node, ast.FunctionDef) and node.decorator_list):
        options = _decorator_options(function)
        name = ast.literal_eval(options["name"]) if "name" in options else function.name
        pythons = constants[ast.unparse(options["python"])] if "python" in options else []
        default = "default" not in options or ast.literal_eval(options["default"])
        tags = frozenset(ast.literal_eval(options["tags"]) if "tags" in options else ())
        parallel = "allow_parallel" in options and ast.literal_eval(options["allow_parallel"])
        names = [f"{name}-{python}" for python in pythons] or [name]
        found += [MenuSession(name, ast.get_docstring(function) or "", default, tags, parallel) for name in names]
    return found


def session_names() -> set[str]:
    """Return the names of all sessions."""
    return {session.name for session in menu()}


def _decorator_options(function: ast.FunctionDef) -> dict[str | None, ast.expr]:
    [decorator] = function.decorator_list
    return {keyword.arg: keyword.value for keyword in decorator.keywords} if isinstance(decorator, ast.Call) else {}
