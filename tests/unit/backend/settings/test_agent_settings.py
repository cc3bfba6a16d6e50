"""Settings are strict, say where a wrong value came from, and never show a key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from llm_backend import GenerationOptions, ReasoningEffort
from llm_backend.errors import ConfigError, UnknownEngineError
from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.settings.agent_settings import (
    AgentSettings,
    SettingsLevel,
    unknown_engine,
)

SECRET = "sk-do-not-show"  # noqa: S105  (a stand-in, to look for in messages)


def _refusal(**values: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        AgentSettings(SettingsLevel("file.toml [agent]", values))
    return caught.value


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    [
        ("backend", 5, "5 (type int)", f"one of: {', '.join(ENGINES)}"),
        ("model", 5, "5 (type int)", "a model's name or path, as a string"),
        ("model", "", "'' (type str)", "a model's name or path, as a string"),
        ("revision", True, "True (type bool)", "a branch, tag or commit, as a string"),
        ("timeout", 0, "0 (type int)", "a number of seconds above 0"),
        ("timeout", True, "True (type bool)", "a number of seconds above 0"),
        ("timeout", float("inf"), "inf (type float)", "a number of seconds above 0"),
        ("connect_timeout", 0, "0 (type int)", "a number of seconds above 0"),
        ("read_timeout", -1, "-1 (type int)", "a number of seconds above 0"),
        ("max_retries", -1, "-1 (type int)", "a whole number of at least 0"),
        ("temperature", "5", "'5' (type str)", "a number of at least 0"),
        ("temperature", -1, "-1 (type int)", "a number of at least 0"),
        ("temperature", float("nan"), "nan (type float)", "a number of at least 0"),
        ("max_new_tokens", 0, "0 (type int)", "a whole number of at least 1"),
        ("max_new_tokens", True, "True (type bool)", "a whole number of at least 1"),
        ("max_new_tokens", 8.0, "8.0 (type float)", "a whole number of at least 1"),
        ("top_p", 0, "0 (type int)", "a number above 0 and at most 1"),
        ("top_p", 1.5, "1.5 (type float)", "a number above 0 and at most 1"),
        ("top_k", 0, "0 (type int)", "a whole number of at least 1"),
        ("context_window", 0, "0 (type int)", "a whole number of tokens, at least 1"),
        ("do_sample", 1, "1 (type int)", "true or false"),
        ("trust_remote_code", "true", "'true' (type str)", "true or false"),
        ("load_in_8bit", 1, "1 (type int)", "true or false"),
        ("load_in_4bit", 1, "1 (type int)", "true or false"),
        ("dtype", "fp8", "'fp8' (type str)", "one of: auto, float32, bfloat16, float16"),
        ("quantization", 8, "8 (type int)", "one of: none, int8, int4"),
        ("max_queued", -1, "-1 (type int)", "a whole number of at least 0"),
        ("keep_alive", -1, "-1 (type int)", "a number of seconds, from 0 to a year"),
        ("keep_alive", 1e9, "1000000000.0 (type float)", "a number of seconds, from 0 to a year"),
        ("use_responses", 1, "1 (type int)", "true or false"),
        (
            "reasoning_effort",
            "high",
            "'high' (type str)",
            "a table with any of the keys effort, generate_summary and summary",
        ),
    ],
)
def test_wrong_values_are_refused(key: str, value: object, shown: str, allowed: str) -> None:
    """A wrong type or value is refused, never converted, and the error says what to write."""
    assert str(_refusal(**{key: value})) == f"file.toml [agent]: {key} is {shown}. Give {allowed}."


@pytest.mark.parametrize(
    ("device", "guess"), [("gpu", " Did you mean 'cpu'?"), ("cuda:x", " Did you mean 'cuda'?"), ("tpu0", "")]
)
def test_an_unknown_device_is_refused(device: str, guess: str) -> None:
    """An unknown device is refused, and a typo gets a hint."""
    assert str(_refusal(device=device)) == (
        f"file.toml [agent]: device is {device!r} (type str).{guess}"
        " Give one of: auto, cpu, cuda, mps, or cuda:N with the number of a GPU."
    )


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:11", "mps"])
def test_known_devices_are_accepted(device: str) -> None:
    """A device that exists is accepted."""
    assert AgentSettings(device=device).device == device


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://host", "https://host/a@b", "http://[::1]:1"])
def test_addresses_are_accepted(url: str) -> None:
    """A server's address is accepted."""
    assert AgentSettings(base_url=url).base_url == url


def test_an_unknown_key_is_refused_with_a_hint() -> None:
    """A misspelled key is refused with the close match, and its value is not shown."""
    message = str(_refusal(api_kee=SECRET))
    assert message.startswith("file.toml [agent]: there is no key 'api_kee'. Did you mean 'api_key'? The keys are: ")
    assert all(name in message for name in AgentSettings.model_fields)
    assert SECRET not in message


def test_an_unknown_key_in_a_table_is_refused() -> None:
    """A misspelled key inside reasoning_effort is refused."""
    assert str(_refusal(reasoning_effort={"efort": "low"})) == (
        "file.toml [agent]: there is no key 'reasoning_effort.efort'. Did you mean 'effort'?"
        " The keys are: effort, generate_summary, summary."
    )


def test_a_wrong_choice_in_a_table_is_refused() -> None:
    """A misspelled reasoning effort is refused."""
    assert str(_refusal(reasoning_effort={"effort": "hihg"})) == (
        "file.toml [agent]: reasoning_effort.effort is 'hihg' (type str). Did you mean 'high'?"
        " Give one of: none, minimal, low, medium, high."
    )


def test_an_unknown_engine_has_its_own_error() -> None:
    """An unknown engine raises UnknownEngineError with the close match."""
    error = _refusal(backend="hugginface")
    assert isinstance(error, UnknownEngineError)
    assert str(error) == (
        "file.toml [agent]: there is no engine 'hugginface'. Did you mean 'huggingface'?"
        f" Use one of: {', '.join(map(repr, ENGINES))}."
    )


def test_an_engine_like_no_other_gets_no_hint() -> None:
    """An engine's name that resembles no other gets no hint."""
    assert str(unknown_engine("zzz", "argument backend")) == (
        f"argument backend: there is no engine 'zzz'. Use one of: {', '.join(map(repr, ENGINES))}."
    )


def test_all_faults_are_told_at_once() -> None:
    """One error lists every fault."""
    lines = str(_refusal(top_k=0, modle="x", backend="x")).splitlines()
    assert [line.partition(".")[0] for line in lines] == ["file"] * 3
    assert {word for line in lines for word in ("top_k is", "'modle'", "backend is") if word in line} == {
        "top_k is",
        "'modle'",
        "backend is",
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key", [SECRET]),
        ("api_key", {"key": SECRET}),
        ("base_url", f"http://user:{SECRET}@host/v1"),
        ("base_url", f"http://user:{SECRET}%40host/v1"),
        ("base_url", f"htp://host/v1?api_key={SECRET}"),
        ("base_url", f"http://host:99999/v1?api_key={SECRET}"),
        ("base_url", SECRET),
        ("device", f"http://user:{SECRET}@host/v1"),
        ("model", {"api_key": SECRET}),
        ("model", [SECRET]),
    ],
)
def test_a_secret_in_a_wrong_value_is_not_shown(key: str, value: object) -> None:
    """No key or password shows in an error, or in the error's context."""
    error = _refusal(**{key: value})
    assert str(error).startswith(
        f"file.toml [agent]: {key} is wrong (its value is not shown because it may be a secret). Give "
    )
    assert SECRET not in f"{error!r}{error.__cause__!r}{error.__context__!r}"


def test_an_empty_key_is_refused() -> None:
    """An empty key is refused."""
    assert "Give the server's key, as a string." in str(_refusal(api_key=""))


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-é", "sk\t1", "sk\x7f1", "\nsk-1\n"])
def test_a_key_that_cannot_stand_in_a_header_is_refused(key: str) -> None:
    """A key with a newline or non-ASCII letters is refused, and not shown."""
    told = str(_refusal(api_key=key))
    assert "api_key is wrong (its value is not shown" in told
    assert told.endswith("as a string of ASCII characters on one line, with no space before or after it.")
    assert "sk" not in told.replace("ask", "")
    assert AgentSettings(api_key="sk 1~!").api_key is not None


@pytest.mark.parametrize("host", ["h:99999", "h:0", "h:x", "[::1", "a..b", "a" * 64])
def test_an_address_that_cannot_be_is_refused(host: str) -> None:
    """An address with an impossible port or host is refused when it is read."""
    assert str(_refusal(base_url=f"http://{host}/v1")).endswith("password, and whose host and port can be.")
    assert AgentSettings(base_url="http://[::1]:65535/v1").base_url


def test_a_number_without_end_is_refused() -> None:
    """A number too long for Python to print is refused by a readable error."""
    assert "top_p is a number that is too long to show (type int)." in str(_refusal(top_p=1 << 20_000))


def test_hidden_values_are_not_shown() -> None:
    """A value from the environment, which may be a secret, is not shown."""
    level = SettingsLevel("file.toml [agent]", {"device": SECRET}, frozenset({"device"}))
    with pytest.raises(ConfigError, match="device is wrong") as caught:
        AgentSettings(level)
    assert SECRET not in str(caught.value)


def test_keys_are_secret_in_repr() -> None:
    """Printing settings, or where they come from, shows no key."""
    level = SettingsLevel("file.toml [agent]", {"api_key": SECRET})
    settings = AgentSettings(level)
    assert settings.api_key == SecretStr(SECRET)
    assert SECRET not in f"{level!r}{settings!r}{settings}"


@pytest.mark.parametrize("end", ["?api_key=", "#", "?a=1&api_key=", "?#"])
def test_what_an_address_ends_with_is_not_shown(end: str) -> None:
    """A key in an address's query is sent to its server, and never shown."""
    settings = AgentSettings(base_url=f"http://host/v1{end}{SECRET}")
    assert SECRET in str(settings.base_url)
    assert f"base_url='http://host/v1{end[0]}***'" in repr(settings)
    assert SECRET not in f"{settings!r}{settings}"


def test_a_changed_copy_is_as_strict() -> None:
    """A copy with another key hides that too, and one with a wrong value is refused."""
    copy = AgentSettings(model="m", api_key="sk-1").model_copy(update={"api_key": SECRET})
    assert copy == AgentSettings(model="m", api_key=SECRET)
    assert copy.model_copy() == copy
    assert SECRET not in repr(copy)
    with pytest.raises(ConfigError, match="top_p is 2"):
        copy.model_copy(update={"top_p": 2})


def test_making_settings_directly_is_as_strict() -> None:
    """Settings made directly raise our error, which names the class."""
    with pytest.raises(ConfigError) as caught:
        AgentSettings(top_k=0)
    assert str(caught.value) == "AgentSettings: top_k is 0 (type int). Give a whole number of at least 1."


def test_a_nested_fault_is_told_with_its_whole_path() -> None:
    """A fault inside a table is reported with the table's name."""
    nested: Any = {"summary": 1}
    with pytest.raises(ConfigError, match=r"^AgentSettings: reasoning_effort\.summary is 1 "):
        AgentSettings(reasoning_effort=nested)


def test_settings_are_frozen() -> None:
    """Settings cannot be changed, and the refusal shows no key."""
    settings: Any = AgentSettings()
    with pytest.raises(AttributeError) as caught:
        settings.api_key = SECRET
    assert str(caught.value) == "AgentSettings cannot change, so api_key cannot be set. Make new settings."


def test_pydantics_own_errors_show_no_values() -> None:
    """Errors of pydantic's own methods show no key."""
    with pytest.raises(ValidationError) as caught:
        AgentSettings.model_validate({"api_key": [SECRET]})
    assert SECRET not in str(caught.value)


def test_whole_numbers_are_accepted_for_numbers() -> None:
    """``timeout = 5`` is accepted for ``5.0``."""
    assert AgentSettings(timeout=5, temperature=1, top_p=1).timeout == 5.0


def test_levels_merge_key_by_key() -> None:
    """Levels merge key by key, inside tables too, and the higher one wins."""
    settings = AgentSettings(
        SettingsLevel("high", {"model": "a", "reasoning_effort": {"effort": "low"}}),
        SettingsLevel("middle", {"model": "b", "top_k": 2}),
        SettingsLevel("low", {"top_k": 3, "device": "cpu", "reasoning_effort": {"effort": "high", "summary": "auto"}}),
    )
    assert (settings.model, settings.top_k, settings.device) == ("a", 2, "cpu")
    assert settings.reasoning_effort == ReasoningEffort(effort="low", summary="auto")


def test_an_error_names_the_level_that_decided() -> None:
    """An error names the level that set the value, for keys in tables too."""
    levels = [
        SettingsLevel("high", {"model": "a", "reasoning_effort": {"effort": "low"}}),
        SettingsLevel("low", {"model": 5, "top_k": 0, "reasoning_effort": {"effort": "?", "summary": "?"}}),
    ]
    with pytest.raises(ConfigError) as caught:
        AgentSettings(*levels)
    assert [line.partition(" is ")[0] for line in str(caught.value).splitlines()] == [
        "low: reasoning_effort.summary",
        "low: top_k",
    ]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {"load_in_8bit": True},
            {"load_in_4bit": True},
            "load_in_8bit (one) asks for int8, and load_in_4bit (two) asks for int4. Keep only one of them.",
        ),
        (
            {"quantization": "none"},
            {"load_in_8bit": True},
            "quantization (one) asks for none, and load_in_8bit (two) asks for int8. Keep only one of them.",
        ),
    ],
)
def test_two_quantizations_are_refused_with_both_places(
    first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    """Two quantizations are refused, with the places of both."""
    with pytest.raises(ConfigError) as caught:
        AgentSettings(SettingsLevel("one", first), SettingsLevel("two", second))
    assert str(caught.value) == message
    with pytest.raises(ConfigError, match="Keep only one of them"):
        AgentSettings(**first, **second)


@pytest.mark.parametrize(
    ("values", "quantization"),
    [
        ({}, "none"),
        ({"load_in_8bit": False}, "none"),
        ({"load_in_8bit": True}, "int8"),
        ({"load_in_4bit": True, "quantization": "int4"}, "int4"),
        ({"quantization": "int8"}, "int8"),
    ],
)
def test_quantization_has_two_names(values: dict[str, Any], quantization: str) -> None:
    """The older names of a quantization still work, beside the new one as well."""
    assert AgentSettings(**values).chosen_quantization() == quantization


def test_no_levels_are_the_defaults() -> None:
    """Without any level, every setting has its documented default."""
    settings = AgentSettings()
    assert settings == AgentSettings()
    assert (settings.timeout, settings.connect_timeout, settings.read_timeout) == (300.0, 5.0, 60.0)
    assert (settings.max_retries, settings.device, settings.trust_remote_code) == (2, "auto", False)
    assert settings.generation_defaults() == GenerationOptions()


@pytest.mark.parametrize(
    ("values", "temperature"),
    [
        ({}, None),
        ({"temperature": 0.5}, 0.5),
        ({"do_sample": False, "temperature": 0.5}, 0),
        ({"do_sample": False}, 0),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.5}, 0.5),
        ({"do_sample": True, "temperature": 0}, 0),
    ],
)
def test_do_sample_becomes_a_temperature(values: dict[str, Any], temperature: float | None) -> None:
    """``do_sample`` decides the temperature."""
    assert AgentSettings(**values).generation_defaults().temperature == temperature


def test_generation_defaults_carry_every_option() -> None:
    """Every configured generation option reaches the model."""
    settings = AgentSettings(max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=3)
    expected = GenerationOptions(max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=3)
    assert settings.generation_defaults() == expected


def test_every_setting_tells_what_it_allows() -> None:
    """Every setting describes what it allows."""
    assert [name for name, value in AgentSettings.model_fields.items() if not value.description] == []
