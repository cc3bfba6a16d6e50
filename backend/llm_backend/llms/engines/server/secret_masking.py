"""Masks secrets in texts that others wrote, in whatever form a library or a server printed them."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["mask"]

_STARS = "***"
_MOST_BACKSLASHES = 8  # before one character: a text escaped three times
_SHORTEST_CODE = 8  # characters of base64 or hex that do not match by chance
_PERCENT = "%(?:25)*"  # escaped any number of times
_END = f"(?:;|{_PERCENT}3b)"  # of an HTML entity, which may be escaped in either way
_AND = f"(?:&|{_PERCENT}26)(?:amp{_END})*"
_NUMBER = f"{_AND}(?:#|{_PERCENT}23)"
_SHORTEST_PART = 8  # characters of a secret that do not match by chance within a longer word or number
# Where words begin and end, also after an escape.
_BEFORE = r"(?:(?<![^\W_])|(?<=\\[abfnrtv])|(?<=[%=][0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})"
_BEFORE += r"|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
_AFTER = r"(?![^\W_])"


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` with stars for each of ``secrets``.

    It finds a secret as it is; with any of its characters escaped, once or more, as in Python's repr, JSON, JavaScript,
    URLs, HTML or quoted-printable; in hex; and in base64, also after a name as in HTTP's basic authentication. A secret
    so short that it occurs in many words by chance is found only as a word by itself.
    """
    forms = [form for secret in sorted(filter(None, secrets), key=len, reverse=True) for form in _forms(secret)]
    return re.sub("|".join(forms), _STARS, text) if forms else text


def _forms(secret: str) -> Iterator[str]:
    whole = "".join(map(_escapes, re.findall(r"\\+|[^\\]", secret)))
    yield whole if len(secret) >= _SHORTEST_PART else f"{_BEFORE}{whole}{_AFTER}"
    # Three characters become four: where a secret begins among them depends on the length of what precedes it.
    raw = secret.encode("utf-8", "surrogatepass")
    if len(raw.hex()) >= _SHORTEST_CODE:
        yield f"(?i:{raw.hex()})"
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            code = encode(b"\0" * before + raw).decode()[first:end]
            if len(code) >= _SHORTEST_CODE:
                yield re.escape(code)


def _escapes(char: str) -> str:
    """A pattern for every way to write ``char``, or a run of backslashes, which escapes lengthen."""
    if char.startswith("\\"):
        return rf"(?:\\|(?i:{_PERCENT}5c|=5c|{_NUMBER}(?:0*92|x0*5c){_END}))++"
    raw, code = char.encode("utf-8", "surrogatepass"), ord(char)
    percents, printed = ("".join(f"{mark}{byte:02x}" for byte in raw) for mark in (_PERCENT, "="))
    backslashes = rf"\\{{1,{_MOST_BACKSLASHES}}}"
    units = "".join(f"{backslashes}u{unit:04x}" for unit in _utf16(char))
    octets = "".join(f"{backslashes}x{byte:02x}" for byte in raw)
    octals = "".join(f"{backslashes}{byte:03o}" for byte in raw)
    ways = [
        rf"\\{{0,{_MOST_BACKSLASHES}}}{re.escape(char)}",
        f"(?i:{percents}|{printed})",
        f"(?i:{units}|{octets}|{octals}|{backslashes}x{code:02x})",
        rf"(?i:{backslashes}u(?:{code:08x}|\{{0*{code:x}\}}))",
        f"(?i:{_NUMBER}(?:0*{code}|x0*{code:x}){_END})",
    ]
    if char == " ":
        ways.append(r"\+")
    if escape(char) != char:
        ways.append(f"(?i:{_AND}{escape(char)[1:-1]}{_END})")
    return f"(?:{'|'.join(ways)})"


def _utf16(char: str) -> Iterator[int]:
    pairs = char.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(pairs[i : i + 2], "big") for i in range(0, len(pairs), 2))
