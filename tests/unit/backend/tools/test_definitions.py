"""Functions become tools, with a schema that tells a model how to call them; what could not work is refused."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest

from llm_backend.errors import LONGEST_VALUE, SchemaError, ToolDefinitionError
from llm_backend.llms import Tool
from llm_backend.llms.tools.definitions import as_text, tools_by_name
from llm_backend.llms.tools.schemas import SchemaValidator

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def weather(city: str, day: date | None = None, *, unit: Literal["C", "F"] = "C") -> str:  # noqa: D417  (one is left out)
    """Tell the weather.

    Only of the next ten days.

    Args:
        city: the city's name,
            in English.
        day (date): which day.

    Returns:
        A sentence: always one.
    """
    return f"{city} {day} {unit}"


def definition(**about: Any) -> dict[str, Any]:
    """A tool in OpenAI's function format."""
    return {"type": "function", "function": {"name": "weather", "parameters": CITY, **about}}


def test_a_typed_function_describes_itself() -> None:
    """A function's schema and description come from its types and its docstring."""
    tool = Tool.from_function(weather)
    assert tool.definition == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather.\n\nOnly of the next ten days.",
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "city": {"type": "string", "description": "the city's name, in English."},
                    "day": {
                        "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
                        "description": "which day.",
                    },
                    "unit": {"enum": ["C", "F"], "type": "string"},
                },
                "required": ["city"],
            },
        },
    }


async def test_arguments_arrive_as_their_types() -> None:
    """Arguments arrive as the types of the signature, with its defaults."""
    tool = Tool.from_function(weather)
    given = tool.read({"city": "Oslo", "day": "2026-11-23"})
    assert given == {"city": "Oslo", "day": date(2026, 11, 23), "unit": "C"}
    assert await tool.call(given) == "Oslo 2026-11-23 C"


def test_names_of_pydantic_are_fine_as_arguments() -> None:
    """Arguments may have the names of pydantic's own methods."""

    def search(schema: str, model_config: int, copy: list[int] = [1]) -> object:  # noqa: B006  (what it is about)
        return schema, model_config, copy

    tool = Tool.from_function(search, name="find", description="Find.")
    assert (tool.name, tool.description) == ("find", "Find.")
    assert tool.read({"schema": "s", "model_config": "2"}) == {"schema": "s", "model_config": 2, "copy": [1]}
    assert search("s", 2) == ("s", 2, [1])


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "city: Missing required argument|city: Field required"),
        ({"city": 1}, "city: Input should be a valid string"),
        ({"city": "Oslo", "day": "soon"}, "day: .*"),
        ({"city": "Oslo", "wind": True}, "wind: Unexpected keyword argument"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], fault: str) -> None:
    """Wrong arguments raise an error that names them."""
    with pytest.raises(ValueError, match=fault):
        Tool.from_function(weather).read(arguments)


async def test_a_definition_and_its_function() -> None:
    """A tool can be a dict and a function, and its arguments have to fit the schema."""
    tool = Tool.from_definition(definition(), lambda city: f"rain in {city}")
    assert tool.definition == definition(description="")
    assert await tool.call(tool.read({"city": "Oslo"})) == "rain in Oslo"
    with pytest.raises(ValueError, match=r"\$: 'city' is a required property"):
        tool.read({})
    bare = Tool.from_definition({"type": "function", "function": {"name": "now"}}, lambda: None)
    assert bare.parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"parameters": {"type": "objekt"}},
            r"tool 'weather' is not a JSON schema: at \$\.type, 'objekt' is not valid",
        ),
        ({"parameters": {"type": "object", "properties": []}}, r"at \$\.properties, \[\] is not of type 'object'"),
        ({"parameters": {"pattern": "("}}, r"at \$\.pattern, '\(' is not a 'regex'"),
        ({"parameters": [1]}, r"is not a JSON schema: at \$, \[1\] is not of type"),
        ({"parameters": {"type": "array"}}, "The schema of tool 'weather' does not describe an object"),
        ({"parameters": True}, "The schema of tool 'weather' does not describe an object"),
        ({"parameters": {}}, "The schema of tool 'weather' does not describe an object"),
        ({"name": "ask\x1b[2J"}, r"A tool's name is 'ask\\x1b\[2J'\. Give 1 to 64"),
        ({"name": "x" * 65}, "Give 1 to 64 letters"),
        ({"name": None}, "A tool's name is None"),
    ],
)
def test_bad_definitions_are_refused(about: dict[str, Any], message: str) -> None:
    """A definition that no model could call is refused."""
    with pytest.raises(ToolDefinitionError, match=message):
        Tool.from_definition(definition(**about), print)


@pytest.mark.parametrize(
    "definition", [{}, {"name": "weather", "parameters": CITY}, {"function": "weather"}, "weather"]
)
def test_another_format_is_no_definition(definition: Any) -> None:
    """A dict in another provider's format is refused."""
    with pytest.raises(ToolDefinitionError, match=r"A tool's definition, .*, holds no function.*Write it as"):
        Tool.from_definition(definition, print)


class Opaque:
    """A type that JSON cannot hold."""


def test_signatures_that_no_model_can_fill_are_refused() -> None:
    """A signature that JSON cannot fill is refused."""

    def several(*words: str) -> None: ...
    def options(**options: str) -> None: ...
    def position(word: str, /) -> None: ...
    def untyped(word) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
    def opaque(word: Opaque) -> None: ...
    def unknown(word: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function, message in (
        (several, r"The argument '\*words: str' of tool 'several' cannot be given by name"),
        (options, r"'\*\*options: str' of tool 'options' cannot be given by name"),
        (position, r"'word: str' of tool 'position' cannot be given by name"),
        (untyped, r"'word' of tool 'untyped' has no type\. Annotate every argument"),
        (opaque, "Tool 'opaque' has an argument without a JSON schema: .*Opaque"),
        (unknown, r"The signature of tool 'unknown' cannot be read \(name 'Nowhere' is not defined\)"),
        (lambda: None, "A tool's name is '<lambda>'"),
        (functools.partial(weather, "Oslo"), "A tool's name is ''"),
    ):
        with pytest.raises(ToolDefinitionError, match=message):
            Tool.from_function(function)


def test_names_that_collide_are_refused() -> None:
    """Two tools of one name are refused."""
    tool = Tool.from_definition(definition(), weather)
    assert tools_by_name([tool]) == {"weather": tool}
    with pytest.raises(ToolDefinitionError, match="Two tools are named 'weather'"):
        tools_by_name([tool, weather])


def test_what_is_no_tool_is_refused() -> None:
    """A definition without a function is refused."""
    given: Any = [definition()]
    with pytest.raises(ToolDefinitionError, match="A tool is of type dict"):
        tools_by_name(given)


async def test_each_kind_of_function_is_called() -> None:
    """Async and sync functions are called, and their results and exceptions arrive."""

    async def wait() -> int:
        return 1

    def start() -> Any:
        return wait()

    def exhaust() -> object:
        return next(iter(()))

    assert [await Tool.from_function(function).call({}) for function in (wait, start)] == [1, 1]
    with pytest.raises(RuntimeError, match="it raised StopIteration"):
        await Tool.from_function(exhaust).call({})


@dataclass
class Weather:
    """A result with types of its own."""

    day: date
    wind: float


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("sunny", "sunny"),
        (None, "null"),
        (Weather(date(2026, 11, 23), 1.5), '{"day":"2026-11-23","wind":1.5}'),
        ([{"å": 1}], '[{"å":1}]'),
    ],
)
def test_results_become_text(result: object, text: str) -> None:
    """Results reach the model as text or JSON, never as a Python repr."""
    assert as_text(result) == text


@pytest.mark.parametrize("result", ["\ud800", Opaque(), b"\xff"])
def test_results_that_are_no_data_are_refused(result: object) -> None:
    """A result that JSON cannot hold is refused."""
    with pytest.raises(ValueError, match=r"surrogates|unknown type|utf-8"):
        as_text(result)


@pytest.mark.parametrize("target", ["#", "#/$defs/nowhere", "http://localhost:9/schema"])
def test_references_lead_nowhere_else(target: str) -> None:
    """A schema's reference to elsewhere is refused, and so is an endless one."""
    validator = SchemaValidator({"$ref": target}, "The schema")
    with pytest.raises(SchemaError, match="The schema refers to something it does not hold, or endlessly to itself"):
        validator.checked(1)


def test_a_fault_of_a_large_value_is_cut() -> None:
    """An error about a huge value is short."""
    with pytest.raises(SchemaError) as caught:
        SchemaValidator({"type": "x" * 1_000_000}, "The schema")
    assert len(str(caught.value)) < LONGEST_VALUE + 100


def test_schema_that_is_too_deep() -> None:
    """A schema that is nested too deeply raises our error."""
    schema: dict[str, Any] = {}
    for _ in range(1000):
        schema = {"items": schema}
    with pytest.raises(SchemaError, match="The schema is nested too deeply"):
        SchemaValidator(schema, "The schema")
