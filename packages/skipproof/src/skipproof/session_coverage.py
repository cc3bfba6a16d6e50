"""A session's coverage data: that of all its processes in one file, which is valid in any folder on any machine.

coverage writes paths relative to the folder where a process started, or where its last Coverage object was made: with
``relative_files`` a file of the project may be absolute in one process and relative to another folder in the next. Here
every process writes absolute paths, and the run makes them relative to the root when it ends.
"""

from __future__ import annotations

import hashlib
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageException

from .receipts import Gathered, coverage_base, coverage_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import Contract
    from .receipts import Receipt


def gather(contract: Contract, session: str) -> Gathered:
    """Combine the data of all processes of a session in one file, with paths relative to the root, and describe it.

    Applies ``[tool.coverage.paths]``, which names folders of this machine: a merge on another machine could not.

    Raises:
        CoverageException: the data of a process cannot be read.
    """
    base, parts = coverage_base(contract, session), coverage_files(contract, session)
    # A process that was killed may have created its file without writing to it.
    written = [path for path in parts if path.stat().st_size]
    for path in written:
        with _data(path):  # combine would ignore what cannot be read
            pass
    root = contract.root.resolve()

    def relative(name: str) -> str:
        return Path(name).relative_to(root).as_posix() if Path(name).is_relative_to(root) else name

    # coverage looks for its settings in the working folder, which a test may have left.
    with TemporaryDirectory(dir=base.parent) as folder, chdir(root):
        combined = Coverage(data_file=Path(folder, "combined"), config_file=True)
        combined.combine(map(str, written), strict=True, keep=True)
        whole = Path(folder, "whole")
        with closing(combined.get_data()) as theirs, closing(CoverageData(basename=str(whole))) as data:
            data.update(theirs, map_path=relative)
        for path in parts:
            path.unlink()
        whole.replace(base)
    return described(base)


def described(path: Path) -> Gathered:
    """Describe a coverage data file, so that a loss of any part shows.

    Raises:
        CoverageException: it cannot be read.
    """
    with _data(path) as data:
        # coverage's dynamic_context adds the test behind a bar.
        contexts = sorted({each.partition("|")[0] for each in data.measured_contexts()})
    return Gathered(digest=_digest(path), contexts=contexts, lines=_lines(path))


def data_problems(contract: Contract, receipt: Receipt) -> list[str]:
    """Return why a session's coverage data cannot be used, with the next step; empty when it can."""
    return [f"{fact}: {run_again(contract, receipt)}" for fact in _facts(contract, receipt)]


def run_again(contract: Contract, receipt: Receipt) -> str:
    """Return the command that runs a session again with its coverage measured."""
    base = coverage_base(contract, receipt.session).relative_to(contract.root).as_posix()
    return f"run it again with coverage run --data-file={base} --context={receipt.environment}"


def _facts(contract: Contract, receipt: Receipt) -> list[str]:
    base = coverage_base(contract, receipt.session)
    if receipt.coverage is None:
        return ["its coverage was not measured"]
    if receipt.gathered is None:
        return ["its processes' coverage data was not combined, because the run's own process died first"]
    if not base.is_file():
        return [f"coverage data {receipt.coverage} is missing"]
    if _digest(base) != receipt.gathered.digest:
        return [f"coverage data {base.name} {_damage(base, receipt.gathered)}"]
    return [f"coverage data {base.name} {fact}" for fact in _unusable(contract, receipt.environment, receipt.gathered)]


def _unusable(contract: Contract, context: str, gathered: Gathered) -> Iterator[str]:
    """Yield reasons why data does not count although it is as its run left it."""
    if not any(gathered.lines.values()):
        yield "is empty"
    if others := sorted(set(gathered.contexts) - {context}):
        yield f"is of context {', '.join(map(repr, others))}, not {context!r}"
    gone = [name for name in gathered.lines if Path(name).is_absolute() or not (contract.root / name).is_file()]
    if gone:
        fact = f"has no source in this folder for {len(gone)} of its files, such as {gone[0]}"
        yield f"{fact}; keep [tool.coverage.run] source_dirs to the project's own files"


def _damage(path: Path, gathered: Gathered) -> str:
    """Return what happened to a data file since its run described it."""
    try:
        here = _lines(path) if path.stat().st_size else {}
    except CoverageException as error:
        return f"cannot be read ({error})"
    if not any(here.values()):
        return "is empty"
    lost = {name: count - here.get(name, 0) for name, count in gathered.lines.items() if count > here.get(name, 0)}
    if not lost:
        return "was changed after its run sealed it"
    total, name = sum(gathered.lines.values()), max(lost, key=lambda name: lost[name])
    return f"lost {sum(lost.values())} of the {total} lines that its run measured, {lost[name]} of them in {name}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lines(path: Path) -> dict[str, int]:
    """Return the number of lines per file in the data; on Windows its paths have backslashes."""
    with _data(path) as data:
        return {name.replace("\\", "/"): len(data.lines(name) or ()) for name in sorted(data.measured_files())}


@contextmanager
def _data(path: Path) -> Iterator[CoverageData]:
    with closing(CoverageData(basename=str(path))) as data:
        data.read()
        yield data
