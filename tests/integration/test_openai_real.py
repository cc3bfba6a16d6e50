"""The openai engine against a real server with a real model, and against servers that misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend import AgentPayload, GenerationOptions
from backend.llms.openai_server import ERROR_NAMES, qualified_name
from tests.integration.server_contract import QUESTION
from tests.integration.wire_contract import ServerAgentContract

if TYPE_CHECKING:
    from backend.llms.engines.openai import OpenAIAgent
    from tests.integration.server import ModelServer
    from tests.integration.server_contract import Connect

pytestmark = pytest.mark.requires("llm", "model", "openai")


class TestOpenAI(ServerAgentContract):
    """The whole contract, and what OpenAI's library alone can do."""

    @pytest.fixture
    def agent_class(self) -> type[OpenAIAgent]:
        """The engine under test."""
        from backend.llms.engines.openai import OpenAIAgent

        return OpenAIAgent

    async def test_real_stop_text(self, connect: Connect, model_server: ModelServer) -> None:
        """A stop text that a real server leaves in its answer, as this one does, reaches the caller."""
        agent = await connect(model_server.url, model_server.model)
        answer = await agent.invoke(AgentPayload(QUESTION, generation=GenerationOptions(stop=(" of",))))
        assert answer.response == "The capital"
        assert answer.metadata["finish_reason"] == "stop"
        assert answer.metadata["usage"].completion_tokens == 3


# Misuse of the library by its caller, which would be a mistake of ours and has to show as one.
MISUSE = {"APIRemovedInV1", "MutuallyExclusiveAuthError", "StreamAlreadyConsumed", "_AmbiguousModuleClientUsageError"}


@pytest.mark.untraced("compares the library's errors with ours, and asks no model")
def test_every_error_of_the_library_is_known() -> None:
    """An error that came with a new version of the library reaches callers as it is."""
    import openai

    def family(kind: type[Exception]) -> set[str]:
        return {qualified_name(kind)}.union(*map(family, kind.__subclasses__()))

    errors = {name for name in family(openai.OpenAIError) if name.startswith("openai.")}
    known = {name for name in ERROR_NAMES if name.startswith("openai.")}
    assert errors - known == {"openai.OpenAIError", *(f"openai.{name}" for name in MISUSE)}
    assert known - errors == set()
