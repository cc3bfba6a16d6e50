"""Settings in code, and the file that an application names, decide what is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from llm_backend.errors import ConfigError, UntrustedConfigError
from llm_backend.llms.agent_loader import load_agent
from llm_backend.llms.settings.agent_settings import AgentSettings
from tests.unit.backend.fake_agent import FakeAgent

pytestmark = pytest.mark.usefixtures("fake_engines")


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name whatever file a test writes, so that it needs no consent."""
    _write("")
    monkeypatch.setenv("LLM_BACKEND_CONFIG", "config.toml")


def _write(text: str) -> None:
    (Path.cwd() / "config.toml").write_text(text, encoding="utf-8")


async def _settings(backend: str | None = None, model: str | None = None, **options: Any) -> AgentSettings:
    """The settings that an engine gets."""
    await load_agent(backend, model, validate=False, **options)
    settings = FakeAgent.created.settings
    assert settings is not None
    return settings


async def test_settings_in_code_go_over_file_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in code win; what they leave open is as configured."""
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    _write("[agent]\nbackend = 'huggingface'\ntimeout = 5\ntop_k = 3\nmodel = 'of the file'\n")
    said = {"backend": "openai", "base_url": "http://host", "api_key": "from-code", "timeout": 7.0}
    settings = await _settings(settings=said)
    assert settings.api_key is not None
    assert (settings.backend, settings.base_url, settings.timeout) == ("openai", "http://host", 7)
    assert (settings.api_key.get_secret_value(), settings.top_k, settings.model) == ("from-code", 3, "of the file")
    argued = await _settings("langchain", "argued", settings={**said, "model": "m"})
    assert (argued.backend, argued.model) == ("langchain", "argued")


async def test_settings_may_be_agent_settings() -> None:
    """Of AgentSettings, what was set wins over the file, and defaults do not."""
    _write("[agent]\ntimeout = 5\nreasoning_effort = { effort = 'low' }\n")
    said = AgentSettings(api_key="from-code", base_url="http://host", reasoning_effort={"effort": "high"})
    settings = await _settings(settings=said)
    assert settings.reasoning_effort is not None
    assert (settings.backend, settings.timeout, settings.api_key) == ("openai", 5, said.api_key)
    assert settings.reasoning_effort.effort == "high"


@pytest.mark.parametrize("wrong", [["temperature"], {1: 2}, "temperature"])
async def test_settings_of_another_kind_are_refused(wrong: Any) -> None:
    """Anything but a mapping is refused before any file is read, with an example."""
    _write("not TOML")
    with pytest.raises(
        ConfigError, match=rf"^argument settings is of type {type(wrong).__name__}, or has keys that are no"
    ):
        await load_agent(settings=wrong)


async def test_a_wrong_setting_in_code_is_told_with_its_place() -> None:
    """A misspelled setting in code is refused, and no key is shown."""
    with pytest.raises(ConfigError) as caught:
        await load_agent(settings={"temprature": 1, "api_key": 5})
    told = str(caught.value).splitlines()
    assert told[0] == (
        "argument settings: api_key is wrong (its value is not shown because it may be a secret)."
        " Give the server's key, as a string."
    )
    assert told[1].startswith("argument settings: there is no key 'temprature'. Did you mean 'temperature'?")


async def test_a_file_can_be_named_in_code(tmp_path: Path) -> None:
    """The file named by an argument is read, not the environment's; a contradiction is refused."""
    _write("[agent]\nmodel = 'near'\n")
    other = tmp_path / "other.toml"
    other.write_text("[agent]\nmodel = 'other'\n")
    assert (await _settings("huggingface", config_file=other)).model == "other"
    with pytest.raises(
        ConfigError, match=r"^config_file names '.*other\.toml', but use_config is False\. Give only one"
    ):
        await load_agent(config_file=other, use_config=False)


async def test_a_found_file_needs_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A found file that chooses who answers is refused, unless the application skips it."""
    monkeypatch.delenv("LLM_BACKEND_CONFIG")
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    _write("[agent]\nbackend = 'openai'\nbase_url = 'http://attacker'\n")
    with pytest.raises(UntrustedConfigError, match=re.escape("backend, base_url in [agent]")):
        await load_agent("openai", "m", settings={"base_url": "http://mine"})
    assert (await _settings(use_config=False)).backend == "huggingface"


@pytest.mark.parametrize(
    ("model", "engine", "meant"),
    [
        ("./m", "huggingface", "{}/m"),
        ("../project/m", "huggingface", "{}/m"),
        ("m/x.GGUF", "huggingface", "{}/m/x.GGUF"),
        ("~/x.gguf", "huggingface", "~/x.gguf"),
        ("/m/x.gguf", "huggingface", "/m/x.gguf"),
        ("org/m", "huggingface", "org/m"),
        ("./m", "openai", "./m"),
    ],
)
async def test_a_model_s_path_starts_from_its_file(model: str, engine: str, meant: str, tmp_path: Path) -> None:
    """A model's relative path starts from its file; names and server models stay."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "config.toml").write_text(f"[agent]\nmodel = '{model}'\n")
    settings = await _settings(engine, config_file=folder / "config.toml")
    assert settings.model == meant.format(folder)
