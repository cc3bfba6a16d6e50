"""Measure what pytest-skipproof adds to a run: CPU seconds of trivial tests, with and without it.

Give the Python of a room that holds pytest and pytest-skipproof (and pytest-xdist for ``--workers``), and nothing that
pip did not install::

    python benchmarks/plugin_overhead.py ROOM/bin/python --workers 2
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (10, 100, 1_000, 10_000)
PER_FILE = 100
FREEZE = "from importlib.metadata import distributions as d; print('\\n'.join(f'{x.name}=={x.version}' for x in d()))"
TABLE = """
[tool.skipproof]
sources = ["tests"]
locks = "locks"
state = ".matrix"

[tool.skipproof.capabilities]
other = { modules = ["no_such_module"], install = "nothing" }

[tool.skipproof.environments]
bare = []
full = ["other"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""


def main() -> None:
    """Print one line for each number of tests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("python", help="the Python of the room")
    parser.add_argument("--tests", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--times", type=int, default=5, help="runs of each, whose median counts")
    parser.add_argument("--workers", help="what -n of pytest-xdist gets")
    told = parser.parse_args()
    told.python = str(Path(told.python).absolute())  # not resolved: that would be the Python below the room
    workers = ["-n", told.workers] if told.workers else []
    plain = [told.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers]
    for count in told.tests:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), told.python, count)
            runs = [
                (cpu_seconds([*plain, "-p", "no:skipproof"], folder), cpu_seconds([*plain, "--skipproof=bare"], folder))
                for _ in range(told.times)
            ]
        without, beside = (statistics.median(column) for column in zip(*runs, strict=True))
        share = 100 * (beside - without) / without
        sys.stdout.write(
            f"{count:6} tests: {without:6.2f} s alone, {beside:6.2f} s with pytest-skipproof: {share:+.1f} %,"
            f" {1e6 * (beside - without) / count:.0f} µs a test\n"
        )
        sys.stdout.flush()


def write(project: Path, python: str, count: int) -> None:
    """Write a project with a table, a lock of what the room holds, and that many tests."""
    for folder in ("tests", "locks"):
        (project / folder).mkdir()
    (project / "pyproject.toml").write_text(TABLE, encoding="utf-8")
    versions = subprocess.run([python, "-c", FREEZE], capture_output=True, text=True, check=True).stdout  # noqa: S603
    (project / "locks" / "bare.txt").write_text(versions, encoding="utf-8")
    for first in range(0, count, PER_FILE):
        tests = [
            f"def test_{number}():\n    assert {number} >= 0\n" for number in range(first, min(first + PER_FILE, count))
        ]
        (project / "tests" / f"test_{first}.py").write_text("\n\n".join(tests), encoding="utf-8")


def cpu_seconds(command: list[str], folder: str) -> float:
    """Return the user and system seconds that a run and its workers took; the run has to pass."""
    before = os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


if __name__ == "__main__":
    main()
