"""What an answer took, for tests of engines that count it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_backend import AgentResponse, Usage

__all__ = ["used"]


def used(answer: AgentResponse) -> Usage:
    """The tokens of ``answer``, which its engine has to know."""
    usage = answer.metadata["usage"]
    assert usage is not None
    return usage
