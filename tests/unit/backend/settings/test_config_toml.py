"""A configuration file, or folder name, that is made to harm whoever finds it is refused by its fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_backend.errors import ConfigError, ConfigFileError
from llm_backend.llms.settings import config_toml
from llm_backend.llms.settings.config_file import get_agent_config

SERVER = "[agent]\nbase_url = 'http://127.0.0.1:1/v1'\n"


def write(text: str) -> Path:
    """Write a configuration file."""
    path = Path.cwd() / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = " + "[" * 50_000, "its tables and lists are nested more than 50 deep"),
        (f"agent.{'a.' * 500}a = 1", "its tables and lists are nested more than 50 deep"),
        (f"[other]\na = {'[' * 60}{']' * 60}", "its tables and lists are nested more than 50 deep"),
        (f"[agent]\ntop_k = 0x{'f' * 5000}", "it holds a whole number of more than 63 bits"),
        ("a = [{b = [9223372036854775808]}]", "it holds a whole number of more than 63 bits"),
    ],
)
def test_what_no_configuration_holds(text: str, fault: str) -> None:
    """A file that is made to break its reader is refused by its fault."""
    path = write(text)
    with pytest.raises(ConfigFileError) as caught:
        get_agent_config()
    assert str(caught.value) == (
        f"{path} is not a configuration: {fault}. Correct that, or name another file in LLM_BACKEND_CONFIG."
    )


def test_a_deep_and_a_large_value_are_taken() -> None:
    """Deep and large values of other programs are accepted."""
    write(f"[other]\na = {'[' * 30}9223372036854775807{']' * 30}\n")
    assert get_agent_config() is not None


def test_a_file_without_end_is_refused() -> None:
    """A file that never ends, or holds nothing yet, is refused at once."""
    path = write("#" * 2**20)
    assert get_agent_config() is not None
    path.write_text("#" * (2**20 + 1))
    with pytest.raises(
        ConfigFileError, match=r"config\.toml is longer than 1048576 bytes, so it is not a configuration"
    ):
        get_agent_config()
    path.unlink()
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    with pytest.raises(ConfigFileError, match=r"config\.toml holds nothing yet, so it is not a configuration"):
        config_toml.read_content(path)
    os.close(writer)


@pytest.mark.parametrize(
    "text", [SERVER, "[agent]\nx = 1\n", "[agnet]\nmodel = 'm'\n", "=", "agent = 1", "\xff" * 2**20]
)
def test_a_folder_s_name_writes_no_lines(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A found folder's name adds no line to an error, and no command to be copied."""
    folder = tmp_path / "a\n\x1b[2Jrun: evil"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write(text)
    with pytest.raises(ConfigError) as caught:
        get_agent_config()
    told = str(caught.value)
    assert told.isprintable()
    assert "a \\x1b[2Jrun: evil/config.toml" in told
    assert ("llm-backend config trust, in its folder. Or" in told) == (text == SERVER)
