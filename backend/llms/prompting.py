"""Turns a payload into messages in OpenAI's chat format, the one that every engine starts from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.llms.payloads import AgentPayload, MemoryEntry, ToolCall

__all__ = ["build_messages", "describe_tools", "plain_prompt", "render_tool_calls"]

_TOOL_INSTRUCTIONS = """\
You can call these tools:
<tools>
{tools}
</tools>
To call one, answer with its name and its arguments as JSON between <tool_call> tags:
<tool_call>
{{"name": "the tool's name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


def build_messages(payload: AgentPayload) -> list[dict[str, Any]]:
    """The system prompt, the remembered turns and the user's message, oldest first.

    The system prompt is made of ``system_context``, the user's profile and earlier reasoning, and is left out
    when all three are empty.
    """
    system = _system_prompt(payload)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [_turn(entry) for entry in payload.memory]
    messages.append({"role": "user", "content": payload.user_message})
    return messages


def describe_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """Instructions for models whose chat template knows no tools.

    The tags are those of the Hermes function-calling format, which many open models were trained on:
    https://huggingface.co/NousResearch/Hermes-2-Pro-Llama-3-8B
    """
    return _TOOL_INSTRUCTIONS.format(tools="\n".join(json.dumps(dict(tool)) for tool in tools))


def render_tool_calls(calls: Sequence[ToolCall]) -> str:
    """The calls in the text form that ``describe_tools`` asks for."""
    return "\n".join(
        f"<tool_call>\n{json.dumps({'name': call.name, 'arguments': dict(call.arguments)})}\n</tool_call>"
        for call in calls
    )


def plain_prompt(messages: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[str, ...]]:
    """A prompt for a model without a chat template, and the texts at which its answer ends.

    A lone message is given as it is, to be continued; a conversation becomes a transcript that ends where the
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
    return "\n\n".join(part for part in parts if part)


def _turn(entry: MemoryEntry) -> dict[str, Any]:
    message: dict[str, Any] = {"role": entry.role, "content": entry.content}
    if entry.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in entry.tool_calls
        ]
    if entry.role == "tool":
        message["tool_call_id"] = entry.metadata.get("tool_call_id")
    return message
