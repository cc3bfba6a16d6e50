"""Rearranges a conversation for a chat template that does not know all its parts.

Templates refuse or silently drop what they do not know: Gemma 2 any system text, Phi-3.5 tool results, gpt-oss the
second of two calls in one turn. So other arrangements are tried, the closest first, until the template renders
everything; placeholders, words that occur nowhere else, show whether it does.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING, Any, TypeAlias

from llm_backend.llms.prompting import write_calls, write_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Arrangement", "arrange", "arrangements", "stand_ins"]

Message: TypeAlias = "dict[str, Any]"

_SAID_BY = {
    "system": "a system text",
    "user": "a user's turn",
    "assistant": "an assistant's turn",
    "tool": "a tool's result",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """How much a conversation is changed; 0 means not at all.

    Attributes:
        tools: 1 writes the tools into the system text.
        calls: 1 gives each call its own turn, with its result; 2 writes calls as text; 3 also results, in user turns.
            system: 1 moves every system text but the first into user turns; 2 moves all of them.
        ids: 1 gives calls ids of nine letters and digits, as Mistral's templates require.
        merged: 1 joins consecutive turns of one role.
    """

    tools: int
    calls: int
    system: int
    ids: int
    merged: int


def arrangements(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], *, knows_tools: bool
) -> list[Arrangement]:
    """All arrangements that may help, the smallest changes first; ``knows_tools`` says if the template seems to."""
    calls = any(message["role"] == "tool" or "tool_calls" in message for message in messages)
    system = any(message["role"] == "system" for message in messages)
    written = tools and not knows_tools
    choices = [
        Arrangement(tools=tools_, calls=calls_, system=system_, ids=ids, merged=merged)
        for tools_, calls_, system_, ids, merged in product(
            (1,) if written else (0, 1) if tools else (0,),
            (0,) if not calls else (0, 1, 2, 3) if knows_tools else (2, 3),
            (0, 1, 2) if system or tools else (0,),
            (0, 1) if calls and knows_tools else (0,),
            (0, 1),
        )
    ]
    return sorted(choices, key=lambda choice: sum(astuple(choice)))


def arrange(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], how: Arrangement
) -> tuple[list[Message], list[dict[str, Any]] | None]:
    """The messages, and the tools if they are given separately.

    Results follow the order of their calls: few templates say which call a result answers.
    """
    told = _results_in_order(messages)
    if how.ids:
        told = _shortly_named(told)
    if how.calls == 1:
        told = _one_by_one(told)
    if how.calls > 1:
        told = write_calls(told)
    if how.calls > 2:  # noqa: PLR2004  (see Arrangement)
        told = [_told_by_user(message) if message["role"] == "tool" else message for message in told]
    if how.tools:
        told = write_tools(told, tools)
    if how.system:
        kept = told[:1] if how.system == 1 else []
        told = [*kept, *_without_system(told[len(kept) :])]
    if how.merged:
        told = _merged(told)
    return told, None if how.tools or not tools else [dict(tool) for tool in tools]


def stand_ins(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> tuple[list[Message], list[dict[str, Any]], dict[str, str]]:
    """The same with a placeholder for everything to be rendered, and what each placeholder stands for."""
    words: dict[str, str] = {}

    def word(said: object, label: str) -> object:
        if not str(said).strip():
            return said
        words[name := f"say{len(words)}said"] = label
        return name

    def call(made: Mapping[str, Any]) -> dict[str, Any]:
        function, label = made["function"], f"the call of tool {made['function']['name']!r}"
        arguments = {key: word(value, label) for key, value in function["arguments"].items()}
        return {**made, "function": {"name": word(function["name"], label), "arguments": arguments}}

    def tool(definition: Mapping[str, Any]) -> dict[str, Any]:
        function = definition.get("function")
        if not isinstance(function, dict):
            return dict(definition)
        label = f"the tool {function.get('name')!r}"
        said = {key: word(function[key], label) for key in ("name", "description") if key in function}
        if "parameters" in function:
            said["parameters"] = _worded(function["parameters"], lambda text: word(text, label))
        return {**definition, "function": {**function, **said}}

    told = [{**message, "content": word(message["content"], _SAID_BY[message["role"]])} for message in messages]
    for message in told:
        if "tool_calls" in message:
            message["tool_calls"] = [call(made) for made in message["tool_calls"]]
    return told, [tool(definition) for definition in tools], words


def _worded(parameters: object, word: Callable[[str], object]) -> object:
    """The schema of a tool's arguments with a placeholder for each name and description."""
    if not isinstance(parameters, dict) or not isinstance(parameters.get("properties"), dict):
        return parameters
    names, properties = {name: word(name) for name in parameters["properties"]}, {}
    for name, schema in parameters["properties"].items():
        described = isinstance(schema, dict) and isinstance(schema.get("description"), str)
        properties[names[name]] = {**schema, "description": word(schema["description"])} if described else schema
    worded = {**parameters, "properties": properties}
    if isinstance(parameters.get("required"), list):
        worded["required"] = [names.get(str(name), name) for name in parameters["required"]]
    return worded


def _numbered(messages: Sequence[Message]) -> list[tuple[Message, list[int]]]:
    """Each message with the numbers of the calls it makes, or of the one it answers.

    A result answers the call that it names, else the first open one.
    """
    numbered: list[tuple[Message, list[int]]] = []
    open_calls: dict[int, str | None] = {}
    count = 0
    for message in messages:
        made = message.get("tool_calls", ())
        numbers = list(range(count, count + len(made)))
        count += len(made)
        open_calls |= {number: call["id"] for number, call in zip(numbers, made, strict=True)}
        if message["role"] == "tool":
            named = [number for number, name in open_calls.items() if name == message.get("tool_call_id")]
            numbers = [*named, *open_calls][:1]
            for number in numbers:
                del open_calls[number]
        numbered.append((message, numbers))
    return numbered


def _results_in_order(messages: Sequence[Message]) -> list[Message]:
    told: list[Message] = []
    for is_result, run in groupby(_numbered(messages), key=lambda pair: pair[0]["role"] == "tool"):
        told += [message for message, _ in (sorted(run, key=lambda pair: pair[1]) if is_result else run)]
    return told


def _shortly_named(messages: Sequence[Message]) -> list[Message]:
    told: list[Message] = []
    for message, numbers in _numbered(messages):
        names = [f"call{number:05}" for number in numbers]
        if message["role"] == "tool":
            told.append({**message, "tool_call_id": "".join(names)})
        elif names:
            calls = [{**call, "id": name} for call, name in zip(message["tool_calls"], names, strict=True)]
            told.append({**message, "tool_calls": calls})
        else:
            told.append(message)
    return told


def _one_by_one(messages: Sequence[Message]) -> list[Message]:
    numbered = _numbered(messages)
    results = {number: message for message, numbers in numbered if message["role"] == "tool" for number in numbers}
    told: list[Message] = []
    for message, numbers in numbered:
        if message["role"] == "tool":
            told += [] if numbers else [message]
            continue
        if message["content"].strip() or not numbers:
            told.append({key: value for key, value in message.items() if key != "tool_calls"})
        for number, call in zip(numbers, message.get("tool_calls", ()), strict=True):
            told.append({**message, "content": "", "tool_calls": [call]})
            told += [results[number]] if number in results else []
    return told


def _told_by_user(result: Message) -> Message:
    return {"role": "user", "content": f"<tool_response>\n{result['content']}\n</tool_response>"}


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The same with each system text at the start of the next user turn, or in a user turn of its own."""
    told: list[Message] = []
    system: list[str] = []
    for message in messages:
        if message["role"] == "system":
            system.append(message["content"])
        elif message["role"] == "user":
            told.append({**message, "content": "\n\n".join([*system, message["content"]])})
            system = []
        else:
            told += [{"role": "user", "content": "\n\n".join(system)}] if system else []
            told.append(message)
            system = []
    return told + ([{"role": "user", "content": "\n\n".join(system)}] if system else [])


def _merged(messages: Sequence[Message]) -> list[Message]:
    """The same with consecutive turns of one role joined, except calls and their results."""
    told: list[Message] = []
    for message in messages:
        last = told[-1] if told else {"role": "tool"}
        if message["role"] == last["role"] != "tool" and "tool_calls" not in {**last, **message}:
            told[-1] = {**last, "content": f"{last['content']}\n\n{message['content']}"}
        else:
            told.append(message)
    return told
