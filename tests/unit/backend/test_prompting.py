"""A payload becomes the messages that a model reads, and nothing that the caller gave is lost."""

from __future__ import annotations

from llm_backend import AgentPayload, MemoryEntry, ToolCall
from llm_backend.llms.prompting import build_messages, plain_prompt, write_calls, write_tools

CALL = ToolCall(name="add", arguments={"a": 1}, id="call-1")
TOOL = {"type": "function", "function": {"name": "add"}}
MEMORY = (
    MemoryEntry("user", "Add."),
    MemoryEntry("assistant", "", tool_calls=(CALL,)),
    MemoryEntry("tool", "2", metadata={"tool_call_id": "call-1"}),
)


def test_message_alone() -> None:
    """A bare message is sent without a system prompt."""
    assert build_messages(AgentPayload("Hi")) == [{"role": "user", "content": "Hi"}]


def test_system_prompt_holds_all_that_is_known() -> None:
    """The user's profile and earlier reasoning are in the system prompt."""
    payload = AgentPayload(
        "Hi", system_context="Be kind.", user_profile={"name": "Ada", "age": 36}, thinking_blob="So far."
    )
    system = build_messages(payload)[0]
    assert system == {
        "role": "system",
        "content": "Be kind.\n\nWhat is known of the user:\n- name: Ada\n- age: 36\n\nYour earlier reasoning:\nSo far.",
    }


def test_memory_keeps_roles_order_and_tool_calls() -> None:
    """Earlier turns keep their roles, their order and their tool calls."""
    messages = build_messages(AgentPayload("And now?", memory=MEMORY))
    function = {"name": "add", "arguments": '{"a": 1}'}
    assert messages == [
        {"role": "user", "content": "Add."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "call-1"},
        {"role": "user", "content": "And now?"},
    ]


def test_templates_get_arguments_as_objects() -> None:
    """Chat templates get arguments as objects, not as JSON text."""
    call = build_messages(AgentPayload("And now?", memory=MEMORY), arguments="object")[1]["tool_calls"][0]
    assert call["function"]["arguments"] == {"a": 1}


def test_only_servers_get_extras() -> None:
    """Extras go back to a server with their turn and call, and into no template."""
    call = ToolCall(name="roll", arguments={}, id="c", extras={"extra_content": {"k": 1}, "id": "other"})
    entry = MemoryEntry("assistant", "Hm.", tool_calls=[call], extras={"reasoning_content": "Why?", "role": "other"})
    payload = AgentPayload("Go on.", memory=[MemoryEntry("user", "Roll."), entry])
    sent = build_messages(payload)[1]
    assert (sent["role"], sent["content"], sent["reasoning_content"]) == ("assistant", "Hm.", "Why?")
    assert (sent["tool_calls"][0]["id"], sent["tool_calls"][0]["extra_content"]) == ("c", {"k": 1})
    rendered = build_messages(payload, arguments="object")[1]
    assert rendered.keys() == {"role", "content", "tool_calls"}
    assert rendered["tool_calls"][0].keys() == {"id", "type", "function"}


def test_tools_as_text() -> None:
    """A model without tools of its own reads them, and its earlier calls, as text."""
    messages = build_messages(AgentPayload("Now?", memory=MEMORY), arguments="object")
    system, first, call, answer, last = write_tools(write_calls(messages), [TOOL])
    assert system["role"] == "system"
    assert '{"type": "function", "function": {"name": "add"}}' in system["content"]
    assert call == {"role": "assistant", "content": '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'}
    assert [message["content"] for message in (first, answer, last)] == ["Add.", "2", "Now?"]


def test_no_tools_no_instructions() -> None:
    """Without tools there are no instructions for them."""
    assert write_tools(write_calls(build_messages(AgentPayload("Hi"))), []) == [{"role": "user", "content": "Hi"}]


def test_lone_message_is_continued() -> None:
    """A base model gets a lone message as it is, to go on with."""
    messages = build_messages(AgentPayload("Once upon", system_context="A tale."))
    assert plain_prompt(messages) == ("A tale.\n\nOnce upon", ())


def test_conversation_becomes_a_transcript() -> None:
    """A base model gets a transcript, and stops before it speaks for the user."""
    payload = AgentPayload("Bye", memory=[MemoryEntry("user", "Hi"), MemoryEntry("assistant", "Hello")])
    assert plain_prompt(build_messages(payload)) == (
        "User: Hi\nAssistant: Hello\nUser: Bye\nAssistant:",
        ("\nUser:",),
    )


def test_nothing_follows_a_tools_result() -> None:
    """No empty message follows a tool's result."""
    messages = build_messages(AgentPayload(" ", memory=MEMORY))
    assert [message["role"] for message in messages] == [entry.role for entry in MEMORY]
