"""Load an agent: choose the engine, read its settings, check what is installed, build."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, cast

from backend.errors import AgentValidationError, MissingExtraError
from backend.llms.availability import import_library, install_advice, is_installed, require_extra
from backend.llms.config import ENGINE_NAMES, AgentSettings, SettingsLevel, build_settings, unknown_engine
from backend.llms.config_file import environment_levels, read_config_file
from backend.llms.validation import NONSENSE, validate_agent

if TYPE_CHECKING:
    from typing import Protocol

    from backend.llms.config import EngineName
    from backend.llms.config_file import ConfigFile
    from backend.llms.protocol import Agent

    class _EngineClass(Protocol):
        async def create(self, settings: AgentSettings) -> Agent: ...


__all__ = ["ENGINES", "choose_engine", "load_agent", "settings_levels"]

_log = logging.getLogger(__name__)


class Engine(NamedTuple):
    """Where an engine lives."""

    module: str
    class_name: str  # of its agents
    extra: str  # of this package, which installs its libraries


ENGINES: dict[EngineName, Engine] = {
    "openai": Engine("backend.llms.engines.openai", "OpenAIAgent", "openai"),
    "huggingface": Engine("backend.llms.engines.huggingface", "HuggingFaceAgent", "llm"),
    "langchain": Engine("backend.llms.engines.langchain", "LangChainAgent", "langchain"),
}


async def load_agent(
    backend: str | None = None,
    model: str | None = None,
    validate: bool = True,  # noqa: FBT001, FBT002  (the published signature)
    use_config: bool = True,  # noqa: FBT001, FBT002  (the published signature)
) -> Agent:
    """Load an agent.

    Args:
        backend: "openai", "huggingface" or "langchain". None: what the configuration file says; else openai when a
            server's address is set, else huggingface when torch is installed.
        model: a model's name or path, over what is configured.
        validate: ask the model a few questions first, and refuse one that answers none of them.
        use_config: read the configuration file; the environment is read in any case.

    Returns:
        The agent; close it with ``aclose``, or use it in ``async with``.

    Raises:
        UnknownEngineError: there is no such backend.
        ConfigError: a setting is wrong, or the file cannot be read.
        MissingExtraError: the engine's libraries are not installed, or no engine can be chosen.
        BrokenExtraError: they are installed, but do not import.
        ModelError: the model is not found, or is no whole model.
        InsufficientMemoryError: the model does not fit.
        AgentValidationError: the model answers, but not sensibly.
        EngineError: the server failed.
    """
    if backend is not None and backend not in ENGINE_NAMES:
        raise unknown_engine(backend, "argument backend")
    file = read_config_file() if use_config else None
    engine = choose_engine(backend, file)
    settings = build_settings(settings_levels(engine, model, file))
    agent_class = await asyncio.to_thread(_import_engine, engine)
    agent = await agent_class.create(settings)
    if validate:
        await _validate_or_close(agent, engine, settings)
    _log.info("loaded the %s engine", engine)
    return agent


def choose_engine(backend: str | None, file: ConfigFile | None) -> EngineName:
    """Name the engine that ``load_agent`` takes.

    Raises:
        MissingExtraError: none was chosen, and none can be.
        ConfigError: the file's common section is wrong.
    """
    if backend is not None:
        return cast("EngineName", backend)
    configured = build_settings([file.level()]).backend if file else None
    if configured is not None:
        return configured
    configured_address = file is not None and file.says("base_url", "openai")
    if configured_address or any("base_url" in level.values for level in environment_levels("openai")):
        return "openai"
    if is_installed("torch"):
        return "huggingface"
    message = (
        "No backend was chosen, and none can be: no server's address is set, and torch is not installed."
        " Set OPENAI_API_URL (or base_url in config.toml) to an OpenAI-compatible server,"
        f" or install a local engine with: {install_advice('llm')}."
    )
    raise MissingExtraError(message, name="torch")


def settings_levels(engine: EngineName, model: str | None, file: ConfigFile | None) -> list[SettingsLevel]:
    """Everything that says something about an agent of ``engine``, the highest first.

    Raises:
        ConfigError: a variable that the file names is not set.
    """
    arguments = [SettingsLevel("argument backend", {"backend": engine})]
    if model is not None:
        arguments.append(SettingsLevel("argument model", {"model": model}))
    configured = [file.level(engine), file.level()] if file else []
    return [*arguments, *configured, *environment_levels(engine)]


def _import_engine(name: EngineName) -> _EngineClass:
    """Import the engine's libraries and module; takes seconds for torch, so it runs in a worker thread."""
    engine, needed_by = ENGINES[name], f"The {name} engine"
    require_extra(engine.extra, needed_by)
    module = import_library(engine.module, engine.extra, needed_by)
    return cast("_EngineClass", getattr(module, engine.class_name))


async def _validate_or_close(agent: Agent, engine: EngineName, settings: AgentSettings) -> None:
    sound = False
    try:
        sound = await validate_agent(agent)
    finally:
        if not sound:  # cancelled or failed, too: nobody else has the agent yet, so nobody else would close it
            await agent.aclose()
    if not sound:
        model = "default model" if settings.model is None else f"model {settings.model!r}"
        message = (
            f"The {model} on the {engine} engine {NONSENSE}"
            " If it is sound (not every model knows English), load it with validate=False."
        )
        raise AgentValidationError(message)
