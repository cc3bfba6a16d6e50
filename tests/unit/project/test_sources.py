"""Tests of what a receipt is a proof of."""

from __future__ import annotations

from pathlib import Path

from skipproof import page
from skipproof.table import read_contract

from .sessions import ROOT


def test_a_changed_part_of_the_page_makes_receipts_stale() -> None:
    """A receipt would still count as proof of the page after its script or style was changed."""
    assets = Path(page.__file__).parent / "page_assets"  # of an installed package, where the wheels are tested
    parts = {f"packages/skipproof/src/skipproof/page_assets/{path.name}" for path in assets.iterdir()}
    assert "packages/skipproof/src/skipproof/page_assets/page.js" in parts
    assert parts - {*read_contract(ROOT).sources} == set()
