"""Turns a payload into messages in OpenAI's chat format, from which every engine starts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from llm_backend.llms.message_extras import with_extras

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_backend.llms.payloads import AgentPayload, MemoryEntry

__all__ = ["build_messages", "plain_prompt", "turn_message", "write_calls", "write_tools"]

_TOOL_INSTRUCTIONS = """\
You can call these tools:
<tools>
{tools}
</tools>
To call one, answer with its name and its arguments as JSON between <tool_call> tags:
<tool_call>
{{"name": "the tool's name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


def build_messages(payload: AgentPayload, *, arguments: Literal["json", "object"] = "json") -> list[dict[str, Any]]:
    """The system prompt, the remembered turns and the user's message, oldest first.

    The system prompt consists of ``system_context``, the user's profile and earlier reasoning, and is left out if all
    three are empty. ``arguments`` says how tool calls carry theirs: as JSON text for servers, which also get the extras
    of turns and calls, or as an object for chat templates.
    """
    return _messages(payload, _system_prompt(payload), [turn_message(entry, arguments) for entry in payload.memory])


def write_tools(messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with ``tools``, and instructions for calling them, at the end of the system prompt.

    The tags are those of the Hermes function-calling format, which many open models were trained on:
    https://huggingface.co/NousResearch/Hermes-2-Pro-Llama-3-8B
    """
    if not tools:
        return list(messages)
    listed = "\n".join(json.dumps(dict(tool), ensure_ascii=False) for tool in tools)
    system = [message["content"] for message in messages[:1] if message["role"] == "system"]
    prompt = "\n\n".join([*system, _TOOL_INSTRUCTIONS.format(tools=listed)])
    return [{"role": "system", "content": prompt}, *messages[len(system) :]]


def write_calls(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with each tool call written into the text of its turn; arguments must be objects."""
    return [
        {
            "role": message["role"],
            "content": "\n".join(filter(None, [message["content"], *map(_call_text, message.get("tool_calls", ()))])),
        }
        for message in messages
    ]


def plain_prompt(messages: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[str, ...]]:
    """A prompt for a model without a chat template, and the texts at which its answer ends.

    A single message is passed on unchanged, to be continued; a conversation becomes a transcript, which ends where the
    model would speak for the user.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    if len(turns) == 1:
        return "\n\n".join([*system, turns[0]["content"]]), ()
    lines = [f"{str(turn['role']).capitalize()}: {turn['content']}" for turn in turns]
    return "\n\n".join([*system, "\n".join([*lines, "Assistant:"])]), ("\nUser:",)


def _system_prompt(payload: AgentPayload) -> str:
    profile = "\n".join(f"- {key}: {value}" for key, value in payload.user_profile.items())
    parts = [
        payload.system_context,
        f"What is known of the user:\n{profile}" if profile else "",
        f"Your earlier reasoning:\n{payload.thinking_blob}" if payload.thinking_blob else "",
    ]
    return "\n\n".join(filter(None, parts))


def _messages(payload: AgentPayload, system: str, turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    opening = [{"role": "system", "content": system}] if system else []
    asked = [{"role": "user", "content": payload.user_message}] if payload.user_message.strip() else []
    return [*opening, *turns, *asked]


def turn_message(entry: MemoryEntry, arguments: Literal["json", "object"] = "json") -> dict[str, Any]:
    """One remembered turn; ``arguments`` as for ``build_messages``."""
    message: dict[str, Any] = {"role": entry.role, "content": entry.content}
    if entry.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(dict(call.arguments)) if arguments == "json" else dict(call.arguments),
                },
            }
            for call in entry.tool_calls
        ]
    if entry.role == "tool":
        message["tool_call_id"] = entry.metadata.get("tool_call_id")
    if arguments == "object":
        return message
    if entry.tool_calls:
        message["tool_calls"] = [
            with_extras(told, call.extras) for told, call in zip(message["tool_calls"], entry.tool_calls, strict=True)
        ]
    return with_extras(message, entry.extras)


def _call_text(call: Mapping[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps(call['function'], ensure_ascii=False)}\n</tool_call>"
