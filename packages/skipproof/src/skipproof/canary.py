"""Faults that every named run plants for its own detectors: one that does not find them is blind, and stops the run.

The reports come from pytest's own ``pytest_runtest_makereport``, so a pytest that words a skip or an xfail differently
is noticed here first, and not as a gate that silently lets everything through. What has to lie on a disk (a hollow
folder, an installed package, a receipt, a test file) is planted in a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from . import search_path
from .contract import Capability, Contract
from .detection import BrokenInstallError, has_distribution, import_module, leftover_parts, missing_parts, settled
from .drift import Package, damages, differences, drift
from .inventory import Inventory, definitions
from .outcomes import Needs, TestRecord, duplicates
from .receipts import Receipt, ReceiptError, TestResult, read_receipt, write_receipt
from .session_checks import Session, load, refusals
from .trace import Generation, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REASON = "needs canary: a canary"
_ABSENT = "skipproof_canary_that_is_not_installed"
_BROKEN = f"{__package__}.canary_broken"
_HOLLOW = "skipproof_canary_hollow"
_PACKAGE = "skipproof-canary"
_EVENT, _WEIGHTS = "skipproof.canary", "0" * 64
_SKIPPED = TestResult(outcome="skipped", duration=0.0)
_TRACED = Capability("canary", "a canary", trace=_EVENT, digest=_WEIGHTS)


class _Canary(pytest.Item):
    """A test that is never collected; its body is whatever a fault needs."""

    def runtest(self) -> None:
        """Do nothing: a test that runs where it should skip."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Name the exception only; nobody reads the traceback that pytest would write at every run."""
        del style
        return excinfo.typename


def blind_spots(session: pytest.Session) -> list[str]:
    """Return what a gate failed to see, or saw where nothing is; empty when all of them work."""
    return [
        f"canary: {fact}; the proof cannot be trusted until it is" for fact, holds in canaries(session) if not holds
    ]


def canaries(session: pytest.Session) -> Iterator[tuple[str, bool]]:
    """Plant every fault; yield what would be wrong with the gate that watches for it, and whether it is in order."""
    with _planted() as folder:
        contract = Contract(folder, {}, {"canary": ()}, ("tests",), "locks", "state")
        yield from _detection()
        yield from _lock_drift(contract)
        yield from _receipts(contract)
        yield from _merge(contract)
        yield from _inventory(folder)
    yield from _gate(session)
    yield from _traces(session)


@contextmanager
def _planted() -> Iterator[Path]:
    """Put a folder on the path that holds a hollow module, and a package of which a file is missing."""
    with tempfile.TemporaryDirectory(prefix="skipproof-") as name:
        folder = Path(name).resolve()
        (folder / _HOLLOW).mkdir()
        metadata = folder / "skipproof_canary-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {_PACKAGE}\nVersion: 1\n", encoding="utf-8")
        (metadata / "RECORD").write_text(f"{metadata.name}/RECORD,,\ncanary.py,,\n", encoding="utf-8")
        sys.path.append(str(folder))
        try:
            yield folder
        finally:
            sys.path.remove(str(folder))
            sys.path_importer_cache.pop(str(folder), None)
            sys.modules.pop(_HOLLOW, None)


def _detection() -> Iterator[tuple[str, bool]]:
    yield "pytest, which is running, was not found to be installed", import_module("pytest") is not None
    yield f"{_ABSENT}, which nobody has, was found to be installed", import_module(_ABSENT) is None
    broken = _raises(BrokenInstallError, lambda: import_module(_BROKEN))
    yield f"{_BROKEN}, which cannot be imported, was not found to be broken", broken
    hollow = _raises(BrokenInstallError, lambda: import_module(_HOLLOW))
    yield "a hollow folder, which holds no module, was not found to be broken", hollow
    halved = _raises(BrokenInstallError, lambda: has_distribution(_PACKAGE))
    yield "a distribution of which a file is missing was not found to be broken", halved
    lacking = Capability("canary", "", (_ABSENT,), (_ABSENT,), programs=(_ABSENT,))
    parts = [f"module {_ABSENT}", f"distribution {_ABSENT}", f"program {_ABSENT}"]
    yield "a capability that nobody has was not found to be missing", missing_parts(lacking) == parts
    hoping = Contract(Path(), {"canary": replace(lacking, modules=(), distributions=())}, {"canary": ()}, (), "", "")
    hoping = replace(hoping, optional={"canary": ("canary",)})
    yield "a hope that does not hold here was taken for a promise", settled(hoping, "canary").promised("canary") == ()
    yield "a module that should not be here was not seen", leftover_parts(Capability("canary", "", ("pytest",))) != []


def _lock_drift(contract: Contract) -> Iterator[tuple[str, bool]]:
    root, lock = contract.root, contract.lock("canary")
    yield "an environment without a lock was not seen", drift(contract, "canary", [root]) != []
    lock.parent.mkdir()
    lock.write_text(f"{_PACKAGE}==2\n", encoding="utf-8")
    found = " ".join(drift(contract, "canary", [root]))
    yield "a version that the lock does not pin was not seen", f"pins {_PACKAGE}==2" in found
    yield "an installed file that is missing was not seen", "canary.py" in found
    package = Package(_PACKAGE, "1", root, [(f"locks/{lock.name}", "sha256=0", "")])
    yield "a package that the lock lacks was not seen", differences("", [package], root) != []
    yield "a package that is missing was not seen", differences(f"{_PACKAGE}==1", [], root) != []
    yield "an exact environment was called drifted", differences(f"{_PACKAGE}==1", [package], root) == []
    yield "a file with another content was not seen", damages(package, content=True) != []
    yield "a folder that leaks in was not seen", search_path.is_foreign(contract, root / "leak")


def _receipts(contract: Contract) -> Iterator[tuple[str, bool]]:
    """Write the receipt of a red run, and make it a green one by hand."""
    path = write_receipt(contract, _receipt("canary", finished="canary"))
    yield "a sound receipt was refused", not _raises(ReceiptError, lambda: read_receipt(path))
    path.write_text(path.read_text(encoding="utf-8").replace('"failed"', '"passed"'), encoding="utf-8")
    edited = _raises(ReceiptError, lambda: read_receipt(path))
    yield "a receipt that was edited after it was sealed was not seen", edited


def _merge(contract: Contract) -> Iterator[tuple[str, bool]]:
    """Have one run that died, one that never was, and two that saw other tests and ran none of them."""
    write_receipt(contract, _receipt("died"))
    died, absent = load(contract, ["died", "absent"])
    yield "a run that did not come to its end was not seen", died.state == "unfinished"
    yield "a receipt of other sources was not seen", any("other sources" in problem for problem in died.problems)
    yield "a missing receipt was not seen", absent.state == "missing"
    one, two = (
        Session(name, "proved", _receipt(name, finished="canary", tests={f"tests/a.py::{name}": _SKIPPED}))
        for name in ("one", "two")
    )
    problems = " ".join(refusals(contract, [one, two]))
    yield "ids that differ between sessions were not seen", "ids in tests differ" in problems
    yield "tests that ran in no session were not seen", "2 tests ran in no session" in problems


def _receipt(session: str, **changes: Any) -> Receipt:
    values: dict[str, Any] = dict.fromkeys(("environment", "python", "platform", "sources", "started"), "canary")
    values |= {"capabilities": [], "lock": None, "suites": ["tests"], "coverage": None, "process": 0}
    values |= {"tests": {"tests/a.py::a": TestResult(outcome="failed", duration=0.0)}}
    return Receipt(session=session, **values | changes)


def _inventory(folder: Path) -> Iterator[tuple[str, bool]]:
    """Have a test file that pytest never collected."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_canary.py").write_text("def test_canary(): ...\n", encoding="utf-8")
    settings = {"testpaths": ["tests"], "python_files": ["test_*.py"], "python_functions": ["test"]}
    config = cast("pytest.Config", SimpleNamespace(rootpath=folder, getini=settings.__getitem__))
    missed = list(Inventory(config, ["tests"]).complaints())
    yield "a test file that was not collected was not seen", [name for name, _ in missed] == ["tests/test_canary.py"]
    twice = definitions(b"def test_a(): ...\ndef test_a(): ...\n", "test_a".__eq__)
    yield "a test that a second one of its name hides was not seen", [test.line for test in twice] == [1, 2]
    yield "an id that comes twice was not seen", duplicates(["a", "b", "a"]) == ["a"]


def _gate(session: pytest.Session) -> Iterator[tuple[str, bool]]:
    item = _Canary.from_parent(session, name="canary")
    lenient = _Canary.from_parent(session, name="canary")
    lenient.add_marker(pytest.mark.xfail(strict=False))
    # pytest's own plugin "skipping" notes the mark before a test runs.
    skipping: Any = session.config.pluginmanager.get_plugin("skipping")
    skipping.pytest_runtest_setup(lenient)
    runs, skips = Needs(), Needs(("canary",), _REASON)
    faults: tuple[tuple[str, pytest.Item, Needs, Callable[[], object]], ...] = (
        ("a skip where the test has to run", item, runs, lambda: pytest.skip("canary")),
        ("an xfail where the test has to run", item, runs, lambda: pytest.xfail("canary")),
        ("an xfail mark on a test that passes", lenient, runs, item.runtest),
        ("a test that runs where it has to skip", item, skips, item.runtest),
        ("a skip for another reason", item, skips, lambda: pytest.skip("canary")),
    )
    for fact, which, needs, body in faults:
        yield f"{fact} was not seen", _judge(which, needs, body) is not None
    yield "a test without an outcome was not seen", TestRecord(runs).violation() is not None
    yield "a report of a test that never ran was not seen", _judge(item, runs, item.runtest, forged=True) is not None
    yield "an exception that was swallowed was not seen", _judge(item, runs, item.runtest, raised="E") is not None
    for fact, needs, body in (
        ("a test that runs as it has to", runs, item.runtest),
        ("a skip with the derived reason", skips, lambda: pytest.skip(_REASON)),
    ):
        complaint = _judge(item, needs, body)
        yield f"{fact} was called a violation ({complaint})", complaint is None


def _traces(session: pytest.Session) -> Iterator[tuple[str, bool]]:
    item, needs = _Canary.from_parent(session, name="canary"), Needs(traced=(_TRACED,))
    sound = Generation(_EVENT, _WEIGHTS, tokens=1, seconds=0.0)
    for fact, left in (
        ("a test that left no trace", []),
        ("a trace of another model", [replace(sound, model="another")]),
        ("a trace without a token", [replace(sound, tokens=0)]),
        ("a trace of something else", [replace(sound, event="another")]),
    ):
        yield f"{fact} was not seen", _judge(item, needs, item.runtest, generations=left) is not None
    complaint = _judge(item, needs, item.runtest, generations=[sound])
    yield f"a trace of real inference was called a violation ({complaint})", complaint is None
    listener = Listener(())
    listener.begin("first")
    listener.note(_EVENT, _ABSENT, 1, 0.0)
    listener.begin("second")
    yield "a trace was taken for that of another test", list(listener.by_test()) == ["first"]


def _judge(item: pytest.Item, needs: Needs, body: Callable[[], object], **left: Any) -> str | None:
    """Return what the gate says of a test with this body, which also left what is given."""
    call = pytest.CallInfo.from_call(body, when="call")
    record = TestRecord(needs, **left)
    record.add(item.ihook.pytest_runtest_makereport(item=item, call=call))
    return record.violation()


def _raises(kind: type[Exception], body: Callable[[], object]) -> bool:
    try:
        body()
    except kind:
        return True
    return False
