"""Trying what has to skip: a test that passes without what it requires skips for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.runs import REAL, UNIT

if TYPE_CHECKING:
    from support.project import Project

TESTS = """
    import pytest


    @pytest.mark.requires("alpha")
    def test_needs_nothing():
        assert True


    @pytest.mark.requires("alpha")
    def test_needs_it():
        import skipproof_alpha


    @pytest.mark.requires("alpha")
    @pytest.mark.xfail(reason="a bug", strict=False)
    def test_known():
        assert True
"""


def test_a_test_that_requires_too_much_is_named(project: Project) -> None:
    """A test that passes without what it requires is listed and noted for the report; the others fail as expected."""
    project.write(REAL, TESTS)
    project.write(UNIT, "import pytest\n\n@pytest.mark.xfail(reason='x', strict=False)\ndef test_a(): pass\n")
    result = project.run("--skipproof-try")
    result.assert_outcomes(xfailed=1, xpassed=3)
    fact = "2 tests pass without what they require: their marks ask for too much"
    ids = [f"{REAL}::{name} needs alpha: pip install alpha" for name in ("test_needs_nothing", "test_known")]
    result.stdout.fnmatch_lines([fact, *ids], consecutive=True)
    note = project.root / ".matrix" / "notes" / "try.txt"
    assert note.read_text(encoding="utf-8").splitlines() == [fact, *ids]
    assert result.ret == 0


def test_where_it_is_here_nothing_is_tried(project: Project) -> None:
    """Tests that have all they require are not listed."""
    project.install_alpha()
    project.write(REAL, TESTS)
    result = project.run("--skipproof-try")
    result.assert_outcomes(passed=2, xpassed=1)
    result.stdout.fnmatch_lines(["0 tests pass without what they require: their marks ask for too much"])


def test_trying_proves_nothing(project: Project) -> None:
    """A named run cannot try what has to skip."""
    result = project.run("--skipproof", "bare", "--skipproof-try")
    result.stderr.fnmatch_lines(
        ["ERROR: --skipproof bare proves, and --skipproof-try runs what has to skip: drop one of them"]
    )
    assert result.ret == 4
