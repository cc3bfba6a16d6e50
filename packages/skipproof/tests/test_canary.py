"""The planted faults: working gates find them, and blind gates stop the run."""

from __future__ import annotations

import pytest

from skipproof.canary import blind_spots, canaries
from skipproof.outcomes import TestRecord

# What a broken gate always says, and what must then be said about it.
BLIND = [
    (
        None,
        [
            "a skip where the test has to run was not seen",
            "an xfail where the test has to run was not seen",
            "an xfail mark on a test that passes was not seen",
            "a test that runs where it has to skip was not seen",
            "a skip for another reason was not seen",
        ],
    ),
    (
        "no",
        [
            "a test that runs as it has to was called a violation (no)",
            "a skip with the derived reason was called a violation (no)",
        ],
    ),
]


def test_working_gates_have_no_blind_spot(request: pytest.FixtureRequest) -> None:
    """Gates that work have no blind spot."""
    assert blind_spots(request.session) == []


@pytest.mark.parametrize(("says", "facts"), BLIND)
def test_blind_gate_is_noticed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, says: str | None, facts: list[str]
) -> None:
    """A gate that sees nothing, or sees a fault everywhere, is noticed."""
    monkeypatch.setattr(TestRecord, "violation", lambda _: says)
    distrust = "; the proof cannot be trusted until that is fixed"
    assert blind_spots(request.session) == [f"canary: {fact}{distrust}" for fact in facts]


def test_every_canary_is_shown_to_sing(request: pytest.FixtureRequest) -> None:
    """Each canary is missed by some blind gate, so each canary can stop a run."""
    shown = {fact.replace("(no)", "(None)") for *_, facts in BLIND for fact in facts}
    assert {fact for fact, _ in canaries(request.session)} == shown
