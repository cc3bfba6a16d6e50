"""What every test run of this repository has in common."""

from __future__ import annotations

import os

# Read by huggingface_hub and transformers when they are first imported, so set before any plugin can import them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

pytest_plugins = [
    "tests.skipproof.plugin",
    "pytester",
    # Named here, so that their fixtures are found, and their assertions show values, wherever they are used.
    "tests.integration.server",
    "tests.integration.server_contract",
    "tests.integration.wire_contract",
]
