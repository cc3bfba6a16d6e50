"""A real model answers with JSON of a schema, and with nothing else, however it samples."""

from __future__ import annotations

import json
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, Field

from llm_backend.errors import EngineError, MissingExtraError, PayloadError, SchemaError, StructuredOutputError
from llm_backend.llms.settings.agent_settings import AgentSettings
from tests.integration.questions import QUESTION
from tests.unit.backend.prepared_once import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llm_backend.llms.agent import Agent
    from tests.integration.server import ModelServer

pytestmark = pytest.mark.requires("llm", "model")

Short = Annotated[str, Field(max_length=16)]
ADA = "Ada is 36 years old, speaks English and French, and lives in London."


class Language(Enum):
    """Words to choose from, not all of them ASCII."""

    ENGLISH = "English"
    FRENCH = "Français"


class Home(BaseModel):
    """An object inside another."""

    city: Short
    height: float = Field(ge=0, le=9000)


class Person(BaseModel):
    """A bit of everything."""

    name: Short
    age: int = Field(ge=0, le=130)
    languages: list[Language] = Field(min_length=2, max_length=3)
    home: Home
    partner: Short | None
    lucky: int | bool


@pytest.mark.parametrize(
    "way",
    [
        "whole",
        "streamed",
        pytest.param("counted", marks=pytest.mark.untraced("counting tokens asks only the tokenizer")),
    ],
)
async def test_a_request_is_prepared_once(agent: Agent, ask: Callable[..., Any], way: str) -> None:
    """The schema of a request is compiled once, and its messages are built once."""
    payload = ask(ADA, max_new_tokens=30, output_schema={"type": "object", "properties": {"age": {"const": 36}}})
    with counted() as prepared:
        if way == "whole":
            assert (await agent.invoke(payload)).metadata["finish_reason"] == "stop"
        elif way == "streamed":
            assert [event async for event in agent.stream_events(payload)]
        else:
            assert await agent.count_tokens(payload) > 0
    assert prepared == {"schemas": 1, "messages": 1}


async def test_an_answer_is_the_object(agent: Agent, ask: Callable[..., Any]) -> None:
    """An answer fits its schema, and comes as the object."""
    answer = await agent.invoke(ask(ADA, max_new_tokens=120, output_schema=Person))
    assert isinstance(answer.parsed, Person)
    assert answer.parsed == Person.model_validate_json(answer.response)
    assert answer.parsed.name == "Ada"
    assert answer.metadata["finish_reason"] == "stop"


async def test_chance_does_not_leave_the_schema(agent: Agent, ask: Callable[..., Any]) -> None:
    """An answer at a high temperature is still JSON that fits."""
    wild = {"temperature": 3.0, "seed": 5, "max_new_tokens": 150}
    answer = await agent.invoke(ask(ADA, output_schema=Person, **wild))
    assert isinstance(answer.parsed, Person)


async def test_a_stream_is_the_same_json(agent: Agent, ask: Callable[..., Any]) -> None:
    """A stream is held to the schema, and tags inside its JSON are text."""
    schema = {"const": {"text": "<think>å</think> 日本語 😀"}}
    payload = ask("Go.", max_new_tokens=60, output_schema=schema)
    pieces = [piece async for piece in agent.stream(payload)]
    assert json.loads("".join(pieces)) == schema["const"]
    assert len(pieces) > 3


async def test_a_cut_answer_is_no_answer(agent: Agent, ask: Callable[..., Any]) -> None:
    """JSON that was cut is an error, even where it looks whole."""
    cut = ask("What is 123456 times 1000?", max_new_tokens=1, output_schema={"type": "integer", "minimum": 1000000})
    with pytest.raises(
        StructuredOutputError, match=r"was cut short before its JSON ended\. Raise max_new_tokens"
    ) as caught:
        await agent.invoke(cut)
    assert caught.value.finish_reason == "length"
    pieces = []
    with pytest.raises(StructuredOutputError, match="was cut"):
        pieces += [piece async for piece in agent.stream(cut)]
    assert await agent.count_tokens(cut) > await agent.count_tokens(ask("What is 123456 times 1000?"))


@pytest.mark.untraced("no answer is generated for a schema that is refused")
@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strin"}, r"output_schema is not a JSON schema: at \$\.type, 'strin' is not valid"),
        ({"not": {"type": "string"}}, r"The output schema cannot be enforced: Unimplemented keys: \[\"not\"\]"),
        ({"enum": []}, "Unsatisfiable schema"),
        ({"$ref": "#/$defs/nowhere"}, "does not exist"),
        (
            {"$ref": "http://localhost:9/schema"},
            "output schema cannot be enforced: Resource 'http://localhost:9/schema'",
        ),
        (set[int], r"Unimplemented keys: \[\"uniqueItems\"\]"),
    ],
)
async def test_schemas_that_cannot_be_held_are_refused(
    agent: Agent, ask: Callable[..., Any], schema: Any, message: str
) -> None:
    """A schema that cannot be held in full is refused."""
    with pytest.raises(SchemaError, match=message):
        await agent.invoke(ask("Go.", output_schema=schema))


@pytest.mark.untraced("no answer is generated for a payload that is refused")
async def test_tools_and_a_schema_are_too_much(agent: Agent, ask: Callable[..., Any]) -> None:
    """Tools and a schema together are refused."""
    with pytest.raises(PayloadError, match="cannot both call tools and answer by output_schema"):
        await agent.invoke(ask("Go.", output_schema=Person, tools_available=[{"type": "function"}]))


async def test_a_reasoning_model_answers_at_once(
    load: Callable[..., Any], ask: Callable[..., Any], model_copy: Path
) -> None:
    """The JSON of a reasoning model is its answer, not its reasoning."""
    (model_copy / "chat_template.jinja").write_text("{{ messages[-1].content }}\n<think>\n")
    async with await load(model_copy) as thinker:
        answer = await thinker.invoke(ask("Yes or no?", output_schema={"enum": ["yes", "no"]}))
    assert answer.parsed in {"yes", "no"}
    assert answer.thinking == ""


@pytest.mark.untraced("the library is missing before anything is generated")
async def test_a_missing_library_is_named(
    agent: Agent, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without llguidance the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"Structured output .* needs llguidance, .*\[llm\]"):
        await agent.invoke(ask("Go.", output_schema=Person))


@pytest.mark.untraced("looks at one step of the decoding")
def test_a_token_that_does_not_fit_is_an_error(model_directory: Path) -> None:
    """A token outside the grammar raises an error, and large numbers are allowed in a schema."""
    import torch
    from transformers import AutoTokenizer

    from llm_backend.llms.engines.huggingface.constrained_decoding import constrain

    tokenizer = AutoTokenizer.from_pretrained(model_directory)
    size = len(tokenizer)
    schema = {"const": 1, "maximum": 10**20}
    step = constrain(tokenizer, schema, prompt_length=2, vocabulary_size=size, end_tokens=[2])
    scores = step(torch.tensor([[1, 1]]), torch.zeros(1, size + 8))
    assert [tokenizer.decode(token) for token in scores[0].isfinite().nonzero()] == ["1"]
    with pytest.raises(EngineError, match="Constrained decoding gave up"):
        step(torch.tensor([[1, 1, 5]]), torch.zeros(1, size))


@pytest.mark.requires("openai")
async def test_a_server_that_ignores_the_schema_is_caught(model_server: ModelServer, ask: Callable[..., Any]) -> None:
    """A server's answer that does not fit the schema raises an error."""
    from llm_backend.llms.engines.server.openai_agent import OpenAIAgent

    async with await OpenAIAgent.create(AgentSettings(base_url=model_server.url, model=model_server.model)) as client:
        with pytest.raises(StructuredOutputError, match=r"does not match the output schema.*may ignore") as caught:
            await client.invoke(ask(QUESTION, max_new_tokens=20, output_schema=Person))
    assert caught.value.text
