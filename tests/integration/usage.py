"""What an answer took, for tests of engines that report it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_backend import AgentResponse, Usage

__all__ = ["used"]


def used(answer: AgentResponse) -> Usage:
    """The usage of ``answer``, which its engine has to report."""
    usage = answer.metadata["usage"]
    assert usage is not None
    return usage
