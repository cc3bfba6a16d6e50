"""Every kind of answer an engine gives: a text, an object, and one that used a tool.

::

    python examples/tour.py huggingface
    OPENAI_API_URL=http://127.0.0.1:8080/v1 python examples/tour.py openai

Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Literal

from llm_backend import AgentPayload, GenerationOptions, MemoryEntry, ToolCall
from llm_backend.llms import load_agent, run_with_tools


@dataclass
class City:
    """The object to ask for."""

    name: str
    continent: Literal["Africa", "Asia", "Europe"]


def get_population(city: str) -> int:
    """Get the number of people who live in a city.

    Args:
        city: the city's name.
    """
    return {"Oslo": 709037}[city]


# A model this small calls a tool only after seeing how; a larger one needs no example.
EXAMPLE = [
    MemoryEntry("user", "How many people live in Paris?"),
    MemoryEntry(
        "assistant", "", tool_calls=[ToolCall(name="get_population", arguments={"city": "Paris"}, id="a1b2c3d4e")]
    ),
    MemoryEntry("tool", "2102650", metadata={"tool_call_id": "a1b2c3d4e"}),
    MemoryEntry("assistant", "2102650 people live in Paris."),
]


async def tour(engine: str) -> dict[str, object]:
    """Ask ``engine`` for each kind of answer."""
    short = GenerationOptions(max_new_tokens=48)
    async with await load_agent(engine, validate=False) as agent:
        text = await agent.invoke(AgentPayload("What is the capital of Japan?", generation=short))
        city = await agent.invoke(AgentPayload("Tell me of Tokyo.", output_schema=City, generation=short))
        question = AgentPayload("How many people live in Oslo?", memory=EXAMPLE, generation=short)
        told = await run_with_tools(agent, question, [get_population])
    turns = told.metadata["tool_turns"]
    called = [call.name for turn in turns for call in turn.tool_calls]
    return {"text": text.response, "object": str(city.parsed), "called": called, "told": told.response}


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  (itself and the engine)
        sys.exit("Which engine? python examples/tour.py huggingface, openai or langchain")
    print(json.dumps(asyncio.run(tour(sys.argv[1]))))  # noqa: T201  (the purpose of a script)
