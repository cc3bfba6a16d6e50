"""Doctor reports what a run would say, without running a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import doctor, search_path
from skipproof.__main__ import main
from skipproof.exits import ExitStatus
from support.runs import NEEDS_ALPHA, PASSES, REAL, REASON, UNIT

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project


REHEARSAL = ("--collect-only", "-p", "skipproof.rehearsal")


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, with its folder as the working folder; alpha is installed, as environment "full" has it."""
    monkeypatch.chdir(project.root)
    project.install_alpha("__version__ = '1.5'")
    project.write(UNIT, PASSES)
    project.write(REAL, NEEDS_ALPHA)
    return project


def test_everything_is_said(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Doctor shows table, environments, locks, capabilities and path, with nothing to correct."""
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "table: pyproject.toml: [tool.skipproof]",
        "environment bare: has no extra capability; its lock is locks/bare.txt",
        "environment full: has alpha, beta; its lock is locks/full.txt",
        "environment big: has alpha, beta, gpu; its lock is locks/big.txt",
        "capability alpha: here, skipproof_alpha 1.5",
        "capability beta: not here, lacks distribution skipproof-beta; pip install beta",
        "capability gpu: not here, lacks hardware cuda; a machine with a GPU",
        "path: nothing foreign on it; --environment NAME checks whether this is NAME",
        "nothing to correct",
    ]
    assert not (here.root / ".matrix").exists()


def test_conditions_and_own_probes_are_told(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Doctor says whether each condition holds, and asks a probe that lies in the project."""
    here.write("skipproof_probe.py", "def yes(): return True\n")
    table = (here.root / "pyproject.toml").read_text()
    added = """
        new = { python = ">=3.99" }
        any = { any = ["new", "alpha"] }
        own = { probe = "skipproof_probe:yes", install = "x" }
        [tool.skipproof.environments]
    """
    text = table.replace("[tool.skipproof.environments]", added).replace("bare = []", 'bare = ["own?"]')
    here.write("pyproject.toml", text)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "condition new: does not hold here, Python >=3.99" in said
    assert "condition any: holds here, Python >=3.99 or pip install alpha" in said
    assert "capability own: here" in said


def test_an_environment_is_held_against_its_lock(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """For a named environment, doctor exits with 1 and says what its run would refuse, or with 0 if it matches."""
    assert doctor.main(["--environment", "full"]) == 1
    *_, drift, lacking, ran, count = capsys.readouterr().out.splitlines()
    assert drift.startswith(
        "to correct: full does not match its lock: skipproof-beta is not installed, but the lock pins"
    )
    assert lacking.startswith("to correct: full promises beta, but distribution skipproof-beta is missing; sync it")
    assert (ran, count) == ("tests: 2 would run", "2 to correct")
    here.install_beta()
    assert doctor.main(["--environment", "full"]) == 0
    *_, sound, ran, count = capsys.readouterr().out.splitlines()
    assert sound == "full: matches its name, its table and its lock"
    assert (ran, count) == ("tests: 2 would run", "nothing to correct")


def test_hopes_are_told_as_they_hold_here(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A capability that an environment has only on some machines is shown with "?" where it is missing."""
    text = (here.root / "pyproject.toml").read_text()
    here.write("pyproject.toml", text.replace("bare = []", 'bare = ["gpu?"]'))
    assert doctor.main([]) == 0
    assert "environment bare: has gpu?; its lock is locks/bare.txt" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["broken", "lock", "path"])
def test_what_has_to_be_corrected_is_counted(
    here: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    """A broken library, a missing lock and a folder that leaks in are each counted as something to correct."""
    said = {
        "broken": "alpha: module skipproof_alpha is installed but broken (RuntimeError: no AVX); install it again",
        "lock": "locks/big.txt does not exist, so nothing says what big has to be: compile it, or correct 'locks'",
        "path": f"{tmp_path} is on this Python's path but not part of the environment: nothing says where",
    }[fault]
    if fault == "broken":
        (here.site / "skipproof_alpha.py").write_text("raise RuntimeError('no AVX')")
    elif fault == "lock":
        (here.root / "locks" / "big.txt").unlink()
    else:
        monkeypatch.setattr(search_path, "folders", lambda: [tmp_path])
    assert doctor.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 to correct"
    assert any(line.startswith(f"to correct: {said}") for line in lines)


def test_a_fault_of_the_named_environment_counts_once(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken capability and a missing lock of the named environment are each counted once."""
    (here.site / "skipproof_alpha.py").write_text("raise RuntimeError('no AVX')")
    (here.root / "locks" / "full.txt").unlink()
    here.install_beta()
    assert doctor.main(["--environment", "full"]) == 1
    *lines, no_lock, broken, _, count = capsys.readouterr().out.splitlines()
    assert no_lock.startswith("to correct: locks/full.txt does not exist")
    assert broken.startswith("to correct: full promises alpha, but module skipproof_alpha is installed but broken")
    assert count == "2 to correct"
    assert any(line.startswith("capability alpha: module skipproof_alpha is installed but broken") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--environment", "ful"], "skipproof doctor: error: no environment is called 'ful' (did you mean 'full'?)"),
        (["--config-file", "other.ini"], "other.ini: [skipproof] has no 'capabilities'"),
        (["full"], "skipproof doctor: error: unrecognized arguments: full"),
    ],
)
def test_wrong_question_ends_with_4(
    here: Project, capsys: pytest.CaptureFixture[str], arguments: list[str], fact: str
) -> None:
    """An unknown environment and a wrong table exit with 4, as in pytest."""
    if "--config-file" in arguments:
        here.write("pyproject.toml", "")
        here.write("other.ini", "[skipproof]\n")
    with pytest.raises(SystemExit) as ended:
        doctor.main(arguments)
    assert ended.value.code == pytest.ExitCode.USAGE_ERROR
    assert fact in capsys.readouterr().err


def said(capsys: pytest.CaptureFixture[str], environment: str) -> list[str]:
    """Return what doctor says of the tests of an environment."""
    doctor.main(["--environment", environment])
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("tests: ") or "tests/" in line]


def test_what_each_test_would_do_is_counted(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Doctor counts the tests that would run, and those that would skip by their reason, and leaves no receipt."""
    (here.site / "skipproof_alpha.py").unlink()
    assert said(capsys, "bare") == ["tests: 1 would run", f"tests: 1 would skip with {REASON!r}"]
    assert not (here.root / ".matrix").exists()


def test_a_wrong_collection_is_told_before_a_run(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors, duplicates, files that are not collected and deselected tests are each told, without a test that runs."""
    here.write("tests/unit/test_b.py", "raise RuntimeError('boom')\n")
    here.write("tests/unit/test_c.py", "def test_c(): open('ran', 'w')\ndef test_c(): open('ran', 'w')\n")
    here.write("tests/unit/other.py", PASSES)
    text = (here.root / "pyproject.toml").read_text()
    here.write(
        "pyproject.toml", text.replace('"--tb=line"]', '"--tb=line", "--deselect=tests/unit/test_a.py::test_a"]')
    )
    told = [line.removeprefix("to correct: ")[:60] for line in said(capsys, "full")]
    assert told == [
        "tests/unit/other.py: a test file under tests/ that was not c",
        "tests/unit/test_a.py::test_a: was deselected; leave -k, -m, ",
        "tests/unit/test_b.py: could not be collected; fix the error ",
        "tests/unit/test_c.py::test_c: (line 1) is defined again in l",
        "tests: 2 would run",
    ]
    assert not (here.root / "ran").exists()


def test_ids_that_another_session_has_are_missed(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that another environment collected from the same sources, and this one does not, is told."""
    here.install_beta()
    here.write(
        UNIT, "import sys\nif 'skipproof_alpha' in sys.modules:\n    def test_only_here(): pass\ndef test_a(): pass\n"
    )
    here.write("conftest.py", "")
    here.run("--skipproof", "full")
    assert any("was collected in full, from the same sources, but not here" in line for line in said(capsys, "bare"))


@pytest.mark.parametrize("fault", ["mark", "conftest"])
def test_a_collection_that_ends_early_is_told(here: Project, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    """An unknown capability in a mark, or a conftest that fails, is told with what pytest says of it."""
    if fault == "mark":
        here.write(REAL, NEEDS_ALPHA.replace("alpha", "alhpa"))
    else:
        here.write("tests/conftest.py", "raise SystemExit(3)\n")
    assert doctor.main(["--environment", "full"]) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if "pytest ends before it has collected" in line]
    assert ("no capability is called 'alhpa'" if fault == "mark" else "see pytest --collect-only") in line


def test_a_rehearsal_counts_by_what_each_test_would_do(here: Project) -> None:
    """A collection under an environment's name says what its run would, and is red if something is wrong with it."""
    text = (here.root / "pyproject.toml").read_text()
    extra = """
        [tool.skipproof.known_failures]
        "tests/unit/test_a.py::test_known" = { reason = "bug", issue = "#7" }

        [tool.skipproof.subsets]
        quick = "-k 'not slow'"
    """
    here.write("pyproject.toml", text + "\n".join(line.strip() for line in extra.splitlines()))
    here.write(UNIT, "def test_a(): pass\ndef test_known(): assert 0\ndef test_slow(): pass\n")
    result = here.run("--skipproof", "bare", *REHEARSAL, "-k", "not slow")
    assert [line for line in result.outlines if line.startswith("tests: ")] == [
        "tests: 1 would be left to others",
        "tests: 1 would fail, as is known",
        "tests: 1 would run",
        f"tests: 1 would skip with {REASON!r}",
    ]
    assert result.ret == 0
    assert here.run("--skipproof", "bare", *REHEARSAL, "-k", "slow").ret == ExitStatus.RUN
    assert not (here.root / ".matrix").exists()
