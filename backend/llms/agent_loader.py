"""Load an agent, and tell a working one from a broken one."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, NamedTuple, cast

from backend.errors import AgentValidationError, MissingExtraError
from backend.llms.availability import import_library, is_installed, require_extra
from backend.llms.config import ENGINE_NAMES, AgentSettings, SettingsLevel, build_settings, unknown_engine
from backend.llms.config_file import environment_levels, read_config_file
from backend.llms.payloads import AgentPayload, AgentResponse, GenerationOptions

if TYPE_CHECKING:
    from typing import Protocol

    from backend.llms.config import EngineName
    from backend.llms.config_file import ConfigFile
    from backend.llms.protocol import Agent

    class _EngineClass(Protocol):
        async def create(self, settings: AgentSettings) -> Agent: ...


__all__ = ["ENGINES", "load_agent", "validate_agent"]

_log = logging.getLogger(__name__)


class Engine(NamedTuple):
    """Where an engine lives.

    Attributes:
        module: the module to import.
        class_name: the agent's class in it.
        extra: the extra of this package that installs its libraries.
    """

    module: str
    class_name: str
    extra: str


ENGINES: dict[EngineName, Engine] = {
    "openai": Engine("backend.llms.engines.openai", "OpenAIAgent", "openai"),
    "huggingface": Engine("backend.llms.engines.huggingface", "HuggingFaceAgent", "llm-cpu"),
    "langchain": Engine("backend.llms.engines.langchain", "LangChainAgent", "langchain"),
}


class Probe(NamedTuple):
    """A question, and a pattern of its right answers; the question itself holds no answer that an echo could give."""

    question: str
    answer: str


# Questions for chat models first, then beginnings for those that only continue a text.
PROBES = (
    Probe("What is the capital of France?", "paris"),
    Probe("What is 2+2?", "4|four"),
    Probe("Monday, Tuesday, Wednesday,", "thursday"),
    Probe("1, 2, 3, 4,", "5|five"),
)
_PROBE_OPTIONS = GenerationOptions(max_new_tokens=12, temperature=0)
_SHORT_ANSWER = 3  # words; a longer answer that is one word over and over is no answer


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
    _refuse_unknown(backend)
    file = read_config_file() if use_config else None
    engine = _choose_engine(backend, file)
    settings = _read_settings(engine, model, file)
    agent_class = await asyncio.to_thread(_import_engine, engine)
    agent = await agent_class.create(settings)
    if validate:
        await _validate_or_close(agent, engine, settings)
    _log.info("loaded the %s engine", engine)
    return agent


async def validate_agent(agent: Agent) -> bool:
    """Ask ``agent`` a few questions with known answers, until one is answered rightly.

    Returns:
        False if none is: empty, endlessly repeated or random text, as a model with damaged weights gives it.

    Raises:
        BackendError: the agent could not answer at all.
    """
    for number, probe in enumerate(PROBES, start=1):
        response = await agent.invoke(AgentPayload(probe.question, generation=_PROBE_OPTIONS))
        right = _is_right(response, probe)
        _log.debug("validation question %d of %d: %s", number, len(PROBES), "right" if right else "wrong")
        if right:
            return True
    return False


def _refuse_unknown(backend: str | None) -> None:
    if backend is not None and backend not in ENGINE_NAMES:
        raise unknown_engine(backend, "argument backend")


def _choose_engine(backend: str | None, file: ConfigFile | None) -> EngineName:
    if backend is not None:
        return cast("EngineName", backend)
    configured = build_settings([file.common_level()]).backend if file else None
    if configured is not None:
        return configured
    if _has_server_address(file):
        return "openai"
    if is_installed("torch"):
        return "huggingface"
    message = (
        "No backend was chosen, and none can be: no server's address is set, and torch is not installed."
        " Set OPENAI_API_URL (or base_url in config.toml) to an OpenAI-compatible server,"
        " or install a local engine with: pip install 'llm-backend[llm-cpu]'."
    )
    raise MissingExtraError(message, name="torch")


def _has_server_address(file: ConfigFile | None) -> bool:
    configured = file is not None and file.says("base_url", "openai")
    return configured or any("base_url" in level.values for level in environment_levels("openai"))


def _read_settings(engine: EngineName, model: str | None, file: ConfigFile | None) -> AgentSettings:
    arguments = [SettingsLevel("argument backend", {"backend": engine})]
    if model is not None:
        arguments.append(SettingsLevel("argument model", {"model": model}))
    configured = [file.engine_level(engine), file.common_level()] if file else []
    return build_settings([*arguments, *configured, *environment_levels(engine)])


def _import_engine(name: EngineName) -> _EngineClass:
    """Import the engine's libraries and module; takes seconds for torch, so it runs in a worker thread."""
    engine = ENGINES[name]
    needed_by = f"The {name} engine"
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
            f"The {model} on the {engine} engine answered none of {len(PROBES)} simple questions rightly."
            " Its weights may be damaged: fetch the model anew, or choose another."
            " If it is sound (not every model knows English), load it with validate=False."
        )
        raise AgentValidationError(message)


def _is_right(response: AgentResponse, probe: Probe) -> bool:
    """Whether the answer, or the reasoning where the answer was cut off, holds the right one and is no endless loop."""
    text = f"{response.response} {response.thinking}".lower()
    words = re.findall(r"\w+", text)
    endless = len(words) > _SHORT_ANSWER and len(set(words)) == 1
    return not endless and re.search(rf"\b({probe.answer})\b", text) is not None
