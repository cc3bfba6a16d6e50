"""Rehearse the workflows on this machine: act runs their jobs, each in a clone of the tree, nothing comes from GitHub.

``python -m tests.workflows.rehearsal --python 3.11=/usr/bin/python3.11 [WORKFLOW.yml] [options of act]``

What is another thing here than on GitHub: a called workflow with a red job ends the run, so that the merge after it is
not seen; no timeout, permission, concurrency group or schedule holds; caches are the user's own folders.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import stand_ins
from .jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CANARY = Path(__file__).with_name("canary.yml")
EVENTS = {"ci.yml": "push", "integration.yml": "workflow_dispatch", CANARY.name: "workflow_dispatch"}
WORKFLOWS = Path(".github/workflows")
# Where act looks for an action that has no stand-in: nobody answers there.
NOWHERE = "127.0.0.1:9"
ACTION = """\
name: {name}
description: does the same on this machine
inputs: {{{inputs}}}
runs:
  using: composite
  steps:
    - run: '"{python}" "{file}" {name}'
      shell: bash
"""


class RehearsalError(Exception):
    """A rehearsal cannot begin, or would prove nothing; the message says what to do."""


class Stage:
    """A folder far from the developer's checkout, with all that act reads and all that its jobs write."""

    def __init__(self, folder: Path, pythons: Mapping[str, str], variables: Mapping[str, str]) -> None:
        """Plan a stage.

        Args:
            folder: An empty folder.
            pythons: The interpreters that jobs can ask for, by version.
            variables: The environment, of which the jobs see what is not the developer's own virtual environment.
        """
        self.folder, self.pythons = folder, pythons
        self.tools = {name: shutil.which(name, path=variables["PATH"]) or "" for name in ("act", "nox")}
        self.source, self.plan = folder / "source", folder / "plan"
        self.variables = {
            **job_variables(variables),
            stand_ins.SOURCE: str(self.source),
            stand_ins.PYTHONS: json.dumps(dict(pythons)),
        }

    def build(self, root: Path) -> None:
        """Copy the committed tree with its tracked changes, and put the workflows in words that act understands.

        Raises:
            RehearsalError: act or nox is not there.
        """
        missing = [name for name, path in self.tools.items() if not path]
        if missing:
            message = f"Not on the PATH: {', '.join(missing)}. Rehearse with `nox -s workflows`, which brings them"
            raise RehearsalError(message)
        git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(self.source))
        changes = git(root, "diff", "--binary", "HEAD")
        if changes:
            git(self.source, "apply", "--index", "-", data=changes)
            author = ("-c", "user.name=rehearsal", "-c", "user.email=rehearsal@localhost")
            git(self.source, *author, "commit", "--quiet", "--no-verify", "--message", "Tracked changes, not committed")
        untracked = git(root, "ls-files", "--others", "--exclude-standard").decode().split("\n")[:-1]
        if untracked:
            sys.stdout.write(f"not rehearsed, because git does not track them: {', '.join(untracked)}\n")
        git(root, "clone", "--quiet", str(self.source), str(self.plan))
        shutil.copyfile(CANARY, self.plan / WORKFLOWS / CANARY.name)
        for workflow in (self.plan / WORKFLOWS).glob("*.yml"):
            workflow.write_text(translated(workflow.read_text(encoding="utf-8")), encoding="utf-8")

    def actions(self) -> list[str]:
        """Write the stand-ins of the actions that the workflows use, and return act's options for them."""
        texts = [path.read_text(encoding="utf-8") for path in sorted((self.plan / WORKFLOWS).glob("*.yml"))]
        used = {found for text in texts for found in re.findall(r"uses: ([\w-]+/[\w-]+)@(\w+)", text)}
        # All that any step gives: what a stand-in does not know is to reach it, and be refused.
        inputs = {name for text in texts for name in re.findall(r"^ {10}([\w-]+): ", text, re.MULTILINE)}
        options = []
        for name, reference in sorted(used):
            if name in stand_ins.ACTIONS:
                folder = self.folder / "actions" / name
                folder.mkdir(parents=True, exist_ok=True)
                declared = ", ".join(f"{name}: {{}}" for name in sorted(inputs | stand_ins.ACTIONS[name][1]))
                text = ACTION.format(name=name, inputs=declared, python=sys.executable, file=stand_ins.__file__)
                (folder / "action.yml").write_text(text, encoding="utf-8")
                options += ["--local-repository", f"{name}@{reference}={folder}"]
        return options

    def selection(self, without: Sequence[str]) -> list[str]:
        """Return act's options for the sessions that this machine can run, and name the others.

        Args:
            without: Sessions that lack something else here than a Python.

        Raises:
            RehearsalError: A Python is missing, and REQUIRE_INTERPRETERS=1 says that none may be.
        """
        # Its own room would be built for nox, and told about, where this nox comes without uv.
        command = [self.tools["nox"], "--script-mode", "none", "--list", "--json", "--tags", "push", "weekly"]
        listed = subprocess.run(command, cwd=self.source, env=self.variables, check=True, stdout=subprocess.PIPE)
        menu = {one["session"]: one["python"] for one in json.loads(listed.stdout)}
        pythonless = [session for session, python in menu.items() if python not in {None, *self.pythons}]
        if pythonless and self.variables.get("REQUIRE_INTERPRETERS") == "1":
            message = (
                f"Cannot rehearse {', '.join(pythonless)}: only Python {', '.join(self.pythons)} is here. Install more"
            )
            raise RehearsalError(message)
        left_out = {*pythonless, *without} & menu.keys()
        if not left_out:
            return []
        sys.stdout.write(f"left out, for this machine lacks what they need: {', '.join(sorted(left_out))}\n")
        there = [part for session in menu if session not in left_out for part in ("--matrix", f"session:{session}")]
        return [*there, "--var", "REQUIRE_INTERPRETERS=0", "--var", "REQUIRE_BROWSER=0"]

    def play(self, workflow: str, logs: Path, *options: str) -> tuple[Jobs, bool]:
        """Have act run a workflow; return its jobs, and whether act itself is content with them."""
        command = [
            *(self.tools["act"], EVENTS[workflow], "--workflows", str(WORKFLOWS / workflow), "--json"),
            *("--no-cache-server", "--no-skip-checkout", "--github-instance", NOWHERE),
            *("--action-cache-path", str(self.folder / "act"), "--concurrent-jobs", str(cores())),
            *("--platform", "ubuntu-24.04=-self-hosted", "--platform", "gpu=-self-hosted"),
            *self.actions(),
            *options,
        ]
        jobs = Jobs(logs, quiet=workflow == CANARY.name)
        variables = {**self.variables, stand_ins.ARTIFACTS: str(self.folder / "artifacts" / workflow)}
        with subprocess.Popen(
            command, cwd=self.plan, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as act:
            for line in act.stdout or ():
                jobs.hear(line)
        return jobs, act.returncode == 0


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run the canaries and then a workflow; return 0 where every job was green, 1 where one was red, 2 for misuse."""
    parser = argparse.ArgumentParser(description="Run the jobs of a workflow on this machine.")
    parser.add_argument("--python", action="append", default=[], metavar="VERSION=PATH", help="a Python to offer")
    parser.add_argument("--without", action="append", default=[], metavar="SESSION", help="one that cannot run here")
    parser.add_argument("--logs", type=Path, default=Path(".matrix/workflows"), help="where a log of each job is kept")
    options, extra = parser.parse_known_args(arguments)
    # Only in the first place: elsewhere it may be the value of an option of act's.
    workflow = extra.pop(0) if extra and not extra[0].startswith("-") else "integration.yml"
    if workflow not in EVENTS:
        parser.error(f"there is no workflow {workflow!r}, only {', '.join(EVENTS)}")
    pythons = dict(str(part).split("=", 1) for part in options.python)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
        stage = Stage(Path(scratch), pythons, variables)
        shutil.rmtree(options.logs, ignore_errors=True)
        try:
            stage.build(Path.cwd())
            check_canaries(stage, options.logs)
            selection = [] if "--matrix" in extra else stage.selection(options.without)
        except RehearsalError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        jobs, content = stage.play(workflow, options.logs, *selection, *extra)
    sys.stdout.write(f"{jobs.table() or 'No job ran, which proves nothing: see what act said above'}\n")
    return 0 if content and jobs.found and not jobs.red() else 1


def check_canaries(stage: Stage, logs: Path) -> None:
    """Run the planted faults.

    Raises:
        RehearsalError: A planted fault stayed green, or the job without one did not.
    """
    jobs, content = stage.play(CANARY.name, logs / "canary")
    planted = re.findall(r"^  ([\w-]+):$", CANARY.read_text(encoding="utf-8"), re.MULTILINE)
    expected = {f"canary/{name}" for name in planted if name != "nothing-wrong"}
    if set(jobs.red()) != expected or content or len(jobs.found) != len(planted):
        message = f"The canary is wrong, so no green would mean anything. Red: {jobs.red()}; see {logs}"
        raise RehearsalError(message)
    sys.stdout.write(f"canary: the {len(expected)} planted faults are red, and the job without one is green\n")


def translated(workflow: str) -> str:
    """Return a workflow as act understands it: without ``$/``, and with no more jobs at a time than there are cores."""
    workflow = workflow.replace("uses: $/", "uses: ./")
    return workflow.replace("    strategy:\n", f"    strategy:\n      max-parallel: {cores()}\n")


def job_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the virtual environments that are active in it: a job has to make its own."""
    folders = variables["PATH"].split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not (Path(folder).parent / "pyvenv.cfg").exists())
    own = ("VIRTUAL_ENV", "NOX_CURRENT_SESSION", "GITHUB_", "COVERAGE_", "PYTEST_", "PYTHON")
    return {**{name: value for name, value in variables.items() if not name.startswith(own)}, "PATH": path}


def cores() -> int:
    """Return how many jobs run at a time."""
    return len(os.sched_getaffinity(0))


def git(folder: Path, *arguments: str, data: bytes | None = None) -> bytes:
    """Return what git says, run in a folder."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, input=data, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
