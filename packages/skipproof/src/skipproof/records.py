"""Dataclasses as JSON and back, checked strictly: what is read may be damaged, or written by anybody.

A field is a text, a truth value, a whole number, a number, a choice of texts, another dataclass, or a list or a mapping
by text of these; or None instead of one of them.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable

    _Read = Callable[[object], Any]

_T = TypeVar("_T")
# What other programs can hold, too.
_LARGEST = 2**63
_PLACE_SHOWN = 80


class MismatchError(ValueError):
    """What was read is not what the dataclass holds; says where, and what is there."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.place: list[str] = []

    def __str__(self) -> str:
        return f"{'.'.join(self.place)}: {self.args[0]}" if self.place else str(self.args[0])

    def at(self, part: str | int) -> MismatchError:
        """Say which field, key or number of the whole it concerns."""
        # A name may be anything, also what no terminal can write.
        text = str(part)
        self.place.insert(0, text if text.isidentifier() or text.isdecimal() else ascii(text)[:_PLACE_SHOWN])
        return self


def spelt(text: str) -> str:
    """Return a text as JSON holds it: a surrogate, such as of a file's name that is no text, is spelt out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def document(value: object, *, brief: bool = False) -> Any:
    """Return what JSON holds of a dataclass, as dicts, lists and scalars; with ``brief``, without default values."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return spelt(value)
    if is_dataclass(value):
        found = {}
        for name, default in _defaults(cast("Any", type(value))):
            own = getattr(value, name)
            if not (brief and own == default):
                found[name] = own if own is None or own == [] else document(own, brief=brief)
        return found
    if isinstance(value, dict):
        return {document(key): document(own, brief=brief) for key, own in value.items()}
    return [document(own, brief=brief) for own in value] if isinstance(value, list | tuple) else value


@cache
def _defaults(kind: Any) -> list[tuple[str, object]]:
    """Return the name and the default value of each field of a dataclass."""
    return [(field.name, _default(field)) for field in fields(kind)]


def parsed(content: bytes) -> Any:
    """Return what is in a JSON file.

    Raises:
        MismatchError: it is not JSON in UTF-8, is nested too deeply, or has a number that JSON does not know.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        message = f"it is not JSON: {error}"
        raise MismatchError(message) from error


def read(kind: Callable[..., _T], value: object) -> _T:
    """Return the dataclass that JSON describes.

    Raises:
        MismatchError: a field is missing, unknown, or of another kind.
    """
    found: _T = _reader(kind)(value)
    return found


def _default(field: Field[Any]) -> object:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is not a number of JSON"
    raise ValueError(message)


@cache
def _reader(kind: Any) -> _Read:
    """Return what reads one kind of value; made once, because a receipt has ten thousand of some."""
    parts = get_args(kind)
    if is_dataclass(kind):
        return _record(kind)
    if get_origin(kind) is Literal:
        return _choice(parts)
    if get_origin(kind) is list:
        return _list(_reader(parts[0]))
    if get_origin(kind) is dict:
        return _mapping(_reader(parts[1]))
    if get_origin(kind) is UnionType:
        [one] = (part for part in parts if part is not NoneType)
        return _optional(_reader(one))
    return {str: _text, bool: _truth, int: _whole, float: _number}[kind]


def _record(kind: Any) -> _Read:
    hints = get_type_hints(kind)
    readers = {field.name: (_reader(hints[field.name]), _default(field) is MISSING) for field in fields(kind)}

    def read_record(value: object) -> Any:
        found = {}
        given = _mapping_of(value)
        for name, (reader, required) in readers.items():
            if name in given:
                try:
                    found[name] = reader(given[name])
                except MismatchError as error:
                    raise error.at(name) from None
            else:
                _require("is missing", name, holds=not required)
        if len(found) < len(given):
            _require("is not known", next(name for name in given if name not in readers), holds=False)
        return kind(**found)

    return read_record


def _list(item: _Read) -> _Read:
    def read_list(value: Any) -> list[Any]:
        _require("is not a list", holds=isinstance(value, list))
        found = []
        for number, each in enumerate(value):
            try:
                found.append(item(each))
            except MismatchError as error:
                raise error.at(number) from None
        return found

    return read_list


def _mapping(item: _Read) -> _Read:
    def read_mapping(value: object) -> dict[str, Any]:
        found = {}
        for name, each in _mapping_of(value).items():
            try:
                found[_text(name)] = item(each)
            except MismatchError as error:
                raise error.at(name) from None
        return found

    return read_mapping


def _optional(reader: _Read) -> _Read:
    return lambda value: None if value is None else reader(value)


def _choice(choices: tuple[object, ...]) -> _Read:
    def read_choice(value: object) -> object:
        # True is equal to 1.
        if any(type(value) is type(choice) and value == choice for choice in choices):
            return value
        message = f"is not one of {', '.join(map(str, choices))}"
        raise MismatchError(message)

    return read_choice


def _mapping_of(value: Any) -> dict[str, Any]:
    _require("is not an object", holds=isinstance(value, dict))
    return cast("dict[str, Any]", value)


def _text(value: Any) -> str:
    _require("is not a text", holds=isinstance(value, str))
    if not value.isascii():
        surrogate = any("\ud800" <= each <= "\udfff" for each in value)
        _require("holds a surrogate, which is not a character", holds=not surrogate)
    return str(value)


def _truth(value: Any) -> bool:
    _require("is neither true nor false", holds=isinstance(value, bool))
    return bool(value)


def _whole(value: Any) -> int:
    _require("is not a whole number", holds=isinstance(value, int) and not isinstance(value, bool))
    _require("is too large", holds=-_LARGEST <= value < _LARGEST)
    return int(value)


def _number(value: Any) -> float:
    number = value if isinstance(value, float) else float(_whole(value))
    _require("is too large", holds=isfinite(number))
    return number


def _require(fact: str, *place: str, holds: bool) -> None:
    if not holds:
        error = MismatchError(fact)
        raise error.at(*place) if place else error
