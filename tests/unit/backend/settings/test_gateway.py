"""The headers and fields that gateways need beside OpenAI's format."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from llm_backend.errors import ConfigError
from llm_backend.llms.settings.agent_settings import AgentSettings, SettingsLevel
from llm_backend.llms.settings.gateway import body_digest, body_of, names_authorization, secrets_in, sent

WORD = "sk-gateway-0123456789"
BODY = {"provider": {"order": ["a"], "api_key": WORD, "more": {"tokens": ["t", 5, ""]}}, "user": "me"}


def test_what_is_given_is_what_is_sent() -> None:
    """Headers and fields reach the server as given, also from a copy of the settings."""
    settings = AgentSettings(extra_headers={"X-Key": WORD, "authorization": "Basic x"}, extra_body=BODY)
    assert sent(settings.extra_headers) == {"X-Key": WORD, "Authorization": "Basic x"}
    assert body_of(settings.extra_body) == BODY
    assert AgentSettings(extra_headers=settings.extra_headers, extra_body=settings.extra_body) == settings
    none = AgentSettings(extra_headers=None, extra_body=None)
    assert (sent(none.extra_headers), body_of(none.extra_body), body_digest(none.extra_body)) == ({}, {}, "")
    assert not names_authorization(none.extra_headers)
    assert body_digest(settings.extra_body) != body_digest(AgentSettings(extra_body={"user": "you"}).extra_body)


def test_they_are_secrets() -> None:
    """No header's value and no field is printed; header values and secretly named fields are masked."""
    settings = AgentSettings(extra_headers={"X-Key": WORD}, extra_body=BODY)
    for shown in (repr(settings), str(settings.extra_headers), str(settings.extra_body), str(settings.model_dump())):
        assert WORD not in shown
    assert "X-Key" in repr(settings)
    assert secrets_in(settings.extra_headers, settings.extra_body) == (WORD, WORD, "t")


@pytest.mark.parametrize(
    "values",
    [
        {"extra_headers": {"X-Key": f"{WORD}\n"}},
        {"extra_headers": {"X-Key": f"{WORD} é"}},
        {"extra_headers": {"X Key": WORD}},
        {"extra_headers": {"X-Key": 5, "X-Other": WORD}},
        {"extra_headers": {5: WORD}},
        {"extra_headers": {"host": WORD}},
        {"extra_headers": {"Content-Type": WORD}},
        {"extra_headers": {"X-Key": WORD, "x-key": "other"}},
        {"extra_headers": {}},
        {"extra_headers": WORD},
        {"extra_body": {"messages": [WORD]}},
        {"extra_body": {"stream": True, "key": WORD}},
        {"extra_body": {"key": {WORD}}},
        {"extra_body": {"key": float("nan"), "other": WORD}},
        {"extra_body": [WORD]},
    ],
)
def test_what_cannot_be_sent(values: dict[str, Any]) -> None:
    """An impossible header, or a field that would change the request, is refused and not shown."""
    [name] = values
    with pytest.raises(
        ConfigError, match=rf"config: {name} is wrong \(its value is not shown .* Give a table of"
    ) as caught:
        AgentSettings(SettingsLevel("config", values))
    assert WORD not in "".join(traceback.format_exception(caught.value))


def test_two_keys() -> None:
    """A key and an Authorization header together are refused, and neither is shown."""
    headers = SettingsLevel("config", {"extra_headers": {"AUTHORIZATION": WORD}})
    words = r"extra_headers \(config\) has an Authorization header, and api_key \(OPENAI_API_KEY\)"
    with pytest.raises(ConfigError, match=words) as caught:
        AgentSettings(headers, SettingsLevel("OPENAI_API_KEY", {"api_key": "k"}))
    assert WORD not in str(caught.value)
