"""Dataclasses as JSON, and what is refused where a file does not hold one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from skipproof import records
from skipproof.records import MismatchError


@dataclass(slots=True, kw_only=True)
class Part:
    """A part of the whole."""

    name: str
    size: float = 0.0


@dataclass(slots=True, kw_only=True)
class Whole:
    """One field of each kind."""

    kind: Literal["a", "b"] = "a"
    count: int
    ready: bool = False
    best: Part | None = None
    parts: list[Part] = field(default_factory=list)
    by_name: dict[str, int] = field(default_factory=dict)


WHOLE = Whole(kind="b", count=3, ready=True, best=Part(name="é", size=1.5), parts=[Part(name="x")], by_name={"a b": 1})


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("whole", [WHOLE, Whole(count=0)])
def test_what_is_written_is_read(whole: Whole, *, brief: bool) -> None:
    """What is written is read again as it was, with and without its defaults."""
    content = json.dumps(records.document(whole, brief=brief)).encode()
    assert records.read(Whole, records.parsed(content)) == whole


def test_defaults_can_be_left_out() -> None:
    """A brief document has only what differs from the defaults, also in its parts."""
    assert records.document(Whole(count=0, parts=[Part(name="x")]), brief=True) == {
        "count": 0,
        "parts": [{"name": "x"}],
    }


def test_a_surrogate_is_spelt_out() -> None:
    """What UTF-8 cannot hold is written as its escape, in values and in keys."""
    assert records.document(Whole(count=0, by_name={"\udc80": 1}, best=Part(name="é\ud800")), brief=True) == {
        "count": 0,
        "best": {"name": "é\\ud800"},
        "by_name": {"\\udc80": 1},
    }


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"count": "1"}, "count: is not a whole number"),
        ({"count": True}, "count: is not a whole number"),
        ({"count": 1.0}, "count: is not a whole number"),
        ({"count": None}, "count: is not a whole number"),
        ({"count": 10**30}, "count: is too large"),
        ({"ready": 1}, "ready: is neither true nor false"),
        ({"kind": "c"}, "kind: is not one of a, b"),
        ({"kind": ["a"]}, "kind: is not one of a, b"),
        ({"best": []}, "best: is not an object"),
        ({"best": {}}, "best.name: is missing"),
        ({"best": {"name": "a", "size": 10**400}}, "best.size: is too large"),
        ({"best": {"name": "a", "size": "1"}}, "best.size: is not a whole number"),
        ({"best": {"name": "\ud800"}}, "best.name: holds a surrogate, which is not a character"),
        ({"parts": {}}, "parts: is not a list"),
        ({"parts": [{"name": "a"}, {"name": 1}]}, "parts.1.name: is not a text"),
        ({"by_name": {"a::b": "1"}}, "by_name.'a::b': is not a whole number"),
        ({"by_name": {"\ud800\n": 1}}, r"by_name.'\ud800\n': holds a surrogate, which is not a character"),
        ({"other": 1}, "other: is not known"),
        ({"a\nb": 1}, r"'a\nb': is not known"),
    ],
)
def test_another_kind_of_value_is_refused_by_its_place(changes: dict[str, object], fact: str) -> None:
    """What is missing, unknown or of another kind is named by its place, in one line that can be printed."""
    with pytest.raises(MismatchError) as caught:
        records.read(Whole, {"count": 1} | changes)
    assert str(caught.value) == fact


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_what_is_no_object_is_refused(value: object) -> None:
    """A document of another kind is refused as a whole."""
    with pytest.raises(MismatchError, match=r"^is not an object$"):
        records.read(Whole, value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{} {}",
        b"\xff{}",
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b"[" * 200_000,
    ],
)
def test_what_is_not_json_is_refused(content: bytes) -> None:
    """A file that is cut, not UTF-8, nested too deeply or with a number of no size is refused, without a traceback."""
    with pytest.raises(MismatchError, match=r"^it is not JSON: "):
        records.parsed(content)


def test_an_infinite_number_is_refused() -> None:
    """A number that no float can hold does not become infinity."""
    with pytest.raises(MismatchError, match=r"^best\.size: is too large$"):
        records.read(Whole, records.parsed(b'{"count": 1, "best": {"name": "a", "size": 1e999}}'))
