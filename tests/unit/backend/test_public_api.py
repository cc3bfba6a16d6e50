"""What users can rely on changes only on purpose."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pytest

from tests.unit.backend.public_api import FILE, described, write

if TYPE_CHECKING:
    from pathlib import Path

_AGAIN = 'python -c "from tests.unit.backend.public_api import write; write()"'


def _compare(expected: str, found: str) -> None:
    changed = list(difflib.unified_diff(expected.splitlines(), found.splitlines(), "reviewed", "found", lineterm=""))
    if changed:
        pytest.fail("\n".join([*changed, f"If that is meant, say so in CHANGELOG.md, and write {FILE.name}: {_AGAIN}"]))


def test_the_public_api_is_as_it_was_reviewed() -> None:
    """The public API is the one in public_api.txt."""
    _compare(FILE.read_text("utf-8"), described())


def test_a_change_is_shown(tmp_path: Path) -> None:
    """A missing name fails the test above, which shows it and says what to do."""
    write(tmp_path / "api.txt")
    lines = (tmp_path / "api.txt").read_text("utf-8")
    assert lines == described()
    with pytest.raises(pytest.fail.Exception) as caught:
        _compare(lines + "  gone\n", lines)
    assert "\n-  gone\n" in str(caught.value)
    assert _AGAIN in str(caught.value)
