"""What a run leaves, and the digests that tie it to its sources and its lock.

A receipt is written when the run starts, without a seal, and replaced atomically when it ends. A run that was
interrupted or died leaves the first one, which cannot pass for a finished one. The seal is a digest of everything else
in the receipt, so a later edit shows too. The dataclasses below are its schema.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from . import records

if TYPE_CHECKING:
    from pathlib import Path

    from .contract import Contract

FORMAT: Literal[6] = 6
_SHOWN = 20
_OTHER_REPOSITORY = {"GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}
_SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed", "missing", "deselected"]
RAN: tuple[Outcome, ...] = ("passed", "failed", "xpassed")
"""What a test may have ended with that counts as run; one that is known to fail proves nothing by failing."""


class ReceiptError(ValueError):
    """A receipt cannot be read, or a session's name is not valid as a file name."""


@dataclass(slots=True, kw_only=True)
class Trace:
    """What real inference left, as the engine reported it.

    Attributes:
        model: SHA-256 of the weights, in hexadecimal.
        tokens: tokens generated.
        seconds: how long that took.
    """

    model: str
    tokens: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class TestResult:
    """What became of one test, as the receipt keeps it.

    Attributes:
        outcome: how it ended.
        reason: why it was skipped or xfailed, or None.
        duration: seconds of setup, call and teardown together.
        requires: capabilities that its marks name.
        message: where it failed and its first line, as in pytest's summary, cut to 500 characters; or None.
        traces: the inference that happened while it ran, added up by model.
        untraced: why it need not leave a trace although a capability demands one, or None.
        known_failure: why it has to fail here, as the table says, or None.
        violation: how it broke the contract, or None.
        unasserted: True when it ran and contains no assertion, so that it passes as long as nothing raises.
    """

    # pytest would take the class for a test case by its name.
    __test__ = False

    outcome: Outcome
    reason: str | None = None
    duration: float
    requires: list[str] = field(default_factory=list)
    message: str | None = None
    traces: list[Trace] = field(default_factory=list)
    untraced: str | None = None
    known_failure: str | None = None
    violation: str | None = None
    unasserted: bool = False


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What a run's coverage data holds, in one file for all its processes.

    Attributes:
        digest: SHA-256 of the file, in hexadecimal.
        contexts: the contexts it was measured in.
        lines: how many lines of each file were reached, by its path relative to the root.
    """

    digest: str
    contexts: list[str]
    lines: dict[str, int]


@dataclass(slots=True, kw_only=True)
class Shard:
    """Which part of a session a run was.

    Attributes:
        number: its own, from 1.
        count: how many parts there are.
        split: SHA-256 of which test file is in which part, in hexadecimal.
        elsewhere: the tests that it collected and left to the others.
    """

    number: int
    count: int
    split: str = ""
    elsewhere: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Receipt:
    """One session's run.

    Attributes:
        format: version of this schema.
        session: its name, which is the receipt's too.
        environment: the environment it ran in.
        capabilities: what the environment had.
        python: version of the interpreter.
        platform: operating system and machine.
        machine: its processor, the features that matter, and how the project's libraries use it; by fact.
        lock: digest of the environment's lock file when the run started, None when there was none.
        sources: SHA-256 of each file that the run is tied to, when it started; by its path relative to the root.
        commit: the commit that was checked out, with "+" when files differed from it; None outside a repository.
        suites: the folders it ran, relative to the root.
        subset: the subset of their tests that it ran, whose others are "deselected"; None when it ran all.
        coverage: where its coverage data is, relative to the root; None when nothing was measured.
        gathered: what that data holds; None until the process ends, which is after the run.
        process: process id.
        started: time in ISO 8601, UTC.
        finished: the same; only in the receipt of a finished run.
        exit_status: what pytest exited with; None while it runs.
        violations: every breach of the contract, that of several parameters of a test once.
        unread: test files that were left out because this Python cannot read them, relative to the root.
        shard: which part of a session it was; None when it was the whole.
        tests: by id, in the order of collection.
        seal: a digest of all the rest; only in the receipt of a finished run.
    """

    format: Literal[6] = FORMAT
    session: str
    environment: str
    capabilities: list[str]
    python: str
    platform: str
    machine: dict[str, str] = field(default_factory=dict)
    lock: str | None
    sources: dict[str, str]
    commit: str | None = None
    suites: list[str]
    subset: str | None = None
    coverage: str | None
    gathered: Gathered | None = None
    process: int
    started: str
    finished: str | None = None
    exit_status: int | None = None
    violations: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    shard: Shard | None = None
    tests: dict[str, TestResult] = field(default_factory=dict)
    seal: str | None = None

    @property
    def whole(self) -> str:
        """The session that this is, or that it is a shard of."""
        shard = self.shard
        return self.session.removesuffix(shard_name("", shard.number, shard.count)) if shard else self.session

    def ids(self) -> list[str]:
        """Return the ids of all tests that were collected, whichever shard they are in."""
        return [*self.tests, *(self.shard.elsewhere if self.shard else [])]


def shard_name(session: str, number: int, count: int) -> str:
    """Return the name of a shard, as a session."""
    return f"{session}-{number}of{count}"


def check_session_name(name: str) -> None:
    """Raise ReceiptError when the name is not valid as a file name."""
    if _SESSION_NAME.fullmatch(name) is None:
        message = f"a session cannot be called {name!r}: use letters, digits, '.', '_' and '-'"
        raise ReceiptError(message)


def receipts_folder(contract: Contract) -> Path:
    """Return the folder of the receipts."""
    return contract.root / contract.state / "receipts"


def receipt_path(contract: Contract, session: str) -> Path:
    """Return the path of a session's receipt."""
    return receipts_folder(contract) / f"{session}.json"


def shown_violations(contract: Contract, receipt: Receipt) -> list[str]:
    """Return the violations to show: all or, when there are very many, the first ones and where the rest are."""
    rest = receipt.violations[_SHOWN:]
    if not rest:
        return receipt.violations
    where = receipt_path(contract, receipt.session).relative_to(contract.root).as_posix()
    return [*receipt.violations[:_SHOWN], f"and {len(rest)} more, all of them in {where}"]


def left_out(nodeid: str, receipt: Receipt) -> bool:
    """Return whether a test lies in a file that the Python of a run could not read."""
    return nodeid.partition("::")[0] in receipt.unread


def coverage_base(contract: Contract, session: str) -> Path:
    """Return the path of a session's coverage data; those of its processes' own data files begin with it."""
    return contract.root / contract.state / "coverage" / f".coverage.{session}"


def coverage_files(contract: Contract, session: str) -> list[Path]:
    """Return a session's coverage data files: its own, and those of the processes that it started."""
    base = coverage_base(contract, session)
    # The data of a session "unit-3.11" must not count for a session "unit-3".
    longer = {path.stem for path in receipts_folder(contract).glob(f"{session}.*.json")}
    others = tuple(f".coverage.{name}." for name in longer)
    files = [path for path in base.parent.glob(f"{base.name}.*") if not f"{path.name}.".startswith(others)]
    return sorted([*files, base] if base.is_file() else files)


def write_receipt(contract: Contract, receipt: Receipt) -> Path:
    """Write or replace a session's receipt atomically, sealed when its run has finished, and return its path.

    Raises:
        ReceiptError: the folder cannot be written.
    """
    path = receipt_path(contract, receipt.session)
    receipt.seal = None
    document = records.document(receipt)
    if receipt.finished is not None:
        receipt.seal = document["seal"] = _seal(document)
    draft = path.with_name(f"{receipt.session}.{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Python's encoder in C cannot indent, and the one in Python takes as long as many a test.
        text = json.dumps(document, ensure_ascii=False, separators=(",\n", ": "))
        draft.write_text(f"{text}\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        message = f"no receipt can be written ({error}): correct what is there, or name another folder by 'state'"
        raise ReceiptError(message) from error
    return path


def read_receipt(path: Path) -> Receipt:
    """Read a receipt.

    Raises:
        ReceiptError: it is damaged, was edited, or was written by another version of this plugin.
    """
    again = "run its session again"
    try:
        document = records.parsed(path.read_bytes())
        found = document.get("format") if isinstance(document, dict) else None
        if isinstance(found, int) and found != FORMAT:
            message = f"{path.name} has format {found}, and this plugin reads format {FORMAT}: {again}"
            raise ReceiptError(message)
        receipt = records.read(Receipt, document)
    except records.MismatchError as error:
        message = f"{path.name} is not a receipt ({error}): {again}"
        raise ReceiptError(message) from error
    if receipt.session != path.stem:
        message = f"{path.name} is the receipt of {receipt.session!r}, under another name: {again}"
        raise ReceiptError(message)
    if receipt.finished is not None and receipt.seal != _seal(document):
        message = f"{path.name} was changed after its run sealed it: {again}"
        raise ReceiptError(message)
    return receipt


def _seal(document: dict[str, Any]) -> str:
    rest = {name: value for name, value in document.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


def checked_out(contract: Contract) -> str | None:
    """Return the commit that is checked out, with "+" when files differ from it; None outside a repository."""
    if not any((folder / ".git").exists() for folder in (contract.root, *contract.root.parents)):
        return None  # git would say so too, but asking it takes longer than some runs
    try:
        head = _git(contract, "rev-parse", "--verify", "HEAD")
        changed = _git(contract, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(contract: Contract, *arguments: str) -> str:
    command = ["git", "-C", str(contract.root), *arguments]
    # These win over -C; git sets them for its hooks.
    environ = {name: value for name, value in os.environ.items() if name not in _OTHER_REPOSITORY}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()


def lock_digest(contract: Contract, environment: str) -> str | None:
    """Return the SHA-256 of the environment's lock file in hexadecimal, or None when there is no such file."""
    path = contract.root / contract.locks[environment].file
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
