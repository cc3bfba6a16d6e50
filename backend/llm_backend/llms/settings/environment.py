"""The only reader of the environment's settings."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import platformdirs

from llm_backend.llms.engine_registry import find_engine
from llm_backend.llms.settings.agent_settings import SettingsLevel

__all__ = ["data_folder", "environment_levels", "server_is_set"]

_log = logging.getLogger(__name__)

# Highest first. The second is that of OpenAI's own client library.
_ADDRESSES = ("OPENAI_API_URL", "OPENAI_BASE_URL")
_SERVER_VARIABLES = {**dict.fromkeys(_ADDRESSES, "base_url"), "OPENAI_API_KEY": "api_key"}
_VARIABLES = {"AF_LLM_MODEL": "model"}


def server_is_set() -> bool:
    """Whether the environment names a server."""
    return any(os.environ.get(name) for name in _ADDRESSES)


def data_folder() -> Path:
    """Where this package keeps what is the user's: ``LLM_BACKEND_DATA``, or the user's data folder."""
    chosen = os.environ.get("LLM_BACKEND_DATA") or platformdirs.user_data_dir("llm-backend")
    return Path(os.path.expanduser(chosen))  # noqa: PTH111  (Path's own raises for an unknown user)


def environment_levels(engine: str) -> list[SettingsLevel]:
    """What the environment says to ``engine``, a level for each variable, highest first; an empty one counts as unset.

    A server's address and key are only for the engines that speak to one.
    """
    asks_server = find_engine(engine).asks_server
    addresses = {value.rstrip("/") for name in _ADDRESSES if (value := os.environ.get(name))}
    if asks_server and len(addresses) > 1:
        _log.warning("%s and %s name different servers, and the first decides. Unset one of them.", *_ADDRESSES)
    variables = _VARIABLES | (_SERVER_VARIABLES if asks_server else {})
    return [
        SettingsLevel(f"environment variable {name}", {key: value})
        for name, key in variables.items()
        if (value := os.environ.get(name))
    ]
