"""Writes down what users can rely on: names, signatures, fields, errors, commands and options."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from pydantic import BaseModel
from typing_extensions import is_protocol

import llm_backend
import llm_backend.llms
from llm_backend.cli.app import app
from llm_backend.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FILE", "described", "write"]

FILE = Path(__file__).with_name("public_api.txt")


def write(file: Path = FILE) -> None:
    """Write the file that the public API is compared with."""
    file.write_text(described(), encoding="utf-8")


def described() -> str:
    """The public API, one name or field a line."""
    parts = (
        *_names(llm_backend),
        *_names(llm_backend.llms),
        *("from llm_backend.errors import", *_errors(BackendError), ""),
        *_command("llm-backend", typer.main.get_command(app)),
    )
    return "\n".join(parts) + "\n"


def _names(module: ModuleType) -> Iterator[str]:
    yield f"from {module.__name__} import"
    for name in sorted(getattr(module, "__all__", vars(module))):
        value = getattr(module, name)
        if not (name.startswith("_") or isinstance(value, ModuleType)):
            yield from _value(name, value)
    yield ""


def _value(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, type):
        yield f"  {_signature(name, value)}" if inspect.isfunction(value) else f"  {name} = {value}"
        return
    yield f"  class {name}({', '.join(base.__name__ for base in value.__bases__)})"
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            only = ", by name" if field.kw_only else ""
            yield f"    {field.name}: {field.type}{_default(field.default, field.default_factory)}{only}"
    elif issubclass(value, BaseModel):
        for key, about in value.model_fields.items():
            yield f"    {key}: {inspect.get_annotations(value)[key]} = {about.default!r}"
    elif "__init__" in vars(value) and not is_protocol(value):
        yield f"    {_signature('__init__', vars(value)['__init__'])}"
    for method, held in sorted(vars(value).items()):
        yield from _method(method, held)


def _default(*given: Any) -> str:
    chosen = [value for value in given if value is not dataclasses.MISSING]
    return "".join(f" = {value.__name__}()" if callable(value) else f" = {value!r}" for value in chosen)


def _signature(name: str, function: Callable[..., object]) -> str:
    begin = "async " if inspect.iscoroutinefunction(function) else ""
    written = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))  # annotations are texts
    return f"{begin}{name}{written}"


def _method(name: str, held: object) -> Iterator[str]:
    function = getattr(held, "__func__", held)
    if name.startswith("_") and name not in ("__aenter__", "__aexit__"):
        return
    if isinstance(held, property):
        yield f"    {name}: a property"
    elif inspect.isfunction(function):
        yield f"    {_signature(name, function)}"


def _errors(error: type[BaseException], depth: int = 1) -> Iterator[str]:
    facts = ", ".join(name for name in inspect.get_annotations(error))
    bases = ", ".join(base.__name__ for base in error.__bases__)
    yield f"{'  ' * depth}{error.__name__}({bases}){f': {facts}' if facts else ''}"
    for kind in error.__subclasses__():
        if kind.__module__ == error.__module__:  # else a test's
            yield from _errors(kind, depth + 1)


def _command(name: str, command: Any) -> Iterator[str]:
    yield name
    kinds = get_type_hints(command.callback) if command.callback else {}
    for option in command.params:
        kind = inspect.formatannotation(kinds[option.name]) if option.name in kinds else "of typer"
        kind = kind.replace("pathlib._local", "pathlib")  # as Python 3.13 has it
        yield f"  {' '.join(option.opts)}: {kind} = {option.default!r}{', required' if option.required else ''}"
    for inner, held in sorted(getattr(command, "commands", {}).items()):
        yield from _command(f"{name} {inner}", held)
