"""What the real tests assert leads widely, and the tool that measures it tells narrow leads from wide ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_backend import AgentPayload, GenerationOptions
from tests.integration import margins
from tests.integration.questions import CAPITALS, QUESTION, question_of

pytestmark = pytest.mark.requires("llm", "model")

ENOUGH = 1.0  # nats
ROOT = Path(__file__).parents[2]


async def test_asserted_answers_lead_widely() -> None:
    """Each token of each asserted answer, its end included, leads by over a nat in float32."""
    generation = GenerationOptions(max_new_tokens=16)
    answers = await margins.measure([AgentPayload(question_of(each), generation=generation) for each in CAPITALS])
    narrow = {country: said[0].nats for country, said in zip(CAPITALS, answers, strict=True) if said[0].nats < ENOUGH}
    assert narrow == {}
    assert all(len(said) > 7 for said in answers), "the city and the end of the answer are among them"


@pytest.mark.untraced("another process generates")
def test_narrow_leads_come_first() -> None:
    """The command shows each prompt's narrowest token first, with its lead."""
    asked = ["What is the capital of France?", QUESTION, "--max-new-tokens", "3"]
    command = [sys.executable, "-m", "tests.integration.margins", *asked]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    france, japan = lines[:4], lines[4:]
    assert (france[0], japan[0]) == ("What is the capital of France?", QUESTION)
    leads = [[float(line.split()[0]) for line in part[1:]] for part in (france, japan)]
    assert leads == [sorted(leads[0]), sorted(leads[1])]
    assert leads[0][0] < ENOUGH / 2 < ENOUGH < leads[1][0]
    assert "'The' after" in france[1]


@pytest.mark.untraced("another process generates")
@pytest.mark.usefixtures("other_processes")
def test_narrowest_token_of_each_test_is_named() -> None:
    """The plugin names the narrowest token of each test that generates, and of no other."""
    tests = "tests/integration/test_huggingface_real.py"
    chosen = [f"{tests}::test_greedy_is_the_default", "tests/unit/matrix/test_memory.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.integration.margins"]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    _, _, summary = done.stdout.partition("narrowest tokens, in nats")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" in {tests}::test_greedy_is_the_default" in summary
    assert "tests/unit" not in summary
