"""Detects from a server's words that prompt and answer do not fit its model's context window, and reads the figures.

The words are those of OpenAI and Azure, vLLM, SGLang, TGI, llama.cpp, LM Studio, Ollama, Mistral, Anthropic, Google,
xAI, Moonshot, Cerebras, Fireworks, Poolside and OpenRouter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_backend.errors import ContextWindowError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Overflow", "read_overflow"]

_CODES = re.compile(r"contextlengthexceeded|exceedcontextsize|contextwindowexceeded|contextoverflow")
# Said of an option with such a name, and of too many tokens in a span of time (Bedrock).
_OTHERS = re.compile(
    r"(unknown|unrecognized|unexpected|unsupported) (request )?(parameter|argument|field|keyword|option)"
    r"|extra inputs? .{0,10}not permitted|please wait|throttl|rate.?limit|tokens.per.(sec|min|hour|day)",
    re.IGNORECASE,
)
_OVERFLOW = re.compile(
    r"context.?(length|window|size|limit)|context the overflows|too many (input |prompt )?tokens"
    r"|(prompt|input|request|conversation)\b.{0,30}(?<!took)(?<!taking)(?<!takes)(?<!running) too long"
    r"|model token limit"
    r"|exceed(s|ed)? (the configured limit|n_ctx)|length of all messages"
    r"|longer than the (maximum )?model|maximum (allowed )?(prompt|model|sequence|input) length|prompt exceeds"
    r"|exceeded max(imum)? (context|prompt|model|sequence|input|tokens?|length)"
    r"|number of (input )?tokens allowed|`inputs` (tokens \+|must have)|input length (should|exceeds)"
    r"|reduce the length of the (messages|input|prompt)|exceeds the max_model_len"
    r"|max_tokens must be at least 1, got (0|-\d)",  # vLLM, whose prompt leaves no token for the answer
    re.IGNORECASE,
)
_N = r"(\d[\d,]*)"
_WINDOW = (
    rf"n_ctx: {_N}",
    rf"context (?:length|window|size|limit)(?! by)[^\d+]{{0,40}}{_N}(?![\d,]* \+)",
    rf"> {_N}",
    rf"{_N}(?: tokens)? max(?:imum)?\b",
    rf"maximum (?:allowed )?(?:prompt|model|sequence|input|context|number)\b\D{{0,40}}{_N}",
    rf"max_model_len {_N}",
    rf"must (?:be <=|have less than) {_N}",
    rf"(?:token limit|limit is|limit of|range of input length should be \[\d+,)\D{{0,5}}{_N}",
)
_PROMPT = (
    rf"{_N} (?:tokens )?(?:in|from|of) (?:the |your )?(?:input messages|messages|prompt|text input)",
    rf"(?:request|prompt|input) \((?:length )?{_N}",
    rf"(?:input )?token count \(?(?:of )?{_N}",
    rf"(?:input|prompt) length {_N} exceeds",
    rf"{_N} `inputs`",
    rf"prompt is too long: {_N}",
    rf"(?:passed|first) {_N} (?:input )?tokens",
    rf"(?:resulted in|contains?|has)(?: at least)? {_N}(?: \w+)? tokens",
    rf"(?:current length is|requested:|requested tokens \(|prefill) {{0,1}}{_N}",
    rf"context limit: {_N} \+",
    rf"(?:n_keep|given): {_N}",
)
_PASSED = (rf"upper bound for {_N} input tokens",)  # vLLM counts only characters: too many to be so few tokens
_ANSWER = (
    rf"{_N} (?:tokens )?(?:in|for) (?:the )?(?:completion|output)",
    rf"{_N} `max_new_tokens`",
    rf"requested {_N} output tokens",
    rf"too large: {_N}",
    rf"context limit: [\d,]+ \+ {_N}",
)
_TOTAL = (rf"requested(?: about| a total of)? {_N} tokens", rf"has {_N} tokens")


@dataclass(frozen=True, slots=True)
class Overflow:
    """What does not fit, in tokens; None for figures that the server does not give.

    Attributes:
        prompt: tokens of the prompt; at least this many where the server stops counting (vLLM).
        answer: tokens that the answer may have.
        window: tokens that the model reads and writes together.
    """

    prompt: int | None
    answer: int | None
    window: int | None

    def error(self, model: str, words: str) -> PayloadError:
        """The error for it: ContextWindowError if the figures are known."""
        longer = f"The prompt is longer than {model!r} reads: {words}. Shorten the message or the memory, "
        longer += "or choose a model with a larger context window."
        if self.prompt is None or self.window is None:
            return PayloadError(longer)
        if self.prompt < self.window:  # too little is left for the answer
            answer = "an answer" if self.answer is None else f"an answer of up to {self.answer} tokens"
            longer = (
                f"The prompt ({self.prompt} tokens) and {answer} do not fit together into the {self.window} tokens "
                f"that {model!r} reads: {words}. Set max_new_tokens to at most {self.window - self.prompt}, "
                "or shorten the message or the memory."
            )
        return ContextWindowError(longer, prompt_tokens=self.prompt, context_window=self.window)


def read_overflow(
    words: str, codes: Iterable[str] = (), prompt: int | None = None, window: int | None = None
) -> Overflow | None:
    """The overflow that an error reports; None if it reports something else.

    Args:
        words: the server's words.
        codes: the error's codes, in lower case, only letters and digits.
        prompt: the prompt's tokens, if the error has them in a field.
        window: the window's, likewise.
    """
    told = _OVERFLOW.search(words) and not _OTHERS.search(words)
    if not (told or any(map(_CODES.search, codes))):
        return None
    window = window if window is not None else _first(_WINDOW, words)
    answer, total = _first(_ANSWER, words), _first(_TOTAL, words)
    prompt = prompt if prompt is not None else _first(_PROMPT, words)
    passed = _first(_PASSED, words)
    if prompt is None and passed is not None:
        prompt = passed + 1
    if total is not None and (prompt is None or answer is None):
        prompt = total - answer if answer is not None else total
    return Overflow(prompt, answer, window)


def _first(patterns: Iterable[str], words: str) -> int | None:
    found = next(filter(None, (re.search(pattern, words, re.IGNORECASE) for pattern in patterns)), None)
    return int(found[1].replace(",", "")) if found else None
