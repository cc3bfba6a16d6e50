"""The accepted list and the sessions: what the merge holds against the list, and what is written on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import accept, merge
from skipproof.assembly import Asked, collect
from skipproof.exits import ExitStatus
from skipproof.receipts import receipt_path
from support.listed import NAME, NO_BRANCH, NO_COVER, TABLE, accepted, both, leave, listed
from support.project import CODE
from support.samples import PASSED, result

if TYPE_CHECKING:
    from support.project import Project

A, B, C = (f"tests/unit/test_a.py::test_{name}" for name in "abc")
R = "tests/real/test_r.py::test_r"
P = [f"{B}[{number}]" for number in range(3)]
# An environment that has a GPU where the machine has one.
HOPEFUL = TABLE.replace('full = ["alpha", "beta"]', 'full = ["alpha", "beta", "gpu?"]')
REVIEW = "bring back what was lost, or review it and run skipproof accept, which takes it off accepted.txt"


def problems(project: Project) -> list[str]:
    """Return what is wrong with the sessions that are there."""
    return collect(project.contract, Asked()).matrix.problems


def hints(project: Project) -> list[str]:
    """Return what the list says nothing of."""
    return collect(project.contract, Asked()).hints


def test_what_is_proved_is_written_and_proved_again(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The list has a line for each function, and the sessions that it was written from prove all of it."""
    both(listed(measured), A, *P, R, skipped=(P[0], R))
    assert accepted(measured).splitlines()[1:] == [
        "",
        "[tests]",
        f"{R} = full",
        f"{A} = bare, full",
        f"{B} = bare 2, full 3",
        "",
        "[excluded from coverage]",
    ]
    assert capsys.readouterr().out == f"{NAME}: 3 tests; review what changed in it, and commit it.\n"
    assert (problems(measured), hints(measured)) == ([], [])
    assert merge.main([]) == 0
    assert "Notes" not in capsys.readouterr().out


def test_writing_the_list_makes_no_receipt_stale(measured: Project) -> None:
    """A list that lies among the sources is not one of them, so that it can be written from the receipts."""
    both(listed(measured, TABLE.replace(f'"{NAME}"', '"tests/accepted.py"')), A)
    assert accept.main([]) == 0
    assert problems(measured) == []


def test_a_project_without_a_list_is_told_how_to_begin(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a list everything is proved as before, and one line says how to have one."""
    both(measured, A)
    assert merge.main([]) == 0
    begin = 'add accepted = "accepted.txt" to pyproject.toml: [tool.skipproof], and run skipproof accept'
    assert f"a test that is deleted goes unnoticed: {begin}\n" in capsys.readouterr().out
    assert accept.main([]) == pytest.ExitCode.USAGE_ERROR
    assert capsys.readouterr().err == (
        'skipproof accept: error: pyproject.toml: [tool.skipproof] names no list: add accepted = "accepted.txt"\n'
    )


@pytest.mark.parametrize(
    ("now", "skipped", "problem"),
    [
        ([A, *P], (), f"tests/real/test_r.py is gone, with 1 test on the list: {REVIEW}"),
        ([A, R], (), f"{B} is gone: {REVIEW}"),
        ([C, R], (), f"{A}, {B} are gone: {REVIEW}"),
        ([A, *P, R], (R,), f"{R} no longer ran in bare: {REVIEW}"),
        ([A, *P[:2], R], (), f"{B} (2 of 3 left) no longer ran in bare, full: {REVIEW}"),
        ([A, *P, R], (A, *P[1:]), f"{A}, {B} (1 of 3 left) no longer ran in bare: {REVIEW}"),
    ],
)
def test_what_was_proved_and_is_not_is_red(
    measured: Project, now: list[str], skipped: tuple[str, ...], problem: str
) -> None:
    """A file, a function, parameters or an environment that is gone is named, until it is taken off the list."""
    both(listed(measured), A, *P, R)
    accepted(measured)
    both(measured, *now, skipped=skipped)
    assert problem in problems(measured)
    accepted(measured)
    assert problems(measured) == []


def test_many_lost_tests_are_cut_short(measured: Project) -> None:
    """Of many lost tests of a file, the first are named, and the rest counted."""
    both(listed(measured), A, *(f"{B}{number}" for number in range(7)))
    accepted(measured)
    both(measured, A)
    assert f"{B}0, {B}1, {B}2, {B}3, {B}4 and 2 more are gone: {REVIEW}" in problems(measured)


def test_new_tests_need_no_ceremony(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that is not on the list is no problem; the merge counts it."""
    both(listed(measured), A, R, skipped=(R,))
    accepted(measured)
    both(measured, A, B, C, R, skipped=(R,))
    capsys.readouterr()
    assert merge.main([]) == 0
    assert "Notes:\n- 2 tests not on accepted.txt: run skipproof accept\n" in capsys.readouterr().out
    both(measured, A, R)
    assert hints(measured) == ["accepted.txt says less than was proved: run skipproof accept"]


def test_what_a_machine_lacks_is_not_lost(measured: Project) -> None:
    """A test that ran because the machine had a GPU may skip on one without, and stays on the list there."""
    listed(measured, HOPEFUL)
    with_gpu = {A: PASSED, **{each: result("passed", "gpu") for each in P}, R: PASSED}
    leave(measured, "bare", with_gpu | {each: result("skipped", "gpu") for each in P})
    leave(measured, "full", with_gpu, capabilities=["alpha", "beta", "gpu"])
    before = accepted(measured)
    assert f"{B} = full+gpu 3\n" in before
    without = with_gpu | {each: result("skipped", "gpu") for each in P}
    leave(measured, "full", without)
    assert (problems(measured), hints(measured)) == ([], [])
    assert accepted(measured) == before
    leave(measured, "full", {name: test for name, test in without.items() if name not in P[1:]})
    leave(measured, "bare", {name: test for name, test in without.items() if name not in P})
    assert "ids in tests/unit differ" in problems(measured)[0]


def test_what_a_condition_excuses_is_not_lost(measured: Project) -> None:
    """A test for newer Pythons is not lost where only an older one ran; its other environments still count."""
    new = 'new = { python = ">=3.99", install = "a newer Python" }\n'
    listed(measured, TABLE.replace("[tool.skipproof.environments]", f"{new}\n[tool.skipproof.environments]"))
    for environment, held in (("bare", ["new"]), ("full", ["alpha", "beta", "new"])):
        leave(measured, environment, {A: PASSED, B: result("passed", "new")}, capabilities=held)
    assert f"{B} = bare+new, full+new\n" in accepted(measured)
    leave(measured, "bare", {A: PASSED, B: result("skipped", "new")}, capabilities=[])
    assert problems(measured) == []
    leave(measured, "full", {A: PASSED, B: result("skipped", "new")}, capabilities=["alpha", "beta", "new"])
    assert f"{B} no longer ran in full: {REVIEW}" in problems(measured)


@pytest.mark.parametrize("hope", ['"gpu?"', ""])
def test_a_mark_for_hardware_hides_no_test(measured: Project, hope: str) -> None:
    """A test that ran without a GPU is lost when it is marked to need one, or when nothing hopes for one any more."""
    listed(measured, HOPEFUL)
    had = ["alpha", "beta", "gpu"]
    leave(measured, "bare", {A: PASSED, B: result("skipped", "gpu")})
    leave(measured, "full", {A: PASSED, B: result("passed", "gpu")}, capabilities=had)
    accepted(measured)
    listed(measured, HOPEFUL.replace(', "gpu?"', f", {hope}" if hope else ""))
    skipped = {name: result("skipped", "gpu") for name in (A, B)}
    leave(measured, "bare", skipped)
    leave(measured, "full", skipped, capabilities=["alpha", "beta"])
    lost = [f"{A} no longer ran in bare, full: {REVIEW}", *([] if hope else [f"{B} no longer ran in full: {REVIEW}"])]
    assert problems(measured) == lost


def test_a_test_that_ran_nowhere_is_on_the_list_too(measured: Project) -> None:
    """A test that no machine could run is not lost when another one had it, and is missed when it is deleted."""
    gpu = {each: result("skipped", "gpu") for each in P}
    for environment in ("bare", "full"):
        leave(listed(measured), environment, {A: PASSED, **gpu})
    assert f"{B} = - 3\n" in accepted(measured)
    for environment in ("bare", "full"):
        leave(measured, environment, {A: PASSED, P[0]: gpu[P[0]]})
    assert problems(measured) == [f"{B} (1 of 3 left) lost ids: {REVIEW}"]


def test_more_than_the_marks_require_does_not_show(measured: Project) -> None:
    """A session that required hardware of every test says nothing about what each of them needs."""
    listed(measured, HOPEFUL)
    had = ["alpha", "beta", "gpu"]
    leave(measured, "bare", {A: PASSED})
    leave(measured, "full", {A: result("passed", "gpu")}, capabilities=had)
    leave(measured, "full", {A: PASSED}, capabilities=had, session="also")
    assert f"{A} = bare, full\n" in accepted(measured)


def test_an_environment_is_not_dropped_silently(measured: Project) -> None:
    """An environment that any machine can have must have a session; one that needs a machine is noted without."""
    both(listed(measured), A, R)
    leave(measured, "big", {A: PASSED, R: PASSED})
    before = accepted(measured)
    assert f"{A} = bare, big, full\n" in before
    receipt_path(measured.contract, "big").unlink()
    assert (problems(measured), hints(measured)) == (
        [],
        ["2 tests on the accepted list ran in big, which this merge has no session of"],
    )
    assert accepted(measured) == before
    receipt_path(measured.contract, "full").unlink()
    assert "2 tests on the list ran in full, and this merge has no session of it: run one" in problems(measured)


def test_an_environment_that_is_not_in_the_table_is_red(measured: Project) -> None:
    """A misspelt environment is named; accepting the list takes it off."""
    both(listed(measured), A)
    path = measured.write(NAME, accepted(measured).replace("full", "ful"))
    remedy = "correct its name, or review it and run skipproof accept, which takes it off accepted.txt"
    assert problems(measured) == [f"1 test on the list ran in ful, which the table does not have: {remedy}"]
    assert "= bare, full\n" in accepted(measured)
    assert "ful," not in path.read_text()


def test_the_list_is_not_asked_while_a_session_is_missing(measured: Project) -> None:
    """What follows from a missing session is not said twice."""
    both(listed(measured), A, R)
    accepted(measured)
    receipt_path(measured.contract, "full").unlink()
    found = collect(measured.contract, Asked(["bare", "full"]))
    assert (found.lost, found.hints) == ([], [])
    assert found.matrix.problems == ["full: has no receipt: run this session"]


def test_nothing_is_accepted_that_is_red(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A red session is not written down, and the list stays as it is."""
    both(listed(measured), A)
    leave(measured, "full", {A: result("failed")}, exit_status=1)
    assert accept.main([]) == ExitStatus.MERGE
    out = capsys.readouterr().out
    assert out.startswith("- full: is red (exit status 1, 1 failed test, 0 violations): ")
    assert out.endswith(f"\n{NAME} was not written: correct what is wrong first.\n")
    assert not (measured.root / NAME).exists()


def test_coverage_under_its_gate_can_be_accepted(measured: Project) -> None:
    """The list is about tests and exclusions: a gate that is missed stays red in the merge."""
    both(listed(measured, TABLE.replace("fail_under = 100", "fail_under = 0")), A)
    assert f"{A} = bare, full\n" in accepted(measured)
    assert merge.main([]) == ExitStatus.COVERAGE


def test_a_garbled_list_is_not_overwritten(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A list in conflict is red in the merge, and has to be put right before it is written again."""
    both(listed(measured), A)
    garbled = accepted(measured).replace("[tests]\n", "[tests]\n<<<<<<< HEAD\n")
    measured.write(NAME, garbled)
    mark = "accepted.txt line 4 is a mark of a merge conflict: keep the lines of both sides, and delete the marks"
    assert problems(measured) == [mark]
    capsys.readouterr()
    assert accept.main([]) == pytest.ExitCode.USAGE_ERROR
    assert capsys.readouterr().err == f"skipproof accept: error: {mark}\n"
    assert (measured.root / NAME).read_text() == garbled


def test_what_comes_off_the_list_is_said(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever accepts sees by name what the list says no more, and what is new only in number."""
    both(listed(measured), A, *P, R)
    accepted(measured)
    both(measured, A, *P, C, skipped=(P[0],))
    capsys.readouterr()
    accepted(measured)
    assert capsys.readouterr().out.splitlines() == [
        f"- {R}: bare, full -> gone",
        f"- {B}: bare 3, full 3 -> bare 2, full 3",
        f"{NAME}: 3 tests; review what changed in it, and commit it.",
    ]


MORE = f"{CODE}\n\ndef more():  {NO_COVER}\n    return 3\n"


@pytest.mark.parametrize(
    ("before", "code", "left", "problem"),
    [
        (CODE, MORE, "code.py = lines 2\n", "2 statements (7-8), where 0 were accepted"),
        (MORE, MORE.replace("3\n", "(\n        3\n    )\n    # Enough.\n"), "code.py = lines 2\n", None),
        (
            MORE,
            MORE.replace("return 3", "x = 3\n    return x"),
            "code.py = lines 3\n",
            "3 statements (7-9), where 2 were",
        ),
        (MORE, CODE, "cluded from coverage]\n", None),
        (
            CODE,
            CODE.replace("if x:", f"if x:  {NO_BRANCH}"),
            "code.py = branches 1\n",
            "1 branch (2), where 0 were accepted",
        ),
    ],
)
def test_what_coverage_leaves_out_may_not_grow(
    measured: Project, before: str, code: str, left: str, problem: str | None
) -> None:
    """More that is excluded, or fewer branches, is red with its lines until it is accepted; less is not."""
    measured.write("code.py", before)
    both(listed(measured), A)
    accepted(measured)
    measured.write("code.py", code)
    both(measured, A)
    found = problems(measured)
    assert bool(found) == (problem is not None)
    assert all(each.startswith(f"coverage leaves out of code.py {problem}") for each in found)
    assert accepted(measured).endswith(left)
    assert problems(measured) == []


def test_an_exclusion_by_settings_counts(measured: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that the settings exclude count as those with a pragma do, and accepting them says so."""
    both(listed(measured), A)
    accepted(measured)
    listed(measured, TABLE.replace("fail_under = 100", 'fail_under = 100\nexclude_also = ["return 1"]'))
    both(measured, A)
    [problem] = problems(measured)
    assert problem.startswith("coverage leaves out of code.py 1 statement (3), where 0 were accepted: test them, or ")
    capsys.readouterr()
    accepted(measured)
    assert "- coverage leaves out of code.py: nothing -> lines 1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ('source_dirs = ["tests"]', True),
        ('source_dirs = ["."]', True),
        ('source = ["package", "tests/data"]', True),
        ('source_dirs = ["tests/real"]', False),
        ('source = ["package"]', False),
    ],
)
def test_a_file_that_coverage_does_not_find_counts(measured: Project, settings: str, counts: bool) -> None:  # noqa: FBT001
    """A file that nothing imports counts where it is to be measured, unless nobody could run it, until accepted."""
    measured.write("tests/data/helper.py", '"""Help."""\n\n\ndef helped():\n    return 1\n')
    measured.write("tests/data/old.py", "print 1\n")
    measured.write("tests/data/nul.py", "x = '\0'\n")
    measured.write("tests/data/empty.py", "# nothing\n")
    (measured.root / "tests/data/coded.py").write_bytes(b"x = '\xe9'\n")
    both(listed(measured, TABLE.replace("branch = true", settings)), A)
    found = accepted(measured).partition("[excluded from coverage]\n")[2]
    assert found == ("tests/data/helper.py = lines 2\n" if counts else "")
    measured.write("tests/data/more.py", "x = 1\n")
    both(measured, A)
    expected = ["coverage leaves out of tests/data/more.py 1 statement (1), where 0 were accepted"] if counts else []
    assert [each.partition(":")[0] for each in problems(measured)] == expected


def test_exclusions_of_a_file_that_was_not_measured_stay(measured: Project) -> None:
    """A test file that no machine here could run keeps what was accepted of it."""
    gpu = {"tests/real/test_g.py::test_g": result("skipped", "gpu")}
    for environment in ("bare", "full"):
        leave(listed(measured), environment, {A: PASSED, **gpu})
    measured.write(NAME, accepted(measured) + "gone.py = lines 3\ntests/real/test_g.py = lines 2\n")
    assert accepted(measured).endswith("[excluded from coverage]\ntests/real/test_g.py = lines 2\n")
