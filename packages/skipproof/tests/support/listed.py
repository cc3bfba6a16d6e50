"""Projects with an accepted list, and what their sessions leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skipproof import accept
from skipproof.receipts import write_receipt

from .project import PYPROJECT
from .samples import current, result, write_data

if TYPE_CHECKING:
    from skipproof.receipts import TestResult

    from .project import Project

NAME = "accepted.txt"
TABLE = PYPROJECT.replace('state = ".matrix"', f'state = ".matrix"\naccepted = "{NAME}"')
# Written so that coverage does not take a test for what the test writes.
NO_COVER, NO_BRANCH = (f"# {'pragma'}: no {what}" for what in ("cover", "branch"))


def listed(project: Project, table: str = TABLE) -> Project:
    """Name a list in the project's table."""
    project.write("pyproject.toml", table)
    return project


def leave(
    project: Project, environment: str, tests: dict[str, TestResult], session: str | None = None, **changes: Any
) -> None:
    """Leave what a green run of all suites leaves in an environment, coverage of code.py included."""
    name, suites = session or environment, ["tests/unit", "tests/real"]
    write_data(project, name, environment)
    write_receipt(project.contract, current(project, name, environment, tests=tests, suites=suites, **changes))


def both(project: Project, *names: str, skipped: tuple[str, ...] = ()) -> None:
    """Leave sessions of "bare" and "full" that ran these tests; in "bare", some of them were skipped."""
    for environment in ("bare", "full"):
        skips = skipped if environment == "bare" else ()
        each = {name: result("skipped", "alpha") if name in skips else result("passed") for name in names}
        leave(project, environment, each)


def accepted(project: Project) -> str:
    """Write the list, and return it."""
    assert accept.main([]) == 0
    return (project.root / NAME).read_text(encoding="utf-8")
