"""Repeat tests to find flaky ones: ``python -m matrix.repeats 20 [arguments of pytest]``.

Each round is a separate process. It runs in both types of weights, quiet and beside two processes that keep two
processors busy; failures are listed with their number. Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from .settings import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSY = 2
_SPIN = "while True: pass"


def main(arguments: Sequence[str] | None = None) -> int:
    """Repeat, and print after each round what failed in it."""
    parser = argparse.ArgumentParser(prog="python -m matrix.repeats", allow_abbrev=False)
    parser.add_argument("times", type=int)
    options, chosen = parser.parse_known_args(arguments)
    failed: Counter[str] = Counter()
    rounds = 0
    for dtype in DTYPES:
        for busy in (0, BUSY):
            with busy_processes(busy):
                for number in range(1, options.times + 1):
                    where = f"{dtype}, {f'beside {busy} busy processes' if busy else 'quiet'}, round {number}"
                    found = failures(dtype, chosen)
                    failed.update(found)
                    rounds += 1
                    _say(f"{where}: {', '.join(found) or 'all passed'}")
    for name, times in failed.most_common():
        _say(f"{name} failed in {times} of {rounds} rounds")
    _say(f"{rounds} rounds, {len(failed)} tests failed in some")
    return 1 if failed else 0


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep ``processors`` busy."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _SPIN]))
            stack.callback(process.kill)
        yield


def failures(dtype: str, arguments: Sequence[str]) -> list[str]:
    """Run the tests once; return the ids of those that failed, or pytest's exit status if it ran none."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", f"--junitxml={report}"]
        environment = {**os.environ, "LLM_BACKEND_TEST_DTYPE": dtype}
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return []
        cases = ET.parse(report).iter("testcase") if report.exists() else ()  # noqa: S314  (pytest wrote it just now)
        found = [_id(case) for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if not found:
        _say(done.stdout + done.stderr)
    return found or [f"pytest ended with {done.returncode}"]


def _id(case: ET.Element) -> str:
    return f"{case.get('file')}::{case.get('name')}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
