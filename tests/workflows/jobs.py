"""What act says about the jobs it runs: a state and a log for each, from its lines of JSON."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# As much of a red job's log as fits on a screen; the rest stands in its file.
TAIL = 25
# Jobs believe that they write to a terminal.
COLOURS = re.compile(r"\x1b(?:\[[\d;]*[A-Za-z]|\(B)")


@dataclass
class Job:
    """One job as far as it got; its own steps tell its state, since act gives all jobs of a matrix one result."""

    name: str
    log: Path
    began: str
    ended: str
    finished: bool = False
    failed: list[str] = field(default_factory=list)

    @property
    def green(self) -> bool:
        """Whether it came to its end, and no step failed."""
        return self.finished and not self.failed

    @property
    def seconds(self) -> int:
        """How long it took."""
        return round((datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.began)).total_seconds())

    @property
    def state(self) -> str:
        """One word, and the steps that failed."""
        return (
            "green" if self.green else f"RED: {'; '.join(dict.fromkeys(self.failed)) or 'it did not come to its end'}"
        )


class Jobs:
    """All jobs of one run of act."""

    def __init__(self, logs: Path, *, quiet: bool = False) -> None:
        """Keep the jobs' logs in a folder, which is made where it is missing; quiet ones are kept only there."""
        self.logs, self.quiet = logs, quiet
        self.found: dict[str, Job] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def hear(self, line: str) -> None:
        """Take in one line of act's output; what belongs to no job is shown as it is."""
        try:
            said: dict[str, Any] = json.loads(line)
            # act numbers the jobs of a matrix, which have their names from it.
            name = re.sub(r"-\d+$", "", said["job"].strip()) if said["matrix"] else said["job"]
            job = self._job(name.strip(), said["time"])
        except (ValueError, KeyError):
            if not self.quiet and "Couldn't get a valid docker connection" not in line:  # none is needed
                sys.stdout.write(line)
            return
        if said["msg"].startswith("LocalRepositoryCache"):
            return
        with job.log.open("a", encoding="utf-8") as stream:
            stream.write(f"{COLOURS.sub('', said['msg']).rstrip()}\n")
        # Also an action that cannot be had, which act says nothing else about: its step has no result.
        if said["level"] == "error":
            job.failed.append(said.get("step", said["msg"]))
        job.finished, job.ended = "jobResult" in said, said["time"]
        if job.finished and not self.quiet:
            self._tell(job)

    def red(self) -> list[str]:
        """Name the jobs that are not green."""
        return [job.name for job in self.found.values() if not job.green]

    def table(self) -> str:
        """Return a line for each job: name, seconds, state."""
        width = max(map(len, self.found), default=0)
        return "\n".join(f"{job.name:<{width}}  {job.seconds:>5} s  {job.state}" for job in self.found.values())

    def _job(self, name: str, time: str) -> Job:
        if name not in self.found:
            log = self.logs / (re.sub(r"[^\w.-]+", "_", name) + ".log")
            self.found[name] = Job(name, log, time, time)
        return self.found[name]

    def _tell(self, job: Job) -> None:
        sys.stdout.write(f"{job.name}: {job.state}, {job.seconds} s\n")
        if not job.green:
            tail = job.log.read_text(encoding="utf-8").splitlines()[-TAIL:]
            sys.stdout.write("".join(f"    {line}\n" for line in [*tail, f"all of it: {job.log}"]))
