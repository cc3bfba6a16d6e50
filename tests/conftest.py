"""What every test run of this repository has in common."""

from __future__ import annotations

import os

# Read by huggingface_hub and transformers when they are first imported, so set before any plugin can import them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
# Read by torch's OpenMP when it is loaded. By default its threads spin while they wait for each other: beside one busy
# process on two cores, 8 tokens of the packaged model took 22 to 24 s; with this they take 0.8 s.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

pytest_plugins = [
    "tests.skipproof.plugin",
    "pytester",
    # Named here, so that their fixtures are found, and their assertions show values, wherever they are used.
    "tests.integration.server",
    "tests.integration.server_contract",
    "tests.integration.wire_contract",
]
