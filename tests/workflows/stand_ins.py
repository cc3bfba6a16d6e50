"""What the actions of the workflows do, done on this machine: a job calls this file in place of each.

Inputs come as on a runner, in ``INPUT_…`` variables. An input that a stand-in does not know is refused, because
what it would do is not done. Needs only the standard library: it runs with whatever Python started the rehearsal.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# What a rehearsal tells its stand-ins.
SOURCE, PYTHONS, ARTIFACTS = "REHEARSAL_SOURCE", "REHEARSAL_PYTHONS", "REHEARSAL_ARTIFACTS"


class StandInError(Exception):
    """An action fails as it would on a runner, or is asked for what its stand-in cannot do."""


@dataclass(frozen=True)
class Step:
    """A step that uses an action: its inputs by name, and the variables of its job."""

    inputs: dict[str, str]
    variables: Mapping[str, str]

    @property
    def workspace(self) -> Path:
        """The job's own checkout."""
        return Path(self.variables["GITHUB_WORKSPACE"])

    def tell(self, file: str, line: str) -> None:
        """Write a line to one of the runner's command files, such as GITHUB_PATH."""
        with Path(self.variables[file]).open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")


def checkout(step: Step) -> str:
    """Clone the rehearsed tree into the job's workspace, one commit deep."""
    source = step.variables[SOURCE]
    command = ["git", "clone", "--quiet", "--depth", "1", Path(source).as_uri(), str(step.workspace)]
    subprocess.run(command, check=True)
    return f"cloned {source}"


def setup_python(step: Step) -> str:
    """Make a virtual environment of the Python that is asked for, and put it first on the job's PATH."""
    version, found = step.inputs["python-version"], json.loads(step.variables[PYTHONS])
    if version not in found:
        message = f"The version '{version}' was not found on this machine, which has {', '.join(found)}"
        raise StandInError(message)
    folder = Path(step.variables["RUNNER_TEMP"]) / f"python-{version}"
    subprocess.run([found[version], "-m", "venv", str(folder)], check=True)
    step.tell("GITHUB_PATH", str(folder / "bin"))
    step.tell("GITHUB_OUTPUT", f"python-version={version}")
    return f"{found[version]} in {folder}"


def cache(step: Step) -> str:
    """Leave the user's caches where they are, which outlive every job here."""
    paths = step.inputs["path"].split()
    elsewhere = [path for path in paths if not path.startswith("~/")]
    if elsewhere:
        message = f"Only folders under ~/ outlive a job here, and not {', '.join(elsewhere)}"
        raise StandInError(message)
    here = [path for path in paths if Path(path).expanduser().exists()]
    step.tell("GITHUB_OUTPUT", "cache-hit=false")
    return f"{step.inputs['key']}: here already are {', '.join(here) or 'none'}"


def upload_artifact(step: Step) -> str:
    """Keep a file, or a folder's files, under a name that this run has not used yet."""
    name = step.inputs.get("name", "artifact")
    if set(name) & set('":<>|*?\r\n\\/'):
        message = f"The artifact name is not valid: {name!r}"
        raise StandInError(message)
    root = step.workspace / step.inputs["path"]
    files = list(_uploaded(root, hidden=step.inputs.get("include-hidden-files") == "true"))
    if not files:
        message = f"No files were found with the provided path: {step.inputs['path']}. No artifacts will be uploaded."
        if step.inputs.get("if-no-files-found", "warn") == "error":
            raise StandInError(message)
        return message
    target = Path(step.variables[ARTIFACTS]) / name
    try:
        target.mkdir(parents=True)
    except FileExistsError as error:
        message = f"(409) Conflict: an artifact with this name already exists on the workflow run: {name}"
        raise StandInError(message) from error
    for file in files:
        _copy(file, target / (file.relative_to(root) if file != root else file.name))
    return f"{name}: {len(files)} files"


def download_artifact(step: Step) -> str:
    """Bring back what other jobs of this run have kept: one by its name, or those that fit a pattern."""
    kept, wanted = Path(step.variables[ARTIFACTS]), step.inputs.get("name")
    names = sorted(path.name for path in kept.iterdir()) if kept.exists() else []
    if wanted and wanted not in names:
        message = f"Unable to download artifact(s): Artifact not found for name: {wanted}"
        raise StandInError(message)
    chosen = [wanted] if wanted else fnmatch.filter(names, step.inputs.get("pattern", "*"))
    flat = bool(wanted) or step.inputs.get("merge-multiple") == "true"
    target = step.workspace / step.inputs.get("path", "")
    for name in chosen:
        for file in _files(kept / name):
            _copy(file, (target if flat else target / name) / file.relative_to(kept / name))
    return f"{len(chosen)} artifacts: {', '.join(chosen)}"


# Each action, with the inputs that its stand-in knows; of some it is true that here they change nothing.
ACTIONS: dict[str, tuple[Callable[[Step], str], set[str]]] = {
    "actions/checkout": (checkout, {"persist-credentials"}),
    "actions/setup-python": (setup_python, {"python-version"}),
    "actions/cache": (cache, {"path", "key", "restore-keys"}),
    "actions/upload-artifact": (
        upload_artifact,
        {"name", "path", "include-hidden-files", "if-no-files-found", "retention-days"},
    ),
    "actions/download-artifact": (download_artifact, {"name", "pattern", "path", "merge-multiple"}),
}


def main(action: str, variables: Mapping[str, str]) -> int:
    """Do what an action does; return the exit status of its step."""
    stand_in, known = ACTIONS[action]
    prefixed = {key: value for key, value in variables.items() if key.startswith("INPUT_") and value}
    given = {key.removeprefix("INPUT_").lower(): value for key, value in prefixed.items()}
    try:
        message = stand_in(Step(_known(given, known), variables))
    except (StandInError, KeyError, subprocess.CalledProcessError) as error:
        sys.stdout.write(f"::error::{action}: {error}\n")
        return 1
    sys.stdout.write(f"{action}: {message}\n")
    return 0


def _known(given: dict[str, str], known: set[str]) -> dict[str, str]:
    unknown = sorted(given.keys() - known)
    if unknown:
        message = f"The stand-in does not know the input {', '.join(unknown)}"
        raise StandInError(message)
    return given


def _uploaded(root: Path, *, hidden: bool) -> Iterator[Path]:
    """Yield the files to keep; without the hidden ones, a hidden folder that is named itself is left out too."""
    for file in _files(root):
        names = (root.name, *file.relative_to(root).parts)
        if hidden or not any(name.startswith(".") for name in names):
            yield file


def _files(root: Path) -> list[Path]:
    return [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())


def _copy(file: Path, target: Path) -> None:
    # An artifact does not keep permissions.
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ))
