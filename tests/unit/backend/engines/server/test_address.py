"""Where a server is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llm_backend.errors import ConfigError
from llm_backend.llms.engines.server.address import Server
from llm_backend.llms.settings.agent_settings import AgentSettings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"base_url": "http://here/v1"}, ("http://here/v1", "no-key-needed", "max_tokens")),
        ({"base_url": "http://here/v1", "api_key": "k"}, ("http://here/v1", "k", "max_tokens")),
        ({"api_key": "k"}, ("https://api.openai.com/v1", "k", "max_completion_tokens")),
        (
            {"base_url": "https://eu.api.openai.com/v1"},
            ("https://eu.api.openai.com/v1", "no-key-needed", "max_completion_tokens"),
        ),
    ],
)
def test_where_the_server_is(settings: dict[str, str], expected: tuple[str, str, str]) -> None:
    """Address, key and the name of the token limit follow from the settings."""
    server = Server.from_settings(AgentSettings(model="m", **settings))
    assert (server.url, server.key, server.limit_name) == expected


def test_no_server() -> None:
    """Settings without a server are refused at once, with how to name one."""
    with pytest.raises(ConfigError, match=r"neither base_url \(OPENAI_API_URL\) nor api_key \(OPENAI_API_KEY\) is set"):
        Server.from_settings(AgentSettings(model="m"))


def test_secrets_stay_out_of_repr() -> None:
    """Neither a server's key nor one in its address is shown."""
    server = Server("http://here/v1?key=hidden", "sk-secret", AgentSettings())
    assert repr(server) == "Server('http://here/v1')"
    assert replace(server, url="http://here/v1#key").place == "http://here/v1"
