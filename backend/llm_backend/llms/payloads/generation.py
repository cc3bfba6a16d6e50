"""How an answer is generated: the generation options and the reasoning effort of a payload or of the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, Literal, get_args

from llm_backend.errors import shown
from llm_backend.llms.payloads.checks import require, require_choice, require_text

__all__ = ["Effort", "GenerationOptions", "ReasoningEffort", "Summary"]

Effort = Literal["none", "minimal", "low", "medium", "high"]
Summary = Literal["none", "auto", "concise", "detailed"]

# For each numeric option: its types, a range check, and both in words.
_NUMBERS: dict[str, tuple[tuple[type, ...], Callable[[Any], bool], str]] = {
    "max_new_tokens": ((int,), lambda value: value >= 1, "a whole number of at least 1"),
    "temperature": ((int, float), lambda value: 0 <= value < inf, "a finite number of at least 0"),
    "top_p": ((int, float), lambda value: 0 < value <= 1, "a number above 0 and at most 1"),
    "top_k": ((int,), lambda value: value >= 1, "a whole number of at least 1"),
    # Engines and servers hold a seed in 64 bits.
    "seed": ((int,), lambda value: 0 <= value < 2**63, "a whole number of at least 0 and below 2**63"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How to generate an answer. ``None`` leaves the choice to the settings, then to the engine.

    Attributes:
        max_new_tokens: maximum number of tokens to generate, at least 1.
        temperature: 0 is greedy decoding (the default); above 0 samples.
        top_p: keep the smallest set of tokens whose probability reaches this, in (0, 1].
        top_k: keep this many most likely tokens, at least 1.
        seed: makes sampling repeatable on the same machine; below 2**63.
        stop: texts that end the answer; they are not part of it.

    Raises:
        PayloadError: a value is of the wrong type or outside its range.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (kinds, fits, expected) in _NUMBERS.items():
            value = getattr(self, name)
            sound = value is None or (isinstance(value, kinds) and not isinstance(value, bool) and fits(value))
            words = f"{name} is {shown(repr(value))} (type {type(value).__name__})"
            require(sound, f"{words}. Give {expected}, or None for the default.")
        listed = isinstance(self.stop, Sequence) and not isinstance(self.stop, str)
        require(
            listed and all(isinstance(text, str) and text for text in self.stop),
            f"stop is {shown(repr(self.stop))}. Give a sequence of non-empty strings, such as ('###',).",
        )
        for text in self.stop:
            require_text("a stop text", text)
        object.__setattr__(self, "stop", tuple(self.stop))

    def over(self, defaults: GenerationOptions) -> GenerationOptions:
        """These options, with unset ones taken from ``defaults``."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, ())}
        return replace(defaults, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningEffort:
    """How hard a reasoning model thinks, and how much of that it shows.

    Raises:
        PayloadError: a value is not one of the choices.
    """

    effort: Effort = "none"
    generate_summary: Summary = "none"
    summary: Summary = "none"

    # How pydantic builds one from a table in the settings.
    __pydantic_config__ = {"strict": False, "extra": "forbid"}  # noqa: RUF012  (an annotation would make it a field)

    def __post_init__(self) -> None:
        require_choice("reasoning effort", self.effort, get_args(Effort))
        require_choice("generate_summary", self.generate_summary, get_args(Summary))
        require_choice("summary", self.summary, get_args(Summary))
