"""The command ``skipproof``, also ``python -m skipproof``: its subcommands are in ``COMMANDS``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from .command_line import USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each is a module of that name.
COMMANDS = ("merge", "report", "accept", "doctor", "init")
# What only some commands need: a test environment must not have to hold it.
_EXTRA = {"coverage", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand named by the first argument (default: the process's arguments); return its exit status."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""]
    if name in COMMANDS:
        return _run(name, rest[:-1])
    usage = f"usage: skipproof {{{','.join(COMMANDS)}}} [options]; skipproof merge --help lists the options\n"
    if name in ("-h", "--help"):
        sys.stdout.write(usage)
        return 0
    sys.stderr.write(f"{usage}skipproof: error: {f'no command is called {name!r}' if name else 'no command given'}\n")
    return USAGE


def _run(name: str, arguments: Sequence[str]) -> int:
    try:
        status: int = import_module(f".{name}", __package__).main(arguments)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        fact = f"needs {error.name}, which is not installed: pip install 'pytest-skipproof[report]'"
    except OSError as error:
        fact = f"error: {error}: correct what is there, or who may write it"
    else:
        return status
    sys.stderr.write(f"skipproof {name}: {fact}\n")
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
