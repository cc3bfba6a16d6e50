"""The command ``skipproof``, also ``python -m skipproof``: ``merge``, ``report`` and ``doctor``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import doctor, merge, report
from .command_line import USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {"merge": merge.main, "report": report.main, "doctor": doctor.main}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand named by the first argument (default: the process's arguments); return its exit status."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""]
    if name in COMMANDS:
        try:
            return COMMANDS[name](rest[:-1])
        except OSError as error:
            sys.stderr.write(f"skipproof {name}: error: {error}: correct what is there, or who may write it\n")
            return USAGE
    usage = f"usage: skipproof {{{','.join(COMMANDS)}}} [options]; skipproof merge --help lists the options\n"
    if name in ("-h", "--help"):
        sys.stdout.write(usage)
        return 0
    sys.stderr.write(f"{usage}skipproof: error: {f'no command is called {name!r}' if name else 'no command given'}\n")
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
