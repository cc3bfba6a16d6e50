"""The only reader of config.toml.

::

    [agent]                 settings of every engine; ``backend`` chooses one
    [agent.huggingface]     settings of one engine; they override [agent]

``${NAME}`` in a string is replaced from the environment; ``$${`` stands for a plain ``${``. Other sections of the file
are ignored. The file is the one that somebody named (an argument, or ``LLM_BACKEND_CONFIG``), or else the nearest
config.toml from the working directory upwards, within the repository or the home folder. A file that was only found
may be anybody's, so what goes beyond trust.HOW_TO_ANSWER needs consent.
"""

from __future__ import annotations

import inspect
import os
import shlex
import warnings
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from llm_backend.errors import ConfigError, ConfigFileError, UntrustedConfigError, printable
from llm_backend.llms.engine_registry import engine_names, find_engine
from llm_backend.llms.settings.agent_settings import AgentSettings, SettingsLevel, close_match
from llm_backend.llms.settings.config_toml import FILE_VARIABLE, parse, read_content
from llm_backend.llms.settings.trust import needs_consent, standing_of, trust, withdraw
from llm_backend.llms.settings.variables import expand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_backend.llms.settings.trust import Standing

__all__ = [
    "AgentConfig",
    "ConfigFile",
    "find_config_file",
    "get_agent_config",
    "read_config_file",
    "trust_config_file",
    "untrust_config_file",
]

FILE_NAME = "config.toml"
_ROOT = "agent"
_LEGACY_ROOT = "midori_ai_agent_base"
# How similar to "agent" a section's name must be to count as misspelt: "agnet" is, "parent" and "urgent" are not.
_ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What a configuration file says, checked section by section.

    Attributes:
        path: the file.
        agent: the settings in [agent]; ``agent.model_fields_set`` names those set there.
        engines: engine name to the settings in its section, for engines that have one.
    """

    path: Path
    agent: AgentSettings
    engines: Mapping[str, AgentSettings]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Our sections of a configuration file, before replacement and checks.

    Attributes:
        path: the file.
        standing: "named" by somebody, "trusted" by consent, or neither: "found", or "changed" since consent was given.
        root: the name of the section that holds the others.
        common: the content of the root section itself.
        engines: engine name to the content of its section.
    """

    path: Path
    standing: Standing
    root: str
    common: Mapping[str, object] = field(repr=False)
    engines: Mapping[str, Mapping[str, object]] = field(repr=False)

    def says(self, key: str, engine: str) -> bool:
        """Whether ``key`` is set for ``engine``, in its own section or in the common one."""
        return key in self.common or key in self.engines.get(engine, {})

    def level(self, engine: str | None = None) -> SettingsLevel:
        """The section of ``engine`` (empty if there is none), or by default the common one, with variables replaced.

        Raises:
            ConfigError: a variable is not set.
        """
        if engine is None:
            return _expanded(SettingsLevel(f"{printable(str(self.path))} [{self.root}]", self.common))
        return _expanded(
            SettingsLevel(f"{printable(str(self.path))} [{self.root}.{engine}]", self.engines.get(engine, {}))
        )

    def levels(self, engine: str) -> list[SettingsLevel]:
        """Its settings for ``engine``, highest first. A model's path is relative to the file's folder.

        Raises:
            ConfigError: a variable is not set.
            BrokenExtraError: as ``find_engine``.
        """
        levels = [self.level(engine), self.level()]
        if find_engine(engine).asks_server:  # there, models' names are the server's, not paths
            return levels
        return [replace(level, values=self._with_place(level.values)) for level in levels]

    def consents(self) -> list[str]:
        """What needs consent, section by section."""
        sections = {self.root: self.common, **{f"{self.root}.{name}": table for name, table in self.engines.items()}}
        asked = {name: needs_consent(table) for name, table in sections.items()}
        return [f"{', '.join(names)} in [{section}]" for section, names in asked.items() if names]

    def _with_place(self, values: Mapping[str, object]) -> Mapping[str, object]:
        model = values.get("model")
        if not isinstance(model, str) or model.startswith("~"):
            return values
        if not model.startswith(("./", "../")) and not model.lower().endswith(".gguf"):
            return values
        return {**values, "model": os.path.abspath(os.path.join(self.path.parent, model))}  # noqa: PTH100, PTH118


def find_config_file(start: Path | None = None) -> Path | None:
    """Find the configuration file.

    Args:
        start: the directory to search from, upwards; the working directory by default. The search ends with the
            top of the repository (a folder with .git), or with the home folder.

    Returns:
        The file that ``LLM_BACKEND_CONFIG`` names, or else the nearest config.toml; None if there is none.

    Raises:
        ConfigFileError: ``LLM_BACKEND_CONFIG`` names something that is not a file.
    """
    return _named(None) or _search(start)


def get_agent_config(path: str | os.PathLike[str] | None = None) -> AgentConfig | None:
    """Read the configuration file and check all our sections.

    Args:
        path: the file; by default the one found.

    Returns:
        The file's content, or None if there is no file.

    Raises:
        ConfigFileError: the file is missing, cannot be read, or is not TOML.
        UntrustedConfigError: it was only found, and sets what needs consent.
        ConfigError: a section or key is unknown, a value is wrong, or a ``${NAME}`` is not set.
    """
    file = read_config_file(path)
    if file is None:
        return None
    common = AgentSettings(file.level())
    engines = {engine: AgentSettings(file.level(engine)) for engine in file.engines}
    return AgentConfig(file.path, common, engines)


def read_config_file(path: str | os.PathLike[str] | None = None) -> ConfigFile | None:
    """Read our sections of the configuration file; settings are checked when used.

    Args:
        path: the file; by default the one found.

    Raises:
        ConfigFileError: the file is missing, cannot be read, or is not TOML.
        UntrustedConfigError: it was only found, and sets what needs consent.
        ConfigError: there is a section that no engine has.
    """
    named = _named(path)
    if named is not None:
        return _sections(named, read_content(named), "named")
    found = _search()
    if found is None:
        return None
    content = read_content(found)
    file = _sections(found, content, standing_of(found, content))
    if file.standing != "trusted" and (consents := file.consents()):
        raise _untrusted(file, consents)
    return file


def trust_config_file(where: Path | None = None) -> ConfigFile:
    """Store the user's consent to the file's current content.

    Args:
        where: the file, or its folder; by default the one found.

    Raises:
        ConfigError: there is no such file, it is wrong, or the consent cannot be stored.
    """
    path = _place(where)
    content = read_content(path)
    file = _sections(path, content, "trusted")
    trust(path, content)
    return file


def untrust_config_file(where: Path | None = None) -> tuple[Path, bool]:
    """Withdraw the user's consent to a file, which need not exist any more.

    Returns:
        Its path, and whether there was consent.

    Raises:
        ConfigError: no file is named or found, or the consent cannot be withdrawn.
    """
    path = _place(where)
    return path, withdraw(path)


def _named(path: str | os.PathLike[str] | None) -> Path | None:
    """The file that somebody named: in an argument, or else in the environment."""
    named, by = (os.fspath(path), "config_file") if path is not None else (os.environ.get(FILE_VARIABLE), FILE_VARIABLE)
    if not named and path is None:
        return None
    file = Path(os.path.expanduser(str(named))).absolute()  # noqa: PTH111  (Path's own raises for an unknown user)
    if not os.path.isfile(file):  # noqa: PTH113  (Path's own raises in a folder without permission to enter)
        advice = f"Correct the path, or unset {FILE_VARIABLE}." if path is None else "Correct the path."
        message = f"{by} names {str(file)!r}, which is not a file. {advice}"
        raise ConfigFileError(message)
    return file


def _search(start: Path | None = None) -> Path | None:
    first = (start or _working_directory()).resolve()
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  (Path's own raises if there is none)
    for folder in (first, *first.parents):
        if os.path.isfile(folder / FILE_NAME):  # noqa: PTH113  (as above)
            return folder / FILE_NAME
        if folder == home or os.path.lexists(folder / ".git"):
            break
    return None


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as exc:
        message = (
            f"The working directory cannot be found ({exc.strerror}), so it cannot be searched for {FILE_NAME}."
            " Change to another one, or ignore the file (--no-config, use_config=False)."
        )
        raise ConfigFileError(message) from exc


def _place(where: Path | None) -> Path:
    """The path of the file to consent to, as the search would find it."""
    if where is None:
        found = _search()
        if found is None:
            message = f"There is no {FILE_NAME} in this folder or above it. Name the file or its folder."
            raise ConfigFileError(message)
        return found
    return where.resolve() / FILE_NAME if where.is_dir() else where.parent.resolve() / where.name


def _untrusted(file: ConfigFile, consents: Sequence[str]) -> UntrustedConfigError:
    changed = " It has changed since you trusted it." if file.standing == "changed" else ""
    place = str(file.path)  # whoever named the folder must not be able to add lines to a command that is copied
    command = f"llm-backend config trust{f' {shlex.quote(place)}' if place.isprintable() else ', in its folder'}"
    return UntrustedConfigError(
        f"{printable(place)} was found, not named by you, and chooses who answers, or uses your variables:"
        f" {'; '.join(consents)}.{changed} Read it, and if you trust it, run:"
        f" {command}. Or name it yourself (--config, {FILE_VARIABLE},"
        " config_file=...), or ignore it (--no-config, use_config=False)."
    )


def _sections(path: Path, content: bytes, standing: Standing) -> ConfigFile:
    document = parse(path, content)
    root = _choose_root(path, document)
    tables = document.get(root, {})
    where = f"{printable(str(path))} [{root}]"
    if not isinstance(tables, dict):
        message = (
            f"{where}: {root} is of type {type(tables).__name__}. Make it a table that starts with the line [{root}]."
        )
        raise ConfigError(message)
    common, engines, known = {}, {}, engine_names()
    for name, value in tables.items():
        if name in AgentSettings.model_fields:
            common[name] = value
        elif name in known:
            engines[name] = _engine_table(f"{printable(str(path))} [{root}.{name}]", value, root)
        elif isinstance(value, dict):
            message = (
                f"{where}: there is no section [{root}.{printable(name)}].{close_match(name, known)}"
                f" The sections are: {', '.join(f'[{root}.{engine}]' for engine in known)}."
            )
            raise ConfigError(message)
        else:
            common[name] = value
    return ConfigFile(path, standing, root, common, engines)


def _choose_root(path: Path, document: Mapping[str, object]) -> str:
    _refuse_misspelt(path, document)
    if _LEGACY_ROOT not in document:
        return _ROOT
    if _ROOT in document:
        message = (
            f"{printable(str(path))} has both [{_ROOT}] and [{_LEGACY_ROOT}], its old name."
            f" Move all settings to [{_ROOT}] and remove [{_LEGACY_ROOT}]."
        )
        raise ConfigError(message)
    warnings.warn(
        f"{printable(str(path))}: [{_LEGACY_ROOT}] is the old name of [{_ROOT}]."
        f" Rename [{_LEGACY_ROOT}] to [{_ROOT}], and [{_LEGACY_ROOT}.<backend>] to [{_ROOT}.<backend>].",
        DeprecationWarning,
        stacklevel=_levels_to_caller(),
    )
    return _LEGACY_ROOT


def _refuse_misspelt(path: Path, document: Mapping[str, object]) -> None:
    """Refuse a section named much like ours that holds our settings, which would be ignored there."""
    roots, ours = (_ROOT, _LEGACY_ROOT), {*AgentSettings.model_fields, *engine_names()}
    for name, table in document.items():
        alike = get_close_matches(name.lower(), roots, n=1, cutoff=_ALIKE)
        if alike and name not in roots and isinstance(table, dict) and ours & table.keys():
            message = (
                f"{printable(str(path))}: there is no section [{printable(name)}]. Did you mean [{alike[0]}]?"
                f" If it belongs to another program, keep ours in a separate file, and name that in {FILE_VARIABLE}."
            )
            raise ConfigError(message)


def _levels_to_caller() -> int:
    """The ``stacklevel`` of the nearest frame outside this package, as seen from the caller."""
    package = __name__.partition(".")[0]
    frame, level = inspect.currentframe(), 0
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


def _engine_table(where: str, value: object, root: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        message = f"{where} is of type {type(value).__name__}. Make it a table of settings."
        raise ConfigError(message)
    if "backend" in value:
        message = f"{where}: backend chooses between engines, so it cannot be set for one. Move it to [{root}]."
        raise ConfigError(message)
    return value


def _expanded(level: SettingsLevel) -> SettingsLevel:
    """``level`` with variables replaced; errors will not show values from the environment."""
    values = {key: expand(value, f"{level.source}: {key}") for key, value in level.values.items()}
    hidden = {key for key, value in level.values.items() if value is not values[key] and value != values[key]}
    return SettingsLevel(level.source, values, level.hidden | hidden)
