"""What the body of a test or a fixture needs: imports inside it, and the skips that a mark replaces."""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .formulas import FALSE, TRUE, both, negated
from .modules import catches_import_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .formulas import Formula
    from .modules import Names

Edit = tuple[tuple[int, int, int, int], str]
"""First line and column, last line and column (columns in bytes), and the text that replaces what is between them."""

Need = tuple["Formula", str, "Edit | None"]
"""What must hold, why, and the edit that makes a mark of it; None where the body stays as it is."""


@dataclass(slots=True)
class Function:
    """What a test or a fixture needs.

    Attributes:
        node: its definition.
        when: what must hold for its body to run.
        because: why, in a few words.
        edits: what a mark makes superfluous in it.
        skips: True when it skips by hand today.
        understood: the calls that the edits remove.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef
    when: Formula = TRUE
    because: str = ""
    edits: list[Edit] = field(default_factory=list)
    skips: bool = False
    understood: set[ast.AST] = field(default_factory=set)

    @property
    def arguments(self) -> list[str]:
        """The names of its parameters, which may be fixtures."""
        return [each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs)]


def read_function(names: Names, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    """Read the body of a test or a fixture."""
    function, reasons = Function(node), dict[str, None]()
    local = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    local.update(function.arguments)
    for statement in node.body:
        for when, reason, edit in _needs(names, statement, local):
            function.when = both(function.when, when)
            reasons[reason] = None
            if edit is not None:
                function.edits.append(edit)
                function.skips = True
                function.understood |= set(ast.walk(statement))
    function.because = ", ".join(reasons)
    return function


def _needs(names: Names, node: ast.stmt, local: set[str]) -> Iterator[Need]:
    match node:
        case ast.If(body=[skip], orelse=[]) if is_skip(names, skip):
            yield from _skip_under(names, node, local)
        case ast.Try() if catches_import_error(node):
            yield from _skip_after(names, node)
        case ast.Assign() | ast.Expr() | ast.Return() if (name := _optional(names, node.value)) is not None:
            bound = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else name
            text = f"import {name}" if bound == name else f"import {name} as {bound}"
            text += f"\n{' ' * node.col_offset}return {name}" if isinstance(node, ast.Return) else ""
            yield names.modules.imported(name, guarded=True), f"skips without {name}", (span(node), text)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return
        case _:
            for each in names.modules.imports(node, names.module.package):
                when = names.modules.imported(each, guarded=False)
                if when != TRUE:
                    yield when, f"imports {each}", None
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt):
                    # Skips deeper than this depend on what the test does before.
                    yield from (need for need in _needs(names, child, local) if need[2] is None)


def _skip_under(names: Names, node: ast.If, local: set[str]) -> Iterator[Need]:
    # What depends on the test's own variables is known only when it runs.
    if {each.id for each in ast.walk(node.test) if isinstance(each, ast.Name)} & local:
        return
    when = negated(names.when(node.test))
    if when not in (TRUE, FALSE) and all(each.kind != "unknown" for part in when for each in part):
        yield when, f"skips on {ast.unparse(node.test)}", (span(node), "")


def _skip_after(names: Names, node: ast.Try) -> Iterator[Need]:
    match node:
        case ast.Try(body=body, handlers=[ast.ExceptHandler(body=[skip])], orelse=[], finalbody=[]) if (
            is_skip(names, skip) and (when := names.guarded(body)) != TRUE
        ):
            text = "\n".join(ast.unparse(each) for each in body)
            text = textwrap.indent(text, " " * node.col_offset).lstrip()
            yield when, "skips where an import fails", (span(node), text)


def _optional(names: Names, call: ast.expr | None) -> str | None:
    """Return the module that a call of pytest.importorskip imports; None for another call, or a minimal version."""
    match call:
        case ast.Call(func=func, args=[ast.Constant(value=str() as name)]) if (
            names.dotted(func) == "pytest.importorskip"
            # A minimal version is more than a capability says.
            and all(each.arg in ("reason", "exc_type") for each in call.keywords)
        ):
            return name
    return None


def is_skip(names: Names, node: ast.stmt) -> bool:
    """Say whether a statement is a call of pytest.skip."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and names.dotted(node.value.func) == "pytest.skip"
    )


def span(node: ast.stmt | ast.expr) -> tuple[int, int, int, int]:
    """Return where a node begins and ends: lines from 1, columns in bytes."""
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0
