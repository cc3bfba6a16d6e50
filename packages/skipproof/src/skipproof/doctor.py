"""Report what a run would say, without running it: ``skipproof doctor [--environment NAME]``, in the project's root.

Shows the table, each environment's lock, what is here of each capability, and what is on the path; with an environment
named, also everything that its run checks before the first test, collection included, and what each test would do.
Exits with 0 when there is nothing to correct, with 1 when there is, and with 4 on a usage error or a wrong table.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import search_path
from .command_line import make_parser
from .contract import ContractError
from .detection import BrokenInstallError, disagreements, lacking, settled, versions
from .drift import without_lock
from .rehearsal import HEADING, Rehearsal
from .table import read_contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contract import Capability, Contract

_PROBLEM = "to correct: "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    parser = make_parser("doctor", "Report what a run would say, without running a test.")
    parser.add_argument(
        "--environment", metavar="NAME", help="check this Python against the table and the lock of that environment"
    )
    options = parser.parse_args(arguments)
    problems = 0
    with _project_on_path(Path.cwd()):
        try:
            contract = read_contract(Path.cwd(), options.config_file)
            if options.environment is not None:
                contract = settled(contract, options.environment)
        except (BrokenInstallError, ContractError) as error:
            parser.error(str(error))
        collection = () if options.environment is None else _collection(options.environment, options.config_file)
        for line in (*_findings(contract, options.environment), *collection):
            problems += line.startswith(_PROBLEM)
            sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{problems or 'nothing'} to correct\n")
    return 1 if problems else 0


@contextmanager
def _project_on_path(folder: Path) -> Iterator[None]:
    """Let probes of the project's own be imported, as python -m pytest does."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _findings(contract: Contract, environment: str | None) -> Iterator[str]:
    yield f"table: {contract.heading}"
    for name in contract.environments:
        yield _environment(contract, name)
        absent = without_lock(contract, name)
        # Problems of the named one are reported below, once.
        if absent is not None and name != environment:
            yield _PROBLEM + absent
    for capability in contract.capabilities.values():
        try:
            yield _capability(contract, capability)
        except BrokenInstallError as error:
            yield f"{'capability ' if environment else _PROBLEM}{capability.name}: {error}"
    if environment is None:
        problems = search_path.leaks(contract)
        sound = "path: nothing foreign on it; --environment NAME checks whether this is NAME"
    else:
        problems = disagreements(contract, environment)
        sound = f"{environment}: matches its name, its table and its lock"
    yield from [_PROBLEM + problem for problem in problems] or [sound]


def _collection(environment: str, settings: Path | None) -> Iterator[str]:
    """Yield what a run would say before its first test, by a collection in a process of its own."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", Rehearsal.__module__, "--quiet", "--color=no"]
    command += [f"--skipproof={environment}"]
    command += ["-c", str(settings)] if settings is not None else []
    command += ["-p", "skipproof.plugin"] if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") else []
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    start = next((number for number, line in enumerate(lines) if HEADING in line), None)
    if start is not None:
        yield from (line for line in lines[start:] if line.startswith((_PROBLEM, "tests: ")))
        return
    errors = [line.removeprefix("ERROR: ") for line in (*run.stderr.splitlines(), *lines) if line.startswith("ERROR: ")]
    said = errors[0] if errors else "see pytest --collect-only"
    yield f"{_PROBLEM}pytest ends before it has collected (exit status {run.returncode}): {said}"


def _environment(contract: Contract, name: str) -> str:
    hopes = [f"{each}?" for each in contract.hoped_for(name) if each not in contract.promised(name)]
    has = ", ".join([*contract.promised(name), *hopes])
    return f"environment {name}: has {has or 'no extra capability'}; its lock is {contract.locks[name].file}"


def _capability(contract: Contract, capability: Capability) -> str:
    missing = lacking(contract, capability.name)
    if capability.is_condition:
        return f"condition {capability.name}: {'does not hold' if missing else 'holds'} here, {capability.install}"
    if missing:
        return f"capability {capability.name}: not here, lacks {', '.join(missing)}; {capability.install}"
    return f"capability {capability.name}: here" + "".join(f", {each}" for each in versions([capability]))
