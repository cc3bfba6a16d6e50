"""The one place that says which engines exist; everything that names, lists or loads one reads it here.

It lies below the settings, which check an engine's name, so it cannot be in ``engines/``, which reads settings.

Another distribution joins with an entry point whose object is an ``Engine``::

    [project.entry-points."llm_backend.engines"]
    echo = "echo_engine:ENGINE"

From then on ``load_agent("echo")``, the section ``[agent.echo]``, ``--engine echo`` and ``doctor`` know it. Its name is
read from the installed metadata; its module is imported on request, and its libraries when it is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from llm_backend.errors import BrokenExtraError, ConfigError, MissingExtraError
from llm_backend.llms.availability import OURS, import_library, install_advice, require_libraries

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ENGINES",
    "LOCAL_ENGINE",
    "SERVER_ENGINE",
    "Engine",
    "engine_names",
    "find_engine",
    "import_agent_class",
    "import_part",
]

_GROUP = "llm_backend.engines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Where an engine lives, and what it needs.

    Attributes:
        agent: "module:Class" of its agents; ``await Class.create(settings)`` makes an Agent from AgentSettings.
        libraries: the modules it cannot do without, imported in this order before ``agent``.
        extra: the extra of its distribution that installs them; empty if they come with the distribution itself.
        asks_server: whether it asks an OpenAI-compatible server: then it receives the environment's address and key,
            and its models' names are the server's. Otherwise they may be paths.
        distribution: the one that offers it; known for entry points.
    """

    agent: str
    libraries: tuple[str, ...] = ()
    extra: str = ""
    asks_server: bool = False
    distribution: str = OURS

    def __post_init__(self) -> None:
        """Refuse what could not be imported.

        Raises:
            ConfigError: ``agent`` or ``libraries`` is not in the form above.
        """
        if not re.fullmatch(r"[\w.]+:\w+", str(self.agent)):
            message = f"agent of this Engine is {self.agent!r}. Give where its class is, as 'module:Class'."
            raise ConfigError(message)
        if isinstance(self.libraries, str) or not all(isinstance(name, str) for name in self.libraries):
            message = (
                f"libraries of this Engine is {self.libraries!r}."
                " Give a tuple of the modules' names, such as ('torch',)."
            )
            raise ConfigError(message)


ENGINES = {
    "openai": Engine(
        agent="llm_backend.llms.engines.server.openai_agent:OpenAIAgent",
        libraries=("openai",),
        extra="openai",
        asks_server=True,
    ),
    "huggingface": Engine(
        agent="llm_backend.llms.engines.huggingface.huggingface_agent:HuggingFaceAgent",
        libraries=("torch", "transformers"),
        extra="llm",
    ),
    "langchain": Engine(
        agent="llm_backend.llms.engines.langchain.langchain_agent:LangChainAgent",
        libraries=("langchain_openai",),
        extra="langchain",
        asks_server=True,
    ),
}
# The defaults: one chosen by a server's address, the other by its first library.
SERVER_ENGINE, LOCAL_ENGINE = "openai", "huggingface"


def engine_names() -> tuple[str, ...]:
    """Every engine's name: ours, then those of other distributions."""
    return (*ENGINES, *sorted(_offers().keys() - ENGINES.keys()))


def find_engine(name: str) -> Engine:
    """The engine called ``name``, one of ``engine_names``.

    Raises:
        BrokenExtraError: two distributions offer it, or the entry point does not name an ``Engine``.
    """
    offers = _offers().get(name, ())
    offering = [*([OURS] if name in ENGINES else []), *map(_distribution, offers)]
    if len(offering) > 1:
        message = f"{' and '.join(offering)} both offer an engine {name!r}. Uninstall all but one of them."
        raise BrokenExtraError(message, name=name)
    return _described(*offers) if offers else ENGINES[name]


def import_agent_class(name: str) -> Any:  # noqa: ANN401  (each engine has its own)
    """The class of an engine's agents; imports its libraries, seconds for torch, so keep it off the event loop.

    Raises:
        MissingExtraError: a library of the engine is not installed.
        BrokenExtraError: one of them, or the engine itself, does not import.
    """
    engine, needed_by = find_engine(name), f"The {name} engine"
    found = import_part(engine, engine.agent, needed_by)
    if callable(getattr(found, "create", None)):
        return found
    message = f"{needed_by} of {engine.distribution} is broken: {engine.agent} has no method create. Tell its authors."
    raise BrokenExtraError(message, name=name)


def import_part(engine: Engine, reference: str, needed_by: str) -> Any:  # noqa: ANN401  (whatever stands there)
    """The object that ``reference`` ("module:name") names in ``engine``, after importing its libraries.

    ``needed_by`` is who needs them, as worded in errors. Raises as ``import_agent_class`` does.
    """
    about = {"extra": engine.extra, "needed_by": needed_by, "distribution": engine.distribution}
    require_libraries(engine.libraries, **about)
    module, _, name = reference.partition(":")
    try:
        return getattr(import_library(module, **about), name)
    except (MissingExtraError, AttributeError) as exc:  # not a library, so the distribution is incomplete
        advice = install_advice(engine.extra, "--force-reinstall ", engine.distribution)
        message = f"{needed_by} needs {reference}, which {engine.distribution} lacks. Install it again with: {advice}."
        raise BrokenExtraError(message, name=module) from exc


@cache
def _offers() -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of other distributions by name; read once, because it takes milliseconds."""
    found = entry_points(group=_GROUP)
    return {name: tuple(found.select(name=name)) for name in found.names}


def _distribution(offer: EntryPoint) -> str:
    return str(offer.dist and offer.dist.name)


def _described(offer: EntryPoint) -> Engine:
    distribution, cause, module = _distribution(offer), None, offer.value.partition(":")[0]
    if offer.dist and not offer.dist.metadata["Name"]:  # what an interrupted pip leaves
        message = (
            f"The {offer.name} engine comes from a distribution in {offer.dist.locate_file('')} whose metadata has no"
            " name. Install that again, or remove its .dist-info folder."
        )
        raise BrokenExtraError(message, name=module)
    try:
        engine = offer.load()
        fact = f"it is of type {type(engine).__name__}, not an Engine"
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001  (others' modules may raise anything; it becomes our error's cause)
        engine, cause, fact = None, exc, f"{type(exc).__name__}: {exc}"
    if isinstance(engine, Engine):
        return replace(engine, distribution=distribution)
    message = (
        f"The {offer.name} engine of {distribution} is installed, but {offer.value} cannot be loaded ({fact})."
        f" Install it again with: {install_advice('', '--force-reinstall ', distribution)}."
    )
    raise BrokenExtraError(message, name=module) from cause
