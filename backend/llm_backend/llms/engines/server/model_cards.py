"""What servers say about their models: which exist, and how many tokens each reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llm_backend.errors import ConfigError, printable
from llm_backend.llms.engines.server.secret_masking import mask
from llm_backend.llms.engines.server.told_errors import as_mappings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    Card = Mapping[str, Any]
    Ask = Callable[[str, dict[str, Any] | None], Awaitable[Card]]

__all__ = ["card_window", "find_window", "only_model", "unlisted"]

# Servers' names for the context window; the loaded one goes before what the model could. LM Studio; vLLM and SGLang;
# OpenRouter, Together, Groq, Mistral, Fireworks; TGI; LiteLLM and Anthropic.
_WINDOW_KEYS = (
    "loaded_context_length",
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_total_tokens",
    "max_input_tokens",
)
_HOLDERS = (
    "meta",
    "model_info",
    "top_provider",
    "capabilities",
    "limits",
)  # llama.cpp, LiteLLM, others
_MOST_NAMES = 20
# How many tokens Ollama reads, whatever the model could, unless told otherwise (docs/context-length.mdx).
_OLLAMA_WINDOW = 4096
_OLLAMA_SETTING = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)


def only_model(cards: Iterable[Card], server: str, secrets: Sequence[str] = ()) -> str:
    """The name of the server's only model; errors mask any of ``secrets`` that the server echoes.

    Raises:
        ConfigError: it has none, or several, so one has to be chosen.
    """
    names = _names(cards)
    if len(names) == 1:
        return names[0]
    if not names:
        message = f"No model is set, and the server at {server} offers none. Set model (AF_LLM_MODEL)."
        raise ConfigError(message)
    message = (
        f"No model is set, and the server at {server} offers {len(names)}. "
        f"Set model (AF_LLM_MODEL) to one of: {_listed(names, secrets)}."
    )
    raise ConfigError(message)


def unlisted(cards: Iterable[Card], model: str, server: str, secrets: Sequence[str] = ()) -> str:
    """If the server lists models but not ``model``, a sentence that says so, and a space; otherwise empty."""
    cards = list(cards)
    if not _names(cards) or any(_is_called(card, model) for card in cards):
        return ""
    return f"The server at {server} does not list {model!r}; it lists: {_listed(_names(cards), secrets)}. "


def card_window(cards: Iterable[Card], model: str) -> int | None:
    """The context window of ``model`` in tokens, from its card; None if no card gives it."""
    return next((_window(card) for card in cards if _is_called(card, model)), None)


async def find_window(ask: Ask, root: str, model: str) -> int | None:
    """The context window from servers that give it outside their cards; None if it is found nowhere.

    ``ask`` returns the answer to a GET, or to a POST of its argument; an empty one if the server has none.
    """
    lm_studio = await ask(f"{root}/api/v0/models", None)
    told = card_window(as_mappings(lm_studio.get("data")), model)
    told = told or card_window(as_mappings((await ask(f"{root}/model/info", None)).get("data")), model)
    told = told or _window((await ask(f"{root}/props", None)).get("default_generation_settings"))
    told = told or _window(await ask(f"{root}/info", None))
    told = told or card_window(as_mappings((await ask(f"{root}/api/ps", None)).get("models")), model)
    return told or _ollama_window(await ask(f"{root}/api/show", {"model": model}))


def _ollama_window(shown: Card) -> int | None:
    """How much Ollama will read with the model: as its Modelfile says, else the server's default or the model's own."""
    about = shown.get("model_info")
    able = [value for key, value in about.items() if key.endswith(".context_length")] if isinstance(about, dict) else []
    setting = _OLLAMA_SETTING.search(str(shown.get("parameters")))
    windows = [int(setting[1])] if setting else [_OLLAMA_WINDOW] if able else []
    return min((window for window in (*windows, *able) if _is_window(window)), default=None)


def _window(card: object) -> int | None:
    if not isinstance(card, dict):
        return None
    told = [card.get(key) for key in (*_WINDOW_KEYS, "n_ctx")]
    return next(filter(_is_window, told), None) or next(
        filter(None, (_window(card[key]) for key in _HOLDERS if key in card)), None
    )


def _is_window(told: object) -> bool:
    return type(told) is int and told > 0


def _is_called(card: Card, model: str) -> bool:
    aliases = card.get("aliases")
    names = [card.get(key) for key in ("id", "name", "model", "model_name")]
    return model in (*names, *(aliases if isinstance(aliases, list) else ()))


def _names(cards: Iterable[Card]) -> list[str]:
    return sorted({str(card["id"]) for card in cards if card.get("id")})


def _listed(names: Sequence[str], secrets: Sequence[str]) -> str:
    return mask(", ".join(map(printable, names[:_MOST_NAMES])), secrets) + (", ..." if len(names) > _MOST_NAMES else "")
