"""Tests of what a receipt is tied to."""

from __future__ import annotations

from skipproof.sources import digests
from skipproof.table import read_contract

from .sessions import ROOT


def test_a_receipt_is_tied_to_all_that_its_tests_prove() -> None:
    """A receipt follows the documents' pages, a template, a lock, the workflows and the example."""
    found = digests(read_contract(ROOT), ["tests/unit"]).keys()
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    example = "packages/skipproof/examples/rowfile"
    locks = {f"{example}/environments/{path.name}" for path in (ROOT / example / "environments").iterdir()}
    assert "docs/testing.md" in pages
    assert f"{example}/environments/bare.txt" in locks
    assert pages | locks <= found
    assert found >= {
        "README.md",
        ".github/workflows/ci.yml",
        "packages/skipproof/README.md",
        "packages/skipproof/tests/locks/uv.lock",
        f"{example}/tox.ini",
        "tests/integration/hermes.jinja",
    }
