"""What every test run of this repository has in common."""

from __future__ import annotations

import gc
import os

from matrix import inherited
from tests.integration import processors

# Whoever calls pytest itself, without nox, may have set anything for other programs.
inherited.forget_for_tests(os.environ)
# Read by huggingface_hub and transformers when they are first imported, so set before any plugin can import them.
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
# Read by torch's OpenMP (GNU libgomp) when it is loaded: how long a thread spins before it sleeps while it waits for
# the others. Measured on two cores, tokens a second alone / beside one busy process: the default of 300000 27 / 2,
# 10000 27 / 7, 2000 23 / 12, OMP_WAIT_POLICY=passive 20 / 17.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

pytest_plugins = [
    "pytester",
    # Named here, so that their fixtures are found, and their assertions show values, wherever they are used.
    "tests.integration.server",
    "tests.integration.server_engines",
    "tests.integration.engines",
]


def pytest_skipproof_facts() -> dict[str, str]:
    """Tell what torch makes of this machine."""
    return processors.facts()


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of every garbage collection: it stays, and with torch it takes long to walk."""
    gc.freeze()
