"""Tests of the rehearsal: its stage, what it asks of act, and that a fault in a job or in itself makes it red."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.project.sessions import ROOT
from tests.workflows import rehearsal, stand_ins

CI = """\
jobs:
  session:
    strategy:
      matrix: {}
    steps:
      - uses: actions/checkout@abc123 # v7.0.1
        with:
          path: elsewhere
      - uses: someone/unknown@abc123
"""
MENU: list[dict[str, Any]] = [{"session": "lint", "python": None}, {"session": "unit-3.11", "python": "3.11"}]
# Says what the file beside it holds for the workflow, and keeps what it was asked and what it found.
ACT = """\
import json, os, pathlib, sys
here = pathlib.Path({folder!r})
workflow = pathlib.Path(sys.argv[sys.argv.index("--workflows") + 1])
lines, status = json.loads((here / "plays.json").read_text())[workflow.name]
(here / f"{{workflow.name}}.json").write_text(
    json.dumps({{"arguments": sys.argv[1:], "variables": dict(os.environ), "text": workflow.read_text()}})
)
print(*lines, sep="\\n")
sys.exit(status)
"""
NOX = "print(open({folder!r} + '/menu.json').read())\n"


def said(job: str, second: int, **more: Any) -> str:
    """Return a line of act's about a job."""
    time = f"2026-01-01T00:00:{second:02}Z"
    return json.dumps({"job": job, "level": "info", "matrix": {}, "msg": "words\n", "time": time, **more})


def green(job: str) -> list[str]:
    """Return what act says of a job that is green after three seconds."""
    return [said(job, 1), said(job, 4, jobResult="success")]


def red(job: str) -> list[str]:
    """Return what act says of a job whose third step fails."""
    return [
        said(job, 1),
        said(job, 2, level="error", step="third", msg="\x1b[31mexit 1\x1b(B\x1b[m"),
        said(job, 3, jobResult="failure"),
    ]


class Project:
    """A small project in git, and programs named act and nox that say what a test wants."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Make one whose canaries are all right, and whose only job is green."""
        self.root, self.tools, self.capsys = folder / "project", folder / "tools", capsys
        self.tools.mkdir()
        (self.root / ".github" / "workflows").mkdir(parents=True)
        (self.root / ".github" / "workflows" / "ci.yml").write_text(CI, encoding="utf-8")
        (self.root / ".github" / "workflows" / "integration.yml").write_text(
            "jobs:\n  ci:\n    uses: $/.github/workflows/ci.yml\n", encoding="utf-8"
        )
        git = ["git", "-C", str(self.root), "-c", "user.name=a", "-c", "user.email=a@b"]
        for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "a"]):
            subprocess.run([*git, *arguments], check=True)
        faults = (
            "command-that-fails",
            "artifact-that-is-missing",
            "action-that-is-misspelt",
            "python-that-is-not-here",
        )
        self.canary = [*[line for name in faults for line in red(f"canary/{name}")], *green("canary/nothing-wrong")]
        self.variables = {**os.environ, "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": "mine"}
        self.variables.pop("REQUIRE_INTERPRETERS", None)
        self.menu = MENU

    def rehearse(self, lines: list[str], *arguments: str, status: int = 0) -> tuple[int, str]:
        """Rehearse with an act that says these lines; return the exit status and all output."""
        for name, text in (("act", ACT), ("nox", NOX)):
            program = self.tools / name
            code = program.with_suffix(".py")
            code.write_text(text.format(folder=str(self.tools)), encoding="utf-8")
            # A line #! cannot name a program in a folder with a space in its name.
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{code}" "$@"\n', encoding="utf-8")
            program.chmod(0o755)
        plays = {"ci.yml": (lines, status), "integration.yml": (lines, status), "canary.yml": (self.canary, 1)}
        (self.tools / "plays.json").write_text(json.dumps(plays), encoding="utf-8")
        (self.tools / "menu.json").write_text(json.dumps(self.menu), encoding="utf-8")
        ended = rehearsal.main(["--python", f"3.11={sys.executable}", *arguments], self.variables)
        captured = self.capsys.readouterr()
        return ended, captured.out + captured.err

    def asked(self, workflow: str) -> dict[str, Any]:
        """Return what act was asked for a workflow, and what it found."""
        found: dict[str, Any] = json.loads((self.tools / f"{workflow}.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in the current folder."""
    made = Project(tmp_path, capsys)
    monkeypatch.chdir(made.root)
    return made


def test_a_green_run_shows_its_jobs(project: Project) -> None:
    """Nobody could see what was rehearsed, and how long it took."""
    status, output = project.rehearse([*green("ci/menu"), *green("ci/lint")])
    assert status == 0
    assert "canary: the 4 planted faults are red, and the job without one is green\n" in output
    assert "ci/menu      3 s  green\nci/lint      3 s  green\n" in output


def test_a_job_of_a_matrix_goes_by_its_own_name(project: Project) -> None:
    """A session would have another name at every selection, and two logs after two runs."""
    lines = [said("ci/unit-3.12-2  ", 1, matrix={"session": "unit-3.12"}, jobResult="success")]
    assert "\nci/unit-3.12      0 s  green\n" in project.rehearse(lines)[1]


def test_a_red_job_makes_the_run_red_and_leaves_its_log(project: Project) -> None:
    """A broken workflow would pass, or nobody would learn at which step it broke."""
    status, output = project.rehearse([*green("ci/menu"), *red("ci/lint"), "Error: act is not content"], status=1)
    assert status == 1
    assert "ci/lint      2 s  RED: third\n" in output
    assert "    exit 1\n" in output
    assert "Error: act is not content\n" in output
    assert Path(".matrix/workflows/ci_lint.log").read_text(encoding="utf-8") == "words\nexit 1\nwords\n"


def test_a_job_that_does_not_come_to_its_end_is_red(project: Project) -> None:
    """A job that was killed would count as green, since none of its steps failed."""
    status, output = project.rehearse([said("ci/lint", 1), said("ci/lint", 9, msg="LocalRepositoryCache matched")])
    assert status == 1
    assert "ci/lint      0 s  RED: it did not come to its end\n" in output


@pytest.mark.parametrize(("lines", "status"), [([], 0), (green("ci/lint"), 1)], ids=["no-job", "act-not-content"])
def test_a_run_that_proves_nothing_is_red(project: Project, lines: list[str], status: int) -> None:
    """A selection without a job, or a workflow that act cannot read, would pass."""
    assert project.rehearse(lines, status=status)[0] == 1


@pytest.mark.parametrize("lost", ["canary/command-that-fails", "canary/nothing-wrong"])
def test_a_rehearsal_that_went_blind_stops(project: Project, lost: str) -> None:
    """The states of all jobs would be read wrongly, and every workflow would be green."""
    project.canary = [*(line for line in project.canary if lost not in line), "Error: words of act"]
    status, output = project.rehearse(green("ci/lint"))
    assert "words of act" not in output
    assert status == 2
    assert "The canary is wrong, so no green would mean anything." in output


def test_the_jobs_see_the_tree_with_its_tracked_changes(project: Project) -> None:
    """A developer would rehearse yesterday's workflow, or believe that a new file was rehearsed."""
    ci = Path(".github/workflows/ci.yml")
    ci.write_text(CI + "# changed\n", encoding="utf-8")
    Path("new").touch()
    _, output = project.rehearse(green("ci/lint"), "ci.yml")
    assert project.asked("ci.yml")["text"].endswith("# changed\n")
    assert "not rehearsed, because git does not track them: new\n" in output
    assert "new" not in project.asked("ci.yml")["text"]


def test_act_reads_words_that_it_knows(project: Project) -> None:
    """Act would refuse the call of the other workflow, or start more jobs than the machine has cores."""
    project.rehearse(green("ci/lint"))
    assert project.asked("integration.yml")["text"].endswith("    uses: ./.github/workflows/ci.yml\n")
    project.rehearse(green("ci/lint"), "ci.yml")
    assert f"    strategy:\n      max-parallel: {rehearsal.cores()}\n" in project.asked("ci.yml")["text"]


def test_act_gets_stand_ins_and_reaches_nobody(project: Project) -> None:
    """A rehearsal would download actions, or a stand-in would not see an input that it is to refuse."""
    project.rehearse(green("ci/lint"), "ci.yml", "--job", "session")
    arguments = project.asked("ci.yml")["arguments"]
    assert arguments[0] == "push"
    assert arguments[-2:] == ["--job", "session"]
    assert arguments[arguments.index("--github-instance") + 1] == "127.0.0.1:9"
    replaced = [arguments[at + 1] for at, part in enumerate(arguments) if part == "--local-repository"]
    assert [part.split("=")[0] for part in replaced if "@abc123" in part] == ["actions/checkout@abc123"]
    assert project.asked("ci.yml")["variables"][stand_ins.ARTIFACTS].endswith("/artifacts/ci.yml")


def test_the_stand_ins_take_every_input_that_a_step_gives(project: Project, tmp_path: Path) -> None:
    """Act would keep an input to itself that a stand-in is to refuse."""
    project.rehearse(green("ci/lint"))
    stage = rehearsal.Stage(tmp_path / "stage", {}, project.variables)
    stage.build(project.root)
    stage.actions()
    text = (tmp_path / "stage" / "actions" / "actions" / "checkout" / "action.yml").read_text(encoding="utf-8")
    assert "path: {}" in text
    assert f'"{sys.executable}" "{stand_ins.__file__}" actions/checkout' in text


def test_a_job_starts_without_the_developers_virtual_environment(project: Project, tmp_path: Path) -> None:
    """A job that forgets to install nox would find the developer's, and fail only on a runner."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    project.variables["PATH"] += f"{os.pathsep}{tmp_path / 'venv' / 'bin'}"
    project.rehearse(green("ci/lint"))
    variables = project.asked("integration.yml")["variables"]
    assert "VIRTUAL_ENV" not in variables
    assert str(project.tools) in variables["PATH"]
    assert str(tmp_path / "venv") not in variables["PATH"]


def test_a_session_whose_python_is_missing_is_left_out_by_name(project: Project) -> None:
    """A machine with three Pythons could rehearse nothing, or nobody would learn what was not rehearsed."""
    project.menu = [*MENU, {"session": "unit-3.14", "python": "3.14"}]
    status, output = project.rehearse(green("ci/lint"))
    assert status == 0
    assert "left out, for this machine lacks what they need: unit-3.14\n" in output
    arguments = " ".join(project.asked("integration.yml")["arguments"])
    assert "--matrix session:lint --matrix session:unit-3.11 --var REQUIRE_INTERPRETERS=0" in arguments
    assert "unit-3.14" not in arguments


def test_a_session_that_cannot_run_here_is_left_out_by_name(project: Project) -> None:
    """A machine without a browser could rehearse nothing."""
    project.menu = [*MENU, {"session": "browser", "python": None}]
    status, output = project.rehearse(green("ci/lint"), "--without", "browser")
    assert status == 0
    assert "left out, for this machine lacks what they need: browser\n" in output
    arguments = " ".join(project.asked("integration.yml")["arguments"])
    assert "session:browser" not in arguments
    assert "--var REQUIRE_BROWSER=0" in arguments


def test_a_python_that_may_not_be_missing_stops_the_rehearsal(project: Project) -> None:
    """A rehearsal that was to be whole would pass without one of its jobs."""
    project.menu = [*MENU, {"session": "unit-3.14", "python": "3.14"}]
    project.variables["REQUIRE_INTERPRETERS"] = "1"
    status, output = project.rehearse(green("ci/lint"))
    assert status == 2
    assert "Cannot rehearse unit-3.14: only Python 3.11 is here. Install more\n" in output


def test_what_is_chosen_by_hand_is_what_runs(project: Project) -> None:
    """A developer could not rehearse one session, because the others would be added to it."""
    project.menu = []
    project.rehearse(green("ci/lint"), "--matrix", "session:lint")
    arguments = project.asked("integration.yml")["arguments"]
    assert arguments[-2:] == ["--matrix", "session:lint"]
    assert arguments.count("--matrix") == 1


def test_without_act_the_message_says_where_it_comes_from(project: Project) -> None:
    """A developer would see a traceback, and not learn that the session brings act."""
    project.variables["PATH"] = str(project.tools)
    with pytest.raises(rehearsal.RehearsalError, match=r"Not on the PATH: act, nox\. Rehearse with `nox -s workflows`"):
        rehearsal.Stage(project.tools, {}, project.variables).build(project.root)


def test_every_action_of_the_real_workflows_has_a_stand_in() -> None:
    """A rehearsal would be red at an action that somebody added, and say only that nobody answered."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    used = {
        line.split("uses: ")[1].split("@")[0] for text in texts for line in text.splitlines() if "uses: act" in line
    }
    assert used == set(stand_ins.ACTIONS)


def test_the_session_starts_the_rehearsal_as_a_program(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The session would end at once, and be green."""
    monkeypatch.setattr(sys, "argv", ["rehearsal", "no-such-workflow.yml"])
    monkeypatch.delitem(sys.modules, "tests.workflows.rehearsal")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("tests.workflows.rehearsal", run_name="__main__")
    assert "there is no workflow 'no-such-workflow.yml', only ci.yml, integration.yml" in capsys.readouterr().err
    assert project.root.exists()
