"""The only reader of settings in the environment."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import platformdirs

from llm_backend.llms.engine_registry import find_engine
from llm_backend.llms.settings.agent_settings import SettingsLevel

__all__ = ["data_folder", "environment_levels", "server_is_set"]

_log = logging.getLogger(__name__)

# Highest first. The second is the one that OpenAI's client library reads.
_ADDRESSES = ("OPENAI_API_URL", "OPENAI_BASE_URL")
_SERVER_VARIABLES = {**dict.fromkeys(_ADDRESSES, "base_url"), "OPENAI_API_KEY": "api_key"}
_VARIABLES = {"AF_LLM_MODEL": "model"}


def server_is_set() -> bool:
    """Whether the environment names a server."""
    return any(os.environ.get(name) for name in _ADDRESSES)


def data_folder() -> Path:
    """The folder for the user's data: ``LLM_BACKEND_DATA``, or the platform's default."""
    chosen = os.environ.get("LLM_BACKEND_DATA") or platformdirs.user_data_dir("llm-backend")
    return Path(os.path.expanduser(chosen))  # noqa: PTH111  (Path's own raises for an unknown user)


def environment_levels(engine: str) -> list[SettingsLevel]:
    """The environment's settings for ``engine``, one level per variable, highest first; empty variables count as unset.

    A server's address and key only concern engines that ask one.
    """
    asks_server = find_engine(engine).asks_server
    addresses = {value.rstrip("/") for name in _ADDRESSES if (value := os.environ.get(name))}
    if asks_server and len(addresses) > 1:
        _log.warning("%s and %s name different servers; the first is used. Unset one of them.", *_ADDRESSES)
    variables = _VARIABLES | (_SERVER_VARIABLES if asks_server else {})
    return [
        SettingsLevel(f"environment variable {name}", {key: value})
        for name, key in variables.items()
        if (value := os.environ.get(name))
    ]
