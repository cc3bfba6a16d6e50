"""What the tests say of themselves: what each file, class and test skips on, and the mark that says it instead."""

from __future__ import annotations

import ast
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .bodies import Function, is_skip, read_function, span
from .formulas import FALSE, TRUE, both, negated
from .modules import Names, catches_import_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .bodies import Edit
    from .formulas import Fact, Formula
    from .modules import Module, Modules

    Facts = frozenset[Fact]


@dataclass(slots=True)
class Change:
    """A change to a test file, after which marks say what its tests need.

    Attributes:
        path: the file.
        line: where the reason is.
        when: what must hold for the tests to run.
        because: why, in a few words.
        edits: what to replace; "{mark}" stands for the mark.
        existing: the capabilities that marks name there already.
        skips: True when the tests skip on it by hand today.
    """

    path: Path
    line: int
    when: Formula
    because: str
    edits: list[Edit]
    existing: frozenset[str] = frozenset()
    skips: bool = False


@dataclass(slots=True)
class Suite:
    """What all test files say.

    Attributes:
        changes: to marks, in the order of files and lines.
        always: libraries without which a file cannot be imported, and no mark would help, with where.
        notes: what a person has to know or decide: file, line, text.
        imports: for files that do not import pytest yet, the edit that does.
        guarded: what must hold for the files that skip themselves and are left to a person.
        failures: tests that are expected to fail: file, line, name after the file, reason, when.
    """

    changes: list[Change] = field(default_factory=list)
    always: list[tuple[Path, int, Formula, str]] = field(default_factory=list)
    notes: list[tuple[Path, int, str]] = field(default_factory=list)
    imports: dict[Path, Edit] = field(default_factory=dict)
    guarded: list[Formula] = field(default_factory=list)
    failures: list[tuple[Path, int, str, str, Formula]] = field(default_factory=list)


def read_suite(modules: Modules) -> Suite:
    """Read the test files of the project's suites."""
    suite, root = Suite(), modules.project.root
    paths = {*modules.project.sources(modules.project.suites)}
    paths |= {root / "conftest.py"} & set(root.glob("conftest.py"))
    files = []
    for path in sorted(paths):
        module = modules.read(path)
        if module is None:
            fact = f"is not Python {platform.python_version()} ({modules.unreadable[path]}), and is passed over"
            suite.notes.append((path, 1, f"{fact}: correct it, or mark its tests by hand"))
        else:
            files.append(_File(modules, module, suite))
    fixtures = {file.module.path: file.fixtures() for file in files}
    for file in files:
        file.read(fixtures)
    return suite


class _File:
    """Reads one test file."""

    def __init__(self, modules: Modules, module: Module, suite: Suite) -> None:
        self.modules, self.module, self.suite = modules, module, suite
        self.names = Names(modules, module)
        self.understood: set[ast.AST] = set()
        self.lines = module.path.read_bytes().decode("utf-8-sig", "replace").splitlines()

    def fixtures(self) -> dict[str, Function]:
        """Return the fixtures that the file defines, by name."""
        found = {}
        for node in ast.walk(self.module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for decorator in node.decorator_list:
                    call = decorator if isinstance(decorator, ast.Call) else None
                    if self.names.dotted(call.func if call else decorator).rpartition(".")[2] == "fixture":
                        named = [each.value for each in (call.keywords if call else ()) if each.arg == "name"]
                        name = ast.literal_eval(named[0]) if named else node.name
                        found[name] = read_function(self.names, node)
        return found

    def read(self, fixtures: dict[Path, dict[str, Function]]) -> None:
        """Add to the suite what the file says."""
        given = self._module_level()
        for function in fixtures[self.module.path].values():
            self.understood |= function.understood
            self._add(function.node.lineno, function.when, function.because, function.edits, skips=function.skips)
        here = [fixtures[path] for path in self._conftests() if path in fixtures]
        self._definitions(self.module.tree.body, "", given, self._marked(self.module.tree.body), here)
        self._leftovers()

    def _conftests(self) -> Iterator[Path]:
        yield self.module.path
        root = self.modules.project.root
        yield from (folder / "conftest.py" for folder in self.module.path.parents if folder.is_relative_to(root))

    def _add(self, line: int, when: Formula, because: str, edits: list[Edit], **more: object) -> None:
        if edits and "pytest" not in self.module.aliases:
            self.suite.imports[self.module.path] = (self._after_imports(), "\nimport pytest\n")
        if edits:
            self.suite.changes.append(Change(self.module.path, line, when, because, edits, **more))  # type: ignore[arg-type]

    def _note(self, node: ast.AST, text: str) -> None:
        self.suite.notes.append((self.module.path, node.lineno, text))  # type: ignore[attr-defined]

    def _module_level(self) -> Facts:
        """Read what decides over the whole file; return what one mark of the file says of its tests."""
        edits: list[Edit] = []
        found: dict[str, Formula] = {}
        first, by_hand = 0, False
        for node in self.module.tree.body:
            when, text, replaced, skips = self._whole_file(node)
            if when == TRUE:
                continue
            self.understood |= set(ast.walk(node))
            # Without the skip, these names are None where a library is missing.
            guards = [each for each in self.module.tree.body if isinstance(each, ast.Try)] if skips else []
            bound = {name for each in (node, *guards) for name in _bound(each)}
            used = sorted(_used_at_import(self.module.tree, bound, broken=skips))
            if when == FALSE:
                self._note(
                    node, f"{ast.unparse(node).splitlines()[0]} lets no test of the file run: delete it, or the file"
                )
            elif used and skips:
                self.suite.guarded.append(when)
                step = "give them a stand-in where the import fails, and mark the file"
                self._note(
                    node, f"{text}, and uses what is then missing when it is imported, in line {used[0]}: {step}"
                )
            elif used:
                why = f"{text}, and uses it when it is imported itself, first in line {used[0]}"
                self.suite.always.append((self.module.path, node.lineno, when, why))
            else:
                edits.append((self._line(node), replaced))
                found[text] = when
                first, by_hand = first or node.lineno, by_hand or skips
        when = both(*found.values())
        if found and self._is_test():
            self._add(first, when, "; ".join(found), [*edits, self._pytestmark()], skips=by_hand)
        return _certain(when)

    def _line(self, node: ast.stmt) -> tuple[int, int, int, int]:
        """Return where a statement begins and ends, with the comment behind it: that belongs to its import."""
        line = self.lines[(node.end_lineno or 1) - 1].encode()
        first, start, last, end = span(node)
        return first, start, last, len(line) if line[end:].lstrip().startswith(b"#") else end

    def _is_test(self) -> bool:
        return any(True for _ in _tests(self.module.tree.body))

    def _whole_file(self, node: ast.stmt) -> tuple[Formula, str, str, bool]:
        """Return when the file's tests can run as far as a statement tells, why, what replaces it, if it skips."""
        match node:
            case ast.If(test=test, body=[skip], orelse=[]) if is_skip(self.names, skip):
                return negated(self.names.when(test)), f"skips as a whole on {ast.unparse(test)}", "", True
            case ast.Try(body=body, handlers=[handler]) if catches_import_error(node):
                if any(is_skip(self.names, each) for each in handler.body):
                    return self.names.guarded(body), "skips as a whole where an import fails", self._guard(node), True
            case ast.Assign(value=ast.Call() as call) | ast.Expr(value=ast.Call() as call):
                if self.names.dotted(call.func) == "pytest.importorskip" and isinstance(call.args[0], ast.Constant):
                    name = str(call.args[0].value)
                    bound = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else None
                    alias = "" if bound in (None, name) else f" as {bound}"
                    without = f"except ImportError:\n    {bound or name.partition('.')[0]} = None"
                    text = f"try:\n    import {name}{alias}\n{without}"
                    return self.modules.imported(name, guarded=True), f"skips as a whole without {name}", text, True
            case ast.Import() | ast.ImportFrom():
                names = list(self.modules.imports(node, self.module.package))
                when = [self.modules.imported(name, guarded=False) for name in names]
                missing = [name for name, each in zip(names, when, strict=True) if each != TRUE]
                if missing:
                    return both(*when), f"imports {', '.join(missing)} at its top", self._guard(node), False
        return TRUE, "", "", False

    def _guard(self, node: ast.stmt) -> str:
        """Return the import that goes on without the library: its names are then None."""
        if isinstance(node, ast.Try):
            lines = self.lines[node.body[0].lineno - 1 : node.body[-1].end_lineno]
        else:
            lines = ["    " + line for line in self.lines[node.lineno - 1 : node.end_lineno]]
        bound = f"    {' = '.join([*_bound(node), 'None'])}"
        without = [bound] if len(bound) < 89 else [f"    {name} = None" for name in _bound(node)]
        return "\n".join(["try:", *lines, "except ImportError:", *without])

    def _pytestmark(self) -> Edit:
        """Return the edit that marks the whole file: after its last import, or in the pytestmark that it has."""
        for node in self.module.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                many, text = isinstance(node.value, ast.List), ast.unparse(node.value)
                return span(node.value), f"[{{mark}}, {text[1:] if many else f'{text}]'}"
        return self._after_imports(), "\npytestmark = {mark}\n"

    def _after_imports(self) -> tuple[int, int, int, int]:
        last = 0
        for node in self.module.tree.body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not last
            if docstring or (isinstance(node, (ast.Import, ast.ImportFrom, ast.Try)) and (docstring or _bound(node))):
                last = node.end_lineno or 0
        return last + 1, 0, last + 1, 0

    def _definitions(
        self,
        body: Iterable[ast.stmt],
        owner: str,
        given: Facts,
        marked: frozenset[str],
        fixtures: list[dict[str, Function]],
    ) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                own, names = given | self._skips(node.decorator_list), self._marked(node.body, node.decorator_list)
                self._xfails(node, f"{owner}{node.name}::*")
                self._definitions(node.body, f"{owner}{node.name}::", own, marked | names, fixtures)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
                self._xfails(node, f"{owner}{node.name}")
                self._test(node, given | self._skips(node.decorator_list), marked, fixtures)
            elif isinstance(node, (ast.If, ast.Try)):
                classes = [each for each in ast.walk(node) if isinstance(each, ast.ClassDef)]
                self._definitions(classes, owner, given, marked, fixtures)

    def _test(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        given: Facts,
        marked: frozenset[str],
        fixtures: list[dict[str, Function]],
    ) -> None:
        function = read_function(self.names, node)
        self.understood |= function.understood
        when, reasons = function.when, [function.because] if function.because else []
        waiting, seen = list(function.arguments), set()
        while waiting:
            name = waiting.pop()
            fixture = next((each[name] for each in fixtures if name in each), None)
            if fixture is not None and name not in seen:
                seen.add(name)
                waiting += fixture.arguments
                if fixture.when != TRUE:
                    when = both(when, fixture.when)
                    reasons.append(f"its fixture {name} {fixture.because}")
        rest = frozenset(each - given for each in when)
        first = min(part.lineno for part in (node, *node.decorator_list))
        mark: list[Edit] = [((first, 0, first, 0), f"{' ' * node.col_offset}@{{mark}}\n")] if rest != TRUE else []
        self._add(
            node.lineno,
            rest,
            "; ".join(reasons),
            [*mark, *function.edits],
            existing=marked | self._marked([], node.decorator_list),
            skips=function.skips,
        )

    def _xfails(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        """Note the tests that are expected to fail, when, and why."""
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
            if self.names.dotted(call.func) != "pytest.mark.xfail":
                continue
            given = {each.arg: each.value for each in call.keywords}
            conditions = [*call.args, *([given["condition"]] if "condition" in given else [])][:1]
            reason = given.get("reason", ast.Constant("?"))
            text = str(reason.value) if isinstance(reason, ast.Constant) else ast.unparse(reason)
            when = self.names.when(conditions[0]) if conditions else TRUE
            self.suite.failures.append((self.module.path, decorator.lineno, name, text, when))
            self.understood |= set(ast.walk(decorator))

    def _skips(self, decorators: Iterable[ast.expr]) -> Facts:
        found: Facts = frozenset()
        for call in decorators:
            if isinstance(call, ast.Call) and (when := self._runs(call)) is not None:
                found |= _certain(when)
        return found

    def _runs(self, call: ast.Call) -> Formula | None:
        """Return when a test with this mark runs, or None for another call."""
        name = self.names.dotted(call.func)
        keyword = [each.value for each in call.keywords if each.arg == "condition"]
        condition = [*call.args, *keyword][:1]
        if name in ("pytest.mark.skipif", "unittest.skipIf") and condition:
            return negated(self.names.when(condition[0]))
        return self.names.when(condition[0]) if name == "unittest.skipUnless" and condition else None

    def _marked(self, body: Iterable[ast.stmt], decorators: Iterable[ast.expr] = ()) -> frozenset[str]:
        marks = [
            each.value for each in body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "pytestmark"
        ]
        return frozenset(
            str(name.value)
            for mark in (*marks, *decorators)
            for call in ast.walk(mark)
            if isinstance(call, ast.Call) and self.names.dotted(call.func) == "pytest.mark.requires"
            for name in call.args
            if isinstance(name, ast.Constant)
        )

    def _leftovers(self) -> None:
        """Turn every skipif into a mark; note each skip and xfail that is not understood."""
        for node in ast.walk(self.module.tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("collect_ignore"):
                self._note(node, "collect_ignore hides files from a run, which is red: mark their tests instead")
            name = self.names.dotted(getattr(node, "func", node)) if isinstance(node, (ast.Call, ast.Attribute)) else ""
            if node in self.understood or not isinstance(node, (ast.Call, ast.Attribute)):
                continue
            when = self._runs(node) if isinstance(node, ast.Call) else None
            if when is not None and when != TRUE:
                self._skipif(node, when)
            elif isinstance(node, ast.Call) and name in ("pytest.skip", "pytest.importorskip", "pytest.xfail"):
                step = "list it in known_failures" if name == "pytest.xfail" else "say it by a mark on the test"
                self._note(node, f"calls {name} by hand: {step}")
            elif isinstance(node, ast.Attribute) and name in ("pytest.mark.skip", "pytest.mark.xfail"):
                self._note(node, f"has {name}: a run is red where it applies; fix the test, or remove the mark")

    def _skipif(self, node: ast.Call | ast.Attribute, when: Formula) -> None:
        text = ast.unparse(node).partition(", reason=")[0]
        if when == FALSE:
            self._note(node, f"{text}) skips everywhere: fix the test, or delete it")
        else:
            self._add(node.lineno, when, f"skips by hand: {text})", [(span(node), "{mark}")], skips=True)


def _certain(when: Formula) -> Facts:
    """Return the facts that hold in every alternative."""
    return frozenset.intersection(*when) if when else frozenset()


def _tests(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    return (
        node
        for each in body
        for node in ast.walk(each)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test")
    )


def _bound(node: ast.AST) -> list[str]:
    """Return the names that the imports in a statement give."""
    return list(
        dict.fromkeys(
            alias.asname or alias.name.partition(".")[0]
            for each in ast.walk(node)
            if isinstance(each, (ast.Import, ast.ImportFrom))
            for alias in each.names
        )
    )


def _used_at_import(tree: ast.Module, names: set[str], *, broken: bool) -> Iterator[int]:
    """Yield the lines that use one of these names when the module is imported; with ``broken``, where None breaks."""
    for node in _executed(tree):
        parts: list[ast.AST] = [node] if isinstance(node, ast.Name) and not broken else []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            parts = [*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else [])]
        elif isinstance(node, (ast.Attribute, ast.Call)):
            parts = [node.func if isinstance(node, ast.Call) else node.value]
        yield from (part.lineno for part in parts if isinstance(part, ast.Name) and part.id in names)


def _executed(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is imported: no body of a function, and no annotation that is lazy."""
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                waiting += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
                if not lazy:
                    annotated = (each for each in ast.walk(node.args) if isinstance(each, ast.arg))
                    waiting += filter(None, (node.returns, *(each.annotation for each in annotated)))
            case _ if not isinstance(node, ast.Lambda):
                waiting += ast.iter_child_nodes(node)
