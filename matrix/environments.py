"""What the table of environments, ``[tool.skipproof]``, implies for each room.

Only the standard library is used: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

__all__ = ["torch_build"]

TABLE = Path(__file__).resolve().parent.parent / "pyproject.toml"


@cache
def torch_build(environment: str) -> str | None:
    """Say which build of torch an environment needs: "cuda" or "cpu", or None if it promises no torch."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))["tool"]["skipproof"]
    promised = [table["capabilities"][name.removesuffix("?")] for name in table["environments"].get(environment, ())]
    if not any("torch" in capability.get("modules", ()) for capability in promised):
        return None
    return "cuda" if any(capability.get("probe") == "cuda" for capability in promised) else "cpu"
