"""What the subcommands of ``skipproof`` have in common: their options, and what they make of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .assembly import Asked, Collected, collect
from .contract import ContractError
from .receipts import ReceiptError
from .table import read_contract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Contract

# What pytest ends with too when it is called wrongly.
USAGE = 4


class _Parser(argparse.ArgumentParser):
    """A parser of which the errors end as the plugin's do."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a subcommand, with the option that all of them have; its errors end with 4, as pytest's."""
    parser = _Parser(prog=f"skipproof {name}", description=description)
    parser.add_argument(
        "-c",
        "--config-file",
        type=Path,
        metavar="FILE",
        help="where the table stands, when pytest finds that file by its own -c only",
    )
    return parser


def collected(name: str, description: str, arguments: Sequence[str] | None) -> tuple[Contract, Collected]:
    """Read the contract in the working folder, and the matrix that its receipts make.

    Exits with 4, as pytest does, when the options, the table or the receipts' folder leave nothing to look at.
    """
    parser = make_parser(name, description)
    parser.add_argument(
        "--expect",
        action="extend",
        nargs="+",
        default=[],
        metavar="SESSION",
        help="sessions that must have left a receipt; only these count (default: all that are there)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CAPABILITY",
        help="a capability that some session must have had; without it, tests that need it are unproven, and no error",
    )
    parser.add_argument(
        "--last",
        action="extend",
        nargs="+",
        default=[],
        type=Path,
        metavar="PATH",
        help="receipts of earlier runs, or folders of them, that say when an unproven test was last proved",
    )
    options = parser.parse_args(arguments)
    try:
        contract = read_contract(Path.cwd(), options.config_file)
        return contract, collect(contract, Asked(options.expect, options.require, options.last))
    except (ContractError, ReceiptError) as error:
        parser.error(str(error))
