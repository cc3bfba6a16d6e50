"""Shards: runs that share a session's tests, and that the merge takes for one session only when all are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from skipproof import shards
from skipproof.exits import ExitStatus
from skipproof.receipts import Shard, write_receipt
from support.runs import NEEDS_ALPHA, PASSES, REAL, UNIT, violations
from support.sabotage_merges import leave, merged
from support.samples import PASSED, current, receipt, result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.project import Project

SECOND = "tests/unit/test_b.py"
IDS = [f"{UNIT}::test_a", f"{SECOND}::test_a"]


def share(number: int, text: str = "") -> list[str]:
    """Return the options of one of two shards."""
    return ["--skipproof", "bare", "--skipproof-session", "unit", "--skipproof-shard", text or f"{number}/2"]


def of_two(number: int, elsewhere: Sequence[str], split: str = "split") -> Shard:
    """Return one of two shards, with these tests left to the other."""
    return Shard(number=number, count=2, split=split, elsewhere=list(elsewhere))


@pytest.mark.parametrize("workers", [0, 1])
def test_shards_share_the_tests(project: Project, workers: int) -> None:
    """Each shard runs its files whole, in the order of collection, and its receipt says what it left to the others."""
    for name in (UNIT, SECOND):
        project.write(name, f"{PASSES}\ndef test_b(): pass\n")
    project.write(REAL, NEEDS_ALPHA)
    project.workers = workers
    for number in (1, 2):
        assert project.run(*share(number)).ret == pytest.ExitCode.OK
    first, second = project.receipt("unit-1of2"), project.receipt("unit-2of2")
    assert first.shard is not None
    assert second.shard is not None
    assert list(first.tests) == second.shard.elsewhere == [f"{UNIT}::test_a", f"{UNIT}::test_b", f"{REAL}::test_alpha"]
    assert list(second.tests) == first.shard.elsewhere == [f"{SECOND}::test_a", f"{SECOND}::test_b"]
    assert (first.whole, first.shard.split) == (second.whole, second.shard.split)


def test_split_follows_earlier_durations(project: Project) -> None:
    """With earlier receipts, shards take equally long; a new file counts as the others do for its number of tests."""
    slow, quick = result("passed"), result("passed")
    slow.duration, quick.duration = 9.0, 1.0
    tests = {"a::1": slow, "b::1": quick, "b::2": quick, "c::1": quick}
    old = receipt("unit", tests={"a::1": quick}, finished="2025-01-01T00:00:00+00:00")
    write_receipt(project.contract, old)
    ids = [*tests, "d::1"]
    assert shards.Share(1, 2).split(ids) == {"b": 1, "a": 2, "c": 2, "d": 1}
    write_receipt(project.contract, receipt("earlier", tests=tests))
    folder = project.root / ".matrix" / "receipts"
    by_time = shards.asked(project.contract, "bare", "unit", "1/2", [folder])
    assert by_time.durations == {"a": 9_000_000, "b": 2_000_000, "c": 1_000_000}
    assert by_time.split(ids) == {"a": 1, "d": 2, "b": 2, "c": 2}
    assert shards.asked(project.contract, "bare", "unit", "1/2", []).durations == {"a": 1_000_000}
    assert shards.asked(project.contract, "bare", "other", "1/2", []).durations == {}


def test_files_without_a_duration_are_spread(project: Project) -> None:
    """Where an earlier run took no time at all, each shard gets as many files."""
    del project
    split = shards.Share(1, 2, dict.fromkeys("abcd", 0)).split([f"{name}::1" for name in "abcd"])
    assert sorted(split.values()) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--skipproof-shard", "1/2"], "--skipproof-shard 1/2 needs an environment: add --skipproof ENVIRONMENT"),
        (share(0, "3/2"), "--skipproof-shard '3/2' is not a share: write it as 2/4, which is the second of four"),
        (share(0, "0/2"), "--skipproof-shard '0/2' is not a share"),
        (share(0, "half"), "--skipproof-shard 'half' is not a share"),
        (
            [*share(1), "--skipproof-durations", "nowhere"],
            "nowhere has no receipt of bare: name one of an earlier run, or a folder",
        ),
        ([*share(1), "--skipproof-durations", "tests"], "tests has no receipt of bare"),
        ([*share(1), "--skipproof-durations", "setup.py"], "setup.py is not a receipt"),
    ],
)
def test_wrong_share_is_a_usage_error(project: Project, options: list[str], fact: str) -> None:
    """A share that cannot be, and durations that are not there, are usage errors."""
    project.write(UNIT, PASSES)
    found = project.run(*options)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert fact in found.stderr.str()


def test_shard_without_a_file_is_red(project: Project) -> None:
    """More shards than test files are a violation, with how many there may be."""
    project.write(UNIT, PASSES)
    assert violations(project.run(*share(2)), project, "unit-2of2") == [
        "tests/unit, tests/real: has 1 test files, none is left for this shard; use at most 1 shards"
    ]
    assert project.run(*share(1)).ret == pytest.ExitCode.OK, "the first one has the only file"


def test_deselected_test_of_a_shard_is_red(project: Project) -> None:
    """A test that is deselected is a violation in a shard too, and the tests of other shards are none."""
    project.write(UNIT, f"{PASSES}\ndef test_b(): pass\n")
    project.write(SECOND, f"{PASSES}\ndef test_b(): pass\n")
    [violation] = violations(project.run(*share(1), "--deselect", IDS[0]), project, "unit-1of2")
    assert violation.startswith(f"{IDS[0]}: was deselected; leave -k, -m, --deselect and --lf to runs without ")


def test_ids_of_all_shards_are_compared_with_other_sessions(project: Project) -> None:
    """A test that another session collected counts as collected in the shard that left it to another one."""
    project.write(UNIT, PASSES)
    project.write(SECOND, PASSES)
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK
    for number in (1, 2):
        assert project.run(*share(number)).ret == pytest.ExitCode.OK
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK


def test_merge_takes_all_shards_for_one_session(project: Project) -> None:
    """All shards of the same split prove what their whole session would, whether it or each of them is expected."""
    project.write(UNIT, PASSES)
    project.write(SECOND, PASSES)
    leave(project, "unit-1of2", tests={IDS[0]: PASSED}, shard=of_two(1, IDS[1:]))
    leave(
        project,
        "unit-2of2",
        data={"file": SECOND},
        tests={IDS[1]: PASSED},
        shard=of_two(2, IDS[:1]),
    )
    leave(project, "other", "full", capabilities=["alpha", "beta"], tests=dict.fromkeys(IDS, PASSED))
    for expected in (["unit"], ["unit-2of2", "unit-1of2"]):
        status, said = merged(*expected, "other")
        assert status == 0, said
        assert said.splitlines()[-1] == "Proved: 3 sessions agree, and the gate of 100 % is reached."
    status, said = merged("unit-1of2", "other")
    assert status == ExitStatus.MERGE
    assert "- unit-2of2: has no receipt, but is one of the 2 shards of unit: run this session" in said


def test_shards_that_do_not_fit_are_named(project: Project) -> None:
    """Shards of other counts, environments, Pythons and splits are no whole session, and neither are doubles."""
    first = current(project, "unit-1of2", tests={IDS[0]: PASSED}, shard=of_two(1, IDS[1:]))

    def problems(**changes: Any) -> list[str]:
        other: dict[str, Any] = {"tests": {IDS[1]: PASSED}, "shard": of_two(2, IDS[:1])} | changes
        return shards.refusals([first, current(project, "unit-2of2", **other)])

    assert problems() == []
    assert problems(shard=None) == []
    names = "unit-1of2, unit-2of2"
    assert problems(python="3.12.1") == [
        f"unit: its shards ran with different Pythons (3.11, 3.12: {names}): run them again, alike"
    ]
    assert "different subsets (None, quick: " in problems(subset="quick")[0]
    only = {IDS[1]: PASSED, IDS[0]: result("deselected")}
    assert problems(tests=only) == []
    assert problems(environment="full") == [
        f"unit: its shards ran with different environments (bare, full: {names}): run them again, alike"
    ]
    assert problems(shard=of_two(2, IDS[:1], "other")) == [
        (
            f"unit: its shards ({names}) split the tests in different ways: collect the same everywhere, "
            "give all the same --skipproof-durations, run them again"
        )
    ]
    assert problems(tests={}, shard=of_two(2, IDS)) == [
        f"unit: 1 test is in none of its shards, such as {IDS[1]}: run all shards again"
    ]
    assert problems(tests=dict.fromkeys(IDS, PASSED), shard=of_two(2, [])) == [
        f"unit: 1 test is in two of its shards, such as {IDS[0]}: run all shards again"
    ]
    third = current(project, "unit-3of3", tests={}, shard=Shard(number=3, count=3))
    assert "different counts (2, 3: unit-1of2, unit-3of3)" in shards.refusals([first, third])[0]
    whole = current(project, "unit")
    assert shards.refusals([first, whole])[0] == (
        "unit left a receipt as a whole beside those of its shards: delete the older ones"
    )
