"""What goes into an agent and what comes out: plain, frozen dataclasses of the standard library.

They check themselves when created, so that bad input is refused before a model loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import GenericAlias
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypedDict, cast, get_args, get_origin

from typing_extensions import TypeVar

from llm_backend.llms.payloads.checks import (
    require,
    require_choice,
    require_json,
    require_kind,
    require_list,
    require_text,
)
from llm_backend.llms.payloads.generation import Effort, GenerationOptions, ReasoningEffort, Summary

__all__ = [
    "AgentPayload",
    "AgentResponse",
    "Effort",
    "End",
    "Event",
    "GenerationOptions",
    "MemoryEntry",
    "Reasoning",
    "ReasoningEffort",
    "ResponseMetadata",
    "Role",
    "Summary",
    "Text",
    "Timings",
    "ToolCall",
    "ToolCallEvent",
    "Usage",
    "UsageEvent",
]

Role = Literal["system", "user", "assistant", "tool"]
# The class given as ``output_schema``, so that type checkers know the type of ``parsed``.
Parsed = TypeVar("Parsed", default=Any)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call that the model asks for.

    Attributes:
        name: the tool's name.
        arguments: its arguments, parsed.
        id: the engine's id of this call; a tool's answer refers to it.
        extras: what else the server sent with the call and wants back, such as Gemini's ``extra_content``; ignored
            when calls are compared.

    Raises:
        PayloadError: the name is not a string, or the arguments or extras are not a mapping.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None
    extras: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        require_kind("a tool call's name", self.name, str, "a string")
        require_kind("a tool call's arguments", self.arguments, Mapping, "a Mapping")
        require_kind("a tool call's extras", self.extras, Mapping, "a Mapping")


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """One earlier turn of the conversation.

    Attributes:
        role: who spoke.
        content: what was said.
        timestamp: when, if it is known.
        tool_calls: what tools an assistant's turn asked for.
        metadata: for the caller; ``tool_call_id`` in a tool's turn names the call that it answers.
        extras: what else the server sent in an assistant's turn and wants back, such as DeepSeek's
            ``reasoning_content``: the ``extras`` of that turn's response. Only engines that ask a server send it.

    Raises:
        PayloadError: the role is unknown, the content is not a string, or another field is of the wrong type.
    """

    role: Role
    content: str
    timestamp: datetime | None = None
    tool_calls: Sequence[ToolCall] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choice("a memory entry's role", self.role, get_args(Role))
        require_text("a memory entry's content", self.content)
        require_kind("a memory entry's timestamp", self.timestamp, (datetime, type(None)), "a datetime, or None")
        require_list("a memory entry's tool_calls", self.tool_calls, ToolCall, "a ToolCall for each call")
        require_kind("a memory entry's metadata", self.metadata, Mapping, "a Mapping")
        require_kind("a memory entry's extras", self.extras, Mapping, "a Mapping")


@dataclass(frozen=True, slots=True)
class AgentPayload(Generic[Parsed]):
    """One request to an agent. Only ``user_message`` is required.

    It is generic over what the answer represents: ``AgentPayload("…", output_schema=City)`` is an
    ``AgentPayload[City]``, whose response has a ``parsed`` of type City. With a JSON schema or none, that is Any.

    Attributes:
        user_message: what the user says now; may be empty if the memory ends with a tool's turn, to continue from it.
        thinking_blob: earlier reasoning from which the model should continue.
        system_context: the system prompt.
        user_profile: facts about the user, for the system prompt.
        tools_available: tools in OpenAI's function format that the model may call.
        session_id: for the caller; comes back in the response's metadata.
        metadata: for the caller; never sent to a model.
        reasoning_effort: overrides the configured one.
        memory: the conversation so far, oldest first.
        generation: overrides the configured generation options, one by one.
        output_schema: what the answer must match: a JSON schema, or a pydantic model class (or another type that
            pydantic knows); the response's ``parsed`` is then such an object. The schema is checked when used.

    Raises:
        PayloadError: the message is empty, or a field is of the wrong type.
    """

    user_message: str
    thinking_blob: str = ""
    system_context: str = ""
    user_profile: Mapping[str, Any] = field(default_factory=dict)
    tools_available: Sequence[Mapping[str, Any]] = ()
    session_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reasoning_effort: ReasoningEffort | None = None
    memory: Sequence[MemoryEntry] = ()
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    output_schema: type[Parsed] | Mapping[str, Any] | None = None

    # Typing's own version assigns to the instance, which is frozen.
    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)

    def __post_init__(self) -> None:
        for name in ("user_message", "system_context", "thinking_blob"):
            require_text(name, getattr(self, name))
        require_list("memory", self.memory, MemoryEntry, "MemoryEntry(role, content) for each turn")
        to_answer = bool(self.user_message.strip()) or (bool(self.memory) and self.memory[-1].role == "tool")
        require(to_answer, "user_message is empty. Give the text to answer.")
        require_list("tools_available", self.tools_available, Mapping, "each tool in OpenAI's function format")
        require_json("tools_available", self.tools_available)
        for call in (call for entry in self.memory for call in entry.tool_calls):
            require_text("a tool call's name", call.name)
            require_json(f"a call of tool {call.name!r}", {**call.arguments, **call.extras})
        for entry in self.memory:
            require_json("the extras of a memory entry", entry.extras)
        self._require_calls_of_results()
        require_kind("user_profile", self.user_profile, Mapping, "a Mapping")
        require_text("user_profile", "".join(f"{key}{value}" for key, value in self.user_profile.items()))
        require_kind("generation", self.generation, GenerationOptions, "a GenerationOptions")
        effort, schema = self.reasoning_effort, self.output_schema
        require_kind("reasoning_effort", effort, (ReasoningEffort, type(None)), "a ReasoningEffort, or None")
        if get_origin(schema) is None:  # else a type with parameters, such as list[int]
            kinds = (Mapping, type, type(None))
            require_kind("output_schema", schema, kinds, "a JSON schema, a pydantic model class, or None")
        if isinstance(schema, Mapping):
            require_json("output_schema", schema)

    def _require_calls_of_results(self) -> None:
        """Refuse a tool's result that answers no call: servers reject it, and models invent a call for it."""
        calls: list[str | None] = []
        for entry in self.memory:
            calls += [call.id for call in entry.tool_calls]
            asked = entry.metadata.get("tool_call_id")
            answers = asked in calls or (asked is None and bool(calls)) or None in calls  # not every model names calls
            require(
                entry.role != "tool" or answers,
                f"memory holds a tool's result for call {asked!r}, but there is no such call before it. "
                "Keep the assistant's turn that made the call, or leave the result out.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens read and written for one answer."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one answer went, in seconds.

    Attributes:
        queued: waiting for the model while it answered others.
        first_token: from the start of the work to the first token; ``None`` if the engine cannot tell.
        total: from the start of the work to the end of the answer.
    """

    queued: float
    first_token: float | None
    total: float


class _Always(TypedDict):
    engine: str
    model: str
    finish_reason: str
    session_id: str | None
    usage: Usage | None
    timings: Timings


class ResponseMetadata(_Always, total=False):
    """What is known about an answer beside the answer itself. From ``device`` on, an engine omits what does not apply.

    Attributes:
        engine: the engine that answered.
        model: the model that answered.
        finish_reason: "stop", "length", "tool_calls", or a server's own word.
        session_id: the payload's.
        usage: None if the engine cannot tell.
        timings: where the time went.
        device: where a local model ran.
        dtype: the type of its weights.
        quantization: how they were packed.
        weights_digest: the digest of its files.
        notes: sentences about options that had no effect.
        tool_turns: the turns between question and answer, if tools were run.
        conversation: a Fitting, in a Conversation.
    """

    device: str
    dtype: str
    quantization: Literal["none", "int8", "int4"]
    weights_digest: str | None
    notes: Sequence[str]
    tool_turns: tuple[MemoryEntry, ...]
    conversation: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResponse(Generic[Parsed]):
    """One answer; generic over what it represents, like its payload.

    Attributes:
        response: the answer's text, without reasoning and tool calls.
        thinking: the model's reasoning, if it showed any.
        code: the content of the answer's first fenced code block.
        tool_calls: the tool calls that the model asks for.
        parsed: the object that ``response`` represents, if the payload had an ``output_schema``; otherwise None. Also
            None if the model called tools instead.
        metadata: what is known about it, as listed by ResponseMetadata.
        extras: what else the server sent and wants back: put it into the MemoryEntry that remembers this answer.
    """

    response: str
    thinking: str = ""
    code: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Parsed = None  # type: ignore[assignment]  # Any if no schema was given
    metadata: ResponseMetadata = field(
        default_factory=lambda: cast("ResponseMetadata", {})
    )  # for responses built by hand
    extras: Mapping[str, Any] = field(default_factory=dict)

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)  # as AgentPayload's


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's reasoning; joined, the pieces are the response's ``thinking``."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer; joined, the pieces are the response's ``response``."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallEvent:
    """A tool call that the model asks for, once it is complete."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """What the answer cost; ``usage`` is None if the engine cannot tell."""

    usage: Usage | None
    timings: Timings


@dataclass(frozen=True, slots=True)
class End:
    """The last event: ``finish_reason`` is "stop", "length", "tool_calls", or a server's own word.

    ``extras`` are the response's, and are ignored when ends are compared.
    """

    finish_reason: str
    extras: Mapping[str, Any] = field(default_factory=dict, compare=False)


Event: TypeAlias = Reasoning | Text | ToolCallEvent | UsageEvent | End
