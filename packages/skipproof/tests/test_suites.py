"""Suites are called what the ids of their tests begin with, however testpaths writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof.suites import in_suites
from support.project import PYPROJECT
from support.runs import NEEDS_ALPHA, PASSES, REAL, UNIT, violations

if TYPE_CHECKING:
    from support.project import Project

PATHS = '["tests/unit", "tests/real"]'


def named(project: Project, *suites: str) -> None:
    """Write these suites in testpaths, of a project that is one source."""
    assert PATHS in PYPROJECT
    text = PYPROJECT.replace(PATHS, str(list(suites)))
    project.write("pyproject.toml", text.replace('["tests", "pyproject.toml", "setup.py"]', '["."]'))


@pytest.mark.parametrize(
    ("suite", "known"),
    [
        ("tests/unit/", "tests/unit"),
        ("./tests/unit", "tests/unit"),
        ("tests//unit", "tests/unit"),
        ("tests/real/../unit", "tests/unit"),
        ("{root}/tests/unit", "tests/unit"),
        ("tests/unit/test_a.py", "tests/unit/test_a.py"),
        ("./tests/unit/test_a.py", "tests/unit/test_a.py"),
        ("tests", "tests"),
        (".", "."),
        ("link", "link"),
    ],
)
def test_ids_are_compared_however_a_suite_is_written(
    project: Project, suite: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that another session collected is missed in a suite of any spelling, and in one of a single file."""
    (project.root / "link").symlink_to("tests/unit")
    named(project, suite.format(root=project.root))
    project.write(UNIT, PASSES + "\n\ndef test_b(): pass\n")
    # A hook that drops a test where something is missing: no file differs.
    code = (
        "import os\n\ndef pytest_pycollect_makeitem(name): return [] if name == os.environ.get('MISSING') else None\n"
    )
    project.write("conftest.py", code)
    assert project.run("--skipproof", "bare", "--skipproof-session", "whole").ret == 0
    assert project.receipt("whole").suites == [known]
    monkeypatch.setenv("MISSING", "test_b")
    found = violations(project.run("--skipproof", "bare"), project, "bare")
    absent = f"{'link/test_a.py' if suite == 'link' else UNIT}::test_b: was collected in whole, from the same sources"
    assert [each for each in found if each.startswith(absent)]


@pytest.mark.parametrize(
    "arguments", [["tests/unit/"], ["./tests/unit"], ["tests/../tests/unit"], ["{root}/tests/unit"]]
)
def test_a_whole_suite_may_be_named_in_any_way(project: Project, arguments: list[str]) -> None:
    """A path on the command line names a suite however it is written."""
    project.write(UNIT, PASSES)
    assert project.run("--skipproof", "bare", *(each.format(root=project.root) for each in arguments)).ret == 0
    assert project.receipt("bare").suites == ["tests/unit"]


@pytest.mark.parametrize(
    ("suite", "fact"),
    [
        ("../elsewhere", "testpaths has '../elsewhere', which lies outside {root}: name a folder in it"),
        ("/elsewhere", "testpaths has '/elsewhere', which lies outside {root}: name a folder in it"),
        (
            "tests/unti",
            "testpaths has 'tests/unti', which does not exist: correct it, or pytest collects something else",
        ),
        ("tests/*", "testpaths has the pattern 'tests/*': name each suite's folder, a receipt says which it is of"),
    ],
)
def test_what_is_no_suite_is_refused(project: Project, suite: str, fact: str) -> None:
    """An entry of testpaths that no id begins with is a usage error."""
    named(project, "tests/unit", suite)
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {fact.format(root=project.root)}" in result.errlines


def test_a_test_that_no_suite_names_is_a_violation(project: Project) -> None:
    """A test that a plugin collects from elsewhere would be compared with nothing."""
    named(project, "tests/unit", "tests/real")
    project.write(UNIT, PASSES)
    project.write("other/test_o.py", PASSES)
    project.write(
        "conftest.py",
        """
        from pathlib import Path
        import pytest

        def pytest_collection_modifyitems(session, items):
            module = pytest.Module.from_parent(session, path=session.config.rootpath / "other" / "test_o.py")
            items.extend(module.collect())
        """,
    )
    [found] = violations(project.run("--skipproof", "bare"), project, "bare")
    assert found == (
        "other/test_o.py::test_a: lies in none of the suites (tests/unit, tests/real); name its folder in testpaths"
    )


def test_definitions_are_looked_for_in_a_suite_of_one_file(project: Project) -> None:
    """A test that is defined but not collected is found in a suite that is a file."""
    named(project, UNIT)
    project.write(UNIT, PASSES + "\nif False:\n    def test_b(): pass\n")
    [found] = violations(project.run("--skipproof", "bare"), project, "bare")
    assert found.startswith(f"{UNIT}::test_b: (line 4) is defined but was not collected")


def test_an_id_belongs_to_its_own_suite() -> None:
    """A folder whose name only begins like a suite is another one."""
    assert in_suites("tests/unit/test_a.py::test_a[x::y]", ["tests/unit"])
    assert not in_suites("tests/unit_more/test_a.py::test_a", ["tests/unit"])
    assert not in_suites("tests/unit/test_a.py::test_a", ["tests/unit/test"])


def test_suites_are_told_apart_in_both_environments(project: Project) -> None:
    """A suite written with a slash runs as any other where its tests have what they need."""
    named(project, "tests/unit/", "./tests/real")
    project.write(REAL, NEEDS_ALPHA)
    project.write(UNIT, PASSES)
    project.install_alpha()
    project.install_beta()
    assert project.run("--skipproof", "full").ret == 0
    assert project.receipt("full").suites == ["tests/unit", "tests/real"]
