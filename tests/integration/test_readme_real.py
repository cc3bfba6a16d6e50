"""The README's example, as a newcomer would copy it."""

from __future__ import annotations

import re
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model")

README = Path(__file__).parents[2] / "README.md"


def test_example_of_the_readme(agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's example does not run, or does not print what it says that it prints."""
    assert agent, "open, so that the example finds the weights in memory"
    [example] = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    with ThreadPoolExecutor() as other_thread:  # the example starts an event loop of its own
        other_thread.submit(runpy.run_path, str(tmp_path / "example.py")).result()
    fact, total, streamed = capsys.readouterr().out.split("\n", 2)
    assert f"print(first.response)  # {fact}" in example
    assert int(total) > 0
    assert streamed.strip()
