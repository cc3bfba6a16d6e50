"""Counts what is made from payloads, while the real things are made."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms import prepared_request, prompting, structured_output
from llm_backend.llms.tools.schemas import SchemaValidator

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["counted"]


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count the schemas that are compiled and the lists of messages that are built, wherever that happens."""
    made = {"schemas": 0, "messages": 0}

    class Validator(SchemaValidator):
        """The real one."""

        def __init__(self, *about: Any) -> None:
            made["schemas"] += 1
            super().__init__(*about)

    build = prompting.build_messages

    def build_messages(*about: Any, **options: Any) -> list[dict[str, Any]]:
        made["messages"] += 1
        return build(*about, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structured_output, "SchemaValidator", Validator)
        patch.setattr(prompting, "build_messages", build_messages)
        patch.setattr(prepared_request, "build_messages", build_messages)
        yield made
