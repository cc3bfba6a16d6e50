"""How far each token of an answer leads the second best: the gap that rounding would have to bridge to change it.

Another processor, type of the weights or number of threads adds numbers up in another order, which moves a score by
hundredths of a nat in float32, and by tenths in bfloat16. As a command, it measures prompts in float32:

    python -m tests.integration.margins "What is the capital of Japan?"

As a plugin, it names the narrowest token that each test of a run generated, narrowest first:

    python -m pytest -p tests.integration.margins tests/integration/test_llm_real.py
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import AgentPayload, GenerationOptions
from llm_backend.llms.models.store import PACKAGED_MODEL, resolve_model
from llm_backend.llms.settings.agent_settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# How many characters are shown of the text before a token.
SHOWN = 40
_SAID = pytest.StashKey[dict[str, "list[Lead]"]]()


@dataclass(frozen=True, order=True)
class Lead:
    """A token that a model chose.

    Attributes:
        nats: the logarithm of how many times likelier it is than the second best, all that changes scores included.
        token: the token's id.
        before: the ids of all tokens before it.
    """

    nats: float
    token: int
    before: tuple[int, ...]

    def told(self, tokenizer: Any) -> str:
        """One line to read."""
        before, token = tokenizer.decode(self.before), tokenizer.decode([self.token])
        return f"{self.nats:6.2f}  {token!r} after {before[-SHOWN:]!r}"


@contextmanager
def watched() -> Iterator[list[Lead]]:
    """Note each token that any model of this process chooses, in order."""
    from transformers import LogitsProcessorList

    said: list[Lead] = []
    process = LogitsProcessorList.__call__

    def look_on(self: Any, input_ids: Any, scores: Any, **options: Any) -> Any:
        scores = process(self, input_ids, scores, **options)
        for before, row in zip(input_ids.tolist(), scores.float(), strict=True):
            best, second = row.topk(2)[0].tolist()
            said.append(Lead(best - second, int(row.argmax()), tuple(before)))
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogitsProcessorList, "__call__", look_on)
        yield said


async def measure(payloads: Sequence[AgentPayload]) -> list[list[Lead]]:
    """The tokens of the packaged model's answers, each answer's narrowest first, in float32 on the CPU."""
    from llm_backend.llms.engines.huggingface.huggingface_agent import HuggingFaceAgent

    settings = AgentSettings(model=PACKAGED_MODEL, dtype="float32", device="cpu")
    measured = []
    async with await HuggingFaceAgent.create(settings) as agent:
        for payload in payloads:
            with watched() as said:
                await agent.invoke(payload)
            measured.append(sorted(said))
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tokens of each prompt's answer."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.margins", description=__doc__.split("\n")[0])
    parser.add_argument("prompt", nargs="+")
    parser.add_argument("--system", default="", help="the system prompt")
    parser.add_argument("--max-new-tokens", type=int, default=12)
    options = parser.parse_args(arguments)
    generation = GenerationOptions(max_new_tokens=options.max_new_tokens)
    payloads = [AgentPayload(each, system_context=options.system, generation=generation) for each in options.prompt]
    for prompt, leads in zip(options.prompt, asyncio.run(measure(payloads)), strict=True):
        sys.stdout.write("\n".join([prompt, *(lead.told(_tokenizer()) for lead in leads), ""]))


@cache
def _tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model().directory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Watch a test that needs a model."""
    if not any("model" in mark.args for mark in item.iter_markers("requires")):
        return (yield)
    with watched() as said:
        yield
    item.config.stash.setdefault(_SAID, {})[item.nodeid] = said
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the narrowest token of each test that generated one."""
    narrowest = sorted((min(said), name) for name, said in config.stash.get(_SAID, {}).items() if said)
    terminalreporter.section("narrowest tokens, in nats")
    for lead, name in narrowest:
        terminalreporter.line(f"{lead.told(_tokenizer())} in {name}")


if __name__ == "__main__":
    main()
