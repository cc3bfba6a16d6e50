"""The estimate of a prompt's length where there is no tokenizer."""

from __future__ import annotations

from typing import Any

from llm_backend.llms.engines.server.prompt_sizes import PromptSizes

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi."}
MORE = {"role": "user", "content": "Tell me more"}
TOOL = {"type": "function", "function": {"name": "roll"}}


def test_unknown_prompt_counts_at_least_its_bytes() -> None:
    """An unknown prompt is never estimated too short."""
    content = "日本語 🦉 " * 100
    assert PromptSizes().estimate([{"role": "user", "content": content}], []) > len(content.encode())


def test_what_the_server_counted_is_known() -> None:
    """A prompt that the server counted has exactly that size."""
    sizes = PromptSizes()
    sizes.learn([HELLO], [], 31)
    assert sizes.estimate([HELLO], []) == 31


def test_only_what_is_new_is_estimated() -> None:
    """Of a longer conversation, only what is new since the last count is estimated."""
    sizes = PromptSizes()
    sizes.learn([HELLO, HI], [], 31)
    assert 31 + len(MORE["content"]) <= sizes.estimate([HELLO, HI, MORE], []) < 31 + 64


def test_other_beginning_or_other_tools_are_not_known() -> None:
    """A count holds only for the same messages with the same tools."""
    sizes = PromptSizes()
    sizes.learn([HELLO, HI], [], 1)
    unknown: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
        ([HI], []),
        ([HELLO], []),
        ([HELLO, HI], [TOOL]),
    ]
    assert all(sizes.estimate(messages, tools) > 64 for messages, tools in unknown)


def test_memory_of_prompts_is_bounded() -> None:
    """Old counts are forgotten, so a long-lived agent does not grow."""
    sizes = PromptSizes()
    for number in range(2000):
        sizes.learn([{"role": "user", "content": str(number)}], [], 1)
    assert sizes.estimate([{"role": "user", "content": "0"}], []) > 64
    assert sizes.estimate([{"role": "user", "content": "1999"}], []) == 1
