"""How many threads and workers a session may use, so that parallel sessions do not compete for the processors.

Uses only the standard library: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import os

from skipproof.machine import available

__all__ = ["thread_limits", "workers"]

# What OpenMP (torch) and rayon (tokenizers) read as they load.
VARIABLES = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
# The number of sessions that load a model: only their threads count, the others have one each.
HEAVY_SESSIONS = 2


def thread_limits(*, parallel: bool) -> dict[str, str]:
    """Return the variables that limit a session to its share of the processors; none for a session that runs alone.

    What the user has set stays.
    """
    if not parallel:
        return {}
    share = str(max(1, available() // HEAVY_SESSIONS))
    return {name: share for name in VARIABLES if name not in os.environ}


def workers(*, parallel: bool) -> list[str]:
    """Return the options of pytest-xdist that give a session's tests all processors, if it has them to itself."""
    count = available()
    return [] if parallel or count == 1 else ["-n", str(count), "--dist", "worksteal"]
