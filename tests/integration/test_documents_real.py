"""The Python in README.md and docs/, as a reader would copy it, with real inference."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.documents import blocks, infers, pages, printed_by, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from llm_backend.llms.agent import Agent
    from tests.integration.server import ModelServer

pytestmark = pytest.mark.requires("llm", "model")

ADDRESS, MODEL = "http://127.0.0.1:8000/v1", "Qwen/Qwen3-8B"  # the documents' name for the reader's server
MORE_NEEDS = {"docs/langchain.md": ("langchain", "openai"), "docs/servers.md": ("openai",)}
PYTHON = [
    pytest.param(page, marks=pytest.mark.requires(*MORE_NEEDS.get(page, ("llm",))))
    for page in pages("python")
    if infers(page)
]


@pytest.fixture(autouse=True)
def _own_conversations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the pages' conversations out of those of whoever runs the tests."""
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize("page", PYTHON)
async def test_python_of_a_page(
    page: str, agent: Agent, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks of a page run one after another, and print what the page says they print."""
    names: dict[str, object] = {"agent": agent}
    for block in blocks(page, "python"):
        text = block.text
        if ADDRESS in text:
            server: ModelServer = request.getfixturevalue("model_server")
            text = text.replace(ADDRESS, server.url).replace(MODEL, server.model)
        await run_python(replace(block, text=text), names)
        printed = capsys.readouterr().out
        assert re.search(printed_by(text), printed), f"{page}, line {block.line}: {printed}"
