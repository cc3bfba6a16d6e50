"""Which proxy, if any, the environment sets for a server: by HTTP_PROXY and the like, or the system's settings.

Requests to this machine never use one: a proxy that was set for the internet would see the prompt.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from llm_backend.errors import ConfigError

__all__ = ["Proxy", "is_loopback", "proxy_for"]

_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A proxy.

    Attributes:
        url: its address, with any name and password.
        place: its address without them.
        secrets: the password, as written and decoded; empty without one.
    """

    url: str
    place: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Proxy({self.place!r})"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: a loopback address, however it is written, "localhost", or any address (0)."""
    name = host.lower().rstrip(".").partition("%")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # which also knows 127.1 and 0x7f000001
        except (OSError, UnicodeError):
            return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def proxy_for(url: str) -> Proxy | None:
    """The proxy for requests to ``url``; None if they go there directly.

    Raises:
        ConfigError: the environment names something that is not a proxy's address.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or is_loopback(host):
        return None
    proxies = getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address or _is_excepted(host, parts.netloc, proxies.get("no", "")):
        return None
    return _proxy(address, f"{parts.scheme.upper()}_PROXY or ALL_PROXY")


def _is_excepted(host: str, netloc: str, exceptions: str) -> bool:
    """Whether NO_PROXY covers ``host``: by its name, a parent domain, or a network that contains its address."""
    if proxy_bypass(netloc) or proxy_bypass(host):
        return True
    return any(_network_holds(entry.strip().strip("[]"), host) for entry in exceptions.split(","))


def _network_holds(network: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _proxy(address: str, variables: str) -> Proxy:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        sound = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0 and " " not in parts.netloc
    except ValueError:  # a port that is not a number, an unclosed bracket
        sound = False
    if not sound:
        message = (
            f"The environment names a proxy ({variables}) that is not a proxy's address "
            "(its value is not shown because it may hold a password). Give "
            f"{', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]}://HOST:PORT, unset it, or set NO_PROXY to the server's host."
        )
        raise ConfigError(message)
    password = parts.password or ""
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Proxy(parts.geturl(), place, tuple(dict.fromkeys(filter(None, (password, unquote(password))))))
