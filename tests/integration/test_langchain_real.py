"""The langchain engine against a real server with a real model, and against servers that misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.server_contract import ServerAgentContract

if TYPE_CHECKING:
    from backend.llms.engines.langchain import LangChainAgent

pytestmark = pytest.mark.requires("llm", "model", "langchain")


class TestLangChain(ServerAgentContract):
    """The whole contract, and what LangChain alone can do."""

    @pytest.fixture
    def agent_class(self) -> type[LangChainAgent]:
        """The engine under test."""
        from backend.llms.engines.langchain import LangChainAgent  # noqa: PLC0415  (collection needs no extra)

        return LangChainAgent
