"""Estimates how many tokens a prompt has for a server, without its model's tokenizer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Messages = Sequence[Mapping[str, Any]]

__all__ = ["PromptSizes"]

# What chat templates add themselves, such as a default system prompt or the date.
_TEMPLATE_TOKENS = 64
_MOST_PROMPTS = 1024


class PromptSizes:
    """A server's counts for the prompts that it read lately, and upper bounds for others.

    A message counts as one token for each byte of it as JSON in UTF-8: tokenizers that work on bytes, as nearly all
    do, never need more, and mostly need a quarter. If a prompt begins like one that the server counted, as the next
    turn of a conversation does, only the new part is estimated.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}  # by digest, so that no text is kept

    def learn(self, messages: Messages, tools: Messages, tokens: int) -> None:
        """Remember that the server counted ``tokens`` for this prompt."""
        *_, (digest, _) = _beginnings(messages, tools)
        self._known[digest] = tokens
        if len(self._known) > _MOST_PROMPTS:
            del self._known[next(iter(self._known))]

    def counted(self, messages: Messages, tools: Messages) -> int | None:
        """How many tokens the server counted for exactly this prompt; None if it has not."""
        *_, (digest, _) = _beginnings(messages, tools)
        return self._known.get(digest)

    def estimate(self, messages: Messages, tools: Messages) -> int:
        """An upper bound for the prompt's tokens."""
        tokens = _TEMPLATE_TOKENS
        for digest, size in _beginnings(messages, tools):
            tokens = self._known.get(digest, tokens + size)
        return tokens


def _beginnings(messages: Messages, tools: Messages) -> Iterator[tuple[bytes, int]]:
    """For the tools, then each message: a digest of everything up to there, and the bytes it adds."""
    digest = hashlib.sha256()
    for part in ([dict(tool) for tool in tools], *map(dict, messages)):
        text = json.dumps(part, ensure_ascii=False).encode(errors="replace")
        digest.update(text)
        yield digest.digest(), len(text)
