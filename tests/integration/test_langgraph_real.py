"""The real local model in LangGraph's graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms import as_chat_model
from tests.integration.questions import FACT, QUESTION
from tests.integration.weights import count_forward_passes

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from llm_backend.llms.agent import Agent

pytestmark = pytest.mark.requires("llm", "model", "langchain", "langgraph")


async def get_population(city: str) -> int:
    """Get the number of people who live in a city.

    Args:
        city: the city's name.
    """
    return 8799800 if city == "London" else 0


def population_question() -> list[BaseMessage]:
    """A question whose answer only the tool knows, after an example, as a model this small needs one."""
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
    from langchain_core.messages.tool import tool_call

    call = tool_call(name="get_population", args={"city": "Paris"}, id="a1b2c3d4e")
    return [
        HumanMessage("How many people live in Paris?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("2102650", tool_call_id="a1b2c3d4e"),
        AIMessage("2102650 people live in Paris."),
        HumanMessage("How many people live in London?"),
    ]


async def test_tokens_of_a_node(agent: Agent) -> None:
    """A graph streams its node's answer while it is being made."""
    from langgraph.graph import START, MessagesState, StateGraph

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await as_chat_model(agent).ainvoke(state["messages"], max_tokens=12)]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    question: Any = {"messages": [("human", QUESTION)]}
    with count_forward_passes(agent) as passes:
        chunks = graph.astream(question, stream_mode="messages")
        pieces = [(str(part.text), passes.count) async for part, _ in chunks if part.text]
    assert "".join(piece for piece, _ in pieces) == FACT
    assert len(pieces) >= 5
    assert pieces[0][1] < pieces[-1][1]


async def test_tools_of_a_graph(agent: Agent) -> None:
    """A graph runs the tools that a local model calls, and the model goes on with the results."""
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    model = as_chat_model(agent).bind_tools([get_population], max_tokens=40)

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_node("tools", ToolNode([get_population]))
    graph.add_edge(START, "ask").add_conditional_edges("ask", tools_condition).add_edge("tools", "ask")
    question: Any = {"messages": population_question()}
    stream = graph.compile().astream(question, stream_mode="messages")
    pieces = [(about["langgraph_node"], str(part.text)) async for part, about in stream if part.text]
    assert pieces[0] == ("tools", "8799800")
    assert {node for node, _ in pieces[1:]} == {"ask"}
    assert "".join(piece for _, piece in pieces[1:]) == "8799800 people live in London."
    assert len(pieces) >= 5
