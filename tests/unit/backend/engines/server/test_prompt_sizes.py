"""Tests of the estimate of a prompt's length where there is no tokenizer."""

from __future__ import annotations

from typing import Any

from llm_backend.llms.engines.server.prompt_sizes import PromptSizes

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi."}
MORE = {"role": "user", "content": "Tell me more"}
TOOL = {"type": "function", "function": {"name": "roll"}}


def test_unknown_prompt_counts_at_least_its_bytes() -> None:
    """A prompt of many tokens is taken for one that fits."""
    content = "日本語 🦉 " * 100
    assert PromptSizes().estimate([{"role": "user", "content": content}], []) > len(content.encode())


def test_what_the_server_counted_is_known() -> None:
    """What a server counted is estimated again, four times too high."""
    sizes = PromptSizes()
    sizes.learn([HELLO], [], 31)
    assert sizes.estimate([HELLO], []) == 31


def test_only_what_is_new_is_estimated() -> None:
    """A long conversation is estimated from its start at each turn, and so is cut far too early."""
    sizes = PromptSizes()
    sizes.learn([HELLO, HI], [], 31)
    assert 31 + len(MORE["content"]) <= sizes.estimate([HELLO, HI, MORE], []) < 31 + 64


def test_other_beginning_or_other_tools_are_not_known() -> None:
    """The count of one prompt is taken for that of another one."""
    sizes = PromptSizes()
    sizes.learn([HELLO, HI], [], 1)
    unknown: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
        ([HI], []),
        ([HELLO], []),
        ([HELLO, HI], [TOOL]),
    ]
    assert all(sizes.estimate(messages, tools) > 64 for messages, tools in unknown)


def test_memory_of_prompts_is_bounded() -> None:
    """An agent that lives for long remembers every prompt that it ever sent."""
    sizes = PromptSizes()
    for number in range(2000):
        sizes.learn([{"role": "user", "content": str(number)}], [], 1)
    assert sizes.estimate([{"role": "user", "content": "0"}], []) > 64
    assert sizes.estimate([{"role": "user", "content": "1999"}], []) == 1
