"""The command ``llm-backend``: chat, validate, models, config, doctor.

Exit status: 0 when it worked, 1 when it did not (the error stands on standard error), 2 when it was called wrongly,
130 when it was interrupted.
"""

from __future__ import annotations

from backend.cli.app import main

__all__ = ["main"]
