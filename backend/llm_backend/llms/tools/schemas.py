"""JSON schemas: whether one is sound, and what keeps a value from fitting it. Nothing is fetched for a ``$ref``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError as JSONSchemaError
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from llm_backend.errors import SchemaError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SchemaValidator"]

_Value = TypeVar("_Value")


class SchemaValidator:
    """Tells whether values fit a schema of draft 2020-12, in which no outside one is looked up."""

    def __init__(self, schema: Mapping[str, Any], name: str) -> None:
        """Check the schema itself.

        Args:
            schema: the JSON schema.
            name: what it is, as an error says it: "The schema of tool 'add'".

        Raises:
            SchemaError: it is no JSON schema, or one that is nested too deeply.
        """
        self._name = name
        try:
            Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        except JSONSchemaError as exc:
            message = f"{name} is no JSON schema: at {exc.json_path}, {shown(exc.message)}. Mend it there."
            raise SchemaError(message) from exc
        except RecursionError as exc:
            message = f"{name} is nested too deeply. Put inner parts under its $defs."
            raise SchemaError(message) from exc
        self._validator = Draft202012Validator(schema, registry=Registry())

    def checked(self, value: _Value) -> _Value:
        """Return ``value``, which fits.

        Raises:
            ValueError: it does not; where and why.
            SchemaError: the schema refers to a place that it does not have, or to itself without end.
        """
        try:
            error = best_match(self._validator.iter_errors(value))
        except (Unresolvable, RecursionError) as exc:
            message = f"{self._name} refers to what it does not hold, or to itself without end: {shown(str(exc))}."
            raise SchemaError(message + " Put every $ref's target under its $defs.") from exc
        if error is not None:
            message = f"{error.json_path}: {error.message}"
            raise ValueError(message)
        return value
