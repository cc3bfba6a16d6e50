"""Which proxy stands between us and a server."""

from __future__ import annotations

import pytest

from llm_backend.errors import ConfigError
from llm_backend.llms.engines.server.proxies import is_loopback, proxy_for


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("me.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("127.1", True),
        ("0x7f000001", True),
        ("0.0.0.0", True),  # noqa: S104  (asked, not bound to)
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("example.com", False),
        ("exämple.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, *, loopback: bool) -> None:
    """This machine is recognised however its name is written, and no other host is taken for it."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://api.example.com/v1", "http://plain:3128"),
        ("https://api.example.com/v1", "socks5://secure:1080"),
        ("http://127.0.0.1:8000/v1", None),
        ("http://[::1]:8000/v1", None),
        ("https://direct.example.org/v1", None),
        ("http://below.direct.example.org/v1", None),
        ("http://exact.example.org:8000/v1", None),
        ("http://10.1.2.3/v1", None),
        ("http://10.2.2.3/v1", "http://plain:3128"),
        ("the other end of a model", None),
    ],
)
def test_the_proxy_in_the_way(url: str, place: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine and what NO_PROXY names are reached directly, the rest by its scheme's proxy."""
    monkeypatch.setenv("http_proxy", "user:pass%2Fword@plain:3128")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://secure:1080")
    monkeypatch.setenv("no_proxy", "direct.example.org, exact.example.org:8000, 10.1.0.0/16")
    proxy = proxy_for(url)
    assert (proxy.place if proxy else None) == place
    if place == "http://plain:3128":
        assert proxy is not None
        assert proxy.url == "http://user:pass%2Fword@plain:3128"
        assert proxy.secrets == ("pass%2Fword", "pass/word")
        assert repr(proxy) == "Proxy('http://plain:3128')"


def test_a_proxy_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALL_PROXY serves schemes without a proxy of their own, and NO_PROXY=* turns all of them off."""
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    proxy = proxy_for("https://example.com")
    assert proxy is not None
    assert (proxy.place, proxy.secrets) == ("http://all:1", ())
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for("https://example.com") is None


@pytest.mark.parametrize(
    "address", ["ftp://secret@host", "http://secret@host:x", "http://[secret", "http://", "http://h:0"]
)
def test_what_is_no_proxy(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An impossible proxy is reported by its variable, and its value is not shown."""
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(
        ConfigError, match=r"names a proxy \(HTTP_PROXY or ALL_PROXY\) that is not a proxy's address"
    ) as caught:
        proxy_for("http://example.com/v1")
    assert "secret" not in str(caught.value)
