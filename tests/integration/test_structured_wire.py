"""Structured output of the engines that ask a server: how they send the schema, and how they check the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from llm_backend import AgentPayload
from llm_backend.errors import SchemaError, StructuredOutputError
from llm_backend.llms.structured_output import output_format
from tests.integration.server import delta
from tests.integration.server_engines import QUESTION, TOOL, call_of, joined

if TYPE_CHECKING:
    from llm_backend.llms.engines.server.server_agent import ServerAgent
    from tests.integration.server import ScriptedServer
    from tests.integration.server_engines import Connect


class City(BaseModel):
    """The class of an answer."""

    name: str


ASKED = AgentPayload(QUESTION, output_schema=City)
PARIS = '{"name": "<think>Paris</think>"}'


async def test_an_answer_is_the_object(told: ServerAgent, scripted: ScriptedServer) -> None:
    """The server gets the schema, and its answer becomes the object."""
    scripted.complete(f"<think>Paris.</think>\n{PARIS}")
    answer = await told.invoke(ASKED)
    output = output_format(City)
    assert output is not None
    assert scripted.received[0].body["response_format"] == {"type": "json_schema", "json_schema": output.definition}
    assert (answer.parsed, answer.response, answer.thinking) == (City(name="<think>Paris</think>"), PARIS, "Paris.")


async def test_the_responses_api_is_told(connect: Connect, scripted: ScriptedServer) -> None:
    """The Responses API gets the schema in its own place."""
    about = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed"}
    about |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    text = {"type": "output_text", "text": PARIS, "annotations": []}
    message = {"type": "message", "id": "o", "role": "assistant", "status": "completed", "content": [text]}
    scripted.answer({**about, "output": [message]})
    agent = await connect(scripted.url, use_responses=True)
    assert (await agent.invoke(ASKED)).response == PARIS
    sent = scripted.received[0].body["text"]["format"]
    assert (sent["type"], sent["name"], sent["strict"]) == ("json_schema", "City", True)


async def test_another_answer_is_an_error(told: ServerAgent, scripted: ScriptedServer) -> None:
    """An answer that does not fit the schema, or a refusal, raises an error."""
    scripted.complete("I cannot say.")
    with pytest.raises(StructuredOutputError, match="does not match the output schema") as caught:
        await told.invoke(ASKED)
    assert caught.value.text == "I cannot say."


async def test_a_call_is_no_answer_yet(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A turn that calls a tool is not held to the schema."""
    scripted.complete(None, tool_calls=[call_of("{}")])
    answer = await told.invoke(AgentPayload(QUESTION, output_schema=City, tools_available=[TOOL]))
    assert answer.parsed is None
    assert [call.name for call in answer.tool_calls] == ["roll"]


async def test_a_stream_is_held_to_the_schema(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A stream's JSON arrives unchanged, and a cut one raises an error."""
    scripted.stream(delta(PARIS[:12]), delta(PARIS[12:]), delta(finish_reason="stop"))
    assert json.loads(await joined(told, ASKED)) == json.loads(PARIS)
    scripted.stream(delta(PARIS[:12]), delta(finish_reason="length"))
    with pytest.raises(StructuredOutputError, match="was cut"):
        await joined(told, ASKED)


async def test_a_stream_that_calls_a_tool(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A stream that calls a tool has no answer, and is not held to the schema."""
    scripted.stream(delta('<tool_call>{"name": "roll"}</tool_call>'), delta(finish_reason="stop"))
    assert await joined(told, AgentPayload(QUESTION, output_schema=City, tools_available=[TOOL])) == ""


async def test_a_bad_schema_is_not_sent(told: ServerAgent, scripted: ScriptedServer) -> None:
    """A faulty schema is refused before anything is sent."""
    bad = AgentPayload(QUESTION, output_schema={"type": "objekt"})
    with pytest.raises(SchemaError, match="output_schema is not a JSON schema"):
        await told.invoke(bad)
    with pytest.raises(SchemaError, match="output_schema is not a JSON schema"):
        await joined(told, bad)
    assert scripted.received == []
