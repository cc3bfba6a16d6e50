"""OpenAI's client library as every engine here uses it: with limits, one address, and no data about the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import openai

from llm_backend.errors import ConfigError, MissingExtraError
from llm_backend.llms.engines.server.event_stream import StreamingClient
from llm_backend.llms.engines.server.transport import WatchedClient
from llm_backend.llms.settings.gateway import sent

if TYPE_CHECKING:
    import ssl

    from llm_backend.llms.engines.server.address import Server

__all__ = ["connect"]

# Headers in which the library would tell each server about this machine, and its owner's account with OpenAI.
_ABOUT_US = (
    "X-Stainless-Lang",
    "X-Stainless-Package-Version",
    "X-Stainless-OS",
    "X-Stainless-Arch",
    "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version",
    "X-Stainless-Async",
    "OpenAI-Organization",
    "OpenAI-Project",
)


def connect(server: Server) -> openai.AsyncOpenAI:
    """Make a client for ``server``; it connects on the first request.

    It follows no redirects: the library would drop the key, but send the prompt wherever it is redirected. From the
    environment it takes the proxies, for servers elsewhere, and the certificates to trust, but nothing from OPENAI_*:
    what is meant for one server would otherwise reach every server.

    Raises:
        ConfigError: the environment's proxy or certificates cannot be used.
        MissingExtraError: its proxy needs a library that is not installed.
    """
    left_out: Any = openai.Omit()  # the library's way to omit a header, though its types know only strings
    headers: dict[str, Any] = {**dict.fromkeys(_ABOUT_US, left_out), **sent(server.settings.extra_headers)}
    client = StreamingClient(
        base_url=server.place,
        api_key=server.key,
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        timeout=openai.Timeout(server.settings.read_timeout, connect=server.settings.connect_timeout),
        max_retries=server.settings.max_retries,
        http_client=_http_client(server),
        default_headers=headers,
    )
    client._custom_headers = headers  # noqa: SLF001  (without those of OPENAI_CUSTOM_HEADERS)
    return client


def _http_client(server: Server) -> WatchedClient:
    proxy, trusted = server.proxy, _trusted()
    try:
        return WatchedClient(
            follow_redirects=False,
            trust_env=False,  # given here instead
            verify=trusted,
            proxy=proxy.url if proxy else None,
            query=urlencode(parse_qsl(urlsplit(server.url).query, keep_blank_values=True)),
        )
    except ImportError as exc:
        message = (
            f"The server at {server.place} is reached through {proxy}, which needs socksio, which is not installed. "
            "Install it with: pip install socksio. Or set NO_PROXY to the server's host."
        )
        raise MissingExtraError(message, name="socksio") from exc
    except (ValueError, httpx2.InvalidURL):
        message = f"The server at {server.place} is reached through {proxy}, which is not a proxy. Change HTTP_PROXY."
        raise ConfigError(message) from None  # its message may hold the password


def _trusted() -> ssl.SSLContext:
    """The trusted certificates: those in SSL_CERT_FILE or SSL_CERT_DIR, else the system's."""
    try:
        return httpx2.create_ssl_context()
    except OSError as exc:  # includes ssl's own errors
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "The system")
        message = (
            f"{name} ({os.environ.get(name, 'its store')}) holds no readable certificates: {exc}. "
            "Name a file with certificates in PEM format, or unset it."
        )
        raise ConfigError(message) from exc
