"""JSON schemas: whether one is valid, and why a value does not fit it. Nothing is fetched for a ``$ref``."""

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
    """Checks values against a schema of draft 2020-12, without looking up outside schemas."""

    def __init__(self, schema: Mapping[str, Any], name: str) -> None:
        """Check the schema itself.

        Args:
            schema: the JSON schema.
            name: what it is, as worded in errors: "The schema of tool 'add'".

        Raises:
            SchemaError: it is not a JSON schema, or is nested too deeply.
        """
        self._name = name
        try:
            Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        except JSONSchemaError as exc:
            message = f"{name} is not a JSON schema: at {exc.json_path}, {shown(exc.message)}. Fix it there."
            raise SchemaError(message) from exc
        except RecursionError as exc:
            message = f"{name} is nested too deeply. Put inner parts under its $defs."
            raise SchemaError(message) from exc
        self._validator = Draft202012Validator(schema, registry=Registry())

    def checked(self, value: _Value) -> _Value:
        """Return ``value`` if it fits.

        Raises:
            ValueError: it does not fit; says where and why.
            SchemaError: the schema refers to a place that does not exist, or endlessly to itself.
        """
        try:
            error = best_match(self._validator.iter_errors(value))
        except (Unresolvable, RecursionError) as exc:
            message = f"{self._name} refers to something it does not hold, or endlessly to itself: {shown(str(exc))}."
            raise SchemaError(message + " Put every $ref's target under its $defs.") from exc
        if error is not None:
            message = f"{error.json_path}: {error.message}"
            raise ValueError(message)
        return value
