"""Load an agent: choose the engine, read its settings, check what is installed, build.

The result is awaited, or entered with ``async with``; using it without either raises an error that says so.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Coroutine, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, NoReturn

from llm_backend.errors import AgentValidationError, BrokenExtraError, ConfigError, MissingExtraError, NotAwaitedError
from llm_backend.llms.agent import Agent
from llm_backend.llms.agent_validation import NONSENSE, validate_agent
from llm_backend.llms.availability import install_advice, is_installed
from llm_backend.llms.engine_registry import ENGINES, LOCAL_ENGINE, SERVER_ENGINE, import_agent_class
from llm_backend.llms.engines.server.time_limits import require_asyncio
from llm_backend.llms.settings.agent_settings import AgentSettings, SettingsLevel
from llm_backend.llms.settings.config_file import read_config_file
from llm_backend.llms.settings.environment import environment_levels, server_is_set

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import TracebackType

    from llm_backend.llms.settings.config_file import ConfigFile

__all__ = ["AgentLoading", "argument_levels", "choose_engine", "load_agent", "read_config", "settings_levels"]

_log = logging.getLogger(__name__)


def load_agent(  # noqa: PLR0913  (independent choices, given by name)
    backend: str | None = None,
    model: str | None = None,
    validate: bool = True,  # noqa: FBT001, FBT002  (the published signature)
    use_config: bool = True,  # noqa: FBT001, FBT002  (the published signature)
    *,
    config_file: str | os.PathLike[str] | None = None,
    settings: AgentSettings | Mapping[str, Any] | None = None,
) -> AgentLoading:
    """Load an agent: ``await`` this and close the agent with ``aclose``, or use it in ``async with``.

    Args:
        backend: the name of an engine, ours or another distribution's. None means what ``settings`` or the
            configuration file says, else openai if a server's address is set, else huggingface if torch is installed.
        model: a model's name or path; overrides what is configured.
        validate: ask the model a few questions first, and refuse it if it answers none correctly.
        use_config: read the configuration file; the environment is read in any case.
        config_file: read this configuration file and no other.
        settings: any fields of ``AgentSettings``; they override the configuration file and the environment.

    Returns:
        The agent, once it is awaited or entered.

    Raises:
        UnknownEngineError: there is no such backend.
        UntrustedConfigError: a configuration file was only found, and needs consent.
        ConfigError: a setting is wrong, or the file cannot be read.
        MissingExtraError: the engine's libraries are not installed, or no engine can be chosen.
        BrokenExtraError: they are installed, but do not import; or another distribution's engine returns no agent.
        ModelError: the model is not found, or is incomplete.
        InsufficientMemoryError: the model does not fit.
        AgentValidationError: the model answers, but not sensibly.
        EngineError: the server failed.
        EventLoopError: no asyncio event loop is running here.
        NotAwaitedError: the result was used without ``await``.
    """
    return AgentLoading(_load_agent(backend, model, settings, config_file, validate=validate, use_config=use_config))


async def _load_agent(  # noqa: PLR0913  (the arguments of load_agent)
    backend: str | None,
    model: str | None,
    settings: AgentSettings | Mapping[str, Any] | None,
    config_file: str | os.PathLike[str] | None,
    *,
    validate: bool,
    use_config: bool,
) -> Agent:
    require_asyncio()
    arguments = argument_levels(backend, model, settings)
    file = read_config(config_file, use_config=use_config)
    engine = choose_engine(arguments, file)
    chosen = AgentSettings(*settings_levels(engine, arguments, file))
    agent_class = await asyncio.to_thread(import_agent_class, engine)
    agent = await _create(agent_class, engine, chosen)
    if validate:
        await _validate_or_close(agent, engine, chosen)
    _log.info("loaded the %s engine", engine)
    return agent


async def _create(agent_class: Any, engine: str, settings: AgentSettings) -> Agent:  # noqa: ANN401  (each engine's own)
    """Make an agent, which another distribution's class may not do.

    Raises:
        BrokenExtraError: what it makes cannot be awaited, or is no agent.
    """
    making = agent_class.create(settings)
    trouble = "is not async"
    if inspect.isawaitable(making):
        agent = await making
        if isinstance(agent, Agent):
            return agent
        trouble = f"makes a {type(agent).__name__}, which is no Agent"
    name = f"{agent_class.__module__}.{agent_class.__qualname__}"
    message = f"The {engine} engine is broken: create of {name} {trouble}. Ask its authors."
    raise BrokenExtraError(message, name=engine)


def argument_levels(
    backend: str | None = None, model: str | None = None, settings: AgentSettings | Mapping[str, Any] | None = None
) -> list[SettingsLevel]:
    """The caller's settings in code, highest first, checked before anything is read.

    Raises:
        UnknownEngineError: there is no such backend.
        ConfigError: a setting is wrong, or ``settings`` is neither a mapping nor AgentSettings.
    """
    if isinstance(settings, AgentSettings):
        settings = {name: getattr(settings, name) for name in settings.model_fields_set}
    if not isinstance(settings, (Mapping, NoneType)) or not all(isinstance(name, str) for name in settings or ()):
        message = (
            f"argument settings is of type {type(settings).__name__}, or has keys that are not strings."
            " Give AgentSettings, or a mapping such as {'temperature': 0.5}."
        )
        raise ConfigError(message)
    named = {"backend": backend, "model": model}
    levels = [SettingsLevel(f"argument {name}", {name: value}) for name, value in named.items() if value is not None]
    levels.append(SettingsLevel("argument settings", dict(settings or {})))
    AgentSettings(*levels)
    return levels


def read_config(config_file: str | os.PathLike[str] | None, *, use_config: bool) -> ConfigFile | None:
    """The configuration file named, or else found; None if there is none, or none is to be read.

    Raises:
        ConfigError: a file is named although none is to be read, or as ``read_config_file``.
    """
    if use_config:
        return read_config_file(config_file)
    if config_file is not None:
        message = f"config_file names {os.fspath(config_file)!r}, but use_config is False. Give only one of them."
        raise ConfigError(message)
    return None


def choose_engine(arguments: Sequence[SettingsLevel], file: ConfigFile | None) -> str:
    """Name the engine that ``load_agent`` uses.

    Raises:
        UnknownEngineError: the chosen one does not exist.
        MissingExtraError: none was chosen, and no default is available.
        ConfigError: the file's common section is wrong.
    """
    levels = [arguments, [file.level()] if file else []]
    if chosen := next((engine for level in levels if (engine := AgentSettings(*level).backend)), None):
        return chosen
    told = any("base_url" in level.values for level in arguments) or (file and file.says("base_url", SERVER_ENGINE))
    if told or server_is_set():
        return SERVER_ENGINE
    local = ENGINES[LOCAL_ENGINE]
    library = local.libraries[0]
    if is_installed(library):
        return LOCAL_ENGINE
    message = (
        f"No backend was chosen, and none can be: no server's address is set, and {library} is not installed."
        " Set OPENAI_API_URL (or base_url in config.toml) to an OpenAI-compatible server,"
        f" or install a local engine with: {install_advice(local.extra)}."
    )
    raise MissingExtraError(message, name=library)


def settings_levels(engine: str, arguments: Sequence[SettingsLevel], file: ConfigFile | None) -> list[SettingsLevel]:
    """Every level of settings for an agent of ``engine``, highest first.

    Raises:
        ConfigError: a variable that the file uses is not set.
        BrokenExtraError: as ``find_engine``.
    """
    configured = file.levels(engine) if file else []
    detected = SettingsLevel("what is there", {"backend": engine})
    return [*arguments, *configured, *environment_levels(engine), detected]


async def _validate_or_close(agent: Agent, engine: str, settings: AgentSettings) -> None:
    sound = False
    try:
        sound = await validate_agent(agent)
    finally:
        if not sound:  # also if cancelled or failed: nobody else has the agent yet, so nobody else would close it
            await agent.aclose()
    if not sound:
        model = "default model" if settings.model is None else f"model {settings.model!r}"
        message = (
            f"The {model} on the {engine} engine {NONSENSE}"
            " If the model is fine (not every model knows English), load it with validate=False."
        )
        raise AgentValidationError(message)


class AgentLoading(Coroutine[Any, Any, "Agent"]):
    """A coroutine that loads an agent; in ``async with`` it also closes it."""

    def __init__(self, work: Coroutine[Any, Any, Agent]) -> None:
        self._work = work
        self._agent: Agent

    def __await__(self) -> Generator[Any, Any, Agent]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:  # noqa: ANN401  (as every coroutine)
        """Resume the work, as tasks do."""
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401  (as every coroutine)
        """Raise an error in the work, as cancellation does."""
        return self._work.throw(*error)

    def close(self) -> None:
        """Abandon the work."""
        self._work.close()

    async def __aenter__(self) -> Agent:
        self._agent = await self._work
        return await self._agent.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._agent.__aexit__(kind, error, where)

    def __repr__(self) -> str:
        return "<load_agent(...), not awaited>"


def _refuse(_: AgentLoading, name: str) -> NoReturn:
    message = (
        f"load_agent(...) is not an agent until it is awaited, so it has no {name!r}."
        " Write: agent = await load_agent(...), or: async with load_agent(...) as agent."
    )
    raise NotAwaitedError(message, name=name)


# Not in the class: type checkers find a forgotten await themselves, unless they see that every attribute exists.
AgentLoading.__getattr__ = _refuse  # type: ignore[attr-defined]
