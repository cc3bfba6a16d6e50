"""A session's coverage data: that of all its processes in one file, which holds in any folder and on any machine.

coverage writes a path as it looks from the folder in which a process started, or in which the last Coverage object of
the process was made: with ``relative_files`` a file of the project is absolute in one process, and relative to another
folder in the next. Here every process writes absolute paths, and the run's last act makes them relative to the root.
"""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
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
    """Put the data of all processes of a session into one file, with paths relative to the root, and describe it.

    ``[tool.coverage.paths]`` is heeded: it knows this machine's folders, and another machine's merge cannot.

    Raises:
        CoverageException: the data of a process cannot be read.
    """
    base, parts = coverage_base(contract, session), coverage_files(contract, session)
    # A process that was killed may have made the file, and written nothing into it.
    written = [path for path in parts if path.stat().st_size]
    for path in written:
        with _data(path):  # combine would pass over what cannot be read
            pass
    root = contract.root.resolve()

    def relative(name: str) -> str:
        return Path(name).relative_to(root).as_posix() if Path(name).is_relative_to(root) else name

    with TemporaryDirectory(dir=base.parent) as folder:
        combined = Coverage(data_file=Path(folder, "combined"), config_file=str(contract.root / "pyproject.toml"))
        combined.combine(map(str, written), strict=True, keep=True)
        whole = Path(folder, "whole")
        with closing(combined.get_data()) as theirs, closing(CoverageData(basename=str(whole))) as data:
            data.update(theirs, map_path=relative)
        for path in parts:
            path.unlink()
        whole.replace(base)
    return described(base)


def described(path: Path) -> Gathered:
    """Describe a coverage data file, so that the loss of any part of it can be told.

    Raises:
        CoverageException: it cannot be read.
    """
    with _data(path) as data:
        contexts = sorted(data.measured_contexts())
    return Gathered(digest=_digest(path), contexts=contexts, lines=_lines(path))


def data_problems(contract: Contract, receipt: Receipt) -> list[str]:
    """Return why a session's coverage data cannot be used, with the next step; empty when it can."""
    return [f"{fact}: {run_again(contract, receipt)}" for fact in _facts(contract, receipt)]


def run_again(contract: Contract, receipt: Receipt) -> str:
    """Return how a session is run so that its coverage is measured."""
    base = coverage_base(contract, receipt.session).relative_to(contract.root).as_posix()
    return f"run it again with coverage run --data-file={base} --context={receipt.environment}"


def _facts(contract: Contract, receipt: Receipt) -> list[str]:
    base = coverage_base(contract, receipt.session)
    if receipt.coverage is None:
        return ["its coverage was not measured"]
    if receipt.gathered is None:
        return ["its processes' coverage data was not put together, because its own process was ended before"]
    if not base.is_file():
        return [f"coverage data {receipt.coverage} is missing"]
    if _digest(base) != receipt.gathered.digest:
        return [f"coverage data {base.name} {_damage(base, receipt.gathered)}"]
    return [f"coverage data {base.name} {fact}" for fact in _unusable(contract, receipt.environment, receipt.gathered)]


def _unusable(contract: Contract, context: str, gathered: Gathered) -> Iterator[str]:
    """Yield what keeps data from counting that is as its run left it."""
    if not any(gathered.lines.values()):
        yield "is empty"
    if others := sorted(set(gathered.contexts) - {context}):
        yield f"is of context {', '.join(map(repr, others))}, not {context!r}"
    gone = [name for name in gathered.lines if Path(name).is_absolute() or not (contract.root / name).is_file()]
    if gone:
        fact = f"has no source in this folder for {len(gone)} of its files, such as {gone[0]}"
        yield f"{fact}; keep [tool.coverage.run] source_dirs to the project's own files"


def _damage(path: Path, gathered: Gathered) -> str:
    """Return what became of a data file since its run had described it."""
    try:
        here = _lines(path) if path.stat().st_size else {}
    except CoverageException as error:
        return f"cannot be read ({error})"
    if not any(here.values()):
        return "is empty"
    lost = {name: count - here.get(name, 0) for name, count in gathered.lines.items() if count > here.get(name, 0)}
    if not lost:
        return "was changed after its run had sealed it"
    total, name = sum(gathered.lines.values()), max(lost, key=lambda name: lost[name])
    return f"lost {sum(lost.values())} of the {total} lines that its run measured, {lost[name]} of them in {name}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lines(path: Path) -> dict[str, int]:
    """Return how many lines of each file the data holds; on Windows it holds paths with backslashes."""
    with _data(path) as data:
        return {name.replace("\\", "/"): len(data.lines(name) or ()) for name in sorted(data.measured_files())}


@contextmanager
def _data(path: Path) -> Iterator[CoverageData]:
    with closing(CoverageData(basename=str(path))) as data:
        data.read()
        yield data
