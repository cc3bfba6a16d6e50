"""How servers report errors: with a status, inside a stream, or as an answer with status 200.

Plain data in, plain data out: it needs no library, so that every engine reads errors the same way.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "BrokenOffError",
    "ToldError",
    "as_mappings",
    "codes_of",
    "error_in",
    "error_in_event",
    "facts_of",
    "status_of",
    "words_of",
]

# Finish reasons that mean failure: OpenRouter; vLLM and SGLang; Zhipu; DeepSeek; Google.
_FAILED_ENDS = re.compile(
    r"(error|abort|network_error|insufficient_system_resource|.*malformed_function_call)", re.IGNORECASE
)
_ANSWERS = frozenset({"choices", "output", "data", "object", "delta", "response", "item"})
_WORDS = ("message", "detail", "error_description", "error", "errors", "msg", "status_msg", "error_message", "title")
_CODES = ("code", "type", "status", "error_code", "status_code", "__type", "error_type")
_MOST_WORDS = 10_000  # characters examined
_MOST_ERRORS = 3
_HTTP_ERRORS = range(400, 600)
# Servers' words for statuses, ignoring case, underscores and spaces; the first match counts.
_STATUSES: tuple[tuple[str, int], ...] = (
    (r"contextlength|contextsize|contextwindow", 400),
    (r"insufficient(balance|credit|funds)|payment|billing", 402),
    (r"modelnotfound|deploymentnotfound", 404),
    (r"ratelimit|toomany|quota|throttl|resourceexhausted", 429),
    (r"unauthenticated|unauthori[sz]ed|authentication|invalidauth|apikey", 401),
    (r"permission|forbidden|accessdenied", 403),
    (r"notfound|notexist", 404),
    (r"overloaded", 529),
    (r"unavailable|systemresource", 503),
    (r"timeout|timedout|deadline", 504),
    (r"toolarge", 413),
    (r"invalid|badrequest|validation|unprocessable|contentfilter|contentpolicy|failedprecondition", 400),
    (r"networkerror", 502),
    (r"internal|servererror|apierror|^error$|^abort$", 500),
)


class BrokenOffError(Exception):
    """The connection ended in the middle of an answer; the cause says how."""


class ToldError(Exception):
    """An error that a server sent instead of an answer, without a status or with that of a success.

    Attributes:
        body: its content.
        status_code: the status it should have had; None if neither a number nor words tell.
        code: its code, as a string.
        param: the option of the request that it names.
        response: the answer that it is, or is in, if known.
    """

    response: object = None

    def __init__(self, body: object) -> None:
        super().__init__("the server reported an error")  # without its words, which may quote what nobody should see
        fields = body if isinstance(body, dict) else {}
        self.body = body
        self.status_code = status_of(body)
        self.code = None if fields.get("code") is None else str(fields["code"])
        self.param = fields.get("param")


def as_mappings(items: object) -> list[Mapping[str, Any]]:
    """The JSON objects in ``items``, if that is a list; otherwise an empty list."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def error_in(body: object, *, whole: bool = True) -> object:
    """The error that ``body`` reports, as a ``whole`` answer or a part of one; None if it reports none.

    An answer that ended in an error is an error, whatever else it holds: what came is not the answer.
    """
    if isinstance(body, list):
        return next(filter(None, (error_in(item, whole=whole) for item in body)), None)
    if not isinstance(body, dict):
        return None
    return next(filter(None, _errors_in(body, whole=whole)), None)


def error_in_event(event: bytes) -> object:
    """The error that one event of a stream reports; None if it reports none.

    Args:
        event: its lines. If none of them belongs to an event, they are read as JSON: the server does not stream.
    """
    fields: dict[bytes, list[bytes]] = {}
    for line in event.splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name, []).append(value.removeprefix(b" "))
    named = fields.get(b"event", [b""])[-1] == b"error"
    for name, is_error in ((b"data", named), (b"error", True)):  # older llama.cpp has a field "error"
        if name in fields:
            return _said(b"\n".join(fields[name]), is_error=is_error)
    return error_in(_read(event.decode(errors="replace").strip()))


def _said(text: bytes, *, is_error: bool) -> object:
    words = text.decode(errors="replace").strip()
    body = _read(words)
    return error_in(body, whole=False) or (body if is_error else None)


def _errors_in(body: dict[str, Any], *, whole: bool) -> Iterator[object]:
    yield _told(body.get("error"), body)
    for choice in as_mappings(body.get("choices")):
        yield _told(choice.get("error"), choice)
        # OpenRouter may report the end of a failed answer as an ordinary one, with the provider's own reason only here.
        ends = [str(choice.get(key) or "") for key in ("native_finish_reason", "finish_reason")]
        if any(map(_FAILED_ENDS.fullmatch, ends)):
            yield {
                "message": f"the answer ended with {' and '.join(dict.fromkeys(filter(None, ends)))}",
                "code": "error",
            }
    response = body.get("response")
    for answer in (body, response if isinstance(response, dict) else {}):  # of the Responses API
        if answer.get("status") == "failed" and ("output" in answer or answer.get("object") == "response"):
            yield _told(answer.get("error"), answer) or {"message": "it does not say why", "code": "server_error"}
    if "error" in (body.get("type"), body.get("object")) or body.get("success") is False:
        yield body
    base = body.get("base_resp")  # MiniMax
    if isinstance(base, dict) and base.get("status_code"):
        yield base
    if body.get("error_code"):  # FastChat
        yield body
    answers = any(body.get(key) for key in _ANSWERS)
    number = body.get("error")
    if type(number) is int and number and not answers:
        yield {**body, "code": number}
    words = any(isinstance(body.get(key), str | list) for key in ("message", "detail", "msg", "errors"))
    if words and not answers and (whole or status_of(body)):  # a part may be only a keep-alive
        yield body


def _told(error: object, holder: Mapping[str, Any]) -> object:
    """``error`` if it says anything; if it is only words, with the code beside it."""
    if isinstance(error, dict):
        return error if any(error.values()) else None
    if isinstance(error, str) and error.strip():
        codes = {key: holder[key] for key in ("code", "status", "status_code", "param") if holder.get(key)}
        return {"message": error, **codes} if codes else error
    return holder if error is True else error if isinstance(error, list) and error else None


def status_of(body: object) -> int | None:
    """The status that an error's code means, as a number or a word; None if it means none."""
    values = [value for fields in _nested(body) for key in _CODES if (value := fields.get(key)) is not None]
    for value in values:
        if not isinstance(value, bool) and re.fullmatch(r"\d{3}", str(value)) and int(value) in _HTTP_ERRORS:
            return int(value)
    texts = [_plain(value) for value in values if isinstance(value, str)]
    return next((status for words, status in _STATUSES if any(re.search(words, text) for text in texts)), None)


def codes_of(body: object) -> frozenset[str]:
    """The codes and types of an error, in lower case, only letters and digits."""
    return frozenset(_plain(fields[key]) for fields in _nested(body) for key in _CODES if fields.get(key) is not None)


def facts_of(body: object, name: str) -> int | None:
    """The integer that an error has under ``name``."""
    return next((fields[name] for fields in _nested(body) if type(fields.get(name)) is int), None)


def words_of(body: object) -> str:
    """An error's message, without its wrapping; all of it if no message is found."""
    if isinstance(body, str):
        return body[:_MOST_WORDS]
    if isinstance(body, list):
        return "; ".join(dict.fromkeys(map(words_of, body[:_MOST_ERRORS])))
    if not isinstance(body, dict):
        return str(body)
    said = next((body[key] for key in _WORDS if body.get(key)), None)
    if said is None:
        return str(body)[:_MOST_WORDS]
    metadata = body.get("metadata")  # where OpenRouter keeps its provider's words
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return words_of(said) + (f": {words_of(_read(raw))}" if raw else "")


def _read(text: object) -> object:
    """The JSON in ``text``, or ``text`` itself if it is not JSON."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text


def _nested(body: object) -> Iterator[dict[str, Any]]:
    """The objects of an error, from the outside in."""
    if isinstance(body, dict):
        yield body
        for key in ("error", "errors", "detail"):
            yield from _nested(body.get(key))
    elif isinstance(body, list):
        for item in body[:_MOST_ERRORS]:
            yield from _nested(item)


def _plain(value: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(value).lower())
