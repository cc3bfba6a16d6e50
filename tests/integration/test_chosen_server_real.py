"""The server that OPENAI_API_URL points nox to: what every such server has to be able to do.

``LLM_BACKEND_TEST_SERVER`` is its address, ``LLM_BACKEND_TEST_SERVER_KEY`` its key, and
``LLM_BACKEND_TEST_SERVER_MODEL`` the model to ask where it has several; nox sets the first two from ``OPENAI_API_URL``
and ``OPENAI_API_KEY``. Without a server the tests count as unproven.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from llm_backend.llms import validate_agent_report
from llm_backend.llms.settings.agent_settings import AgentSettings
from tests.integration.server_engines import QUESTION, joined
from tests.integration.usage import used

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_backend import AgentPayload
    from llm_backend.llms.engines.server.openai_agent import OpenAIAgent

ADDRESS, KEY, MODEL = (os.environ.get(f"LLM_BACKEND_TEST_SERVER{part}") or None for part in ("", "_KEY", "_MODEL"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.requires("openai", "openai-server"),
    pytest.mark.allow_hosts([urlsplit(ADDRESS or "").hostname or "localhost"]),
]


@pytest.fixture
async def remote() -> AsyncIterator[OpenAIAgent]:
    """An agent for the server."""
    from llm_backend.llms.engines.server.openai_agent import OpenAIAgent

    async with await OpenAIAgent.create(AgentSettings(base_url=ADDRESS, api_key=KEY, model=MODEL)) as agent:
        yield agent


async def test_server_works(remote: OpenAIAgent) -> None:
    """The server's model works with the openai engine."""
    report = await validate_agent_report(remote)
    assert report.verdict == "works", report


async def test_server_streams(remote: OpenAIAgent, ask: Callable[..., AgentPayload]) -> None:
    """The server streams, and holds an answer to its limit."""
    payload = ask(QUESTION, max_new_tokens=64)
    assert await joined(remote, payload)
    usage = used(await remote.invoke(payload))
    assert usage is None or usage.completion_tokens <= 64
