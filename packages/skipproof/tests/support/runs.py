"""What the tests of named runs share: the files they write, and how they read a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skipproof.exits import ExitStatus

if TYPE_CHECKING:
    import pytest

    from .project import Project

REASON = "needs alpha: pip install alpha"
UNIT = "tests/unit/test_a.py"
REAL = "tests/real/test_real.py"
PASSES = "def test_a(): pass\n"
NEEDS_ALPHA = """
    import pytest


    @pytest.mark.requires("alpha")
    def test_alpha():
        import skipproof_alpha
"""


def violations(result: pytest.RunResult, project: Project, session: str) -> list[str]:
    """Return the violations of a red run; the summary and the receipt must list the same ones."""
    found = project.receipt(session).violations
    assert result.ret == ExitStatus.RUN
    start = next(
        number for number, line in enumerate(result.outlines) if line.startswith("====") and "skipproof:" in line
    )
    count = "1 violation" if len(found) == 1 else f"{len(found)} violations"
    assert f"skipproof: {count} in {project.receipt(session).environment}" in result.outlines[start]
    assert result.outlines[start + 1 : start + 1 + len(found)] == found
    return found
