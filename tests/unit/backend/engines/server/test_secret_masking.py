"""How secrets are masked in texts."""

from __future__ import annotations

import base64
import html
import json
import quopri
import re
from urllib.parse import quote, quote_plus

import pytest

from llm_backend.llms.engines.server.secret_masking import mask

KEY = "sk-a/b+c \"d\\e\\\\f'g&hé%iä"


def basic(name: str) -> str:
    """Encode as HTTP basic authentication does."""
    return base64.b64encode(f"{name}:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        repr(KEY),
        json.dumps(KEY),
        json.dumps(KEY, ensure_ascii=False),
        json.dumps(KEY).replace("/", "\\/"),
        repr(json.dumps(KEY)),
        json.dumps(json.dumps(KEY)),
        repr(KEY.encode()),
        ascii(KEY),
        quote(KEY),
        quote(KEY, safe="").lower(),
        quote_plus(KEY),
        html.escape(KEY),
        "".join(f"&#{ord(char)};" for char in KEY),
        KEY.encode("unicode_escape").decode(),
        quote(quote(quote(KEY))),
        html.escape(html.escape(html.escape(KEY))),
        html.escape("".join(f"&#x{ord(char):X};" for char in KEY)),
        quote(html.escape(KEY), safe=""),
        quopri.encodestring(KEY.encode(), quotetabs=True).decode(),
        KEY.encode().hex(),
        KEY.encode().hex().upper(),
    ],
)
def test_secret_in_every_form(written: str) -> None:
    """A secret is masked however a library or a server wrote it."""
    masked = mask(f"before {written} behind", [KEY])
    assert re.fullmatch(r"before b?[\\'\"]*\*\*\*[\\'\"]* behind", masked)


@pytest.mark.parametrize("form", ["\\u{{{:x}}}", "\\u{{{:06X}}}", "\\U{:08x}", "\\{:03o}", "\\\\{:03o}"])
def test_secret_in_code(form: str) -> None:
    """A secret is masked where JavaScript, Python or a shell writes its characters by number."""
    key = "sk-a/b+c=d"
    assert mask(f"before {''.join(form.format(ord(char)) for char in key)} behind", [key]) == "before *** behind"


@pytest.mark.parametrize("name", ["", "a", "ab", "abc"])
def test_secret_in_base64(name: str) -> None:
    """A secret is masked in HTTP basic authentication, behind a user name of any length."""
    assert "***" in mask(basic(name), [KEY])
    core = base64.b64encode(KEY.encode()).decode()[8:-8]
    assert mask(base64.urlsafe_b64encode(KEY.encode()).decode(), [KEY]).count("***") == 1
    assert core not in mask(basic(name), [KEY])


def test_what_is_no_secret_stays() -> None:
    """Text without secrets stays the same, and of two secrets the longer one is masked first."""
    assert mask("a text", ["sk-secret", ""]) == "a text"
    assert mask("a text", []) == "a text"
    assert mask("key and key-2", ["key", "key-2"]) == "*** and ***"
    assert mask("a", ["\\"]) == "a"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sk-1", "***"),
        ("Bearer sk-1.", "Bearer ***."),
        ('"sk-1"', '"***"'),
        (r"a\nsk-1", r"a\n***"),
        ("a%20sk-1 a=20sk-1 a%2520sk-1", "a%20*** a=20*** a%2520***"),
        (r"\x20sk-1 \u0020sk-1", r"\x20*** \u0020***"),
        ("task-1 sk-12 sk-1_", "task-1 sk-12 ***_"),
    ],
)
def test_short_secrets(text: str, shown: str) -> None:
    """A short secret is masked only where it is a whole word, after any boundary."""
    assert mask(text, ["sk-1"]) == shown
