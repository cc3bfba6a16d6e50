"""The planted faults: found by working gates, and missed loudly by blind ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from skipproof import canary, search_path
from skipproof.canary import blind_spots, canaries
from skipproof.inventory import Inventory
from skipproof.outcomes import TestRecord
from skipproof.receipts import ReceiptError
from skipproof.session_checks import Session
from skipproof.trace import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

ABSENT = "skipproof_canary_that_is_not_installed"
BROKEN = "skipproof.canary_broken, which cannot be imported, was not found to be broken"
HOLLOW = "a hollow folder, which holds no module, was not found to be broken"


def answers(value: object) -> Callable[..., object]:
    """Return a gate that always says the same."""
    return lambda *_arguments, **_options: value


def refuses(*_arguments: object) -> NoReturn:
    """Refuse every receipt."""
    raise ReceiptError


# Gate, its blind stand-in, and what then must be said.
BLIND: list[tuple[Any, str, Callable[..., object], list[str]]] = [
    (
        canary,
        "import_module",
        answers(None),
        ["pytest, which is running, was not found to be installed", BROKEN, HOLLOW],
    ),
    (
        canary,
        "import_module",
        answers(sys),
        [f"{ABSENT}, which nobody has, was found to be installed", BROKEN, HOLLOW],
    ),
    (
        canary,
        "has_distribution",
        answers(value=True),
        ["a distribution of which a file is missing was not found to be broken"],
    ),
    (canary, "missing_parts", answers([]), ["a capability that nobody has was not found to be missing"]),
    (
        canary,
        "settled",
        lambda contract, _: replace(contract, environments=contract.optional),
        ["a hope that does not hold here was taken for a promise"],
    ),
    (canary, "leftover_parts", answers([]), ["a module that should not be here was not seen"]),
    (
        canary,
        "drift",
        answers([]),
        [
            "an environment without a lock was not seen",
            "a version that the lock does not pin was not seen",
            "an installed file that is missing was not seen",
        ],
    ),
    (
        canary,
        "differences",
        answers([]),
        ["a package that the lock lacks was not seen", "a package that is missing was not seen"],
    ),
    (canary, "differences", answers([("x", "")]), ["an exact environment was called drifted"]),
    (canary, "damages", answers([]), ["a file with another content was not seen"]),
    (search_path, "is_foreign", answers(value=False), ["a folder that leaks in was not seen"]),
    (canary, "read_receipt", answers(None), ["a receipt that was edited after it was sealed was not seen"]),
    (canary, "read_receipt", refuses, ["a sound receipt was refused"]),
    (
        canary,
        "load",
        lambda _contract, names: [Session(name, "proved") for name in names],
        [
            "a run that did not come to its end was not seen",
            "a receipt of other sources was not seen",
            "a missing receipt was not seen",
        ],
    ),
    (
        canary,
        "refusals",
        answers([]),
        ["ids that differ between sessions were not seen", "tests that ran in no session were not seen"],
    ),
    (Inventory, "complaints", answers([]), ["a test file that was not collected was not seen"]),
    (canary, "definitions", answers([]), ["a test that a second one of its name hides was not seen"]),
    (canary, "duplicates", answers([]), ["an id that comes twice was not seen"]),
    (
        TestRecord,
        "violation",
        answers(None),
        [
            "a skip where the test has to run was not seen",
            "an xfail where the test has to run was not seen",
            "an xfail mark on a test that passes was not seen",
            "a test that runs where it has to skip was not seen",
            "a skip for another reason was not seen",
            "a test without an outcome was not seen",
            "a report of a test that never ran was not seen",
            "an exception that was swallowed was not seen",
            "a test that left no trace was not seen",
            "a trace of another model was not seen",
            "a trace without a token was not seen",
            "a trace of something else was not seen",
        ],
    ),
    (
        TestRecord,
        "violation",
        answers("no"),
        [
            "a test that runs as it has to was called a violation (no)",
            "a skip with the derived reason was called a violation (no)",
            "a trace of real inference was called a violation (no)",
        ],
    ),
    (Listener, "by_test", answers({"second": []}), ["a trace was taken for that of another test"]),
]


def test_working_gates_have_no_blind_spot(request: pytest.FixtureRequest) -> None:
    """Broken: a sound plugin stops every run."""
    assert blind_spots(request.session) == []


@pytest.mark.parametrize("blinding", BLIND, ids=lambda blinding: blinding[1])
def test_blind_gate_is_noticed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, blinding: tuple[Any, str, Any, list[str]]
) -> None:
    """Broken: a gate that sees nothing any more, or a fault everywhere, is believed."""
    owner, name, blind, facts = blinding
    monkeypatch.setattr(owner, name, blind)
    distrust = "; the proof cannot be trusted until it is"
    assert blind_spots(request.session) == [f"canary: {fact}{distrust}" for fact in facts]


def test_every_canary_is_shown_to_sing(request: pytest.FixtureRequest) -> None:
    """Broken: a canary is planted that no blind gate would ever miss."""
    shown = {fact.replace("(no)", "(None)") for *_, facts in BLIND for fact in facts}
    assert {fact for fact, _ in canaries(request.session)} == shown


def test_canaries_leave_nothing_behind(request: pytest.FixtureRequest) -> None:
    """Broken: the planted package or folder stays on the path and becomes a fault of the run itself."""
    path, modules = [*sys.path], {*sys.modules}
    blind_spots(request.session)
    assert sys.path == path
    assert {name for name in {*sys.modules} - modules if "canary" in name} <= {"skipproof.canary_broken"}
