"""What servers need back exactly as they sent it."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend.llms.message_extras import call_extras, merged, turn_extras, with_extras


def test_what_the_format_has_is_no_extra() -> None:
    """Only fields that no engine reads are extras, even those with an empty text."""
    known: dict[str, Any] = {"role": "assistant", "content": "Hi", "tool_calls": [], "refusal": None, "annotations": []}
    assert turn_extras({**known, "reasoning_content": "", "later": None}) == {"reasoning_content": ""}
    assert call_extras({"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": ""}}) == {}
    assert call_extras({"function": None, "extra_content": 1}) == {"extra_content": 1}


def test_extras_replace_nothing() -> None:
    """Extras are added to a message, at both levels, and never change it."""
    call = {"id": "a", "function": {"name": "roll"}}
    extras = {"id": "b", "function": {"name": "other", "k": 1}, "extra_content": 2}
    assert with_extras(call, extras) == {"id": "a", "function": {"name": "roll", "k": 1}, "extra_content": 2}


THINKING = {"type": "thinking"}
DETAIL = {"type": "reasoning.text", "index": 0}
SEALED = {"type": "reasoning.encrypted", "index": 0, "data": "d"}


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([{"reasoning_content": "A"}, {}, {"reasoning_content": "A"}], {"reasoning_content": "AA"}),
        ([{"provider": "p"}, {"provider": "p"}], {"provider": "p"}),
        ([{"signature": "ab"}, {"signature": "cd"}], {"signature": "abcd"}),
        ([{"k": {"a": 1}}, {"k": {"a": 2, "b": None}}, {"k": {"b": 3}}, {"k": None}], {"k": {"a": 2, "b": 3}}),
        (
            [
                {"d": [{**DETAIL, "text": "A"}]},
                {"d": [{**DETAIL, "text": "B"}, {**DETAIL, "signature": "s"}]},
            ],
            {"d": [{**DETAIL, "text": "AB", "signature": "s"}]},
        ),
        (
            [
                {"d": [{**DETAIL, "text": "A"}]},
                {"d": [SEALED]},
            ],
            {"d": [{**DETAIL, "text": "A"}, SEALED]},
        ),
        (
            [
                {"b": [{**THINKING, "thinking": "A", "signature": None}]},
                {"b": [{**THINKING, "thinking": "B", "signature": "s"}]},
                {"b": [{**THINKING, "thinking": "C"}]},
            ],
            {"b": [{**THINKING, "thinking": "AB", "signature": "s"}, {**THINKING, "thinking": "C"}]},
        ),
        (
            [
                {"b": [{**THINKING, "thinking": "A"}, {"type": "other"}]},
                {"b": [{**THINKING, "thinking": "B"}, 1]},
            ],
            {"b": [{**THINKING, "thinking": "A"}, {"type": "other"}, {**THINKING, "thinking": "B"}, 1]},
        ),
    ],
)
def test_pieces_of_a_stream(pieces: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """A stream's extras are those of the whole answer: texts grow, and repeats count once."""
    assert merged(pieces) == whole
