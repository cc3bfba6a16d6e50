"""Payloads refuse what no model could answer, before a model is loaded."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from types import MappingProxyType
from typing import Any

import pytest

from llm_backend import AgentPayload, AgentResponse, GenerationOptions, MemoryEntry, ReasoningEffort, ToolCall, Usage
from llm_backend.errors import LONGEST_VALUE, PayloadError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0 (type int). Give a whole number of at least 1"),
        ({"max_new_tokens": 1.5}, "max_new_tokens is 1.5 (type float). Give a whole number of at least 1"),
        ({"max_new_tokens": True}, "max_new_tokens is True (type bool). Give a whole number of at least 1"),
        ({"temperature": "hot"}, "temperature is 'hot' (type str). Give a finite number of at least 0"),
        ({"temperature": -0.1}, "temperature is -0.1 (type float). Give a finite number of at least 0"),
        ({"temperature": float("nan")}, "temperature is nan (type float). Give a finite number of at least 0"),
        ({"temperature": float("inf")}, "temperature is inf (type float). Give a finite number of at least 0"),
        ({"top_p": 0}, "top_p is 0 (type int). Give a number above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1 (type float). Give a number above 0 and at most 1"),
        ({"top_p": "1"}, "top_p is '1' (type str). Give a number above 0 and at most 1"),
        ({"top_k": 0}, "top_k is 0 (type int). Give a whole number of at least 1"),
        ({"seed": -1}, "seed is -1 (type int). Give a whole number of at least 0 and below 2**63"),
        ({"seed": 2**63}, "seed is 9223372036854775808 (type int). Give a whole number of at least 0 and below 2**63"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    """A generation option that no engine can follow is refused with what is allowed."""
    with pytest.raises(PayloadError) as caught:
        GenerationOptions(**options)
    assert str(caught.value) == f"{message}, or None for the default."


@pytest.mark.parametrize(
    ("stop", "value"),
    [("###", "'###'"), (("",), "('',)"), (("a", 5), "('a', 5)"), (5, "5"), (None, "None"), ({"a": 1}, "{'a': 1}")],
)
def test_wrong_stop_texts_are_refused(stop: Any, value: str) -> None:
    """Empty stop texts, and anything but texts, are refused."""
    with pytest.raises(PayloadError) as caught:
        GenerationOptions(stop=stop)
    assert str(caught.value) == f"stop is {value}. Give a sequence of non-empty strings, such as ('###',)."


def test_a_broken_stop_text_is_refused() -> None:
    """A stop text that cannot be encoded is refused."""
    with pytest.raises(PayloadError, match=r"^a stop text holds '\\ud83d' at 1, which is not a character"):
        GenerationOptions(stop=("x\ud83d",))


def test_a_long_value_is_cut_in_its_error() -> None:
    """A huge wrong value is shortened in its error."""
    number: Any = "x" * 1_000_000
    with pytest.raises(PayloadError) as caught:
        GenerationOptions(top_k=number)
    assert len(str(caught.value)) < LONGEST_VALUE + 100


def test_options_at_their_limits_are_accepted() -> None:
    """A value at its limit is accepted."""
    options = GenerationOptions(max_new_tokens=1, temperature=0, top_p=1, top_k=1, seed=0)
    assert (options.max_new_tokens, options.temperature, options.top_p, options.top_k, options.seed) == (1, 0, 1, 1, 0)


def test_options_go_over_defaults_one_by_one() -> None:
    """Each option of a payload wins over its default, zero included; the others stay."""
    defaults = GenerationOptions(max_new_tokens=5, temperature=0.7, stop=("a",))
    merged = GenerationOptions(temperature=0, top_k=2).over(defaults)
    assert merged == GenerationOptions(max_new_tokens=5, temperature=0, top_k=2, stop=("a",))


def test_stop_texts_become_a_tuple() -> None:
    """Stop texts given as a list become a tuple."""
    stops: Any = ["a", "b"]
    assert GenerationOptions(stop=stops).stop == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"effort": "max"},
            "reasoning effort is 'max'. Use one of: none, minimal, low, medium, high.",
        ),
        ({"generate_summary": "long"}, "generate_summary is 'long'. Use one of: none, auto, concise, detailed."),
        ({"summary": 1}, "summary is 1. Use one of: none, auto, concise, detailed."),
    ],
)
def test_wrong_reasoning_is_refused(arguments: dict[str, Any], message: str) -> None:
    """An unknown reasoning effort is refused."""
    with pytest.raises(PayloadError) as caught:
        ReasoningEffort(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("robot", "hi"), "a memory entry's role is 'robot'. Use one of: system, user, assistant, tool."),
        (("user", None), "a memory entry's content is of type NoneType. Give a string."),
        (("user", "\udc80"), r"a memory entry's content holds '\udc80' at 0, which is not a character. Replace it."),
        (("user", "", "today"), "a memory entry's timestamp is of type str. Give a datetime, or None."),
        (
            ("assistant", "", None, ["roll"]),
            (
                "a memory entry's tool_calls is not a sequence, or holds something that is not a ToolCall."
                " Give a ToolCall for each call."
            ),
        ),
        (("tool", "6", None, (), None), "a memory entry's metadata is of type NoneType. Give a Mapping."),
    ],
)
def test_wrong_memory_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    """A turn that no chat template could render is refused."""
    with pytest.raises(PayloadError) as caught:
        MemoryEntry(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (5, {}, "a tool call's name is of type int. Give a string."),
        ("roll", "6", "a tool call's arguments is of type str. Give a Mapping."),
    ],
)
def test_wrong_tool_calls_are_refused(name: Any, arguments: Any, message: str) -> None:
    """A call that no engine could write is refused."""
    with pytest.raises(PayloadError) as caught:
        ToolCall(name=name, arguments=arguments)
    assert str(caught.value) == message


def test_wrong_extras_are_refused() -> None:
    """Extras of the wrong type are refused at once, and those that JSON cannot hold when sent."""
    wrong: Any = "s"
    with pytest.raises(PayloadError, match="a tool call's extras is of type str"):
        ToolCall(name="roll", arguments={}, extras=wrong)
    with pytest.raises(PayloadError, match="a memory entry's extras is of type str"):
        MemoryEntry("assistant", "Hi.", extras=wrong)
    for extras, calls in (({"k": {1}}, ()), ({}, [ToolCall(name="roll", arguments={}, extras={"k": {1}})])):
        with pytest.raises(PayloadError, match="cannot be written as JSON"):
            AgentPayload("Hi.", memory=[MemoryEntry("assistant", "", tool_calls=calls, extras=extras)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"user_message": ""}, "user_message is empty. Give the text to answer."),
        ({"user_message": " \n\t"}, "user_message is empty. Give the text to answer."),
        ({"user_message": 5}, "user_message is of type int. Give a string."),
        (
            {"user_message": "hi", "memory": [("user", "hi")]},
            (
                "memory is not a sequence, or holds something that is not a MemoryEntry."
                " Give MemoryEntry(role, content) for each turn."
            ),
        ),
        (
            {"user_message": "hi", "memory": None},
            (
                "memory is not a sequence, or holds something that is not a MemoryEntry."
                " Give MemoryEntry(role, content) for each turn."
            ),
        ),
        (
            {"user_message": "hi", "tools_available": ["search"]},
            (
                "tools_available is not a sequence, or holds something that is not a Mapping."
                " Give each tool in OpenAI's function format."
            ),
        ),
        (
            {"user_message": "half a pair: \ud83d"},
            r"user_message holds '\ud83d' at 13, which is not a character. Replace it.",
        ),
        (
            {"user_message": "hi", "user_profile": {"name": "\ud83d"}},
            r"user_profile holds '\ud83d' at 4, which is not a character. Replace it.",
        ),
        (
            {
                "user_message": "hi",
                "memory": [MemoryEntry("user", "", tool_calls=[ToolCall(name="\ud83d", arguments={})])],
            },
            r"a tool call's name holds '\ud83d' at 0, which is not a character. Replace it.",
        ),
        ({"user_message": "hi", "system_context": 5}, "system_context is of type int. Give a string."),
        ({"user_message": "hi", "thinking_blob": None}, "thinking_blob is of type NoneType. Give a string."),
        ({"user_message": "hi", "user_profile": None}, "user_profile is of type NoneType. Give a Mapping."),
        ({"user_message": "hi", "generation": {}}, "generation is of type dict. Give a GenerationOptions."),
        (
            {"user_message": "hi", "reasoning_effort": "high"},
            "reasoning_effort is of type str. Give a ReasoningEffort, or None.",
        ),
    ],
)
def test_wrong_payloads_are_refused(arguments: dict[str, Any], message: str) -> None:
    """An empty message, or a field of the wrong type, is refused."""
    with pytest.raises(PayloadError) as caught:
        AgentPayload(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("schema", [{"type": "object"}, int, list[int], None], ids=str)
def test_output_schemas_are_taken(schema: Any) -> None:
    """A schema, or a type with one, is accepted."""
    assert AgentPayload("Hi", output_schema=schema).output_schema == schema


def test_only_the_message_is_required() -> None:
    """A payload needs only its message, and its defaults tell the model nothing."""
    payload = AgentPayload("hi")
    assert (payload.system_context, payload.thinking_blob, payload.session_id) == ("", "", None)
    assert (dict(payload.user_profile), tuple(payload.memory), tuple(payload.tools_available)) == ({}, (), ())
    assert payload.generation == GenerationOptions()


def test_payloads_are_frozen() -> None:
    """A payload cannot be changed."""
    payload: Any = AgentPayload("hi")
    with pytest.raises(FrozenInstanceError):
        payload.user_message = ""


def test_usage_adds_up() -> None:
    """The total is the sum of prompt and completion tokens."""
    assert Usage(prompt_tokens=3, completion_tokens=4).total_tokens == 7


def test_a_response_needs_only_its_text() -> None:
    """A response needs only its text."""
    response = AgentResponse(response="hi")
    assert (response.thinking, response.code, response.tool_calls, dict(response.metadata)) == ("", None, (), {})


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "\ud800", object()], ids=["set", "nan", "half", "object"])
def test_what_is_no_json_is_refused(value: object) -> None:
    """A tool or a call that JSON cannot hold is refused."""
    tool = {"type": "function", "function": {"name": "roll", "default": value}}
    with pytest.raises(PayloadError, match=r"^tools_available cannot be written as JSON: .*Use only strings, numbers"):
        AgentPayload("Hi", tools_available=[tool])
    memory = [MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={"sides": value})])]
    with pytest.raises(PayloadError, match=r"^a call of tool 'roll' cannot be written as JSON: "):
        AgentPayload("Hi", memory=memory)


def test_any_mapping_is_json() -> None:
    """Tools may be any mapping."""
    function = MappingProxyType({"name": "roll"})
    assert AgentPayload("Hi", tools_available=[MappingProxyType({"type": "function", "function": function})])


def test_a_tools_result_can_be_the_last_word() -> None:
    """The message may be empty after a tool's result, and only there."""
    asked = MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={})])
    assert AgentPayload("", memory=[asked, MemoryEntry("tool", "6")])
    with pytest.raises(PayloadError, match="user_message is empty"):
        AgentPayload("", memory=[asked, MemoryEntry("tool", "6"), MemoryEntry("user", "Hi")])


@pytest.mark.parametrize(("called", "answered"), [((), None), ((), "c1"), (("c1",), "c2")])
def test_a_result_without_its_call_is_refused(called: tuple[str, ...], answered: str | None) -> None:
    """A tool's result without its call is refused."""
    calls = [ToolCall(name="roll", arguments={}, id=name) for name in called]
    memory = [
        MemoryEntry("assistant", "", tool_calls=calls),
        MemoryEntry("tool", "6", metadata={"tool_call_id": answered} if answered else {}),
    ]
    with pytest.raises(
        PayloadError, match=f"a tool's result for call {answered!r}, but there is no such call before it"
    ):
        AgentPayload("Go on.", memory=memory)


@pytest.mark.parametrize(("called", "answered"), [("c1", "c1"), ("c1", None), (None, "c1")])
def test_a_result_of_a_call_is_fine(called: str | None, answered: str | None) -> None:
    """A result fits its call also where either has no id."""
    memory = [
        MemoryEntry("assistant", "", tool_calls=[ToolCall(name="roll", arguments={}, id=called)]),
        MemoryEntry("tool", "6", metadata={"tool_call_id": answered}),
    ]
    assert AgentPayload("", memory=memory).memory == memory
