"""The only reader of config.toml and of the environment's settings.

::

    [agent]                 settings of every engine; ``backend`` chooses one
    [agent.huggingface]     settings of one engine; they go over [agent]

``${NAME}`` in a text is replaced from the environment; ``$${`` stands for a plain ``${``. Other sections of the file
are left alone. The file is ``LLM_BACKEND_CONFIG``, or the nearest config.toml from the working directory upwards.
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from backend.errors import ConfigError, ConfigFileError
from backend.llms.config import ENGINE_NAMES, AgentSettings, SettingsLevel, build_settings, close_match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.llms.config import EngineName

__all__ = [
    "AgentConfig",
    "ConfigFile",
    "environment_levels",
    "find_config_file",
    "get_agent_config",
    "read_config_file",
]

FILE_NAME = "config.toml"
FILE_VARIABLE = "LLM_BACKEND_CONFIG"
_ROOT = "agent"
_LEGACY_ROOT = "midori_ai_agent_base"
_SERVER_VARIABLES = {"OPENAI_API_URL": "base_url", "OPENAI_API_KEY": "api_key"}
_VARIABLES = {"AF_LLM_MODEL": "model"}
_SERVER_ENGINES = ("openai", "langchain")
_PLACEHOLDER = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What a configuration file says, checked section by section.

    Attributes:
        path: the file.
        agent: the settings in [agent]; ``agent.model_fields_set`` tells which of them are written there.
        engines: engine name to the settings in its section, for the engines that have one.
    """

    path: Path
    agent: AgentSettings
    engines: Mapping[EngineName, AgentSettings]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Our sections of a configuration file, with nothing replaced or checked in them yet."""

    path: Path
    root: str  # the name of the section that holds the others
    common: Mapping[str, object] = field(repr=False)  # what stands in the root section itself
    engines: Mapping[EngineName, Mapping[str, object]] = field(repr=False)

    def says(self, key: str, engine: EngineName) -> bool:
        """Whether ``key`` is set for ``engine``, in its own section or in the common one."""
        return key in self.common or key in self.engines.get(engine, {})

    def level(self, engine: EngineName | None = None) -> SettingsLevel:
        """The section of ``engine`` (empty if there is none), or else the common one, with variables replaced.

        Raises:
            ConfigError: a variable is not set.
        """
        if engine is None:
            return _expanded(SettingsLevel(f"{self.path} [{self.root}]", self.common))
        return _expanded(SettingsLevel(f"{self.path} [{self.root}.{engine}]", self.engines.get(engine, {})))


def find_config_file(start: Path | None = None) -> Path | None:
    """Find the configuration file.

    Args:
        start: the directory to search from, upwards; the working directory by default.

    Returns:
        The file that ``LLM_BACKEND_CONFIG`` names, or else the nearest config.toml; None when there is none.

    Raises:
        ConfigFileError: ``LLM_BACKEND_CONFIG`` names something that is no file.
    """
    named = os.environ.get(FILE_VARIABLE)
    if named:
        path = Path(os.path.expanduser(named)).absolute()  # noqa: PTH111  (Path's own raises for an unknown user)
        if not path.is_file():
            message = f"{FILE_VARIABLE} names {str(path)!r}, which is no file. Mend the path, or unset {FILE_VARIABLE}."
            raise ConfigFileError(message)
        return path
    first = (start or Path.cwd()).absolute()
    candidates = (directory / FILE_NAME for directory in (first, *first.parents))
    return next((path for path in candidates if path.is_file()), None)


def get_agent_config() -> AgentConfig | None:
    """Read the configuration file and check all of our sections in it.

    Returns:
        What the file says, or None when there is no file.

    Raises:
        ConfigFileError: the file is missing, cannot be read, or is not TOML.
        ConfigError: a section or key is unknown, a value is wrong, or a ``${NAME}`` is not set.
    """
    file = read_config_file()
    if file is None:
        return None
    common = build_settings([file.level()])
    engines = {engine: build_settings([file.level(engine)]) for engine in file.engines}
    return AgentConfig(file.path, common, MappingProxyType(engines))


def read_config_file() -> ConfigFile | None:
    """Read our sections of the configuration file; a wrong setting is found when it is used.

    Raises:
        ConfigFileError: the file is missing, cannot be read, or is not TOML.
        ConfigError: there is a section that no engine has.
    """
    path = find_config_file()
    if path is None:
        return None
    document = _parse(path)
    root = _choose_root(path, document)
    tables = document.get(root, {})
    where = f"{path} [{root}]"
    if not isinstance(tables, dict):
        message = f"{where}: {root} is a {type(tables).__name__}. Make it a table that starts with the line [{root}]."
        raise ConfigError(message)
    common, engines = {}, {}
    for name, value in tables.items():
        if name in ENGINE_NAMES:
            engines[cast("EngineName", name)] = _engine_table(f"{path} [{root}.{name}]", value, root)
        elif isinstance(value, dict) and name not in AgentSettings.model_fields:
            message = (
                f"{where}: there is no section [{root}.{name}].{close_match(name, ENGINE_NAMES)}"
                f" The sections are: {', '.join(f'[{root}.{engine}]' for engine in ENGINE_NAMES)}."
            )
            raise ConfigError(message)
        else:
            common[name] = value
    return ConfigFile(path, root, common, engines)


def environment_levels(engine: EngineName) -> list[SettingsLevel]:
    """What the environment says to ``engine``, one level for each variable; an empty variable counts as unset.

    A server's address and key are only for the engines that speak to one.
    """
    variables = _VARIABLES | (_SERVER_VARIABLES if engine in _SERVER_ENGINES else {})
    return [
        SettingsLevel(f"environment variable {name}", {key: value})
        for name, key in variables.items()
        if (value := os.environ.get(name))
    ]


def _parse(path: Path) -> dict[str, object]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        message = (
            f"{path} cannot be read: {exc.strerror}. Mend its permissions, or name another file in {FILE_VARIABLE}."
        )
        raise ConfigFileError(message) from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        column = exc.start - exc.object.rfind(b"\n", 0, exc.start)
        message = f"{path} is not UTF-8 (at line {line}, column {column}). Save it as UTF-8."
        raise ConfigFileError(message) from exc
    try:
        return tomllib.loads(text)
    except ValueError as exc:
        lines = text.splitlines() or [""]
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the document"
        fact = str(exc).replace("at end of document", end)
        message = f"{path} is not valid TOML: {fact}. Mend that line."
        raise ConfigFileError(message) from exc


def _choose_root(path: Path, document: Mapping[str, object]) -> str:
    if _LEGACY_ROOT not in document:
        return _ROOT
    if _ROOT in document:
        message = (
            f"{path} has both [{_ROOT}] and [{_LEGACY_ROOT}], its old name."
            f" Move all settings to [{_ROOT}] and remove [{_LEGACY_ROOT}]."
        )
        raise ConfigError(message)
    warnings.warn(
        f"{path}: [{_LEGACY_ROOT}] is the old name of [{_ROOT}]."
        f" Rename [{_LEGACY_ROOT}] to [{_ROOT}], and [{_LEGACY_ROOT}.<backend>] to [{_ROOT}.<backend>].",
        DeprecationWarning,
        stacklevel=_levels_to_caller(),
    )
    return _LEGACY_ROOT


def _levels_to_caller() -> int:
    """The ``stacklevel`` of the nearest frame outside this package, as seen from the function that calls this one."""
    package = __name__.partition(".")[0]
    frame, level = inspect.currentframe(), 0
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


def _engine_table(where: str, value: object, root: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        message = f"{where}: this is a {type(value).__name__}. Make it a table of settings."
        raise ConfigError(message)
    if "backend" in value:
        message = f"{where}: backend chooses between the engines, so it is no setting of one. Move it to [{root}]."
        raise ConfigError(message)
    return value


def _expanded(level: SettingsLevel) -> SettingsLevel:
    """``level`` with variables replaced; errors will not show a value that came from the environment."""
    values = {key: _expand(value, f"{level.source}: {key}") for key, value in level.values.items()}
    hidden = {key for key, value in level.values.items() if value is not values[key] and value != values[key]}
    return SettingsLevel(level.source, values, level.hidden | hidden)


def _expand(value: object, where: str) -> object:
    if isinstance(value, dict):
        return {key: _expand(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, where) for inner in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _replacement(match, where), value)
    return value


def _replacement(placeholder: re.Match[str], where: str) -> str:
    if placeholder[0] == "$${":
        return "${"
    name = placeholder["name"]
    if name is None:
        message = (
            f"{where} holds a '${{' that starts no ${{NAME}}. Write ${{NAME}}, or '$${{' for the plain characters."
        )
        raise ConfigError(message)
    value = os.environ.get(name)
    if not value:
        message = (
            f"{where} uses ${{{name}}}, but the environment variable {name} is not set, or empty."
            f" Set it, or write the value itself ('$${{' stands for a plain '${{')."
        )
        raise ConfigError(message)
    return value
