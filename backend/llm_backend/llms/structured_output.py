"""Structured output: answers that are JSON of a given schema, and the objects they represent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import from_json

from llm_backend.errors import SchemaError, StructuredOutputError, shown
from llm_backend.llms.tools.schemas import SchemaValidator

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OutputFormat", "output_format"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """What an answer has to be."""

    name: str  # of the schema, because servers require one
    schema: dict[str, Any]
    read: Callable[[str], object]  # turns JSON into the object, or raises ValueError saying what is wrong

    @property
    def definition(self) -> dict[str, Any]:
        """The format in OpenAI's terms; strict if OpenAI can enforce the schema strictly."""
        return {"name": self.name, "schema": self.schema, "strict": _is_closed(self.schema)}

    def parse(self, text: str, finish_reason: str) -> object:
        """Return the object that an answer represents.

        Raises:
            StructuredOutputError: it was cut short, is not JSON, or does not fit the schema.
        """
        if finish_reason == "length":
            message = (
                "The answer was cut short before its JSON ended. Raise max_new_tokens, or limit strings and lists."
            )
            raise StructuredOutputError(message, text=text, finish_reason=finish_reason)
        try:
            return self.read(text)
        except (ValueError, RecursionError) as exc:
            message = (
                f"The answer does not match the output schema: {shown(str(exc))}. "
                "The server may ignore schemas: say in the prompt what you want, or choose another server."
            )
            raise StructuredOutputError(message, text=text, finish_reason=finish_reason) from exc


def output_format(output_schema: Any) -> OutputFormat | None:  # noqa: ANN401  (as pydantic takes it)
    """The format that ``AgentPayload.output_schema`` asks for; None if it asks for none.

    Raises:
        SchemaError: it is neither a JSON schema nor a type for which pydantic has one.
    """
    if output_schema is None:
        return None
    if isinstance(output_schema, Mapping):
        schema = dict(output_schema)
        validator = SchemaValidator(schema, "output_schema")
        return OutputFormat(
            name=_name(schema),
            schema=schema,
            read=lambda text: validator.checked(from_json(text, allow_inf_nan=False)),
        )
    try:
        adapter: TypeAdapter[object] = TypeAdapter(output_schema)
        schema = _closed(adapter.json_schema())
    except PydanticUserError as exc:
        message = f"output_schema is a type without a JSON schema: {shown(str(exc))}. Use types that JSON can carry."
        raise SchemaError(message) from exc
    return OutputFormat(name=_name(schema), schema=schema, read=adapter.validate_json)


def _name(schema: Mapping[str, Any]) -> str:
    """The schema's title, reduced to what servers accept as a name."""
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title", "")))[:64].strip("_") or "answer"


def _closed(schema: Any) -> Any:  # noqa: ANN401  (any part of a schema)
    """The schema closed to properties that it does not name, which pydantic would only drop."""
    if isinstance(schema, list):
        return list(map(_closed, schema))
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def _is_closed(schema: object) -> bool:
    """Whether all its objects allow only named properties, and require all of them.

    Only such a schema may be called strict: https://platform.openai.com/docs/guides/structured-outputs
    """
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        named = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != named:
            return False
    return all(map(_is_closed, schema.values()))
