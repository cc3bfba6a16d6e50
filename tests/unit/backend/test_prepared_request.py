"""What a request needs from its payload is made once."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from llm_backend import AgentPayload, Usage
from llm_backend.errors import PayloadError
from llm_backend.llms.prepared_request import prepare
from tests.unit.backend.prepared_once import counted
from tests.unit.backend.told_agent import Client, RefusalError, Told, ask, make

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


class Person(BaseModel):
    """The class of an answer."""

    name: str


def test_a_local_model_is_told() -> None:
    """A local model finds the schema at the end of its system prompt."""
    request = prepare(AgentPayload("Who?", system_context="Be brief.", output_schema=Person), tells_schema=True)
    assert request.output is not None
    system = request.messages[0]["content"]
    assert system.startswith("Be brief.\n\nAnswer with JSON that fits this JSON schema")
    assert system.endswith(json.dumps(request.output.schema))


def test_a_server_is_told_otherwise() -> None:
    """Where the request itself carries the schema, the prompt stays the payload's."""
    request = prepare(AgentPayload("Who?", output_schema=Person))
    assert request.messages == [{"role": "user", "content": "Who?"}]


def test_nothing_is_asked_for() -> None:
    """Without a schema, any text is an answer."""
    request = prepare(AgentPayload("Hello."), tells_schema=True)
    assert (request.output, request.messages) == (None, [{"role": "user", "content": "Hello."}])


def test_a_local_model_cannot_call_tools_as_well() -> None:
    """A schema and tools together are refused for a local model."""
    payload = AgentPayload("Who?", output_schema=Person, tools_available=[{"type": "function"}])
    with pytest.raises(PayloadError, match="cannot both call tools and answer by output_schema"):
        prepare(payload, tells_schema=True)


@pytest.mark.parametrize("way", ["whole", "streamed", "counted"])
async def test_a_server_s_request_is_prepared_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema is compiled once and messages are built once, even across refusals."""
    monkeypatch.setattr(Told, "client", Client(), raising=False)
    agent = await make()
    said = {"text": '{"name": "Ada"}', "finish_reason": "stop", "usage": Usage(prompt_tokens=9, completion_tokens=5)}
    with counted() as prepared:
        if way == "whole":
            answer = await ask(agent, RefusalError(), said, output_schema=SCHEMA)
            assert answer.parsed == {"name": "Ada"}
        elif way == "streamed":
            agent.said += [[RefusalError()], [said]]
            assert [event async for event in agent.stream_events(AgentPayload("Hi.", output_schema=SCHEMA))]
        else:
            assert await agent.count_tokens(AgentPayload("Hi.", output_schema=SCHEMA)) > 0
    assert prepared == {"schemas": 1, "messages": 1}
