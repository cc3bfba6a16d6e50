"""What gateways want beside OpenAI's format: extra headers and fields, any of which may be secret."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Secret, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["BODY", "HEADERS", "Body", "Headers", "body_digest", "body_of", "names_authorization", "secrets_in", "sent"]

BODY = "a table of JSON values, without model, messages, input and stream"
HEADERS = (
    "a table of header names and one-line ASCII values, without Host, Connection, Content-Length, Content-Type "
    "and Transfer-Encoding"
)
_AUTHORIZATION = "authorization"
_OURS = frozenset({"model", "messages", "input", "stream"})
_LIBRARYS = frozenset({"host", "connection", "content-length", "content-type", "transfer-encoding"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_TEXT = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SECRET_NAME = re.compile(r"key|token|secret|pass|auth|sig", re.IGNORECASE)


def _as_headers(value: object) -> object:
    texts = {name: _text(text) for name, text in value.items()} if isinstance(value, dict) else {}
    lower = [str(name).lower() for name in texts]
    if not texts or len(set(lower)) < len(lower) or not all(map(_is_header, texts, texts.values())):
        raise ValueError
    return {name: SecretStr(str(text)) for name, text in texts.items()}


def _is_header(name: object, text: object) -> bool:
    if not (isinstance(name, str) and isinstance(text, str)):
        return False
    return bool(_NAME.fullmatch(name) and _TEXT.fullmatch(text)) and name.lower() not in _LIBRARYS


def _text(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _as_body(value: object) -> object:
    held = value.get_secret_value() if isinstance(value, Secret) else value
    if not isinstance(held, dict) or not _OURS.isdisjoint(held):
        raise ValueError
    try:
        json.dumps(held, allow_nan=False)
    except (TypeError, RecursionError) as exc:
        raise ValueError from exc
    return Secret[dict[str, Any]](held)


Headers = Annotated[dict[str, SecretStr], BeforeValidator(_as_headers)]
Body = Annotated[Secret[dict[str, Any]], BeforeValidator(_as_body)]


def names_authorization(headers: Mapping[str, SecretStr] | None) -> bool:
    """Whether one of the headers is the one that carries the key."""
    return any(name.lower() == _AUTHORIZATION for name in headers or ())


def sent(headers: Mapping[str, SecretStr] | None) -> dict[str, str]:
    """The headers as sent; the one that carries the key is spelt so that it replaces the library's own."""
    return {
        "Authorization" if name.lower() == _AUTHORIZATION else name: text.get_secret_value()
        for name, text in (headers or {}).items()
    }


def body_of(body: Secret[dict[str, Any]] | None) -> dict[str, Any]:
    """The fields as sent."""
    return body.get_secret_value() if body else {}


def body_digest(body: Secret[dict[str, Any]] | None) -> str:
    """A digest to compare bodies by without showing them; empty without one."""
    return hashlib.sha256(json.dumps(body_of(body), sort_keys=True).encode()).hexdigest()[:16] if body else ""


def secrets_in(headers: Mapping[str, SecretStr] | None, body: Secret[dict[str, Any]] | None) -> tuple[str, ...]:
    """What must stay hidden if a server echoes it: every header's value, and fields with a secret's name."""
    return (*sent(headers).values(), *_secrets(body_of(body)))


def _secrets(held: object, *, secret: bool = False) -> Iterator[str]:
    if isinstance(held, dict):
        for name, value in held.items():
            yield from _secrets(value, secret=secret or bool(_SECRET_NAME.search(str(name))))
    elif isinstance(held, list):
        for value in held:
            yield from _secrets(value, secret=secret)
    elif secret and isinstance(held, str) and held:
        yield held
