"""The langchain engine against a real server with a real model, and against servers that misbehave."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from backend import AgentPayload
from backend.llms.openai_server import ERROR_NAMES, qualified_name
from tests.integration.server import delta
from tests.integration.server_contract import QUESTION, infers_nothing, joined
from tests.integration.wire_contract import ServerAgentContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.llms.engines.langchain import LangChainAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_contract import Connect

pytestmark = pytest.mark.requires("llm", "model", "langchain")


class TestLangChain(ServerAgentContract):
    """The whole contract, and what LangChain alone can do."""

    @pytest.fixture
    def agent_class(self) -> type[LangChainAgent]:
        """The engine under test."""
        from backend.llms.engines.langchain import LangChainAgent

        return LangChainAgent

    @pytest.fixture
    def tracers(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
        """Turn tracing on from outside, and note every tracer that LangChain makes; none of them comes to life."""
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

    @infers_nothing
    async def test_no_tracing(self, connect: Connect, scripted: ScriptedServer, tracers: list[object]) -> None:
        """A variable in the environment sends every prompt to a third party."""
        agent = await connect(scripted.url)
        scripted.complete("ok")
        await agent.invoke(AgentPayload(QUESTION))
        scripted.stream(delta("o"), delta("k"), delta(None, "stop"))
        assert await joined(agent, AgentPayload(QUESTION)) == "ok"
        assert tracers == []
        # The same call without our hand over it does trace, so the list above could have filled.
        from langchain_openai import ChatOpenAI

        scripted.complete("ok")
        await ChatOpenAI(model="m", base_url=scripted.url, api_key=lambda: "none").ainvoke(QUESTION)
        assert len(tracers) == 1


@pytest.mark.untraced("compares the library's errors with ours, and asks no model")
def test_every_error_of_the_library_is_known() -> None:
    """An error that came with a new version of the library reaches callers as it is."""
    from langchain_openai.chat_models import _client_utils, base

    errors = [
        kind
        for module in (base, _client_utils)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
    ]
    unknown = {kind.__name__ for kind in errors if ERROR_NAMES.isdisjoint(map(qualified_name, kind.__mro__))}
    assert unknown == {"OpenAIRefusalError"}  # raised where a caller asks for structured output, which we do not
