"""The openai engine against a real server with a real model, and against servers that misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.server_contract import QUESTION, ServerAgentContract, joined

if TYPE_CHECKING:
    from backend.llms.engines.openai import OpenAIAgent

pytestmark = pytest.mark.requires("llm", "model", "openai")


class TestOpenAI(ServerAgentContract):
    """The whole contract, and what OpenAI's library alone can do."""

    @pytest.fixture
    def agent_class(self) -> type[OpenAIAgent]:
        """The engine under test."""
        from backend.llms.engines.openai import OpenAIAgent  # noqa: PLC0415  (collection needs no extra)

        return OpenAIAgent


def test_every_error_of_the_library_is_known() -> None:
    """An error that the library got in a new version would reach callers as it is."""
    import openai  # noqa: PLC0415

    from backend.llms.openai_server import ERROR_NAMES, qualified_name  # noqa: PLC0415

    def family(kind: type[Exception]) -> set[str]:
        return {qualified_name(kind)}.union(*map(family, kind.__subclasses__()))

    known = {name for name in family(openai.OpenAIError) if name.startswith("openai.")}
    assert known - ERROR_NAMES == set()
    assert {name for name in ERROR_NAMES if name.startswith("openai.")} - known == set()
