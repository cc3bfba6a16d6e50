"""Say what a run would say, without a test: ``skipproof doctor [--environment NAME]``, in the project's root.

The table, the lock of each environment, what is here of each capability, and what is on the path; with an environment
named, everything that its run asks before the first test. Exits with 0 when nothing has to be corrected, with 1 when
something has, and with 4 when called wrongly or when the table is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import search_path
from .command_line import make_parser
from .contract import ContractError
from .detection import BrokenInstallError, disagreements, missing_parts, settled, versions
from .table import read_contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contract import Capability, Contract

_PROBLEM = "to correct: "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's), and return its exit status."""
    parser = make_parser("doctor", "Say what a run would say, without running a test.")
    parser.add_argument(
        "--environment", metavar="NAME", help="the environment that this is; it is held against its table and its lock"
    )
    options = parser.parse_args(arguments)
    try:
        contract = read_contract(Path.cwd(), options.config_file)
        if options.environment is not None:
            contract = settled(contract, options.environment)
    except (BrokenInstallError, ContractError) as error:
        parser.error(str(error))
    problems = 0
    for line in _findings(contract, options.environment):
        problems += line.startswith(_PROBLEM)
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{problems or 'nothing'} to correct\n")
    return 1 if problems else 0


def _findings(contract: Contract, environment: str | None) -> Iterator[str]:
    yield f"table: {contract.heading}"
    for name in contract.environments:
        yield from _environment(contract, name)
    for capability in contract.capabilities.values():
        yield _capability(capability)
    if environment is None:
        problems = search_path.leaks(contract)
        sound = "path: nothing on it that is no part of the environment; --environment NAME says whether it is NAME"
    else:
        problems = disagreements(contract, environment)
        sound = f"{environment}: this is what its name, its table and its lock say"
    yield from [_PROBLEM + problem for problem in problems] or [sound]


def _environment(contract: Contract, name: str) -> Iterator[str]:
    lock = contract.locks[name].file
    hopes = [f"{each}?" for each in contract.hoped_for(name) if each not in contract.promised(name)]
    has = ", ".join([*contract.promised(name), *hopes])
    yield f"environment {name}: has {has or 'no extra capability'}; its lock is {lock}"
    if not (contract.root / lock).is_file():
        yield f"{_PROBLEM}{lock} is not there, so nothing says what {name} has to be: compile it, or correct 'locks'"


def _capability(capability: Capability) -> str:
    try:
        missing = missing_parts(capability)
    except BrokenInstallError as error:
        return f"{_PROBLEM}{capability.name}: {error}"
    if missing:
        return f"capability {capability.name}: not here, lacks {', '.join(missing)}; {capability.install}"
    return f"capability {capability.name}: here" + "".join(f", {each}" for each in versions([capability]))
