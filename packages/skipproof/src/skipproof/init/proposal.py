"""From what a project says to what it may promise: capabilities, environments, and what each of them installs."""

from __future__ import annotations

import itertools
import json
import platform
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from .formulas import TRUE
from .modules import Modules
from .suite import read_suite

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from .bodies import Edit
    from .formulas import Fact, Formula
    from .project import Project
    from .suite import Change, Suite

_TOOLS = ("coverage", "pytest", "pytest-skipproof")
_BY_PYTHON = ("oldest", "newest")


@dataclass(slots=True)
class Proposal:
    """What a project may promise.

    Attributes:
        capabilities: by name, as in the table.
        environments: by name, what each promises.
        inputs: by environment, the lines of its ``.in`` file.
        pythons: the Python of each environment, where that is what distinguishes them.
        subsets: by name, the options of pytest that choose the tests of ``addopts``, and the rest of them.
        rest: by name, the environment and the options of a session that runs that rest.
        options: the options of pytest that every session needs.
        marks: the changes to test files, with the names of the capabilities that each needs.
        imports: for files that do not import pytest yet, the edit that does.
        notes: what a person has to know or decide: file, line, text.
    """

    capabilities: dict[str, dict[str, Any]] = field(default_factory=dict)
    environments: dict[str, list[str]] = field(default_factory=dict)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    pythons: dict[str, str] = field(default_factory=dict)
    subsets: dict[str, str] = field(default_factory=dict)
    rest: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    marks: list[tuple[Change, list[str]]] = field(default_factory=list)
    imports: dict[Path, Edit] = field(default_factory=dict)
    notes: list[tuple[Path, int, str]] = field(default_factory=list)


def propose(project: Project, there: dict[str, Any] | None = None) -> Proposal:
    """Return what the project may promise, and how its tests say what they need.

    ``there`` is the table that the project has already; what it says then stays.
    """
    existing = there["capabilities"] if there else {}
    pyproject = project.root / "pyproject.toml"
    by_extra: dict[str, set[str]] = {}
    for extra, requirements in project.extras.items():
        for each in requirements:
            by_extra.setdefault(canonicalize_name(each.name), set()).add(extra)
    first = read_suite(Modules(project, by_extra))
    candidates = {*by_extra, *_libraries([*(each.when for each in first.changes if each.skips), *first.guarded])}
    always = _libraries(when for *_, when, _ in first.always) & candidates
    optional = sorted(candidates - always - project.dependencies)
    modules = Modules(project, optional, always)
    suite = read_suite(modules)
    found = Proposal(notes=[(pyproject, 1, text) for text in project.notes], imports=suite.imports)
    if any(each.partition("=")[0] == "--cov" for each in project.pytest.values.get("addopts", ())):
        found.options = ["--no-cov"]  # coverage run measures, with a context
    names = _Names(modules, found, {name: frozenset(by_extra.get(name, ())) for name in optional}, existing)
    for path, line, when, text in first.always:
        if needed := sorted(_libraries([when]) & always):
            fact = f"{text}: without {', '.join(needed)} the file cannot be imported"
            found.notes.append((path, line, f"{fact}, so every environment has it; split the file to prove more"))
    for path, line, _, text in suite.always:
        found.notes.append((path, line, f"{text}: it cannot be imported everywhere; import it inside the tests"))
    _mark(found, names, suite)
    _list_failures(found, names, suite)
    if there is None:
        _arrange(found, names, project, always)
        found.inputs["report"] = ["pytest-skipproof[report]"]
        found.rest = _rest(project, found)
    else:
        found.environments = there["environments"]
        if [*found.environments] == [*_BY_PYTHON]:
            found.pythons = dict(zip(_BY_PYTHON, _pythons(project), strict=True))
        found.rest = _rest(project, found)
        used = {name for _, marked in found.marks for name in marked} - {*existing}
        for name in sorted(used):
            text = f"[tool.skipproof.capabilities] lacks {name} = {_toml(found.capabilities[name])}: add it"
            found.notes.append((pyproject, 1, text))
    found.marks.sort(key=lambda mark: (mark[0].path, mark[0].line))
    found.notes += suite.notes
    found.notes.sort(key=lambda note: (note[0] != pyproject, *note))
    return found


def _libraries(formulas: Iterable[Formula]) -> set[str]:
    return {each.value for when in formulas for facts in when for each in facts if each.kind == "library"}


class _Names:
    """Names capabilities: one for the libraries that the same extras have, so that no two share a library."""

    def __init__(
        self,
        modules: Modules,
        found: Proposal,
        extras: dict[str, frozenset[str]],
        existing: dict[str, dict[str, Any]],
    ) -> None:
        self.modules, self.found, self.extras, self.existing = modules, found, extras, existing
        self.of_library: dict[str, str] = {}
        project = modules.project
        for library, having in extras.items():
            alone = len(having) == 1
            name = next(iter(having)) if alone else library
            self.of_library[library] = name
            install = f"pip install '{project.name}[{name}]'" if alone else f"pip install {library}"
            imported = modules.of_distribution(library)
            known = [each for each, entry in existing.items() if {*imported} & {*entry.get("modules", ())}]
            if known:
                self.of_library[library] = known[0]
                continue
            entry = found.capabilities.setdefault(name, {"install": install})
            kind, values = ("modules", imported) if imported else ("distributions", [library])
            entry[kind] = sorted({*entry.get(kind, ()), *values})

    def of(self, when: Formula) -> list[str] | None:
        """Return the capabilities that stand for a formula, or None when a part of it cannot be said."""
        if any(each.kind == "unknown" for facts in when for each in facts):
            return None
        ways = [list(dict.fromkeys(map(self._of_fact, sorted(facts)))) for facts in sorted(when, key=sorted)]
        if len(ways) == 1:
            return ways[0]
        parts = [names[0] if len(names) == 1 else self._joined("all", "and", names) for names in ways]
        return [self._joined("any", "or", parts)]

    def _joined(self, key: str, word: str, names: list[str]) -> str:
        return self._called(f"-{word}-".join(names), {key: names})

    def _called(self, name: str, entry: dict[str, Any]) -> str:
        """Return the name of a capability: its name in the table that is there, or this one."""
        for known, has in self.existing.items():
            if {key: has[key] for key in has if key != "install"} == {
                key: entry[key] for key in entry if key != "install"
            }:
                return known
        self.found.capabilities.setdefault(name, entry)
        return name

    def _of_fact(self, each: Fact) -> str:
        word = re.sub(r"[^a-z0-9.]+", "-", each.value.lower()).strip("-")
        match each.kind:
            case "library" if each.holds:
                return self.of_library[each.value]
            case "library":
                modules = self.modules.of_distribution(each.value) or [each.value.replace("-", "_")]
                name, entry = f"no-{word}", {"absent": modules[0] if len(modules) == 1 else modules}
            case "platform":
                name = word if each.holds else f"not-{word}"
                entry = {"platform": name.replace("-", " ")}
            case "python":
                version = each.value.removeprefix(">=")
                name = f"python-{version}" if each.holds else f"before-python-{version}"
                entry = {"python": f"{'>=' if each.holds else '<'}{version}"}
            case "program":
                name, entry = word, {"programs": [each.value], "install": f"{each.value} on the PATH"}
            case _:
                name, entry = word, {"variable": each.value, "install": f"{each.value}=<a value>"}
        return self._called(name, entry)


def _mark(found: Proposal, names: _Names, suite: Suite) -> None:
    for change in suite.changes:
        needed = names.of(change.when)
        if needed is None:
            unknown = {each.value for facts in change.when for each in facts if each.kind == "unknown"}
            text = (
                f"{change.because}: what {', '.join(sorted(unknown))} says is not understood; where it skips, a run is"
            )
            found.notes.append((change.path, change.line, f"{text} red: write a probe for it, or a condition"))
            continue
        marked = ["{mark}" in text for _, text in change.edits]
        left = [name for name in needed if name not in change.existing and any(marked)]
        if left or not all(marked):
            found.marks.append((change, left))


def _list_failures(found: Proposal, names: _Names, suite: Suite) -> None:
    root = names.modules.project.root
    for path, line, name, reason, when in suite.failures:
        entry: dict[str, Any] = {"reason": reason, "issue": "?"}
        where = [] if when == TRUE else names.of(when)
        if where is None:
            found.notes.append(
                (path, line, "has pytest.mark.xfail under a condition that is not understood: say it by one")
            )
            continue
        if where:
            entry["where"] = where
        test = json.dumps(f"{path.relative_to(root).as_posix()}::{name}", ensure_ascii=False)
        fact = f"has pytest.mark.xfail: replace it by {test} = {_toml(entry)}, with its issue, under"
        found.notes.append((path, line, f"{fact} [tool.skipproof.known_failures]"))


def _arrange(found: Proposal, names: _Names, project: Project, always: Collection[str]) -> None:
    """Add the environments: bare, each extra, full; or the oldest and the newest Python where nothing is optional."""
    tools = [line for line in project.tools if _name(line) not in names.extras]
    tools += [name for name in _TOOLS if name not in map(_name, tools)]
    chosen = [extra for extra, lines in project.extras.items() if {_name(str(each)) for each in lines} <= set(always)]
    rest = sorted(set(always) - {_name(str(each)) for extra in chosen for each in project.extras[extra]})
    bare = [_editable(chosen), *tools, *(each for each in rest if each not in map(_name, tools))]
    hopes = [f"{name}?" for name, entry in found.capabilities.items() if "programs" in entry or "variable" in entry]
    if not names.extras:
        found.pythons = dict(zip(_BY_PYTHON, _pythons(project), strict=True))
        for name in found.pythons:
            found.environments[name], found.inputs[name] = list(hopes), bare
        return
    found.environments["bare"], found.inputs["bare"] = list(hopes), bare
    for extra in project.extras:
        promised = list(
            dict.fromkeys(names.of_library[name] for name, having in names.extras.items() if extra in having)
        )
        if promised and len(project.extras) > 1:
            found.environments[extra] = [*promised, *hopes]
            found.inputs[extra] = [_editable([*chosen, extra]), "-r bare.in"]
    extras = [extra for extra in project.extras if extra not in project.conflicts]
    alone = [name for name, having in names.extras.items() if not having]
    lines = {_name(line): line for line in project.tools}
    promised = [names.of_library[name] for name, having in names.extras.items() if not having or having & set(extras)]
    found.environments["full"] = [*dict.fromkeys(promised), *hopes]
    found.inputs["full"] = [_editable(extras), "-r bare.in", *(lines.get(name, name) for name in alone)]
    for name in alone:
        if name not in project.known:
            where, file = project.root / "pyproject.toml", "environments/full.in"
            text = f"nothing names the distribution of {name}: {file} takes its module's name; correct it there"
            found.notes.append((where, 1, text))
    if project.conflicts:
        fact = f"[tool.uv] conflicts keeps {', '.join(sorted(project.conflicts))} out of the environment full"
        found.notes.append((project.root / "pyproject.toml", 1, fact))


def _rest(project: Project, found: Proposal) -> dict[str, tuple[str, list[str]]]:
    """Return the session of the tests that ``-m`` in addopts leaves out, and name both parts of the suite."""
    options = project.pytest.values.get("addopts", [])
    chosen = [
        after if option == "-m" else option[2:].removeprefix("=")
        for option, after in itertools.pairwise([*options, ""])
        if option.startswith("-m")
    ]
    if not chosen:
        return {}
    mark = chosen[-1].removeprefix("not ")
    name, others = (mark, mark) if mark.isidentifier() and mark != chosen[-1] else ("rest", f"not ({chosen[-1]})")
    found.subsets = {"usual": f"-m {shlex.quote(chosen[-1])}", name: f"-m {shlex.quote(others)}"}
    last = [*found.environments][-1]
    return {f"{last}-{name}": (last, ["-m", others])}


def _editable(extras: Collection[str]) -> str:
    return f"-e .[{','.join(extras)}]" if extras else "-e ."


def _name(line: str) -> str:
    return canonicalize_name(re.split(r"[\s\[<>=!~;@]", line, maxsplit=1)[0])


def _pythons(project: Project) -> tuple[str, str]:
    """Return the oldest Python that the project and the plugin support, and the newest that is sure to be there."""
    named = ([int(part) for part in each.version.split(".")[:2]] for each in project.python if each.operator == ">=")
    lowest = max([[3, 11], *named])
    here = [int(part) for part in platform.python_version_tuple()[:2]]
    newest = max(here, [lowest[0], lowest[1] + 1])
    return ".".join(map(str, lowest)), ".".join(map(str, newest))


def table(project: Project, found: Proposal) -> str:
    """Return the table as text."""
    lines = ["[tool.skipproof]", f"sources = {_toml([*project.code, *project.suites])}"]
    lines += ['locks = "environments"', 'state = ".matrix"', "", "[tool.skipproof.capabilities]"]
    lines += [f"{_key(name)} = {_toml(entry)}" for name, entry in found.capabilities.items()]
    lines += ["", "[tool.skipproof.environments]"]
    lines += [f"{_key(name)} = {_toml(promised)}" for name, promised in found.environments.items()]
    if found.subsets:
        lines += ["", "[tool.skipproof.subsets]"]
        lines += [f"{_key(name)} = {_toml(options)}" for name, options in found.subsets.items()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        order = sorted(value, key=lambda key: key == "install")
        return "{ " + ", ".join(f"{key} = {_toml(value[key])}" for key in order) + " }"
    return json.dumps(value, ensure_ascii=False)


def shown(root: Path, notes: Iterable[tuple[Path, int, str]]) -> Iterator[str]:
    """Yield the notes as lines, each once, with every line of the file that it is about."""
    lines: dict[tuple[str, str], list[int]] = {}
    for path, line, text in notes:
        lines.setdefault((path.relative_to(root).as_posix(), text), []).append(line)
    for (name, text), where in lines.items():
        yield f"{name}:{', '.join(map(str, dict.fromkeys(where)))}: {text}"
