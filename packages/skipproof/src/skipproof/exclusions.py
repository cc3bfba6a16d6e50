"""The statements of a file that coverage leaves out, by a pragma or by its settings, although they could run."""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_BLOCKS = (ast.stmt, ast.ExceptHandler, ast.match_case)


def left_out(source: str, excluded: Collection[int], unbranched: Collection[int]) -> tuple[list[int], list[int]]:
    """Return the first lines of excluded statements, and the lines of which only one branch has to be taken.

    What no test could run does not count: imports for type checkers, stubs of ``...``, and constant conditions.

    Args:
        source: text of the file.
        excluded: the lines that coverage does not ask for.
        unbranched: the lines of which it does not ask for every branch.
    """
    tree = _parsed(source)
    if tree is None:
        # Not Python, such as a template that a plugin of coverage measures.
        return sorted(excluded), sorted(unbranched)
    statements = list(_statements(tree))
    constant = {
        each.lineno
        for each in statements
        if isinstance(each, ast.If | ast.While) and isinstance(each.test, ast.Constant)
    }
    # Coverage also finds its patterns in the texts of a statement that has no branch.
    plain = {each.lineno for each in statements if not hasattr(each, "body")}
    plain -= {each.lineno for each in statements if hasattr(each, "body")}
    return sorted(_lines(statements).intersection(excluded)), sorted({*unbranched} - constant - plain)


def all_of(source: str) -> list[int]:
    """Return the first lines of all statements that could run; of a file that is not this Python's, none."""
    tree = _parsed(source)
    return sorted(_lines(_statements(tree))) if tree else []


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _lines(statements: Iterable[ast.stmt]) -> set[int]:
    return {_first_line(each) for each in statements if not _is_idle(each)}


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements in a node that could run; no expression holds one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from _statements(other)
        elif isinstance(child, _BLOCKS):
            if isinstance(child, ast.stmt):
                yield child
            yield from _statements(child)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _is_idle(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, "...", or a function that consists of them."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return all(map(_is_idle, node.body))
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
