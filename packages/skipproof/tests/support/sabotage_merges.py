"""Deceits that no run can see in itself: the merge has to see what happened to its receipt and coverage data."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from skipproof import accept, merge
from skipproof.receipts import Shard, Trace, receipt_path, write_receipt

from .listed import NAME, NO_BRANCH, NO_COVER, TABLE, listed
from .sabotage_runs import ID, PASSES, SECOND, UNIT
from .samples import PASSED, current, result, write_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from skipproof.receipts import TestResult

    from .project import Project
    from .sabotage_runs import Ending, Plant

    Arcs = tuple[tuple[int, int], ...]

OTHER = "tests/unit/test_b.py::test_b"
DATA = ".matrix/coverage/.coverage.unit"
BOTH = [ID, f"{SECOND}::test_a"]
# What coverage sees of PASSES: the first line on import, the second on call.
IMPORTED = ((-1, 1), (1, -1))
ARCS = (*IMPORTED, (-1, 2), (2, -1))


def merged(*sessions: str, options: tuple[str, ...] = ()) -> Ending:
    """Merge sessions in this process."""
    said = io.StringIO()
    expected = [part for session in sessions for part in ("--expect", session)]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = merge.main([*expected, *options])
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, said.getvalue()


def leave(
    project: Project, session: str, environment: str = "bare", data: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """Leave what a green run of tests/unit leaves, coverage data and a receipt; return the receipt's path."""
    data_file(project, session, **({"context": environment} | (data or {})))
    write_receipt(project.contract, current(project, session, environment, **({"tests": {ID: PASSED}} | changes)))
    return receipt_path(project.contract, session)


def data_file(project: Project, session: str, context: str, arcs: Arcs = ARCS, file: str = UNIT) -> None:
    """Write a session's coverage data again."""
    (project.root / ".matrix" / "coverage" / f".coverage.{session}").unlink(missing_ok=True)
    write_data(project, session, context, arcs, file)


def receipts(**changes: Any) -> Plant:
    """Merge two receipts, one of them wrong."""

    def plant(project: Project) -> Ending:
        leave(project, "unit", **changes)
        leave(project, "other", "full")
        return merged("unit", "other")

    return plant


def afterwards(change: Callable[[Project], object]) -> Plant:
    """Change something after two sound runs, then merge."""

    def plant(project: Project) -> Ending:
        leave(project, "unit")
        leave(project, "other", "full", capabilities=["alpha", "beta"])
        change(project)
        return merged("unit", "other")

    return plant


def other_settings(project: Project) -> Ending:
    """Change the file that one session took pytest's settings from after it ran."""
    project.write("ci.ini", "[pytest]\n")
    leave(project, "unit", settings="ci.ini")
    leave(project, "other", "full", capabilities=["alpha", "beta"])
    project.write("ci.ini", "[pytest]\naddopts = -k nothing\n")
    return merged("unit", "other")


def followed(file: str) -> Plant:
    """Change a file that is no Python of a suite after two sound runs, then merge."""

    def plant(project: Project) -> Ending:
        project.write(file, "# one\n")
        return afterwards(lambda project: project.write(file, "# two\n"))(project)

    return plant


def edited(old: str, new: str) -> Callable[[Project], object]:
    """Edit the receipt by hand."""

    def edit(project: Project) -> None:
        path = receipt_path(project.contract, "unit")
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


def killed(code: str, status: int) -> Plant:
    """Let a test end the whole process, then merge what that left."""

    def plant(project: Project) -> Ending:
        leave(project, "bare")
        project.write(UNIT, f"import os\n\ndef test_a(): {code}\n")
        # A separate process sees everything that is installed here, and the project's lock names nothing.
        project.write("conftest.py", "from skipproof import search_path as s\ns.folders = s.libraries = list\n")
        command = [sys.executable, "-m", "pytest", "-p", "skipproof.plugin", "--skipproof", "bare"]
        ended = subprocess.run(command, cwd=project.root, capture_output=True, check=False)
        assert ended.returncode == status
        return merged("bare")

    return plant


def grown(project: Project, suite: str = "tests/unit") -> None:
    """Let another session collect one more test."""
    leave(project, "unit", suites=[suite])
    leave(project, "other", "full", suites=[suite], tests={ID: PASSED, f"{UNIT}::test_b": PASSED})


def unreadable(project: Project) -> None:
    """Leave a file out in both sessions that neither could read."""
    for session, capabilities in (("unit", []), ("other", ["alpha", "beta"])):
        leave(
            project,
            session,
            "full" if capabilities else "bare",
            capabilities=capabilities,
            unread=["tests/unit/test_c.py"],
        )


def idle(project: Project) -> None:
    """Let a test skip everywhere, each time for the right reason."""
    for session, environment in (("unit", "bare"), ("other", "full")):
        leave(project, session, environment, tests={ID: PASSED, f"{UNIT}::test_b": result("skipped", "alpha")})


def uncovered(project: Project) -> None:
    """Let no session reach the body of the test."""
    for session, environment in (("unit", "bare"), ("other", "full")):
        leave(project, session, environment, {"arcs": IMPORTED})


def modelled(model: str) -> TestResult:
    """Return the result of a test that used a model."""
    return replace(PASSED, traces=[Trace(model=model, tokens=3, seconds=0.1)])


def mixed(project: Project) -> None:
    """Let two sessions prove a test with different weights."""
    leave(project, "unit", tests={ID: modelled("a" * 64)})
    leave(project, "other", "full", tests={ID: modelled("b" * 64)})


def foreign(project: Project) -> None:
    """Replace a session's data with sound data of another run."""
    project.write(SECOND, PASSES)
    for session, environment in (("unit", "bare"), ("other", "full")):
        leave(project, session, environment)
    data_file(project, "unit", "bare", file=SECOND)


def homeless(project: Project) -> None:
    """Measure a file that no digest of sources covers, and that is gone when the data is merged."""
    leave(project, "unit", data={"file": "lib/code.py"})


def against_the_list(change: Callable[[Project], object]) -> Plant:
    """Have a list of what two sound sessions proved, change something, and merge what the sessions left then."""

    def plant(project: Project) -> Ending:
        listed(project)
        leave_both(project, ID, OTHER, f"{OTHER}s[1]", f"{OTHER}s[2]")
        with contextlib.redirect_stdout(io.StringIO()):
            assert accept.main([]) == 0
        change(project)
        return merged()

    return plant


def leave_both(project: Project, *names: str, **tests: TestResult) -> None:
    """Leave two sessions that ran these tests."""
    for session, environment in (("unit", "bare"), ("other", "full")):
        leave(project, session, environment, tests=dict.fromkeys(names, PASSED) | tests)


def covered(text: str) -> Callable[[Project], object]:
    """Change the file that the two sessions measure, without a line more of it."""

    def change(project: Project) -> None:
        project.write(UNIT, text)
        leave_both(project, ID, OTHER, f"{OTHER}s[1]", f"{OTHER}s[2]")

    return change


def excluded(project: Project) -> None:
    """Exclude the body of the test by coverage's settings."""
    listed(project, TABLE.replace("fail_under = 100", 'fail_under = 100\nexclude_also = ["assert"]'))
    covered("def test_a():\n    assert True\n")(project)


def other_gate(project: Project) -> Ending:
    """Have the environment name settings of coverage's with a gate that anything reaches, then merge."""
    project.write(".elsewhere/rc", "[report]\nfail_under = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVERAGE_RCFILE", ".elsewhere/rc")
        return afterwards(uncovered)(project)


def passed_over(omit: str) -> Callable[[Project], object]:
    """Add a file that nothing imports, in a folder that is no package, with these files omitted by settings."""

    def change(project: Project) -> None:
        listed(project, TABLE.replace("branch = true", f'source_dirs = ["tests"]\nomit = [{omit}]'))
        project.write("tests/more/rest.py", "def rest():\n    return 1 / 0\n")
        leave_both(project, ID, OTHER, f"{OTHER}s[1]", f"{OTHER}s[2]")

    return change


def sharded(name: str, ran: Sequence[str], **changes: Any) -> Plant:
    """Merge two shards, the first with the test of one file, the other as it should not be."""

    def plant(project: Project) -> Ending:
        project.write(SECOND, PASSES)
        first = Shard(number=1, count=2, split="split", elsewhere=BOTH[1:])
        second = Shard(number=2, count=2, split="split", elsewhere=[each for each in BOTH if each not in ran])
        leave(project, "unit-1of2", tests={ID: PASSED}, shard=first)
        if name:
            other: dict[str, Any] = {"tests": dict.fromkeys(ran, PASSED), "shard": second} | changes
            leave(project, name, **other)
        leave(project, "other", "full", tests=dict.fromkeys(BOTH, PASSED))
        return merged("unit", "other")

    return plant


def required(project: Project) -> Ending:
    """Require the proof of something that needs a GPU when no session had one."""
    leave(project, "unit")
    leave(project, "other", "full")
    return merged("unit", "other", options=("--require", "gpu"))


PLANTS: dict[str, Plant] = {
    "`os._exit(0)` in a test": killed("os._exit(0)", 0),
    "SIGKILL in the middle": killed("os.kill(os.getpid(), 9)", -signal.SIGKILL),
    "There is no receipt at all": lambda _project: merged(),
    "A session never ran": lambda project: (leave(project, "unit"), merged("unit", "other"))[1],
    "A red run is merged": receipts(exit_status=1, tests={ID: result("failed")}),
    "A receipt is edited by hand": afterwards(edited('"passed"', '"skipped"')),
    "A receipt is cut off": afterwards(edited('"tests"', "")),
    "A receipt of another schema version": afterwards(edited('"format": 6', '"format": 1')),
    "A receipt is copied from another session": afterwards(
        lambda project: receipt_path(project.contract, "other").replace(receipt_path(project.contract, "unit"))
    ),
    "A receipt of yesterday's sources": afterwards(lambda project: project.write(UNIT, "def test_a(): assert 1\n")),
    "A page whose examples are tests is changed after the run": followed("tests/guide.md"),
    "Data of the tests is changed after the run": followed("tests/data/answers.json"),
    "The conftest.py of the root is changed after the run": followed("conftest.py"),
    "A `pytest.ini` appears after the run, and takes over from pyproject.toml": afterwards(
        lambda project: project.write("pytest.ini", "[pytest]\naddopts = -k nothing\n")
    ),
    "A receipt of other settings of pytest": other_settings,
    "A receipt of another lock": afterwards(lambda project: project.write("locks/bare.txt", "pytest==9\n")),
    "An environment without a lock": afterwards(lambda project: (project.root / "locks/bare.txt").unlink()),
    "A session collected fewer tests": afterwards(grown),
    "A session collected fewer tests of a suite of one file": afterwards(partial(grown, suite=UNIT)),
    "A suite that one environment alone ran": receipts(suites=["tests/unit", "tests/real"]),
    "A test that ran in no environment": afterwards(idle),
    "A test file that no session's Python can read": afterwards(unreadable),
    "A session ran without coverage": receipts(coverage=None),
    "Coverage data is deleted": afterwards(lambda project: (project.root / DATA).unlink()),
    "Coverage data is emptied": afterwards(lambda project: data_file(project, "unit", "bare", ())),
    "Coverage data is overwritten": afterwards(lambda project: project.write(DATA, "data")),
    "Coverage data of another environment": afterwards(
        lambda project: leave(project, "unit", data={"context": "full"})
    ),
    "Coverage data of another run": afterwards(foreign),
    "Coverage is lost on the way": afterwards(lambda project: data_file(project, "unit", "bare", IMPORTED)),
    "Coverage data is written to after its run": afterwards(
        lambda project: data_file(project, "unit", "bare", (*ARCS, (-1, 9)))
    ),
    "Coverage data of processes that nobody put together": receipts(gathered=None),
    "Coverage of a file that is not here": afterwards(homeless),
    "Two sessions used different models": afterwards(mixed),
    "A shard never ran": sharded("", []),
    "Two shards ran the same test": sharded("unit-2of2", BOTH),
    "A test that each shard left to the others": sharded("unit-2of2", []),
    "Shards that were split by other durations": sharded(
        "unit-2of2", BOTH[1:], shard=Shard(number=2, count=2, elsewhere=[ID])
    ),
    "Shards of different Pythons": sharded("unit-2of2", BOTH[1:], python="3.12.1"),
    "A whole run beside shards": sharded("unit", BOTH, shard=None),
    "Another table of capabilities since": receipts(capabilities=["alpha"]),
    "Hardware is required that no session had": required,
    "A test that was proved is deleted": against_the_list(
        lambda project: leave_both(project, ID, f"{OTHER}s[1]", f"{OTHER}s[2]")
    ),
    "A test file that was proved is deleted": against_the_list(lambda project: leave_both(project, ID)),
    "A parameter of a test is deleted": against_the_list(
        lambda project: leave_both(project, ID, OTHER, f"{OTHER}s[1]")
    ),
    "A test that ran is marked to need what no session has": against_the_list(
        lambda project: leave_both(project, ID, f"{OTHER}s[1]", f"{OTHER}s[2]", **{OTHER: result("skipped", "gpu")})
    ),
    "A session is left out of the merge": against_the_list(
        lambda project: receipt_path(project.contract, "other").unlink()
    ),
    "The accepted list is deleted": against_the_list(lambda project: (project.root / NAME).unlink()),
    "The accepted list has a merge conflict": against_the_list(
        lambda project: project.write(NAME, f"<<<<<<< HEAD\n{(project.root / NAME).read_text(encoding='utf-8')}")
    ),
    "A pragma excludes lines from coverage": against_the_list(covered(f"def test_a():  {NO_COVER}\n    assert True\n")),
    "A pragma excuses a branch from coverage": against_the_list(
        covered(f"def test_a():\n    if ID: return  {NO_BRANCH}\n")
    ),
    "A setting excludes lines from coverage": against_the_list(excluded),
    "A setting omits a file from coverage": against_the_list(passed_over('"tests/more/*"')),
    "A file that coverage does not find, because nothing imports it": against_the_list(passed_over("")),
    "The environment names other settings of coverage": other_gate,
    # Coverage.
    "Lines that nothing covers": afterwards(uncovered),
}
