"""The README's lines for parts of a table."""

from __future__ import annotations

import re

from .sabotage_table import README


def block(part: str) -> str:
    """Return the README's lines for a part of the table, such as "capabilities"."""
    [lines] = re.findall(
        rf"```toml\n# in \[tool\.skipproof\.{part}\]\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
    )
    return str(lines)
