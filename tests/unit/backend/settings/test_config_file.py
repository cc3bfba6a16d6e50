"""config.toml and the environment are read strictly, and every error says where."""

from __future__ import annotations

import copy
import linecache
import pickle
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from llm_backend.errors import ConfigError, ConfigFileError, UnknownEngineError
from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.settings import config_toml
from llm_backend.llms.settings.config_file import AgentConfig, find_config_file, get_agent_config

SECRET = "sk-do-not-show"  # noqa: S105  (a stand-in, to look for in messages)


def _write(text: str, directory: Path | None = None) -> Path:
    path = (directory or Path.cwd()) / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _config(text: str) -> AgentConfig:
    config = get_agent_config(_write(text))
    assert config is not None
    return config


def _refusal(text: str) -> tuple[ConfigError, str]:
    """The error for a file with ``text``, and its message without the file's directory."""
    path = _write(text)
    with pytest.raises(ConfigError) as caught:
        get_agent_config(path)
    return caught.value, str(caught.value).replace(str(path), "config.toml")


def test_no_file_is_none() -> None:
    """A configuration file is not needed."""
    assert find_config_file() is None
    assert get_agent_config() is None


def test_the_nearest_file_upwards_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest file wins, from the working directory upwards."""
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    far = _write("", tmp_path)
    monkeypatch.chdir(inner)
    assert find_config_file() == far
    near = _write("", tmp_path / "a" / "b")
    (inner / "config.toml").mkdir()
    assert find_config_file() == near


def test_the_search_can_start_elsewhere(tmp_path: Path) -> None:
    """The search goes upwards from ``start``, absolute or relative."""
    path = _write("", tmp_path)
    (tmp_path / "a").mkdir()
    assert find_config_file(tmp_path / "a") == path
    assert find_config_file(Path("a")) == path


def test_an_explicit_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LLM_BACKEND_CONFIG`` wins over a nearer file."""
    _write("[agent]\nmodel = 'near'")
    explicit = tmp_path / "other.toml"
    explicit.write_text("[agent]\nmodel = 'explicit'", encoding="utf-8")
    monkeypatch.setenv("LLM_BACKEND_CONFIG", "other.toml")
    config = get_agent_config()
    assert config is not None
    assert (config.path, config.agent.model) == (explicit, "explicit")


def test_an_explicit_file_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``~`` in ``LLM_BACKEND_CONFIG`` is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LLM_BACKEND_CONFIG", "~/config.toml")
    path = _write("", tmp_path)
    assert find_config_file() == path


@pytest.mark.parametrize("name", ["missing.toml", ".", "~no-such-user/config.toml"])
def test_an_explicit_file_that_is_not_there_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file in ``LLM_BACKEND_CONFIG`` is an error."""
    _write("[agent]\nmodel = 'near'")
    monkeypatch.setenv("LLM_BACKEND_CONFIG", name)
    with pytest.raises(ConfigFileError) as caught:
        get_agent_config()
    assert str(caught.value) == (
        f"LLM_BACKEND_CONFIG names {str(tmp_path / name)!r}, which is not a file."
        " Correct the path, or unset LLM_BACKEND_CONFIG."
    )


def test_an_empty_variable_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty ``LLM_BACKEND_CONFIG`` counts as not set."""
    monkeypatch.setenv("LLM_BACKEND_CONFIG", "")
    assert find_config_file() is None


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("[agent]\nmodel = gpt", "Invalid value (at line 2, column 9)"),
        ("[agent]\nmodel = 'a'\nmodel = 'b'", "Cannot overwrite a value (at line 3, column 12"),
        ("[agent]\ntop_k = [1,", "(at line 2, column 12, the end of the document)"),
        ("x", "(at line 1, column 2, the end of the document)"),
    ],
)
def test_invalid_toml_is_an_error_with_its_place(text: str, fact: str) -> None:
    """Invalid TOML is an error with its line."""
    error, message = _refusal(text)
    assert isinstance(error, ConfigFileError)
    assert message.startswith("config.toml is not valid TOML: ")
    assert fact in message
    assert message.endswith(" Correct that line.")


def test_a_file_that_is_not_utf8_is_an_error_with_its_place(tmp_path: Path) -> None:
    """A file that is not UTF-8 is an error with its place."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"[agent]\nmodel = 'caf\xe9'\n")
    with pytest.raises(ConfigFileError) as caught:
        get_agent_config()
    assert str(caught.value) == f"{path} is not UTF-8 (at line 2, column 13). Save it as UTF-8."


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted working directory raises our error, with the next step."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigFileError, match=r"The working directory cannot be found .*--no-config"):
        get_agent_config()


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """A file with a byte order mark, as Windows editors write it, is accepted."""
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf[agent]\r\nmodel = 'a'\r\n")
    config = get_agent_config("config.toml")
    assert config is not None
    assert config.agent.model == "a"


def test_an_unreadable_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without read permission raises our error."""
    path = _write("")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(config_toml, "_without_waiting", refuse)  # root, who may run this, can read any file
    with pytest.raises(ConfigFileError) as caught:
        get_agent_config()
    assert str(caught.value) == (
        f"{path} cannot be read: Permission denied. Fix its permissions, or name another file in LLM_BACKEND_CONFIG."
    )


def test_sections_are_read_and_told_apart() -> None:
    """Every section is read, and none leaks into another."""
    config = _config(
        """
        [agent]
        backend = "huggingface"
        model = "common"
        [agent.reasoning_effort]
        effort = "low"
        [agent.huggingface]
        device = "cpu"
        [agent.openai]
        model = "remote"
        """
    )
    assert (config.agent.backend, config.agent.model, config.agent.device) == ("huggingface", "common", "auto")
    assert config.agent.reasoning_effort is not None
    assert config.agent.reasoning_effort.effort == "low"
    assert {name: settings.model_dump(exclude_unset=True) for name, settings in config.engines.items()} == {
        "huggingface": {"device": "cpu"},
        "openai": {"model": "remote"},
    }


def test_what_a_file_says_goes_between_processes() -> None:
    """What was read survives pickling and copying, keys included."""
    config = _config("[agent]\nmodel = 'm'\n[agent.openai]\napi_key = 'k'\n")
    again = pickle.loads(pickle.dumps(config))  # noqa: S301  (our own bytes)
    assert again == copy.deepcopy(config) == config


def test_other_tools_sections_are_left_alone() -> None:
    """Sections of other tools are ignored."""
    config = _config("name = '${NOT_SET}'\n[server]\nport = 1\n[server.agent]\nunknown = 1\n")
    assert config.agent.model_fields_set == set()
    assert dict(config.engines) == {}


def test_an_unknown_section_is_refused() -> None:
    """A section for an unknown engine is refused."""
    _, message = _refusal("[agent.hugginface]\ndevice = 'cpu'")
    assert message == (
        "config.toml [agent]: there is no section [agent.hugginface]. Did you mean 'huggingface'?"
        f" The sections are: {', '.join(f'[agent.{name}]' for name in ENGINES)}."
    )


def test_an_unknown_key_is_refused_with_its_section() -> None:
    """A misspelled key is refused, and the error names its section."""
    _, message = _refusal("[agent.huggingface]\ndevize = 'cpu'")
    assert message.startswith(
        "config.toml [agent.huggingface]: there is no key 'devize'. Did you mean 'device'? The keys are: "
    )


def test_a_wrong_type_is_refused_with_its_section() -> None:
    """A text is not accepted for a number."""
    _, message = _refusal("[agent]\ntop_k = '5'")
    assert message == "config.toml [agent]: top_k is '5' (type str). Give a whole number of at least 1."


def test_an_unknown_engine_is_refused() -> None:
    """An unknown engine in ``backend`` is refused with the close match."""
    error, message = _refusal("[agent]\nbackend = 'opnai'")
    assert isinstance(error, UnknownEngineError)
    assert message.startswith("config.toml [agent]: there is no engine 'opnai'. Did you mean 'openai'? ")


def test_an_engines_section_chooses_no_engine() -> None:
    """``backend`` in an engine's section is refused."""
    _, message = _refusal("[agent.openai]\nbackend = 'openai'")
    assert message == (
        "config.toml [agent.openai]: backend chooses between engines, so it cannot be set for one. Move it to [agent]."
    )


def test_a_section_has_to_be_a_table() -> None:
    """A section that is not a table is refused."""
    _, root = _refusal("agent = 'huggingface'")
    _, engine = _refusal("[agent]\nopenai = true")
    assert root == "config.toml [agent]: agent is of type str. Make it a table that starts with the line [agent]."
    assert engine == "config.toml [agent.openai] is of type bool. Make it a table of settings."


def test_variables_are_replaced_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """``${NAME}`` is replaced at the start, in the middle, and inside a table."""
    monkeypatch.setenv("H_KEY", SECRET)
    monkeypatch.setenv("H_PORT", "8000")
    monkeypatch.setenv("H_EFFORT", "low")
    config = _config(
        """
        [agent]
        model = "$${H_PORT} costs $5"
        reasoning_effort = { effort = "${H_EFFORT}" }
        [agent.openai]
        api_key = "${H_KEY}"
        base_url = "http://127.0.0.1:${H_PORT}/v${H_PORT}"
        """
    )
    assert config.agent.model == "${H_PORT} costs $5"
    assert config.agent.reasoning_effort is not None
    assert config.agent.reasoning_effort.effort == "low"
    assert config.engines["openai"].api_key == SecretStr(SECRET)
    assert config.engines["openai"].base_url == "http://127.0.0.1:8000/v8000"


def test_a_replaced_text_is_not_replaced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``${`` inside a variable's value stays as it is."""
    monkeypatch.setenv("H_ONE", "${H_TWO}")
    assert _config("[agent]\nmodel = '${H_ONE}'").agent.model == "${H_TWO}"


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[agent]\nmodel = 'a${H_UNSET}'", "[agent]: model"),
        ("[agent.openai]\napi_key = '${H_UNSET}'", "[agent.openai]: api_key"),
        ("[agent]\nreasoning_effort.effort = '${H_UNSET}'", "[agent]: reasoning_effort.effort"),
        ("[agent]\nmodel = ['${H_UNSET}']", "[agent]: model"),
    ],
)
def test_an_unset_variable_is_an_error(text: str, key: str, value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set is an error."""
    if value is not None:
        monkeypatch.setenv("H_UNSET", value)
    _, message = _refusal(text)
    assert message == (
        f"config.toml {key} uses ${{H_UNSET}}, but the environment variable H_UNSET is unset or empty."
        " Set it, or write the value itself ('$${' stands for a plain '${')."
    )


@pytest.mark.parametrize("text", ["${", "${}", "a${NAME", "${my-key}", f"${{{SECRET}"])
def test_a_broken_variable_is_an_error(text: str) -> None:
    """A malformed ``${`` is refused, and what follows it is not shown."""
    _, message = _refusal(f"[agent.openai]\napi_key = '{text}'")
    assert message == (
        "config.toml [agent.openai]: api_key holds a '${' that starts no ${NAME}."
        " Write ${NAME}, or '$${' for a plain '${'."
    )


def test_a_value_from_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value from a variable is not shown."""
    monkeypatch.setenv("H_KEY", SECRET)
    _, message = _refusal("[agent]\ndevice = '${H_KEY}'")
    assert message.startswith("config.toml [agent]: device is wrong (its value is not shown")
    assert SECRET not in message


def test_a_value_of_the_file_is_shown() -> None:
    """A wrong value that stands in the file itself is shown."""
    assert _refusal("[agent]\ntemperature = nan")[1] == (
        "config.toml [agent]: temperature is nan (type float). Give a number of at least 0."
    )


def test_old_names_are_read_with_a_warning() -> None:
    """Settings of the original system are read, with a warning that names the new ones."""
    path = _write("[midori_ai_agent_base]\nmodel = 'a'\n[midori_ai_agent_base.openai]\nmodel = 'b'")
    told = (
        f"{path}: [midori_ai_agent_base] is the old name of [agent]. Rename [midori_ai_agent_base] to [agent], and"
        " [midori_ai_agent_base.<backend>] to [agent.<backend>]."
    )
    with pytest.warns(DeprecationWarning, match=f"^{re.escape(told)}$"):
        config = get_agent_config(path)
    assert config is not None
    assert (config.agent.model, config.engines["openai"].model) == ("a", "b")


def test_the_warning_points_to_the_caller() -> None:
    """The warning points to the caller's own line."""
    _write("[midori_ai_agent_base]\n")
    with pytest.warns(DeprecationWarning, match="old name") as caught:
        get_agent_config()  # the caller
    lines = [linecache.getline(warning.filename, warning.lineno).strip() for warning in caught]
    assert lines == ["get_agent_config()  # the caller"]


def test_old_sections_fail_under_their_own_name() -> None:
    """An error in an old section names that section."""
    path = _write("[midori_ai_agent_base.openai]\ntop_k = 0")
    with pytest.warns(DeprecationWarning, match="old name"), pytest.raises(ConfigError) as caught:
        get_agent_config()
    assert str(caught.value).startswith(f"{path} [midori_ai_agent_base.openai]: top_k is 0 ")


def test_old_and_new_names_together_are_refused() -> None:
    """An old and a new section together are refused."""
    _, message = _refusal("[agent]\n[midori_ai_agent_base]\n")
    assert message == (
        "config.toml has both [agent] and [midori_ai_agent_base], its old name."
        " Move all settings to [agent] and remove [midori_ai_agent_base]."
    )
