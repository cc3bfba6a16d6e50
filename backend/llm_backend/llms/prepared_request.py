"""A payload prepared once for everything that a request needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from llm_backend.errors import PayloadError
from llm_backend.llms.prompting import build_messages
from llm_backend.llms.structured_output import output_format

if TYPE_CHECKING:
    from llm_backend.llms.payloads import AgentPayload
    from llm_backend.llms.structured_output import OutputFormat

__all__ = ["PreparedRequest", "prepare"]

_INSTRUCTIONS = "Answer with JSON that fits this JSON schema, and with nothing else:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """A payload, its output format and its messages."""

    payload: AgentPayload
    output: OutputFormat | None
    messages: list[dict[str, Any]]


def prepare(
    payload: AgentPayload, *, tells_schema: bool = False, arguments: Literal["json", "object"] = "json"
) -> PreparedRequest:
    """Compile the schema of ``payload``, and build its messages.

    Args:
        payload: the request.
        tells_schema: put the schema into the system prompt, for a model that learns it in no other way.
        arguments: as for ``build_messages``.

    Raises:
        SchemaError: ``output_schema`` is not a schema.
        PayloadError: the model is told a schema and offered tools, which it cannot call while it may only write JSON.
    """
    output = output_format(payload.output_schema)
    told = _with_schema(payload, output) if output and tells_schema else payload
    return PreparedRequest(payload=payload, output=output, messages=build_messages(told, arguments=arguments))


def _with_schema(payload: AgentPayload, output: OutputFormat) -> AgentPayload:
    if payload.tools_available:
        message = "This model cannot both call tools and answer by output_schema. Ask twice: tools first."
        raise PayloadError(message)
    told = _INSTRUCTIONS + json.dumps(output.schema, ensure_ascii=False)
    return replace(payload, system_context="\n\n".join(filter(None, [payload.system_context, told])))
