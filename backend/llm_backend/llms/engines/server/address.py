"""Where an OpenAI-compatible server is, how to reach it, and which parts of that are secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from llm_backend.errors import ConfigError, shown
from llm_backend.llms.engines.server.proxies import proxy_for
from llm_backend.llms.engines.server.secret_masking import mask
from llm_backend.llms.engines.server.told_errors import words_of
from llm_backend.llms.settings.gateway import secrets_in

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.proxies import Proxy
    from llm_backend.llms.settings.agent_settings import AgentSettings

__all__ = ["Server", "root_of", "words_in"]

_OPENAIS = (".api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_OPENAI_URL = "https://api.openai.com/v1"
# One's own server needs no key, but the client library refuses to start without one.
_NO_KEY = "no-key-needed"
_SECRET_NAME = re.compile(r"key|token|secret|sig|pass|pwd|code|auth|cred", re.IGNORECASE)
_MOST_WORDS = 10_000  # characters of others' words that are examined


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """An engine's server and the key to it.

    Attributes:
        url: its address.
        key: its key.
        settings: how long to wait for it.
        model: the server's name for the model; empty until it is known.
    """

    url: str
    key: str
    settings: AgentSettings
    model: str = ""

    @classmethod
    def from_settings(cls, settings: AgentSettings) -> Server:
        """The server that ``settings`` name: the one at ``base_url``, or OpenAI's own if only a key is set.

        Raises:
            ConfigError: neither is set.
        """
        if settings.base_url is None and settings.api_key is None:
            message = (
                "There is no server to ask: neither base_url (OPENAI_API_URL) nor api_key (OPENAI_API_KEY) is set. "
                "Set OPENAI_API_URL to a server's address, such as http://127.0.0.1:8000/v1, "
                "or OPENAI_API_KEY to a key for api.openai.com."
            )
            raise ConfigError(message)
        key = settings.api_key.get_secret_value() if settings.api_key else _NO_KEY
        return cls(settings.base_url or _OPENAI_URL, key, settings, settings.model or "")

    @property
    def place(self) -> str:
        """The address without its query or fragment, which may hold a key."""
        return re.split("[?#]", self.url, maxsplit=1)[0]

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that the environment sets for it.

        Raises:
            ConfigError: the environment names something that is not a proxy.
        """
        return proxy_for(self.url)

    @property
    def limit_name(self) -> str:
        """This server's name for the limit on the answer's tokens.

        OpenAI's reasoning models refuse the old name; Ollama, LM Studio and older llama.cpp silently ignore the new
        one (https://github.com/ollama/ollama/issues/7125).
        """
        own = (urlsplit(self.url).hostname or "").endswith(("api.openai.com", ".openai.azure.com"))
        return "max_completion_tokens" if own else "max_tokens"

    @property
    def is_openais(self) -> bool:
        """Whether it is OpenAI's own or Azure's, which offer nothing beside OpenAI's API."""
        host = urlsplit(self.url).hostname or ""
        return host == "api.openai.com" or host.endswith(_OPENAIS)

    def __repr__(self) -> str:
        return f"Server({self.place!r})"

    @property
    def way(self) -> str:
        """The address, with the proxy through which it is reached, if any."""
        return f"{self.place} (through the proxy {self.proxy.place})" if self.proxy else self.place

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stay hidden: the key, what the settings add for gateways, and the secrets in addresses."""
        queries = parse_qsl(urlsplit(self.url).query)
        in_query = (value for name, value in queries if _SECRET_NAME.search(name))
        added = secrets_in(self.settings.extra_headers, self.settings.extra_body)
        return (self.key, *added, *in_query, *(self.proxy.secrets if self.proxy else ()))

    def words(self, exc: BaseException) -> str:
        """The server's words about its error, shortened, and with any echoed secrets masked."""
        return shown(mask(words_in(exc), self.secrets).rstrip(". \n"))


def words_in(exc: BaseException) -> str:
    """A server's words about its error, for finding out what it means; not for showing, as they may hold secrets."""
    said = getattr(exc, "body", None)
    root = root_of(exc)
    return (words_of(said) if said else str(root) or type(root).__name__)[:_MOST_WORDS]


def root_of(exc: BaseException) -> BaseException:
    """The first of the errors that led to ``exc``: the library's own only says "Connection error."."""
    while True:
        if isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        elif exc.__cause__ is not None:
            exc = exc.__cause__
        else:
            return exc
