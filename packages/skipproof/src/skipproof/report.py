"""Show what the sessions proved: ``skipproof report [--expect SESSION ...]``, in the project's root.

Reads only receipts and coverage data. Writes to the terminal, to the step summary of a workflow (as markdown), and to
the folder ``report`` of the state: ``index.html``, ``matrix.json`` and ``junit-<environment>.xml``. Shows what exists,
however much is missing, and exits with 0 even when the matrix is red: judging it is the job of the merge. Exits with 4
on a usage error, or when there is no receipt.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import command_line, junit, markdown, page, records, terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .matrix import Matrix


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    contract, found = command_line.collected(
        "report", "Show what the sessions proved, and what they did not.", arguments
    )
    folder = contract.root / contract.state / "report"
    terminal.show(found.matrix)
    _write_all(folder, found.matrix)
    _summarise(markdown.render(found.matrix))
    sys.stdout.write(f"Full report: {(folder / 'index.html').relative_to(contract.root).as_posix()}\n")
    return 0


def _write_all(folder: Path, matrix: Matrix) -> None:
    """Replace the files of an earlier report, each atomically, and remove those of environments that are gone."""
    files = {
        "index.html": page.render(matrix),
        "matrix.json": json.dumps(records.document(matrix), ensure_ascii=False, indent=1) + "\n",
        **{f"junit-{environment}.xml": document for environment, document in junit.render(matrix).items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("junit-*.xml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        draft = folder / f"{name}.{os.getpid()}.draft"
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
        draft.replace(folder / name)


def _summarise(text: str) -> None:
    """Append to the workflow's step summary, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as summary:
            summary.write(text)
