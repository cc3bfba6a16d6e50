"""Tests of what a receipt is tied to."""

from __future__ import annotations

from pathlib import Path

from skipproof import page
from skipproof.table import read_contract

from .sessions import ROOT


def test_a_changed_part_of_the_page_makes_receipts_stale() -> None:
    """A change to the page's script or style makes receipts stale."""
    assets = Path(page.__file__).parent / "page_assets"  # of an installed package, where the wheels are tested
    parts = {f"packages/skipproof/src/skipproof/page_assets/{path.name}" for path in assets.iterdir()}
    assert "packages/skipproof/src/skipproof/page_assets/page.js" in parts
    assert parts - {*read_contract(ROOT).sources} == set()


def test_a_changed_part_of_the_example_makes_receipts_stale() -> None:
    """All that a run of the plugin's example depends on is what a receipt is a proof of."""
    folder = "packages/skipproof/examples/rowfile"
    parts = {f"{folder}/environments/{path.name}" for path in (ROOT / folder / "environments").iterdir()}
    parts |= {f"{folder}/{name}" for name in ("noxfile.py", "pyproject.toml", "src", "tests", "tox.ini")}
    assert f"{folder}/environments/bare.txt" in parts
    assert parts - {*read_contract(ROOT).sources} == set()
