"""Variables reach the engines that they are meant for, and two that differ are reported."""

from __future__ import annotations

import pytest

from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.settings.environment import environment_levels, server_is_set

SECRET = "sk-do-not-show"  # noqa: S105  (a stand-in)
DIFFER = "OPENAI_API_URL and OPENAI_BASE_URL name different servers; the first is used. Unset one of them."


@pytest.mark.parametrize("engine", ENGINES)
def test_the_environment_speaks_to_the_right_engines(
    engine: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every variable is read, highest first, and local engines get no key."""
    monkeypatch.setenv("AF_LLM_MODEL", "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://other")
    monkeypatch.setenv("OPENAI_API_URL", "http://host")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server = [
        ("environment variable OPENAI_API_URL", {"base_url": "http://host"}),
        ("environment variable OPENAI_BASE_URL", {"base_url": "http://other"}),
        ("environment variable OPENAI_API_KEY", {"api_key": SECRET}),
    ]
    local = not ENGINES[engine].asks_server
    assert [(level.source, level.values) for level in environment_levels(engine)] == [
        ("environment variable AF_LLM_MODEL", {"model": "m"}),
        *([] if local else server),
    ]
    assert caplog.messages == ([] if local else [DIFFER])


@pytest.mark.parametrize("name", ["OPENAI_API_URL", "OPENAI_BASE_URL"])
def test_either_variable_names_a_server(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The variable of OpenAI's own library works like ours."""
    assert not server_is_set()
    monkeypatch.setenv(name, "http://host")
    assert server_is_set()
    assert [level.values for level in environment_levels("openai")] == [{"base_url": "http://host"}]
    assert caplog.messages == []


def test_two_variables_with_one_server_are_fine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two variables with the same server cause no warning."""
    monkeypatch.setenv("OPENAI_API_URL", "http://host/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1/")
    assert environment_levels("openai")[0].values == {"base_url": "http://host/v1"}
    assert caplog.messages == []


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as not set."""
    for name in ("AF_LLM_MODEL", "OPENAI_API_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")
    assert environment_levels("openai") == []
    assert not server_is_set()
