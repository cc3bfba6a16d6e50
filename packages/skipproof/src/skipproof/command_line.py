"""What the subcommands of ``skipproof`` share: their options, and how they read them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .contract import ContractError
from .receipts import ReceiptError
from .table import read_contract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .assembly import Collected
    from .contract import Contract

# As pytest exits on a usage error.
USAGE = 4


class _Parser(argparse.ArgumentParser):
    """A parser whose errors end as the plugin's do."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        message = f"{text} is not there: name the file that pytest is given by its own -c"
        raise argparse.ArgumentTypeError(message)
    return path


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a subcommand's parser, with the option that all of them share; its errors exit with 4, like pytest's."""
    parser = _Parser(prog=f"skipproof {name}", description=description)
    parser.add_argument(
        "-c",
        "--config-file",
        type=_file,
        metavar="FILE",
        help="the file with the table, if pytest finds it only by its own -c",
    )
    return parser


def collected(name: str, description: str, arguments: Sequence[str] | None) -> tuple[Contract, Collected]:
    """Read the contract in the working folder, and build the matrix from its receipts.

    Exits with 4, as pytest does, when an option or the table is wrong, or when there is no receipt.
    """
    parser = make_parser(name, description)
    parser.add_argument(
        "--expect",
        action="extend",
        nargs="+",
        default=[],
        metavar="SESSION",
        help="sessions that must have left a receipt; only these count (default: every session that left one)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CAPABILITY",
        help="a capability that some session must have had; if not required, tests that need it may be unproven",
    )
    parser.add_argument(
        "--last",
        action="extend",
        nargs="+",
        default=[],
        type=Path,
        metavar="PATH",
        help="receipts of earlier runs, or folders of them, that show when an unproven test was last proved",
    )
    options = parser.parse_args(arguments)
    from .assembly import Asked, collect  # noqa: PLC0415 - only these commands need coverage and rich

    try:
        contract = read_contract(Path.cwd(), options.config_file)
        return contract, collect(contract, Asked(options.expect, options.require, options.last))
    except (ContractError, ReceiptError) as error:
        parser.error(str(error))
