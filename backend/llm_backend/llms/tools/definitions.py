"""Tools: functions that a model may call, with the JSON schema that tells it how.

Arguments are validated before a function sees them, and results become text, because models read nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_json

from llm_backend.errors import SchemaError, ToolDefinitionError, shown
from llm_backend.llms.tools.schemas import SchemaValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Tool", "as_text", "tools_by_name"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what OpenAI accepts, and what fits every template's format
_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?|Attributes):[ \t]*$", re.MULTILINE
)
_ARGUMENT = re.compile(
    r"^(?P<indent>[ \t]+)(?P<name>\w+)(?: ?\(.*?\))?:(?P<text>.*(?:\n(?P=indent)[ \t]+.*)*)", re.MULTILINE
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a model may call. Make one with ``from_function`` or ``from_definition``.

    Attributes:
        name: its name for the model: 1 to 64 letters, digits, ``_`` and ``-``.
        description: tells the model what it does and when to use it.
        parameters: JSON schema of its arguments, an object.
        function: sync or async; a sync one runs in a thread.
        read: turns a model's arguments into the function's, or raises ValueError saying what is wrong with them.

    Raises:
        ToolDefinitionError: no server or model would accept the name.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., object]
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            message = f"A tool's name is {shown(repr(self.name))}. Give 1 to 64 letters, digits, '_' and '-' as name."
            raise ToolDefinitionError(message)

    @classmethod
    def from_function(
        cls, function: Callable[..., object], *, name: str | None = None, description: str | None = None
    ) -> Self:
        """Offer a typed callable: its annotations become the schema, its docstring the descriptions.

        In a docstring in Google's style, ``Args:`` describes the arguments, and the text before it describes the tool.

        Args:
            function: sync or async; pydantic validates the model's arguments against its annotations.
            name: by default the function's own.
            description: by default the docstring's.

        Raises:
            ToolDefinitionError: an annotation is missing or pydantic has no schema for it, an argument cannot be
                given by name, or a model cannot use the name.
        """
        name = name if name is not None else getattr(function, "__name__", "")
        about, described = _read_docstring(inspect.getdoc(function) or "")
        fields = _arguments_type(function, name, described)
        try:
            arguments: TypeAdapter[object] = TypeAdapter(fields)
            parameters = arguments.json_schema(schema_generator=_Untitled)
        except PydanticUserError as exc:
            message = f"Tool {shown(repr(name))} has an argument without a JSON schema: {shown(str(exc))}."
            raise ToolDefinitionError(message + " Use types that JSON can carry.") from exc
        parameters.pop("title", None)
        return cls(
            name=name,
            description=about if description is None else description,
            parameters=parameters,
            function=function,
            read=lambda given: _validated(arguments, given),
        )

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], function: Callable[..., object]) -> Self:
        """Offer ``function`` under a definition in OpenAI's function format; arguments must fit its schema.

        Raises:
            ToolDefinitionError: the definition is not in that format, a model cannot use its name, or its parameters
                are not a JSON schema of an object.
        """
        about: Any = definition.get("function") if isinstance(definition, dict) else None
        if not isinstance(about, dict):
            message = (
                f"A tool's definition, {shown(repr(definition))}, holds no function. "
                "Write it as {'type': 'function', 'function': {'name': ..., 'description': ..., 'parameters': ...}}."
            )
            raise ToolDefinitionError(message)
        about = {"name": None, "description": "", "parameters": {"type": "object", "properties": {}}, **about}
        name, parameters = about["name"], about["parameters"]
        try:
            validator = SchemaValidator(parameters, f"The schema of tool {shown(repr(name))}")
        except SchemaError as exc:
            raise ToolDefinitionError(str(exc)) from exc
        if not (isinstance(parameters, dict) and parameters.get("type") == "object"):
            message = f"The schema of tool {shown(repr(name))} does not describe an object. Give it type object."
            raise ToolDefinitionError(message)
        return cls(
            name=name,
            description=about["description"],
            parameters=parameters,
            function=function,
            read=lambda given: validator.checked(dict(given)),
        )

    @property
    def definition(self) -> dict[str, Any]:
        """The tool in OpenAI's function format, for ``AgentPayload.tools_available``."""
        about = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": about}

    async def call(self, arguments: Mapping[str, Any]) -> object:
        """Call the function with arguments from ``read``; in a thread, it runs on even if nobody waits any more."""
        if inspect.iscoroutinefunction(self.function):
            return await self.function(**arguments)
        result = await asyncio.to_thread(self._call, arguments)
        return await result if inspect.isawaitable(result) else result

    def _call(self, arguments: Mapping[str, Any]) -> object:
        try:
            return self.function(**arguments)
        except StopIteration as exc:  # a future cannot carry one, so the caller would wait forever
            message = "it raised StopIteration"
            raise RuntimeError(message) from exc


def tools_by_name(tools: Iterable[Tool | Callable[..., object]]) -> dict[str, Tool]:
    """Turn bare functions into tools, and return all tools by name.

    Raises:
        ToolDefinitionError: one cannot be offered, or two share a name.
    """
    named: dict[str, Tool] = {}
    for given in tools:
        if not (isinstance(given, Tool) or callable(given)):
            message = f"A tool is of type {type(given).__name__}. Give a Tool or a function; see Tool.from_definition."
            raise ToolDefinitionError(message)
        tool = given if isinstance(given, Tool) else Tool.from_function(given)
        if tool.name in named:
            message = (
                f"Two tools are named {tool.name!r}. Give one of them another name: Tool.from_function(f, name=...)."
            )
            raise ToolDefinitionError(message)
        named[tool.name] = tool
    return named


def as_text(result: object) -> str:
    """A tool's result as the model reads it: a string unchanged, anything else as JSON.

    Raises:
        ValueError: it cannot be written as JSON, or as UTF-8.
    """
    if isinstance(result, str):
        result.encode()
        return result
    return to_json(result).decode()


class _Untitled(GenerateJsonSchema):
    """Schemas without titles, which only repeat names and cost a small model tokens."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  (pydantic's signature)
        return False


def _read_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """A Google-style docstring's description of the function, and of each argument."""
    about, *sections = _SECTION.split(docstring)
    bodies = dict(zip(sections[::2], sections[1::2], strict=True))
    listed = next((bodies[title] for title in ("Args", "Arguments", "Parameters") if title in bodies), "")
    return about.strip(), {found["name"]: " ".join(found["text"].split()) for found in _ARGUMENT.finditer(listed)}


def _arguments_type(function: Callable[..., object], name: str, described: Mapping[str, str]) -> type:
    """A dataclass with a field for each argument of ``function``."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except (AttributeError, NameError, SyntaxError, TypeError, ValueError) as exc:
        message = (
            f"The signature of tool {shown(repr(name))} cannot be read ({shown(str(exc))}). Annotate it with types"
        )
        raise ToolDefinitionError(message + " of its module, or use Tool.from_definition.") from exc
    fields = [_argument(parameter, name, described) for parameter in signature.parameters.values()]
    strict = {"__pydantic_config__": ConfigDict(extra="forbid")}
    return make_dataclass("arguments", fields, kw_only=True, namespace=strict)


def _argument(parameter: inspect.Parameter, name: str, described: Mapping[str, str]) -> tuple[str, Any, Any]:
    if parameter.kind not in _BY_NAME or parameter.annotation is parameter.empty:
        trouble = "has no type" if parameter.kind in _BY_NAME else "cannot be given by name"
        message = (
            f"The argument {str(parameter)!r} of tool {shown(repr(name))} {trouble}. "
            "Annotate every argument, and use no *args, **kwargs or '/'."
        )
        raise ToolDefinitionError(message)
    kind = parameter.annotation
    if parameter.name in described:
        kind = Annotated[kind, Field(description=described[parameter.name])]
    default = parameter.default
    return parameter.name, kind, field() if default is parameter.empty else field(default_factory=lambda: default)


def _validated(arguments: TypeAdapter[object], given: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return vars(arguments.validate_python(dict(given)))
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_context=False, include_input=False)
        faults = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors]
        raise ValueError("; ".join(faults)) from exc
