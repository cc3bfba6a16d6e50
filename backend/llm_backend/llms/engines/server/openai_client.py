"""OpenAI's client library as every engine here uses it: patient within limits, loyal to one address, and discreet."""

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

# What the library would tell each server about this machine, and about its owner's account with OpenAI.
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

    It follows no redirect: the library would leave the key behind, but take the prompt to wherever it is sent. Of the
    environment it heeds the proxies, for servers elsewhere, and the certificates to trust; nothing of OPENAI_*, as what
    is meant for one server would else travel to each.

    Raises:
        ConfigError: the environment's proxy, or its certificates, cannot be used.
        MissingExtraError: its proxy needs a library that is not installed.
    """
    left_out: Any = openai.Omit()  # the library's way to say it, though its types know texts only
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
            trust_env=False,  # what it would read there is given here
            verify=trusted,
            proxy=proxy.url if proxy else None,
            query=urlencode(parse_qsl(urlsplit(server.url).query, keep_blank_values=True)),
        )
    except ImportError as exc:
        message = (
            f"The way to {server.place} leads through {proxy}, which needs socksio, which is not installed. "
            "Install it with: pip install socksio. Or set NO_PROXY to the server's host."
        )
        raise MissingExtraError(message, name="socksio") from exc
    except (ValueError, httpx2.InvalidURL):
        message = f"The way to {server.place} leads through {proxy}, which is no proxy. Change HTTP_PROXY or its like."
        raise ConfigError(message) from None  # whose words may hold the password


def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted: those of SSL_CERT_FILE or SSL_CERT_DIR, else the system's."""
    try:
        return httpx2.create_ssl_context()
    except OSError as exc:  # which ssl's own errors are, too
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "The system")
        message = (
            f"{name} ({os.environ.get(name, 'its store')}) holds no certificates that can be read: {exc}. "
            "Name a file with certificates in PEM format, or unset it."
        )
        raise ConfigError(message) from exc
