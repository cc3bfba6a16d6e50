"""The loader takes the right engine with the right settings, and keeps no broken agent."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import (
    AgentValidationError,
    BrokenExtraError,
    ConfigError,
    EngineConnectionError,
    MissingExtraError,
    UnknownEngineError,
)
from llm_backend.llms import agent_loader
from llm_backend.llms.agent_loader import load_agent
from llm_backend.llms.agent_validation import PROBES
from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.payloads import AgentResponse
from tests.unit.backend.fake_agent import FakeAgent

if TYPE_CHECKING:
    from llm_backend.llms.payloads import AgentPayload
    from llm_backend.llms.settings.agent_settings import AgentSettings

pytestmark = pytest.mark.usefixtures("fake_engines")

HUGGINGFACE = ENGINES["huggingface"]  # as it is, with nothing fake in its place
PARIS = {PROBES[0].question: AgentResponse(response="The capital of France is Paris.")}


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name whatever file a test writes, so that it needs no consent."""
    _write("")
    monkeypatch.setenv("LLM_BACKEND_CONFIG", "config.toml")


def _write(text: str) -> Path:
    path = Path.cwd() / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


async def _settings(backend: str | None = None, model: str | None = None, **options: Any) -> AgentSettings:
    """The settings that an engine gets."""
    await load_agent(backend, model, validate=False, **options)
    settings = FakeAgent.created.settings
    assert settings is not None
    return settings


async def test_the_agent_of_the_engine_is_returned() -> None:
    """The caller gets the agent that the engine made."""
    agent = await load_agent("huggingface", validate=False)
    assert agent is FakeAgent.created
    assert not FakeAgent.created.closed


@pytest.mark.parametrize("backend", ["hugginface", "", "HUGGINGFACE"])
async def test_an_unknown_engine_is_refused(backend: str) -> None:
    """An unknown engine is refused with the close match."""
    with pytest.raises(UnknownEngineError) as caught:
        await load_agent(backend)
    message = str(caught.value)
    assert message.startswith(f"argument backend: there is no engine {backend!r}.")
    assert message.endswith(f" Use one of: {', '.join(map(repr, ENGINES))}.")
    assert ("Did you mean 'huggingface'?" in message) == bool(backend)


async def test_an_unknown_engine_is_refused_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown engine is refused before any import or file is read."""
    monkeypatch.setattr(agent_loader, "import_agent_class", None)
    monkeypatch.setattr(agent_loader, "read_config_file", None)
    with pytest.raises(UnknownEngineError):
        await load_agent("hugginface")


@pytest.mark.parametrize(
    ("present", "model"),
    [
        (5, "argument"),
        (4, "section"),
        (3, "common"),
        (2, "environment"),
        (1, None),
    ],
)
async def test_the_highest_level_decides(present: int, model: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level wins over those below it, in the documented order."""
    if present >= 2:
        monkeypatch.setenv("AF_LLM_MODEL", "environment")
    common = "[agent]\nmodel = 'common'\n" if present >= 3 else ""
    section = "[agent.huggingface]\nmodel = 'section'\n" if present >= 4 else ""
    _write(common + section + "[agent.openai]\nmodel = 'of another engine'\n")
    settings = await _settings("huggingface", "argument" if present >= 5 else None)
    assert (settings.model, settings.backend) == (model, "huggingface")


async def test_levels_complete_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that sets one key leaves the other keys of lower levels alone."""
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    _write("[agent]\ntimeout = 5\nbackend = 'langchain'\n[agent.openai]\nbase_url = 'http://host'\n")
    settings = await _settings("openai", "m")
    assert settings.api_key is not None
    assert (settings.model, settings.base_url, settings.timeout) == ("m", "http://host", 5)
    assert (settings.api_key.get_secret_value(), settings.backend) == ("from-environment", "openai")


async def test_the_file_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """``use_config=False`` skips the file, and still reads the environment."""
    _write("[agent]\nmodel = 'common'\nnot_a_key = 1")
    monkeypatch.setenv("AF_LLM_MODEL", "environment")
    assert (await _settings("huggingface", use_config=False)).model == "environment"


async def test_a_wrong_argument_is_refused() -> None:
    """A model that is not a text is refused, and the error names the argument."""
    model: Any = 5
    with pytest.raises(ConfigError) as caught:
        await load_agent("huggingface", model)
    assert str(caught.value) == ("argument model: model is 5 (type int). Give a model's name or path, as a string.")


async def test_a_wrong_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable of the environment is refused by its name."""
    monkeypatch.setenv("OPENAI_API_URL", "localhost:8000")
    with pytest.raises(ConfigError) as caught:
        await load_agent("openai")
    assert str(caught.value).startswith("environment variable OPENAI_API_URL: base_url is wrong (its value")


async def test_a_wrong_key_is_refused_with_its_section() -> None:
    """A misspelled key is refused, and the error names its section."""
    path = _write("[agent.huggingface]\ntemprature = 1\n")
    with pytest.raises(ConfigError) as caught:
        await load_agent("huggingface")
    assert str(caught.value).startswith(
        f"{path} [agent.huggingface]: there is no key 'temprature'. Did you mean 'temperature'?"
    )


async def test_a_section_of_an_unused_engine_may_need_what_is_not_set() -> None:
    """An unused engine's section may use a variable that is not set."""
    _write("[agent]\nbackend = 'huggingface'\n[agent.openai]\napi_key = '${H_UNSET}'\n")
    assert (await _settings()).backend == "huggingface"


async def test_old_names_in_the_file_are_told_to_the_caller() -> None:
    """The warning about a section's old name points to the caller's own line."""
    _write("[midori_ai_agent_base]\nmodel = 'm'\n")
    with pytest.warns(DeprecationWarning, match="old name") as caught:
        await load_agent("huggingface", validate=False)
    assert [warning.filename for warning in caught] == [__file__]


async def test_the_configured_engine_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """``backend`` in the file wins over auto-detection."""
    monkeypatch.setenv("OPENAI_API_URL", "http://host")
    _write("[agent]\nbackend = 'langchain'\n")
    assert (await _settings()).backend == "langchain"


async def test_a_servers_address_chooses_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OPENAI_API_URL`` chooses the openai engine."""
    monkeypatch.setenv("OPENAI_API_URL", "http://host")
    settings = await _settings()
    assert (settings.backend, settings.base_url) == ("openai", "http://host")


@pytest.mark.parametrize("section", ["agent", "agent.openai"])
async def test_a_configured_address_chooses_openai(section: str) -> None:
    """``base_url`` in the file chooses the openai engine."""
    _write(f"[{section}]\nbase_url = 'http://host'\n")
    settings = await _settings()
    assert (settings.backend, settings.base_url) == ("openai", "http://host")


@pytest.mark.parametrize("text", ["", "[agent]\nmodel = 'm'\n[agent.langchain]\nbase_url = 'http://host'\n"])
async def test_torch_chooses_huggingface(text: str) -> None:
    """Torch chooses the huggingface engine, also beside another engine's address."""
    _write(text)
    assert (await _settings()).backend == "huggingface"


async def test_no_engine_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch and without a server, the error says how to get either."""
    monkeypatch.setattr(agent_loader, "is_installed", lambda _: False)
    monkeypatch.setitem(ENGINES, "huggingface", HUGGINGFACE)
    with pytest.raises(MissingExtraError) as caught:
        await load_agent()
    assert str(caught.value) == (
        "No backend was chosen, and none can be: no server's address is set, and torch is not installed."
        " Set OPENAI_API_URL (or base_url in config.toml) to an OpenAI-compatible server,"
        " or install a local engine with: pip install '.[llm]', in a checkout of llm-backend."
    )
    assert caught.value.name == "torch"


async def test_a_missing_library_is_told_by_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which engine needs the library."""
    monkeypatch.setitem(ENGINES, "langchain", replace(ENGINES["langchain"], libraries=("h3_absent",)))
    with pytest.raises(MissingExtraError) as caught:
        await load_agent("langchain")
    assert str(caught.value) == (
        "The langchain engine needs h3_absent, which is not installed."
        " Install it with: pip install '.[fake]', in a checkout of llm-backend."
    )


async def test_an_engine_that_does_not_import_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine that does not import raises BrokenExtraError."""
    (tmp_path / "h3_engine.py").write_text("from json import no_such_name", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ENGINES, "openai", replace(ENGINES["openai"], agent="h3_engine:FakeAgent"))
    with pytest.raises(BrokenExtraError, match="The openai engine needs h3_engine"):
        await load_agent("openai")


async def test_engines_are_imported_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing an engine does not block the event loop."""
    threads = []

    def import_engine(name: str) -> type[FakeAgent]:
        threads.append((name, threading.current_thread()))
        return FakeAgent

    monkeypatch.setattr(agent_loader, "import_agent_class", import_engine)
    await load_agent("huggingface", validate=False)
    assert [name for name, _ in threads] == ["huggingface"]
    assert threads[0][1] is not threading.current_thread()


async def test_a_sound_agent_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A working agent passes validation, and stays open."""
    monkeypatch.setattr(FakeAgent, "invoke", _answering(PARIS))
    agent = await load_agent("huggingface")
    assert agent is FakeAgent.created
    assert not FakeAgent.created.closed


def _answering(answers: dict[str, AgentResponse]) -> object:
    async def invoke(_: FakeAgent, payload: AgentPayload) -> AgentResponse:
        return answers[payload.user_message]

    return invoke


@pytest.mark.parametrize(("model", "named"), [(None, "The default model"), ("some/model", "The model 'some/model'")])
async def test_a_broken_agent_is_closed_and_refused(model: str | None, named: str) -> None:
    """An agent that answers nonsense is refused and closed."""
    with pytest.raises(AgentValidationError) as caught:
        await load_agent("huggingface", model)
    assert str(caught.value) == (
        f"{named} on the huggingface engine answered none of 4 simple questions correctly."
        " Its weights may be damaged: fetch the model again, or choose another."
        " If the model is fine (not every model knows English), load it with validate=False."
    )
    assert FakeAgent.created.closed


async def test_an_error_while_validating_closes_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error during validation closes the agent, and reaches the caller."""

    async def fail(_: FakeAgent, __: AgentPayload) -> AgentResponse:
        message = "no server"
        raise EngineConnectionError(message)

    monkeypatch.setattr(FakeAgent, "invoke", fail)
    with pytest.raises(EngineConnectionError, match="no server"):
        await load_agent("openai")
    assert FakeAgent.created.closed


async def test_cancelling_while_validating_closes_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling during validation closes the agent."""
    asked = asyncio.Event()

    async def hang(_: FakeAgent, __: AgentPayload) -> AgentResponse:
        asked.set()
        response: asyncio.Future[AgentResponse] = asyncio.get_running_loop().create_future()
        return await response

    monkeypatch.setattr(FakeAgent, "invoke", hang)
    loading = asyncio.create_task(load_agent("huggingface"))
    await asked.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert FakeAgent.created.closed
