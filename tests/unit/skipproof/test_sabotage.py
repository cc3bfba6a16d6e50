"""Deceits planted in small projects: each is caught by the gate, and in the words, that the README's table names."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from coverage import CoverageData
from coverage.files import set_relative_directory

from tests.skipproof import gate, merge
from tests.skipproof.receipts import lock_digest, receipt_path, sources_digest, write_receipt

from .sabotage_table import STATUS, Row, rows
from .samples import PASSED, receipt, result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Project

    # What a run, or a merge, came to: its exit status and all that it printed.
    Ending = tuple[int, str]
    Plant = Callable[[Project], Ending]
    Arcs = tuple[tuple[int, int], ...]

ROOT = Path(__file__).parents[3]
TABLE = rows("plugin")
UNIT, REAL, SECOND = "tests/unit/test_a.py", "tests/real/test_real.py", "tests/unit/test_b.py"
PASSES = "def test_a():\n    pass\n"
NEEDS_ALPHA = "import pytest\n\n@pytest.mark.requires('alpha')\ndef test_alpha(): import skipproof_alpha\n"
CONFTEST, DATA = "conftest.py", ".matrix/coverage/.coverage.unit"
ID = f"{UNIT}::test_a"
# What coverage sees of PASSES: its first line when it is imported, and its second when it is called.
IMPORTED = ((-1, 1), (1, -1))
ARCS = (*IMPORTED, (-1, 2), (2, -1))


@pytest.fixture
def honest(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project without any deceit."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    project.write(UNIT, PASSES)
    project.write(REAL, NEEDS_ALPHA)
    yield project
    # A Coverage object of another folder has told the one that measures this very run of that folder.
    set_relative_directory()


def run(project: Project, *options: str, environment: str = "full", alpha: str | None = "") -> Ending:
    """Run the tests in this process; of the environments, "full" finds what it promises."""
    if environment == "full" and alpha is not None:
        project.install_alpha(alpha)
        project.install_beta()
    outcome = project.run("--environment", environment, *options)
    return int(outcome.ret), f"{outcome.stdout}\n{outcome.stderr}"


def file(name: str, text: str, *options: str, environment: str = "full") -> Plant:
    """Plant a file, and run."""

    def plant(project: Project) -> Ending:
        project.write(name, f"import pytest\n\n{text}\n")
        return run(project, *options, environment=environment)

    return plant


def options(*options: str) -> Plant:
    """Run with options."""
    return lambda project: run(project, *options)


def merged(*sessions: str) -> Ending:
    """Merge sessions, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = merge.main([part for session in sessions for part in ("--expect", session)])
        except SystemExit as usage_error:
            status = int(str(usage_error.code))
    return status, said.getvalue()


def leave(project: Project, session: str, environment: str = "bare", **changes: Any) -> Path:
    """Leave what a green run of tests/unit leaves: a receipt, and coverage data. Return the receipt's path."""
    contract = project.contract
    values = {
        "environment": environment,
        "sources": sources_digest(contract),
        "lock": lock_digest(contract, environment),
        "tests": {ID: PASSED},
    }
    write_receipt(contract, receipt(session, **(values | changes)))
    data_file(project, session, environment)
    return receipt_path(contract, session)


def data_file(project: Project, session: str, context: str, arcs: Arcs = ARCS) -> None:
    """Write a session's coverage data anew."""
    path = project.write(f".matrix/coverage/.coverage.{session}", "")
    path.unlink()
    with closing(CoverageData(basename=str(path))) as data:
        data.set_context(context)
        data.add_arcs({UNIT: arcs})
        data.write()


def receipts(**changes: Any) -> Plant:
    """Merge two receipts, of which one is not what it should be."""

    def plant(project: Project) -> Ending:
        leave(project, "unit", **changes)
        leave(project, "other")
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


def edited(old: str, new: str) -> Callable[[Project], object]:
    """Edit the receipt by hand."""

    def edit(project: Project) -> None:
        path = receipt_path(project.contract, "unit")
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


def killed(code: str, status: int) -> Plant:
    """Have a test end the whole process, then merge what that left."""

    def plant(project: Project) -> Ending:
        leave(project, "bare")
        project.write(UNIT, f"import os\n\ndef test_a(): {code}\n")
        # A process of its own sees everything that is installed here, and the project's lock names nothing.
        project.write("conftest.py", "from tests.skipproof import search_path as s\ns.folders = s.libraries = list\n")
        command = [sys.executable, "-m", "pytest", "-p", "tests.skipproof.plugin", "--environment", "bare"]
        ended = subprocess.run(
            command, cwd=project.root, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
        )
        assert ended.returncode == status
        return merged("bare")

    return plant


def blinded(project: Project) -> Ending:
    """Have the gate see no skip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate.TestRecord, "violation", lambda _record: None)
        return run(project)


def hollow(project: Project) -> Ending:
    """Leave an empty folder of a library that was removed."""
    (project.site / "skipproof_alpha").mkdir()
    return run(project, environment="full", alpha=None)


def halved(project: Project) -> Ending:
    """Remove a file of an installed distribution."""
    project.install_alpha()
    project.install_beta()
    (project.site / "beta.py").unlink()
    return run(project, alpha=None)


def leaked(project: Project) -> Ending:
    """Have a library where the slim environment finds it."""
    project.install_alpha()
    return run(project, environment="bare")


def grown(project: Project) -> None:
    """Have another session collect a test more."""
    leave(project, "other", tests={ID: PASSED, f"{UNIT}::test_b": PASSED})


def uncovered(project: Project) -> None:
    """Have no session reach the body of the test."""
    for session, environment in (("unit", "bare"), ("other", "full")):
        data_file(project, session, environment, IMPORTED)


def table(old: str, new: str) -> Plant:
    """Change pyproject.toml, then run."""

    def plant(project: Project) -> Ending:
        text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
        assert old in text
        project.write("pyproject.toml", text.replace(old, new))
        return run(project)

    return plant


TEST = "def test_a(): "
XFAIL = "@pytest.mark.xfail(reason='bug 7')\ndef test_a(): assert "
ALPHA = "@pytest.mark.requires('alpha')\n"
PLANTS: dict[str, Plant] = {
    # Usage: a question that is put wrongly gets no answer.
    "`--environment` names one that is not in the table": lambda project: run(project, environment="fulll"),
    "`requires` names a capability that is not in the table": file(
        REAL, "@pytest.mark.requires('alhpa')\n" + TEST + "1"
    ),
    "`requires` without a name": file(REAL, "@pytest.mark.requires()\n" + TEST + "1"),
    "A key of the table is misspelt": table("locks =", "lokcs ="),
    "An environment promises what is not in the table": table('["alpha", "beta"]', '["alpha", "betta"]'),
    "One test file stands for the whole suite": options(UNIT),
    # Preflight.
    "A promised library raises on import": lambda project: run(project, alpha="raise RuntimeError('no AVX')"),
    "A promised library imports, but lacks a submodule": lambda project: run(
        project, alpha="import skipproof_alpha.kernels"
    ),
    "A promised library is not installed": lambda project: run(project, alpha=None),
    "Only an empty folder is left of a promised library": hollow,
    "A file of a promised distribution is gone": halved,
    "A library leaks into the slim environment": leaked,
    "An environment promises hardware that is not there": lambda project: run(project, environment="big"),
    # Canaries.
    "The gate went blind": blinded,
    # Run.
    "`pytest.skip` in a test that can run": file(UNIT, TEST + "pytest.skip('later')"),
    "`pytest.skip` in a fixture": file(UNIT, "@pytest.fixture\ndef x(): pytest.skip('later')\n\ndef test_a(x): pass"),
    "`skipif` with a condition that is always true": file(
        UNIT, "@pytest.mark.skipif(True, reason='flaky')\n" + TEST + "pass"
    ),
    "`importorskip` in a test": file(UNIT, TEST + "pytest.importorskip('skipproof_none')"),
    "`importorskip` at the top of a file": file(REAL, "pytest.importorskip('skipproof_none')\n\n" + TEST + "pass"),
    "A skip whose reason lies": file(
        REAL, ALPHA + "@pytest.mark.skipif(True, reason='no alpha')\n" + TEST + "pass", environment="bare"
    ),
    "A mark is taken away, and the test passes without what it needs": file(
        CONFTEST,
        "@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session):\n"
        "    for item in session.items: item.own_markers.clear()\n\n"
        "@pytest.fixture(autouse=True)\ndef alpha(monkeypatch):\n"
        "    import sys\n    monkeypatch.setitem(sys.modules, 'skipproof_alpha', sys)",
        environment="bare",
    ),
    "An `xfail` that fails": file(UNIT, XFAIL + "False"),
    "An `xfail` that passes": file(UNIT, XFAIL + "True"),
    "`-k` leaves a test out": options("-k", "alpha"),
    "`-m` leaves a test out": options("-m", "requires"),
    "`--deselect` leaves a test out": options("--deselect", ID),
    "`--ignore` leaves a file out": options("--ignore", UNIT),
    "`--ignore-glob` in `addopts` leaves a file out": table('"--tb=line"', '"--ignore-glob=*/test_a.py"'),
    "`collect_ignore` in a conftest leaves a file out": file(CONFTEST, "collect_ignore = ['tests/unit/test_a.py']"),
    "A conftest takes tests out of the collection": file(
        CONFTEST, "def pytest_collection_modifyitems(items): del items[0]"
    ),
    "A syntax error under `--continue-on-collection-errors`": file(
        SECOND, "def test_b(: pass", "--continue-on-collection-errors"
    ),
    "A test file holds no test any more": file(SECOND, "def check_b(): pass"),
    "Parameters that come from a missing library": file(UNIT, "@pytest.mark.parametrize('x', [])\ndef test_a(x): pass"),
    "A test without a mark needs a library": file(REAL, "def test_b(): import skipproof_alpha", environment="bare"),
    "`-x` ends the run early": file(UNIT, "def test_a(): assert False\n\ndef test_b(): pass", "-x"),
    "`--setup-only` runs no test's body": options("--setup-only"),
    "`pytest.exit` in a test, with exit status 0": file(UNIT, TEST + "pytest.exit('done', returncode=0)"),
    # Merge: what no run can see of itself.
    "`os._exit(0)` in a test": killed("os._exit(0)", 0),
    "SIGKILL in the middle": killed("os.kill(os.getpid(), 9)", -signal.SIGKILL),
    "There is no receipt at all": lambda _project: merged(),
    "A session never ran": lambda project: (leave(project, "unit"), merged("unit", "other"))[1],
    "A red run is merged": receipts(exit_status=1, tests={ID: result("failed")}),
    "A receipt is edited by hand": afterwards(edited('"passed"', '"skipped"')),
    "A receipt is cut off": afterwards(edited('"tests"', "")),
    "A receipt of another schema version": afterwards(edited('"format": 2', '"format": 1')),
    "A receipt is copied from another session": afterwards(
        lambda project: receipt_path(project.contract, "other").replace(receipt_path(project.contract, "unit"))
    ),
    "A receipt of yesterday's sources": afterwards(lambda project: project.write(UNIT, "def test_a(): assert 1\n")),
    "A receipt of another lock": afterwards(lambda project: project.write("locks/bare.txt", "pytest==9\n")),
    "An environment without a lock": afterwards(lambda project: (project.root / "locks/bare.txt").unlink()),
    "A session collected fewer tests": afterwards(grown),
    "A test that ran in no environment": receipts(
        suites=["tests/real"], tests={f"{REAL}::test_alpha": result("skipped", "alpha")}
    ),
    "A session ran without coverage": receipts(coverage=None),
    "Coverage data is deleted": afterwards(lambda project: (project.root / DATA).unlink()),
    "Coverage data is emptied": afterwards(lambda project: data_file(project, "unit", "bare", ())),
    "Coverage data is overwritten": afterwards(lambda project: project.write(DATA, "data")),
    "Coverage data of another environment": afterwards(lambda project: data_file(project, "unit", "full")),
    # Coverage.
    "Lines that nothing covers": afterwards(uncovered),
}


@pytest.mark.parametrize("deceit", PLANTS)
def test_a_deceit_is_caught(honest: Project, deceit: str) -> None:
    """Broken: a deceit of the table passes, or another gate catches it, or in other words than the table says."""
    row = TABLE[deceit]
    status, said = PLANTS[deceit](honest)
    assert status == STATUS[row.gate], said
    assert row.is_said_in(said), said


def test_table_and_plants_are_the_same() -> None:
    """Broken: the README promises that a deceit is caught which nobody plants, or hides one that is."""
    assert list(TABLE) == list(PLANTS)


def test_honest_projects_are_green(honest: Project) -> None:
    """Broken: the gates are red without any deceit, so that being red for one says nothing."""
    assert run(honest, environment="bare")[0] == 0
    assert run(honest)[0] == 0
    leave(honest, "unit")
    leave(honest, "other", "full", capabilities=["alpha", "beta"])
    status, said = merged("unit", "other")
    assert (status, said.splitlines()[-1]) == (0, "Proved: 2 sessions agree, and the gate of 100 % is reached.")


def test_a_message_is_found_only_whole() -> None:
    """Broken: half of a sentence counts as the sentence, or what stands for anything spans lines."""
    row = Row("deceit", "run", "a … b", "plugin")
    assert row.is_said_in("one a (7) b two")
    assert not row.is_said_in("one a (7")
    assert not row.is_said_in("a (\n) b")
