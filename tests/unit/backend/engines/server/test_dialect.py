"""What a server's refusals teach."""

from __future__ import annotations

from typing import Any

import pytest

from llm_backend import GenerationOptions
from llm_backend.llms.engines.server.dialect import (
    can_be_given_up,
    limit_name,
    refused_by,
    taken_messages,
    taken_options,
)

FIVE = GenerationOptions(stop=tuple("abcde"), max_new_tokens=3)
NAMES = {name: name for name in ("temperature", "stream_options", "max_tokens", "reasoning", "reasoning_content")} | {
    "many": "stop"
}


class Refusal(Exception):  # noqa: N818  (the library's is not called an error either)
    """What the library raises for a status."""

    def __init__(self, status_code: int = 400, **said: Any) -> None:
        super().__init__()
        self.status_code = status_code
        self.__dict__.update(said)


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"param": "temperature"}, {"temperature"}),
        ({"param": "stream_options.include_usage"}, {"stream_options"}),
        ({"body": {"detail": [{"loc": ["body", "stream_options"], "type": "extra_forbidden"}]}}, {"stream_options"}),
        ({"body": "`temperature` must be strictly positive"}, {"temperature"}),
        ({"param": "temperature", "body": "no temperature, stop here"}, {"temperature"}),
        ({"param": "stop", "body": "Invalid 'stop': array too long."}, {"many"}),
        ({"body": "'$.stop' is invalid."}, {"many"}),
        ({"body": "This would not be stopped."}, set()),
        ({"param": "max_tokens", "code": "unsupported_parameter"}, {"max_tokens"}),
        ({"body": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}, {"max_tokens"}),
        ({"body": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"]}]}, {"max_tokens"}),
        ({"body": "max_tokens is too large: 9000. The model reads 2048 tokens."}, set()),
        ({"param": "max_tokens", "body": "max_tokens must be at least 1"}, set()),
        (
            {"param": "validation_error", "body": "messages.2.assistant.reasoning_content: property is unsupported"},
            {"reasoning_content"},
        ),
        ({"body": "('messages.1' : property 'reasoning' is unsupported)"}, {"reasoning"}),
        ({"param": None, "body": None}, set()),
    ],
    ids=repr,
)
def test_refusals(said: dict[str, Any], refused: set[str]) -> None:
    """A refusal belongs to the option that it names, by parameter or in words; a wrong value is not a wrong name."""
    for status, expected in ((400, refused), (422, refused), (500, set())):
        assert refused_by(Refusal(status, **said), NAMES) == expected
    assert refused_by(ValueError("temperature"), NAMES) == set()


def test_stop_texts() -> None:
    """All stop texts are sent until the server refuses them; then four; then no more."""
    refused: set[str] = set()
    sent = []
    for _ in range(3):
        options = taken_options(FIVE, refused)
        sent.append(options.stop)
        refused |= {key for key, name in can_be_given_up([], options, None, refused).items() if name == "stop"}
    assert sent == [tuple("abcde"), tuple("abcd"), ()]
    assert taken_options(FIVE, refused).max_new_tokens == 3


def test_name_of_the_limit() -> None:
    """The limit has one of two names, and once the server refused both no third try is made."""
    assert limit_name("max_tokens", set()) == "max_tokens"
    assert limit_name("max_tokens", {"max_tokens"}) == "max_completion_tokens"
    assert limit_name("max_completion_tokens", {"max_completion_tokens"}) == "max_tokens"
    assert limit_name("max_tokens", {"max_tokens", "max_completion_tokens"}) == "max_tokens"
    few = GenerationOptions(max_new_tokens=3)
    assert can_be_given_up([], few, "max_tokens", set()) == {"max_tokens": "max_tokens"}
    assert can_be_given_up([], few, "max_completion_tokens", {"max_tokens"}) == {}
    assert can_be_given_up([], few, None, set()) == {}
    assert can_be_given_up([], GenerationOptions(), "max_tokens", set()) == {}


def test_extras() -> None:
    """An extra that the server refuses is no longer sent, and nothing else is dropped."""
    call = {"id": "a", "type": "function", "function": {}, "extra_content": 1}
    message = {"role": "assistant", "content": "", "tool_calls": [call], "reasoning": "Hm", "reasoning_items": [1]}
    names = can_be_given_up([message], GenerationOptions(), None, set())
    assert set(names) == {"reasoning", "reasoning_items", "extra_content"}
    [taken] = taken_messages([message], {"reasoning", "content", "id"}, responses=True)
    assert taken == {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_items": [1]}
    [taken] = taken_messages([message], {"extra_content"}, responses=False)
    assert taken == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "type": "function", "function": {}}],
        "reasoning": "Hm",
    }
