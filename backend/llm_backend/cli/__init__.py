"""The command ``llm-backend``: chat, validate, models, config, doctor.

Exit status: 0 on success, 1 on failure (with the error on standard error), 2 on wrong usage, 130 when interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130


def main() -> None:
    """Run the command, and end the process with its exit status."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started the command
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    try:
        # Imported here, because an interrupt may come while the libraries load.
        import_module("llm_backend.cli.app").run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
