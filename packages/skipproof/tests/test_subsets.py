"""Subsets: what some sessions run of the suites, so that others have to run the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import junit, markdown, session_checks, terminal
from skipproof.assembly import Asked, collect
from skipproof.contract import ContractError, Subset
from skipproof.receipts import write_receipt
from skipproof.session_checks import Session
from support.project import PYPROJECT
from support.readme import block
from support.runs import REAL, UNIT, violations
from support.samples import PASSED, current, result

if TYPE_CHECKING:
    from support.project import Project

SLOW = """
    import pytest


    def test_a(): pass


    @pytest.mark.slow
    def test_slow(): pass


    @pytest.mark.slow
    @pytest.mark.requires("alpha")
    def test_alpha(): pass
"""
A, S, L = (f"{UNIT}::test_{name}" for name in ("a", "slow", "alpha"))
LINES = ("""quick = "-m 'not slow'\"""", 'slow = "-m slow"', "one = \"-k 'test_a and not alpha' -m 'not slow'\"")


def divided(project: Project, *lines: str, addopts: str = "") -> None:
    """Write the project's table with these subsets, and three tests, of which two are slow."""
    head, tail = PYPROJECT.split("[tool.skipproof.environments]")
    listed = "\n".join(("[tool.skipproof.subsets]", *lines))
    text = f"{head}{listed}\n\n[tool.skipproof.environments]{tail}".replace(
        '"--tb=line"]', f'"--tb=line"{addopts}]\nmarkers = ["slow"]'
    )
    project.write("pyproject.toml", text)
    project.write(UNIT, SLOW)


@pytest.mark.parametrize(
    ("options", "subset", "left"),
    [
        (["-m", "not slow"], "quick", {S, L}),
        (["-m", " not   slow "], "quick", {S, L}),
        (["-m", "slow"], "slow", {A}),
        (["-k", "test_a and not alpha", "-m", "not slow"], "one", {S, L}),
        ([], None, set()),
    ],
)
def test_a_run_is_of_the_subset_whose_options_it_has(
    project: Project, options: list[str], subset: str | None, left: set[str]
) -> None:
    """A run with the options of a subset is of that subset; its receipt has what is left to others, with its needs."""
    divided(project, *LINES)
    ran = project.run("--skipproof", "bare", "--strict-markers", *options)
    assert ran.ret == pytest.ExitCode.OK, ran.stdout.str()
    receipt = project.receipt("bare")
    assert receipt.subset == subset
    assert (f"skipproof: environment bare, subset {subset}, has no extra" in ran.stdout.str()) == (subset is not None)
    assert {name for name, test in receipt.tests.items() if test.outcome == "deselected"} == left
    assert list(receipt.tests) == [A, S, L]
    assert receipt.tests[L].requires == ["alpha"]
    assert ("left to other subsets" in ran.stdout.str()) == bool(left)


def test_addopts_name_a_subset_and_the_command_line_another(project: Project) -> None:
    """A run takes the subset of ``addopts``, and another one, or all, by its command line."""
    divided(project, *LINES, addopts=', "-m not slow"')
    for options, subset in (([], "quick"), (["-m", "slow"], "slow"), (["-m", ""], None)):
        assert project.run("--skipproof", "bare", *options).ret == pytest.ExitCode.OK
        assert project.receipt("bare").subset == subset


@pytest.mark.parametrize("options", [["-m", "not slow and not fast"], ["-k", "slow"], ["-m", "slow", "-k", "slow"]])
def test_options_that_no_subset_has_are_red(project: Project, options: list[str]) -> None:
    """A run with other options than those of a subset leaves tests out, which is a violation."""
    divided(project, *LINES)
    found = violations(project.run("--skipproof", "bare", *options), project, "bare")
    assert found
    assert all(
        "was deselected; leave -k, -m, --deselect and --lf to runs without --skipproof" in each for each in found
    )
    assert project.receipt("bare").subset is None


@pytest.mark.parametrize(
    ("options", "conftest"),
    [
        (["--deselect", S], ""),
        (
            [],
            "def pytest_collection_modifyitems(config, items):\n    config.hook.pytest_deselected(items=[items.pop()])",
        ),
    ],
)
def test_only_a_subsets_own_tests_may_be_left_out(project: Project, options: list[str], conftest: str) -> None:
    """What a subset takes in may not be deselected by anything else."""
    divided(project, *LINES)
    project.write(
        "conftest.py", f"import pytest\n\n{'@pytest.hookimpl(trylast=True)' if conftest else ''}\n{conftest}\n"
    )
    found = violations(project.run("--skipproof", "bare", "-m", "slow", *options), project, "bare")
    assert len(found) == 1
    assert "was deselected; leave -k" in found[0]


def test_a_subset_without_a_test_is_red(project: Project) -> None:
    """A subset that takes no test proves nothing."""
    divided(project, 'none = "-m nothing"')
    found = violations(project.run("--skipproof", "bare", "-m", "nothing"), project, "bare")
    assert "tests/unit, tests/real: no test was collected; a run without tests proves nothing" in found


def test_a_wrong_mark_outside_the_subset_is_named(project: Project) -> None:
    """A mark that names no capability is a usage error, even on a test that is left to another subset."""
    divided(project, *LINES)
    project.write(REAL, "import pytest\n\n@pytest.mark.slow\n@pytest.mark.requires('alhpa')\ndef test_r(): pass\n")
    ran = project.run("--skipproof", "bare", "-m", "not slow")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert "no capability is called 'alhpa' (did you mean 'alpha'?)" in ran.stderr.str()


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ('slow = "slow"', "slow is 'slow': write -m or -k, each once and with its expression, as pytest takes them"),
        ('slow = "-m"', "slow is '-m': write -m or -k, each once"),
        ('slow = "-m a -m b"', "slow is '-m a -m b': write -m or -k, each once"),
        ('slow = "--lf x"', "slow is '--lf x': write -m or -k, each once"),
        ("slow = \"-m ''\"", "slow is \"-m ''\": write -m or -k, each once"),
        ('slow = "-m \'x"', 'slow is "-m \'x", which no shell reads (No closing quotation): write options'),
        ("slow = 7", "slow is 7: write a string that is not empty"),
        ('slow = "-m slow"\nalso = "-m \'slow \'"', "also is the same as slow: keep one of them"),
        ("", "subsets] is {}: write a table with at least one entry, or none"),
    ],
)
def test_a_wrong_subset_is_named(project: Project, line: str, fact: str) -> None:
    """A subset is options of pytest, each set of them once."""
    divided(project, line)
    with pytest.raises(ContractError) as caught:
        _ = project.contract
    assert fact in str(caught.value)


def test_subsets_read_the_same_in_an_ini_file(project: Project) -> None:
    """Subsets are the same in an INI file."""
    (project.root / "pyproject.toml").unlink()
    project.write(
        "pytest.ini",
        """
        [skipproof]
        sources = tests
        locks = locks
        state = .matrix
        [skipproof:environments]
        bare = alpha
        [skipproof:capability:alpha]
        modules = skipproof_alpha
        install = pip install alpha
        [skipproof:subsets]
        quick = -m "not slow" -k 'a'
        slow = -m slow
        """,
    )
    assert project.contract.subsets == {"quick": Subset("quick", "not slow", "a"), "slow": Subset("slow", "slow")}


def test_the_subsets_of_the_readme_are_read(project: Project) -> None:
    """The README's subsets are valid."""
    divided(project, block("subsets"))
    assert [subset.options for subset in project.contract.subsets.values()] == [("not slow", ""), ("slow", "")]


def refused(project: Project, *subsets: tuple[str, set[str]]) -> list[str]:
    """Return what the merge refuses of one session for each subset, given what it left to others."""
    receipts = [
        current(
            project,
            f"s{number}",
            environment,
            subset=name,
            tests={test: result("deselected") if test in left else PASSED for test in (A, S)},
        )
        for number, ((name, left), environment) in enumerate(zip(subsets, ("bare", "full"), strict=True))
    ]
    return session_checks.refusals(project.contract, [Session(each.session, "proved", each) for each in receipts])


def test_the_rest_of_a_subset_has_to_be_run_by_another_session(project: Project) -> None:
    """A test that every session left to another subset is red, and the message names the subsets that did not run."""
    divided(project, *LINES[:2])
    assert refused(project, ("quick", {S}), ("slow", {A})) == []
    assert refused(project, ("quick", {S}), ("quick", {S})) == [
        f"1 test is in no session's subset ({S}): run a session of slow too"
    ]
    divided(project, LINES[0])
    assert refused(project, ("quick", {S}), ("quick", {S})) == [
        f"1 test is in no session's subset ({S}): run a session of all of them too"
    ]


def test_a_subset_is_in_every_report(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A session's subset is named, and what it left to others is no part of its JUnit XML."""
    divided(measured, *LINES[:2])
    tests = {A: PASSED, S: result("deselected")}
    write_receipt(measured.contract, current(measured, "unit", subset="quick", tests=tests))
    matrix = collect(measured.contract, Asked()).matrix
    assert matrix.sessions[0].subset == "quick"
    terminal.show(matrix)
    assert "unit (quick)" in capsys.readouterr().out
    assert "| unit | bare (quick) | 1 |" in markdown.render(matrix)
    assert "test_slow" not in junit.render(matrix)["bare"]
