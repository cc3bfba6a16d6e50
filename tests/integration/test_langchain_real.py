"""What LangChain would do by itself and must not; test_engine_contract asks it for real answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, MemoryEntry
from llm_backend.llms import wrap_chat_model
from tests.integration.scripted_chat_model import Scripted
from tests.integration.server import delta
from tests.integration.server_engines import QUESTION, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect

pytestmark = pytest.mark.requires("langchain")


@pytest.fixture
def server_engine() -> str:
    """The engine under test."""
    return "langchain"


@pytest.fixture
def tracers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Turn tracing on from outside, and record every tracer that LangChain makes, without starting it."""
    utils: Any = import_module("langsmith.utils")
    made: list[object] = []

    def refuse(tracer: object, **_: object) -> None:
        made.append(tracer)
        message = "no tracers in tests"
        raise RuntimeError(message)

    monkeypatch.setattr("langchain_core.tracers.langchain.LangChainTracer.__init__", refuse)
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    utils.get_env_var.cache_clear()
    yield made
    monkeypatch.undo()
    utils.get_env_var.cache_clear()


async def test_no_tracing(connect: Connect, scripted: ScriptedServer, tracers: list[object]) -> None:
    """No variable of the environment sends a prompt to LangSmith."""
    agent = await connect(scripted.url)
    scripted.complete("ok")
    await agent.invoke(AgentPayload(QUESTION))
    scripted.stream(delta("o"), delta("k"), delta(None, "stop"))
    assert await joined(agent, AgentPayload(QUESTION)) == "ok"
    assert tracers == []
    # Without us the same call does trace, so the list above could have filled.
    from langchain_openai import ChatOpenAI

    scripted.complete("ok")
    await ChatOpenAI(model="m", base_url=scripted.url, api_key=lambda: "none").ainvoke(QUESTION)
    assert len(tracers) == 1


def test_every_error_of_the_library_is_known() -> None:
    """Every error of the library maps to one of ours."""
    from langchain_openai.chat_models import _client_utils, base

    from llm_backend.llms.engines.server.client_errors import mapper_of

    errors = [
        kind
        for module in (base, _client_utils)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
    ]
    unknown = {kind.__name__ for kind in errors if mapper_of(kind) is None}
    assert unknown == {"OpenAIRefusalError"}  # raised only for structured output, which we do not ask it for


async def test_an_answer_out_of_a_cache(connect: Connect, scripted: ScriptedServer) -> None:
    """An answer from the caller's LangChain cache is returned without asking the server."""
    from langchain_core.caches import BaseCache
    from langchain_core.globals import set_llm_cache
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration

    class Kept(BaseCache):
        def lookup(self, *_: Any) -> Any:
            return [ChatGeneration(message=AIMessage("from the cache", response_metadata={"finish_reason": "stop"}))]

        def update(self, *_: Any) -> None:
            """Keep nothing else."""

        def clear(self, **_: Any) -> None:
            """Forget nothing."""

    agent = await connect(scripted.url)
    set_llm_cache(Kept())
    try:
        assert (await agent.invoke(QUESTION)).response == "from the cache"
    finally:
        set_llm_cache(None)
    assert scripted.received == []


async def test_answers_of_a_cache_are_told_apart_by_what_is_sent(connect: Connect, scripted: ScriptedServer) -> None:
    """The cache answers only a request that was sent before, extras included."""
    from langchain_core.caches import InMemoryCache
    from langchain_core.globals import set_llm_cache

    agent = await connect(scripted.url)
    scripted.complete("one", reasoning_content="A die.")
    scripted.complete("two")
    answers = []
    set_llm_cache(InMemoryCache())
    try:
        for thought in ("a", "b", "a"):
            turn = MemoryEntry("assistant", "Hi.", extras={"reasoning_content": thought})
            answer = await agent.invoke(AgentPayload(QUESTION, memory=[MemoryEntry("user", "Hi."), turn]))
            answers.append((answer.response, answer.thinking))
    finally:
        set_llm_cache(None)
    assert answers == [("one", "A die."), ("two", ""), ("one", "A die.")]
    assert len(scripted.received) == 2


async def test_is_a_wrapped_chat_model(connect: Connect, scripted: ScriptedServer) -> None:
    """The engine's agent is what wrap_chat_model makes, and knows of a server only where there is one."""
    agent, wrapped = await connect(scripted.url), wrap_chat_model(Scripted().model)
    assert isinstance(agent, type(wrapped))
    assert agent.identity["server"] == scripted.url
    assert wrapped.identity.keys() == {"engine", "model", "wrapped"}
