"""What ``skipproof init`` understands of tests: each construct becomes a mark, or is left to a person by name."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from skipproof.init import project
from support.adoption import adopt, proposed, write
from support.constructs import UNDERSTOOD
from support.unclear_constructs import LEFT

if TYPE_CHECKING:
    from support.project import Project

PROJECT = """
    [project]
    name = "skipproof-own"
    dependencies = ["skipproof-core"]
    [project.optional-dependencies]
    a = ["skipproof-alpha"]
    b = ["skipproof-beta"]
    [dependency-groups]
    tests = ["pytest", "skipproof-tool"]
    [tool.pytest.ini_options]
    testpaths = ["tests"]
"""


def lay_out(project: Project, test: str) -> None:
    """Write a project with one test file."""
    write(project, {"pyproject.toml": PROJECT, "skipproof_own/__init__.py": "from skipproof_own import missing\n"})
    project.write("tests/test_a.py", "import pytest\n" + dedent(test).lstrip("\n"))


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_what_is_understood_becomes_a_mark(empty: Project, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """Each construct becomes the mark that says the same; then nothing more is proposed, and the file is Python."""
    test, expected = UNDERSTOOD[case]
    lay_out(empty, test)
    marks, notes = proposed(adopt(capsys, "--write", "--write-marks"))
    # Lines are counted without the import of pytest.
    pairs = [each.split(maxsplit=1) for each in expected.split("; ") if each]
    assert marks == [f"tests/test_a.py:{int(line) + 1} {names}" for line, names in pairs]
    assert notes == []
    assert "nothing to propose" in adopt(capsys)
    assert empty.contract


@pytest.mark.parametrize("case", LEFT)
def test_what_is_not_understood_is_left_by_name(empty: Project, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """What no mark can say is named with its line, and the test file stays as it is."""
    test, expected = LEFT[case]
    lay_out(empty, test)
    before = (empty.root / "tests" / "test_a.py").read_text()
    marks, notes = proposed(adopt(capsys, "--write", "--write-marks"))
    _, line, rest = expected.split(":", 2)
    assert (marks, len(notes)) == ([], 1)
    assert notes[0].startswith(f"tests/test_a.py:{int(line) + 1}:{rest}")
    assert (empty.root / "tests" / "test_a.py").read_text() == before


A, B = "a" * 40, "b" * 40
CHANGED = {
    "a body": (
        """
        def test_a(): import skipproof_alpha
        """,
        """

        import pytest
        @pytest.mark.requires("a")
        def test_a(): import skipproof_alpha
        """,
    ),
    "a docstring": (
        """
        '''Doc.'''
        def test_a(): import skipproof_alpha
        """,
        """
        '''Doc.'''

        import pytest
        @pytest.mark.requires("a")
        def test_a(): import skipproof_alpha
        """,
    ),
    "a file": (
        """
        import skipproof_alpha # noqa

        def test_a(): pass
        """,
        """
        try:
            import skipproof_alpha # noqa
        except ImportError:
            skipproof_alpha = None

        import pytest

        pytestmark = pytest.mark.requires("a")

        def test_a(): pass
        """,
    ),
    "many names": (
        f"""
        from skipproof_alpha import (
            {A},
            {B},
        )
        def test_a(): pass
        """,
        f"""
        try:
            from skipproof_alpha import (
                {A},
                {B},
            )
        except ImportError:
            {A} = None
            {B} = None

        import pytest

        pytestmark = pytest.mark.requires("a")
        def test_a(): pass
        """,
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_the_file_is_changed_as_text(empty: Project, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """Comments stay, pytest is imported where a mark needs it, and a file that needs a library imports without it."""
    test, changed = (dedent(text).removeprefix("\n") for text in CHANGED[case])
    lay_out(empty, "def test_b(): pass")
    empty.write("tests/test_a.py", test)
    adopt(capsys, "--write", "--write-marks")
    assert (empty.root / "tests" / "test_a.py").read_text() == changed
    assert "nothing to propose" in adopt(capsys)


def test_an_installed_library_says_what_its_modules_are_called(
    empty: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module whose name says nothing of its distribution is found by what is installed."""
    lay_out(empty, "def test_a(): import odd\n")
    monkeypatch.setattr(project, "_installed", lambda: {"odd": ["other", "Skipproof.Beta"]})
    assert proposed(adopt(capsys))[0] == ["tests/test_a.py:2 b"]


def test_a_tool_whose_absence_skips_a_file_is_not_in_bare(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A test tool that a file skips without is optional, also where the file itself is left to a person."""
    skip = "try:\n    from skipproof_tool import mock\nexcept ImportError:\n    mock = None\n"
    lay_out(empty, f"{skip}if not mock: pytest.skip(allow_module_level=True)\n@mock\ndef test_a(): pass\n")
    adopt(capsys, "--write")
    tools = {name: (empty.root / "environments" / f"{name}.in").read_text() for name in ("bare", "full")}
    assert ("skipproof-tool" in tools["bare"], "skipproof-tool" in tools["full"]) == (False, True)
