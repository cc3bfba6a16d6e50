"""Tests of the stand-ins: each does on this machine what its action does on a runner, and refuses what it cannot do."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.workflows import stand_ins

if TYPE_CHECKING:
    from pathlib import Path


class Runner:
    """A job's variables and folders, in which steps use actions."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Make an empty workspace."""
        self.workspace, self.capsys = folder / "workspace", capsys
        self.workspace.mkdir()
        self.variables = {
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_PATH": str(folder / "path"),
            "GITHUB_OUTPUT": str(folder / "output"),
            "RUNNER_TEMP": str(folder),
            stand_ins.SOURCE: str(folder / "source"),
            stand_ins.PYTHONS: json.dumps({"3.11": sys.executable}),
            stand_ins.ARTIFACTS: str(folder / "artifacts"),
        }

    def use(self, action: str, **inputs: str) -> tuple[int, str]:
        """Use an action; return the exit status and what it said. An underscore in an input's name is a dash."""
        given = {f"INPUT_{name.replace('_', '-').upper()}": value for name, value in inputs.items()}
        status = stand_ins.main(f"actions/{action}", {**self.variables, **given})
        return status, self.capsys.readouterr().out

    def write(self, *names: str) -> None:
        """Write small files into the workspace."""
        for name in names:
            path = self.workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")

    def files(self) -> set[str]:
        """Return all files of the workspace."""
        return {path.relative_to(self.workspace).as_posix() for path in self.workspace.rglob("*") if path.is_file()}


@pytest.fixture
def runner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    """A job that has just begun."""
    return Runner(tmp_path, capsys)


def test_checkout_clones_the_tree_into_the_workspace(runner: Runner, tmp_path: Path) -> None:
    """A job would run in an empty folder, or in the developer's own checkout."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("text", encoding="utf-8")
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "a"]):
        subprocess.run([*git, *arguments], check=True)
    assert runner.use("checkout", persist_credentials="false")[0] == 0
    assert (runner.workspace / "file").read_text(encoding="utf-8") == "text"


def test_a_command_that_fails_makes_its_step_fail(runner: Runner) -> None:
    """A job would go on without the sources."""
    status, said = runner.use("checkout")
    assert status == 1
    assert said.startswith("::error::actions/checkout: Command")


def test_setup_python_puts_the_python_first_on_the_path(runner: Runner, tmp_path: Path) -> None:
    """A job would run with another Python than it asked for, and install into the developer's."""
    without_pip = tmp_path / "python"  # Installing pip takes seconds.
    without_pip.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@" --without-pip\n', encoding="utf-8")
    without_pip.chmod(0o755)
    runner.variables[stand_ins.PYTHONS] = json.dumps({"3.11": str(without_pip)})
    assert runner.use("setup-python", python_version="3.11")[0] == 0
    folder = (tmp_path / "path").read_text(encoding="utf-8").strip()
    assert (tmp_path / "output").read_text(encoding="utf-8") == "python-version=3.11\n"
    says = [f"{folder}/python", "-c", "import sys; print(sys.prefix, sys.base_prefix)"]
    prefix, base = subprocess.run(says, check=True, capture_output=True, text=True).stdout.split()
    assert prefix == str(tmp_path / "python-3.11")
    assert base == sys.base_prefix


def test_a_python_that_is_not_here_makes_its_step_fail(runner: Runner) -> None:
    """A job would prove its session on another Python than its name says."""
    assert runner.use("setup-python", python_version="3.14") == (
        1,
        "::error::actions/setup-python: The version '3.14' was not found on this machine, which has 3.11\n",
    )


def test_an_input_that_is_missing_or_unknown_makes_its_step_fail(runner: Runner) -> None:
    """A stand-in would quietly not do what the workflow asks for, and the job would prove something else."""
    assert runner.use("setup-python") == (1, "::error::actions/setup-python: 'python-version'\n")
    assert runner.use("checkout", ref="other") == (
        1,
        "::error::actions/checkout: The stand-in does not know the input ref\n",
    )


def test_the_cache_is_the_folders_of_the_user(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache would seem to be kept that no later job ever finds."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kept").mkdir()
    assert runner.use("cache", path="~/kept\n~/other\n", key="k") == (0, "actions/cache: k: here already are ~/kept\n")
    assert runner.use("cache", path="~/other", key="k") == (0, "actions/cache: k: here already are none\n")
    assert runner.use("cache", path="build", key="k")[0] == 1


def test_artifacts_go_from_one_job_to_another(runner: Runner) -> None:
    """The merge would lack a session's receipt, and the real one would have it."""
    runner.write("one/.data", "one/sub/a", "two/b", "single")
    assert runner.use("upload-artifact", name="m-1", path="one", include_hidden_files="true")[0] == 0
    assert runner.use("upload-artifact", name="m-2", path="two")[0] == 0
    assert runner.use("upload-artifact", path="single")[0] == 0
    before = runner.files()
    assert runner.use("download-artifact", name="artifact")[0] == 0
    assert runner.use("download-artifact", pattern="m-*", path="apart")[0] == 0
    assert runner.use("download-artifact", pattern="m-*", path="flat", merge_multiple="true")[0] == 0
    apart, flat = {"apart/m-1/.data", "apart/m-1/sub/a", "apart/m-2/b"}, {"flat/.data", "flat/sub/a", "flat/b"}
    assert runner.files() - before == apart | flat


def test_hidden_files_stay_behind_when_nobody_asks_for_them(runner: Runner) -> None:
    """A workflow that loses its coverage data on a runner would seem to keep it here."""
    runner.write("data/.coverage", "data/seen", ".matrix/receipt")
    runner.use("upload-artifact", name="m", path="data")
    assert runner.use("upload-artifact", name="n", path=".matrix", if_no_files_found="error")[0] == 1
    runner.use("download-artifact", name="m", path="back")
    assert runner.files() == {"data/.coverage", "data/seen", ".matrix/receipt", "back/seen"}


def test_an_artifact_without_a_file_is_an_error_only_when_asked_for(runner: Runner) -> None:
    """A missing receipt would pass here or fail here, and do the opposite on a runner."""
    message = "No files were found with the provided path: .matrix. No artifacts will be uploaded.\n"
    assert runner.use("upload-artifact", path=".matrix") == (0, f"actions/upload-artifact: {message}")
    assert runner.use("upload-artifact", path=".matrix", if_no_files_found="error") == (
        1,
        f"::error::actions/upload-artifact: {message}",
    )


def test_a_name_that_is_taken_or_not_valid_is_refused(runner: Runner) -> None:
    """Two jobs would overwrite each other's receipts without a sound."""
    runner.write("a")
    assert runner.use("upload-artifact", name="m", path="a")[0] == 0
    status, said = runner.use("upload-artifact", name="m", path="a")
    assert status == 1
    assert "(409) Conflict: an artifact with this name already exists on the workflow run: m" in said
    assert "not valid: 'a/b'" in runner.use("upload-artifact", name="a/b", path="a")[1]


def test_an_artifact_that_nobody_uploaded_is_an_error_by_name_and_nothing_by_pattern(runner: Runner) -> None:
    """A merge would begin without what it was to merge, or stop where the real one goes on and says what is missing."""
    assert runner.use("download-artifact", name="m") == (
        1,
        "::error::actions/download-artifact: Unable to download artifact(s): Artifact not found for name: m\n",
    )
    assert runner.use("download-artifact", pattern="m-*")[0] == 0


def test_a_job_calls_the_stand_in_as_a_program(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step of any job would do anything."""
    monkeypatch.setattr(sys, "argv", ["stand_ins.py", "actions/download-artifact"])
    for name, value in runner.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(stand_ins.__file__, run_name="__main__")
