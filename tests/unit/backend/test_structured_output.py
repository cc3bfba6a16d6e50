"""What an output schema asks for, how servers are told, and how the answer is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from llm_backend.errors import PayloadError, SchemaError, StructuredOutputError
from llm_backend.llms.answer_parsing import AnswerParser
from llm_backend.llms.engines.server.chat_format import Request, chat_options
from llm_backend.llms.engines.server.responses_format import response_options
from llm_backend.llms.payloads import AgentPayload, GenerationOptions
from llm_backend.llms.structured_output import OutputFormat, output_format


class Home(BaseModel):
    """Where somebody lives."""

    city: str


class Person(BaseModel):
    """Somebody."""

    name: str = Field(max_length=9)
    homes: list[Home]


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 0.0


def asked(schema: Any) -> OutputFormat:
    """The format that a schema asks for."""
    output = output_format(schema)
    assert output is not None
    return output


def test_nothing_is_asked_for() -> None:
    """Without a schema no format is asked for."""
    assert output_format(None) is None


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (Person, '{"name": "Ada", "homes": [{"city": "London"}]}', Person(name="Ada", homes=[Home(city="London")])),
        (Point, '{"x": 1}', Point(1.0)),
        (list[int], "[1, 2]", [1, 2]),
        (Literal["a", "b"] | None, "null", None),
        ({"type": "array", "items": {"type": "integer"}}, " [1, 2]\n", [1, 2]),
        ({"type": "string"}, '"\\u00e5 \\ud83d\\ude00"', "å 😀"),
    ],
)
def test_an_answer_becomes_an_object(schema: Any, text: str, value: object) -> None:
    """An answer that fits the schema becomes its object."""
    assert asked(schema).parse(text, "stop") == value


@pytest.mark.parametrize(
    ("schema", "text", "fault"),
    [
        (Person, '{"name": "Augusta Ada"}', "2 validation errors for Person"),
        (Person, "I cannot say.", "Invalid JSON"),
        ({"type": "integer"}, "1.5", r"\$: 1\.5 is not of type 'integer'"),
        ({"type": "number"}, "NaN", "expected value at line 1 column 1"),
        ({"type": "number"}, "", "EOF while parsing"),
        ({}, "[" * 100_000, "recursion"),
        ({"properties": {"a": {"type": "null"}}}, '{"a": 0}', r"\$\.a: 0 is not of type 'null'"),
    ],
)
def test_another_answer_is_an_error(schema: Any, text: str, fault: str) -> None:
    """An answer that does not fit the schema raises a named error."""
    with pytest.raises(StructuredOutputError, match=fault) as caught:
        asked(schema).parse(text, "stop")
    assert caught.value.text == text
    assert caught.value.finish_reason == "stop"


def test_a_cut_answer_is_an_error() -> None:
    """An answer that was cut off is an error, even where its beginning fits."""
    with pytest.raises(StructuredOutputError, match="was cut short before its JSON ended"):
        asked(int).parse("12", "length")


class Opaque:
    """A type without a JSON schema."""


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, r"output_schema is not a JSON schema: at \$\.type"),
        (Opaque, "output_schema is a type without a JSON schema: .*Opaque"),
    ],
)
def test_bad_schemas_are_refused(schema: Any, message: str) -> None:
    """A faulty schema is refused before any model is asked."""
    with pytest.raises(SchemaError, match=message):
        output_format(schema)


@pytest.mark.parametrize("schema", ["Person", 1, [Person], Person(name="Ada", homes=[])])
def test_what_is_no_schema_is_no_payload(schema: Any) -> None:
    """Anything but a schema or a type is refused by the payload."""
    with pytest.raises(PayloadError, match=r"output_schema is of type .*Give a JSON schema"):
        AgentPayload("Hello.", output_schema=schema)


def test_a_schema_that_is_no_json_is_no_payload() -> None:
    """A schema that JSON cannot hold is refused by the payload."""
    with pytest.raises(PayloadError, match="output_schema cannot be written as JSON"):
        AgentPayload("Hello.", output_schema={"const": object()})


def test_a_type_s_schema_is_closed() -> None:
    """A type's schema allows no further properties, except where the type does."""
    schema = asked(Person).schema
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Home"]["additionalProperties"] is False
    assert asked(dict[str, int]).schema["additionalProperties"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "name", "strict"),
    [
        (Person, "Person", True),
        (Point, "Point", False),
        ({"title": "A person (new)", "type": "object"}, "A_person_new", False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, "answer", True),
        ({"anyOf": [{"type": "null"}, {"type": "object"}]}, "answer", False),
    ],
)
def test_servers_are_told(schema: Any, name: str, strict: bool) -> None:  # noqa: FBT001  (a case's expectation)
    """Servers get the schema, marked strict only where OpenAI accepts that."""
    output = asked(schema)
    request = Request(messages=[], tools=(), generation=GenerationOptions(), effort=None, output=output.definition)
    told = {"name": name, "schema": output.schema, "strict": strict}
    chat, responses = chat_options(request), response_options(request)
    assert chat["extra_body"]["response_format"] == {"type": "json_schema", "json_schema": told}
    assert responses["extra_body"]["text"] == {"format": {"type": "json_schema", **told}}


ANSWER = '{"a": "<think>x</think> <tool_call>{}</tool_call> <|channel|>"}'


@pytest.mark.parametrize("before", ["", " \n", "<think>Hm.</think>\n"])
@pytest.mark.parametrize("size", [1, 1000])
def test_marks_within_json_are_text(before: str, size: int) -> None:
    """Tags inside JSON are part of its text."""
    text, parser = before + ANSWER, AnswerParser(structured=True)
    for start in range(0, len(text), size):
        parser.feed(text[start : start + size])
    parser.finish()
    assert parser.result().response == ANSWER
    assert parser.result().thinking == ("Hm." if "think" in before else "")
