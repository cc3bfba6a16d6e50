"""What users can rely on changes only on purpose."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from tests.unit.backend.public_api import FILE, described, write

if TYPE_CHECKING:
    from pathlib import Path

_AGAIN = 'python -c "from tests.unit.backend.public_api import write; write()"'


def _change(expected: str, found: str) -> str:
    changed = list(difflib.unified_diff(expected.splitlines(), found.splitlines(), "reviewed", "found", lineterm=""))
    advice = f"If that is meant, say so in CHANGELOG.md, and write {FILE.name}: {_AGAIN}"
    return "\n".join([*changed, advice]) if changed else ""


def test_the_public_api_is_as_it_was_reviewed() -> None:
    """The public API is the one in public_api.txt."""
    change = _change(FILE.read_text("utf-8"), described())
    assert not change, change


def test_a_change_is_shown(tmp_path: Path) -> None:
    """A missing name fails the test above, which shows it and says what to do."""
    write(tmp_path / "api.txt")
    lines = (tmp_path / "api.txt").read_text("utf-8")
    assert lines == described()
    change = _change(lines + "  gone\n", lines)
    assert "\n-  gone\n" in change
    assert _AGAIN in change
