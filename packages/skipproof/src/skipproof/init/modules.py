"""What the names of a module say of the machine: ``HAS_YAML`` after ``try: import yaml``, ``WIN``, ``PY312``.

The module level is run symbolically: assignments, ``if`` and ``try`` with their imports. What is not understood is an
unknown fact with its source, never a guess.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .formulas import FALSE, TRUE, both, choice, either, fact, negated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from packaging.specifiers import SpecifierSet

    from .formulas import Formula
    from .project import Project

_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_PLATFORMS = {"nt": "win32", "windows": "win32", "linux": "linux", "darwin": "darwin", "win": "win32"}
_LOWEST = "3.11"


@dataclass(slots=True)
class Module:
    """The names of one module: when each is true, and what it stands for."""

    path: Path
    tree: ast.Module
    package: str
    truths: dict[str, Formula] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


class Modules:
    """Reads the project's modules, each once."""

    def __init__(self, project: Project, optional: Collection[str], always: Collection[str] = ()) -> None:
        """Say which distributions are optional, and which every environment has."""
        self.project = project
        self._optional, self._always = optional, {*always, *project.dependencies}
        self.unreadable: dict[Path, str] = {}
        self._read: dict[Path, Module | None] = {}
        self.asked: set[str] = set()
        self._imported: set[str] = set()
        folders = [project.root / part for part in (".", "src") if (project.root / part).is_dir()]
        self._folders = folders
        self._own = {path.stem for folder in folders for path in folder.glob("*.py")}
        self._own |= {path.parent.name for folder in folders for path in folder.glob("*/*.py")}

    def read(self, path: Path) -> Module | None:
        """Return the module in a file, or None when it is not Python."""
        if path not in self._read:
            self._read[path] = None  # a module that imports itself in a circle knows nothing of itself yet
            try:
                tree = ast.parse(path.read_bytes(), str(path))
            except (SyntaxError, ValueError) as error:
                self.unreadable[path] = str(getattr(error, "msg", error))
                return None
            folder = next(each for each in reversed(self._folders) if path.is_relative_to(each))
            module = self._read[path] = Module(path, tree, ".".join(path.relative_to(folder).parent.parts))
            _Run(self, module).run(tree.body)
        return self._read[path]

    def imported(self, name: str, *, guarded: bool) -> Formula:
        """Return when a module can be imported; a tool of the tests is always here unless its import is guarded."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "__future__":
            # Of those that only some platforms have, this one has its own.
            return (
                TRUE if top not in ("fcntl", "msvcrt", "pwd", "winreg", "termios") else fact("unknown", f"import {top}")
            )
        if top in self._own:
            return self._own_imported(name)
        distribution = self.project.distribution(name)
        # What is imported without a guard, and is no extra, is a tool of the tests, or comes with another library.
        here = distribution in self._always or not (guarded or distribution in self._optional)
        return TRUE if here else fact("library", distribution)

    def _own_imported(self, name: str) -> Formula:
        """Return when a module of the project's own can be imported: when all that it imports can, in turn."""
        found, waiting, seen = TRUE, [name], {""}
        while waiting:
            path = self.find(waiting.pop())
            module = None if path is None else self.read(path)
            if module is None:
                return fact("unknown", f"import {name}")
            for each in (each for node in module.tree.body for each in self.imports(node, module.package)):
                if each.partition(".")[0] not in self._own:
                    found = both(found, self.imported(each, guarded=False))
                elif each not in seen:
                    seen.add(each)
                    waiting.append(each)
        return found

    def imports(self, node: ast.AST, package: str) -> Iterator[str]:
        """Yield the full names of the modules that a statement imports; ``from a import b`` may import ``a.b`` too."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            owner = absolute(node, package)
            yield owner
            yield from (name for alias in node.names if self.find(name := f"{owner}.{alias.name}") is not None)

    def find(self, name: str) -> Path | None:
        """Return the file of one of the project's own modules."""
        for folder in self._folders:
            place = folder.joinpath(*name.split("."))
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file():
                    return path
        return None

    def of_distribution(self, distribution: str) -> list[str]:
        """Return the modules of a distribution that the project imports anywhere, each by its shortest name."""
        if not self._imported:
            for path in self.project.sources((*self.project.code, *self.project.suites)):
                module = self.read(path)
                if module is None:
                    continue
                for node in ast.walk(module.tree):
                    self._imported.update(self.imports(node, module.package))
        found = set()
        for name in self._imported:
            parts = name.split(".")
            starts = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
            found.add(next((each for each in starts if self.project.distribution(each) == distribution), ""))
        return sorted(found - {""})


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the full name of the module that is imported from."""
    parts = package.split(".") if package else []
    above = parts[: len(parts) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def catches_import_error(node: ast.Try) -> bool:
    """Say whether a try statement goes on when an import in it fails."""
    caught = {
        each.id
        for handler in node.handlers
        for each in (ast.walk(handler.type) if handler.type else [ast.Name("Exception")])
        if isinstance(each, ast.Name)
    }
    return bool(caught & _IMPORT_ERRORS)


class Names:
    """Says when an expression is true, by the names of its module."""

    def __init__(self, modules: Modules, module: Module) -> None:
        self.modules = modules
        self.module = module

    def when(self, node: ast.expr) -> Formula:
        """Return when an expression is true."""
        match node:
            case ast.Constant(value=value):
                return TRUE if value else FALSE
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return negated(self.when(operand))
            case ast.BoolOp(op=op, values=values):
                return (both if isinstance(op, ast.And) else either)(*map(self.when, values))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(node, left, op, right)
            case ast.Call():
                return self._called(node)
        return self._named(node) if isinstance(node, (ast.Name, ast.Attribute)) else self._unknown(node)

    def dotted(self, node: ast.AST) -> str:
        """Return what a name or attribute stands for, such as "sys.platform"; "" when it is something else."""
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return owner and f"{owner}.{node.attr}"
        return self.module.aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""

    def guarded(self, body: Sequence[ast.stmt]) -> Formula:
        """Return when the imports in the body of a try statement succeed."""
        found = [
            self.modules.imported(name, guarded=True)
            for part in body
            for node in ast.walk(part)
            for name in (*self.modules.imports(node, self.module.package), *self._loaded(node))
        ]
        project = self.modules.project
        named = [each for each in found if all(one.value in project.known for part in each for one in part)]
        # What comes along with a library that the project names needs no name of its own.
        return both(*(named if any(each != TRUE for each in named) else found))

    def _loaded(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call) and self.dotted(node.func) in ("__import__", "importlib.import_module"):
            yield from (str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant))

    def _unknown(self, node: ast.AST) -> Formula:
        return fact("unknown", ast.unparse(node))

    def _named(self, node: ast.expr) -> Formula:
        if isinstance(node, ast.Name) and node.id in self.module.truths:
            return self.module.truths[node.id]
        name = self.dotted(node)
        owner, _, last = name.rpartition(".")
        path = self.modules.find(owner) if owner else None
        module = None if path is None else self.modules.read(path)
        if module is not None and last in module.truths:
            return module.truths[last]
        if module is None or name in self.modules.asked or last not in module.aliases:
            return self._unknown(node)
        # A package may import a name from itself.
        self.modules.asked.add(name)
        found = Names(self.modules, module).when(ast.Name(last))
        self.modules.asked.remove(name)
        return found

    def _called(self, node: ast.Call) -> Formula:
        name, texts = self.dotted(node.func), [each.value for each in node.args if isinstance(each, ast.Constant)]
        match name, texts:
            case ("bool", []) if len(node.args) == 1:
                return self.when(node.args[0])
            case ("importlib.util.find_spec", [str() as module]):
                return self.modules.imported(module, guarded=True)
            case ("shutil.which", [str() as program]):
                return fact("program", program)
            case ("os.environ.get" | "os.getenv", [str() as variable, *_]):
                return fact("variable", variable)
            case ("sys.platform.startswith", [str() as start]):
                return fact("platform", _PLATFORMS.get(start, start))
        return self._unknown(node)

    def _compared(self, whole: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Formula:
        opposite = isinstance(op, (ast.IsNot, ast.NotEq, ast.NotIn))
        name = self.dotted(left.func if isinstance(left, ast.Call) else left)
        match op, right:
            case (ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq(), ast.Constant(value=None | True | False as value)):
                found = self.when(left)
                return negated(found) if bool(value) == opposite else found
            case (ast.In() | ast.NotIn(), _) if isinstance(left, ast.Constant) and self.dotted(right) == "os.environ":
                found = fact("variable", str(left.value))
            case _ if name in ("sys.platform", "os.name", "platform.system"):
                values = [str(each.value) for each in ast.walk(right) if isinstance(each, ast.Constant)]
                if not values:
                    return self._unknown(whole)
                if values == ["posix"]:
                    values, opposite = ["nt"], not opposite
                found = either(*(fact("platform", _PLATFORMS.get(each.lower(), each)) for each in values))
            case _ if name == "platform.python_implementation":
                # The plugin proves CPython.
                return TRUE if (ast.unparse(right) == "'CPython'") != opposite else FALSE
            case _ if ast.unparse(left).startswith("sys.version_info") or name == "sys.version_info":
                return self._python(whole, op, right)
            case _:
                return self._unknown(whole)
        return negated(found) if opposite else found

    def _python(self, whole: ast.expr, op: ast.cmpop, right: ast.expr) -> Formula:
        parts = right.elts if isinstance(right, ast.Tuple) else []
        version = ".".join(str(each.value) for each in parts if isinstance(each, ast.Constant))
        match op:
            case ast.GtE() | ast.Gt() | ast.Lt() | ast.LtE() if version:
                found = _from(version, self.modules.project.python)
                return found if isinstance(op, (ast.GtE, ast.Gt)) else negated(found)
        return self._unknown(whole)


def _from(version: str, supported: SpecifierSet) -> Formula:
    lowest = max((each.version for each in supported if each.operator == ">="), key=_order, default=_LOWEST)
    return TRUE if _order(version) <= _order(max(lowest, _LOWEST, key=_order)) else fact("python", f">={version}")


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


class _Run:
    """Runs the statements of a module, or of a part of it, symbolically."""

    def __init__(self, modules: Modules, module: Module) -> None:
        self.names = Names(modules, module)
        self.module = module

    def run(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            match node:
                case ast.Import() | ast.ImportFrom():
                    self._import(node)
                case ast.Assign(targets=targets, value=value):
                    self._assign(targets, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign([target], value)
                case ast.Try() if catches_import_error(node):
                    failed = [each for handler in node.handlers for each in handler.body]
                    self._fork(self.names.guarded(node.body), [*node.body, *node.orelse], failed)
                    self.run(node.finalbody)
                case ast.If(test=test, body=then, orelse=otherwise):
                    self._fork(self.names.when(test), then, otherwise)

    def _fork(self, condition: Formula, then: Sequence[ast.stmt], otherwise: Sequence[ast.stmt]) -> None:
        before = dict(self.module.truths)
        self.run(then)
        after, bound = self.module.truths, set(self.module.aliases)
        self.module.truths = dict(before)
        self.run(otherwise)
        failed = self.module.truths
        names = {name for side in (after, failed) for name in side if before.get(name) != side[name]}
        self.module.truths = before | {
            # A name of the project's own that was imported has no truth yet, but it is there.
            name: choice(condition, after.get(name, TRUE if name in bound else FALSE), failed.get(name, FALSE))
            for name in names
        }

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                name = alias.asname or alias.name.partition(".")[0]
                target = alias.name if alias.asname else name
            else:
                name = alias.asname or alias.name
                target = f"{absolute(node, self.module.package)}.{alias.name}".lstrip(".")
            self.module.aliases[name] = target
            # Something that was imported is true, unless it is a name of the project's own, which may be a flag.
            owner = target.partition(".")[0]
            if owner not in self.names.modules._own:  # noqa: SLF001 - the two belong together
                self.module.truths[name] = TRUE
            else:
                self.module.truths.pop(name, None)

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        found = self.names.when(value)
        for target in targets:
            if isinstance(target, ast.Name):
                self.module.truths[target.id] = found
                self.module.aliases.pop(target.id, None)
