"""Load and check agents, converse with them, and let them use tools.

Its names come from ``public.py``, imported on first use, so that ``import llm_backend`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_backend.llms.public import *  # noqa: F403  (so that each name is written only once)
else:

    def __getattr__(name: str) -> object:
        names = {key: value for key, value in vars(import_module(f"{__name__}.public")).items() if key[0] != "_"}
        if name == "__all__":
            return sorted(names)
        if name not in names:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        return names[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
