"""Tests of what a receipt is a proof of."""

from __future__ import annotations

from skipproof.contract import read_contract

from .sessions import ROOT


def test_a_changed_part_of_the_page_makes_receipts_stale() -> None:
    """A receipt would still count as proof of the page after its script or style was changed."""
    parts = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "packages/skipproof/src/skipproof/page_assets").iterdir()
    }
    assert "packages/skipproof/src/skipproof/page_assets/page.js" in parts
    assert parts - {*read_contract(ROOT).sources} == set()
