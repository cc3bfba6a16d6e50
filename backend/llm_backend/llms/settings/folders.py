"""Where this package keeps what is the user's."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["data_folder"]


def data_folder() -> Path:
    """``LLM_BACKEND_DATA``, or the user's data folder."""
    import platformdirs  # noqa: PLC0415  (`import llm_backend` stays light)

    chosen = os.environ.get("LLM_BACKEND_DATA") or platformdirs.user_data_dir("llm-backend")
    return Path(os.path.expanduser(chosen))  # noqa: PTH111  (Path's own raises for an unknown user)
