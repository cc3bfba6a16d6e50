"""A plugin for workers: a project's packages are the whole environment in them too, as in the process of the test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from skipproof import search_path

if TYPE_CHECKING:
    import pytest

SITE = "SKIPPROOF_TEST_SITE"


def pytest_configure(config: pytest.Config) -> None:
    """Replace the folders of the environment, in a worker, which ends with the run."""
    if hasattr(config, "workerinput"):
        site = [Path(os.environ[SITE])]
        search_path.folders = search_path.libraries = lambda: site
