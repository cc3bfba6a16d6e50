"""Propose how a project adopts the plugin: ``skipproof init``, in the project's root.

Reads the project, its settings and its tests, without running anything, and shows as a diff the table, the inputs of
the locks, a noxfile or tox.ini, and the marks that say what the tests skip on today. Nothing is written without
``--write``; test files only with ``--write-marks``; what exists, only with ``--overwrite``, except that settings and
.gitignore get their lines added. Exits with 4 when the project cannot be read or written, and with 0 otherwise.

::

    project.py   what its files say
    formulas.py  facts joined by and, or and not
    modules.py   what the names of a module stand for, such as HAS_YAML
    bodies.py    what the body of a test needs
    suite.py     what each test file skips on
    proposal.py  capabilities and environments from all that
    runners.py   the noxfile or tox.ini
    files.py     changes as text, diffs, and writing all or nothing
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from skipproof.command_line import make_parser
from skipproof.contract import ContractError
from skipproof.table import read_contract
from skipproof.table_files import find_table

from .files import File, append, check_kept, edited, read_file, set_under, write_all
from .project import InitError, read_project
from .proposal import propose, shown, table
from .runners import noxfile, tox_ini

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .bodies import Edit
    from .project import Project, Settings
    from .proposal import Proposal
    from .suite import Change

_OVERWRITE, _MARKS = "--overwrite", "--write-marks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    parser = make_parser("init", "Propose how this project adopts the plugin.")
    parser.add_argument("--write", action="store_true", help="write what is safe: the table and new files")
    parser.add_argument(_MARKS, action="store_true", help="with --write: change the test files, too")
    parser.add_argument(_OVERWRITE, action="store_true", help="with --write: change files that exist, too")
    parser.add_argument("--runner", choices=("nox", "tox", "none"), default="nox", help="what to write (default: nox)")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    try:
        project = read_project(root)
        table_there = find_table(root)
        if table_there is not None:
            read_contract(root)
        found = propose(project, table_there.content if table_there else None)
        files = list(_files(project, found, options.runner, adopted=table_there is not None))
        asked = {_MARKS: options.write_marks, _OVERWRITE: options.overwrite, None: True}
        chosen = [file for file in files if options.write and asked[file.asked]]
        write_all(chosen)
    except (ContractError, InitError) as error:
        parser.error(str(error))
    for line in _report(root, files, chosen, found, options.runner):
        sys.stdout.write(f"{line}\n")
    return 0


def _files(project: Project, found: Proposal, runner: str, *, adopted: bool) -> Iterator[File]:
    """Yield every file that changes."""
    root = project.root
    pyproject = read_file(root / "pyproject.toml")
    settings = {pyproject.path: pyproject}
    _set(settings, found, project.pytest, "testpaths", list(project.suites))
    run, report = project.coverage
    if not run.values.keys() & {"source", "source_dirs", "source_pkgs", "include"}:
        folders = [part for part in (*project.code, *project.suites) if not part.endswith(".py")]
        _set(settings, found, run, "source_dirs", folders)
    if any(each.startswith(("-n", "--numprocesses")) for each in project.pytest.values.get("addopts", ())):
        _set(settings, found, run, "patch", ["subprocess"])
    _set(settings, found, report, "fail_under", 100)
    if not adopted:
        append(pyproject, table(project, found))
    check_kept(pyproject)
    files = [*settings.values()]
    if not adopted:
        for name, lines in found.inputs.items():
            files.append(_whole(root / "environments" / f"{name}.in", "\n".join(lines) + "\n"))
    files += [_ignored(root), *_runner(project, found, runner), *_marked(found)]
    yield from (file for file in files if file.old != file.new)


def _set(settings: dict[Path, File], found: Proposal, section: Settings, key: str, value: list[str] | int) -> None:
    """Add a setting where the tool reads it, unless it is there."""
    if key in section.values:
        return
    path = next(iter(settings)).with_name(section.file or "pyproject.toml")
    file = settings.setdefault(path, settings.get(path) or read_file(path))
    if path.suffix == ".toml":
        text = json.dumps(value)
    else:
        text = (" " if key == "testpaths" else ", ").join(value) if isinstance(value, list) else str(value)
    if not set_under(file, section.heading, f"{key} = {text}"):
        fact = f"has no line [{section.heading}] to write {key} = {text} under: add it by hand"
        found.notes.append((path, 1, fact))


def _whole(path: Path, text: str) -> File:
    file = read_file(path)
    file.new = text
    file.asked = None if file.old is None else _OVERWRITE
    return file


def _ignored(root: Path) -> File:
    file = read_file(root / ".gitignore")
    if not {".matrix", ".matrix/", "/.matrix", "/.matrix/"} & {line.strip() for line in file.new.splitlines()}:
        file.new = "".join(f"{line}\n" for line in (*file.new.splitlines(), "/.matrix/"))
    return file


def _runner(project: Project, found: Proposal, runner: str) -> Iterator[File]:
    file = read_file(project.root / ("tox.ini" if runner == "tox" else "noxfile.py"))
    if runner == "none" or "skipproof" in file.new:
        return
    beside = file.old is not None
    if runner == "nox":
        append(file, noxfile(found.pythons, found.rest, found.options, beside=beside))
    else:
        append(file, tox_ini(found.environments, found.pythons, found.rest, found.options, beside=beside))
    file.asked = _OVERWRITE if beside else None
    yield file


def _marked(found: Proposal) -> Iterator[File]:
    by_file: dict[Path, list[tuple[Change, list[Edit], list[str]]]] = {}
    for change, names in found.marks:
        mark = f"pytest.mark.requires({', '.join(map(json.dumps, names))})"
        edits = [(place, text.replace("{mark}", mark)) for place, text in change.edits if names or "{mark}" not in text]
        by_file.setdefault(change.path, []).append((change, edits, names))
    for path, changes in sorted(by_file.items()):
        file = read_file(path)
        file.asked = _MARKS
        kept = [found.imports[path]] if path in found.imports else []
        for change, edits, names in changes:
            new = edited(file.old or "", [*kept, *edits])
            if new is None:
                found.marks.remove((change, names))
                fact = f"{change.because}: the mark requires({', '.join(names)}) has to be written by hand"
                found.notes.append((path, change.line, fact))
            else:
                kept, file.new = [*kept, *edits], new
        yield file


def _steps(root: Path, files: list[File], written: list[File], found: Proposal, runner: str) -> Iterator[str]:
    if not files:
        yield "nothing to propose: the project has a table, and its tests skip on nothing by hand that a mark can say"
        return
    for asked, what in ((None, "--write"), (_MARKS, f"--write {_MARKS}"), (_OVERWRITE, f"--write {_OVERWRITE}")):
        names = [file.path.relative_to(root).as_posix() for file in files if file.asked == asked]
        left = [name for name in names if name not in [each.path.relative_to(root).as_posix() for each in written]]
        if left:
            yield f"not written: {', '.join(left)}; {what} does it"
    if written:
        yield f"written: {', '.join(file.path.relative_to(root).as_posix() for file in written)}"
    yield "then, in the project's folder:"
    if runner == "nox":
        yield "  pip install 'nox[uv]' && nox -s lock && nox"
        return
    environments = list(found.environments)
    version = f"--python-version {found.pythons.get('oldest', '3.11')}"
    for name in (*environments, "report"):
        python = f"--python-version {found.pythons[name]}" if name in found.pythons else version
        yield f"  uv pip compile environments/{name}.in --output-file environments/{name}.txt --universal {python}"
    if runner == "tox":
        yield "  pip install tox-uv && tox"
        return
    for name in environments:
        yield f"  uv pip sync environments/{name}.txt && skipproof doctor --environment {name}"
    for name, (environment, others) in ({name: (name, list[str]()) for name in environments} | found.rest).items():
        run = f"python -m coverage run --data-file=.matrix/coverage/.coverage.{name} --context={environment} -m pytest"
        chosen = ["--skipproof", environment, "--skipproof-session", name, *found.options, *map(quote, others)]
        yield f"  {' '.join([run, *chosen])}"
    sessions = " ".join([*environments, *found.rest])
    yield f"  uv pip sync environments/report.txt && skipproof merge --expect {sessions}"


def _report(root: Path, files: list[File], written: list[File], found: Proposal, runner: str) -> Iterator[str]:
    for file in files:
        yield file.diff(root).rstrip("\n")
    if found.marks:
        yield from ("", "what the tests need, and why:")
        for change, names in found.marks:
            where = f"{change.path.relative_to(root).as_posix()}:{change.line}"
            mark = f"add @pytest.mark.requires({', '.join(map(json.dumps, names))})" if names else "drop what marks say"
            yield f"{where}: {mark} because it {change.because}"
    if found.notes:
        yield from ("", "left to a person:", *shown(root, found.notes))
    yield from ("", *_steps(root, files, written, found, runner))
