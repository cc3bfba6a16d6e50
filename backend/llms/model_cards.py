"""What servers say about their models: which there are, and how many tokens each reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.errors import ConfigError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["card_window", "only_model"]

# What servers call the context window in their model cards: vLLM and SGLang, OpenRouter, Groq, Mistral, LM Studio.
_WINDOW_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "loaded_context_length")
_MOST_NAMES = 20


def only_model(cards: Iterable[Mapping[str, Any]], server: str) -> str:
    """The name of the one model that the server has.

    Raises:
        ConfigError: it has none, or several, so that one has to be chosen.
    """
    names = sorted({str(card["id"]) for card in cards if card.get("id")})
    if len(names) == 1:
        return names[0]
    if not names:
        message = f"No model is set, and the server at {server} offers none. Set model (AF_LLM_MODEL)."
        raise ConfigError(message)
    shown = ", ".join(map(printable, names[:_MOST_NAMES])) + (", ..." if len(names) > _MOST_NAMES else "")
    message = (
        f"No model is set, and the server at {server} offers {len(names)}. Set model (AF_LLM_MODEL) to one of: {shown}."
    )
    raise ConfigError(message)


def card_window(cards: Iterable[Mapping[str, Any]], model: str) -> int | None:
    """The context window of ``model`` in tokens, as its card says it, or None when no card does."""
    for card in cards:
        if card.get("id") == model:
            meta = card.get("meta")  # where llama.cpp keeps it
            told = [card.get(key) for key in _WINDOW_KEYS] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
            return next((window for window in told if isinstance(window, int) and window > 0), None)
    return None
