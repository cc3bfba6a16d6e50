"""What goes into an agent and what comes out of it: plain, frozen, standard-library dataclasses.

They check themselves when they are made, so that bad input is refused before a model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from math import inf
from typing import Any, Literal, TypeAlias, get_args, get_origin

from backend.errors import PayloadError, shown

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
Effort = Literal["none", "minimal", "low", "medium", "high"]
Summary = Literal["none", "auto", "concise", "detailed"]


def _require(condition: bool, message: str) -> None:  # noqa: FBT001  (a check reads best as `_require(x > 0, ...)`)
    if not condition:
        raise PayloadError(message)


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} is {shown(repr(value))}. Use one of: {', '.join(choices)}.")


def _require_kind(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    _require(isinstance(value, kind), f"{name} is a {type(value).__name__}. Give {expected}.")


def _require_text(name: str, value: object) -> None:
    _require_kind(name, value, str, "a text")
    try:
        str(value).encode()
    except UnicodeEncodeError as exc:  # half of a surrogate pair, as a text that was cut or wrongly decoded has it
        message = f"{name} holds {exc.object[exc.start]!r} at {exc.start}, which is no character. Replace it."
        raise PayloadError(message) from exc


def _require_list(name: str, value: object, kind: type, element: str) -> None:
    sound = isinstance(value, Sequence) and all(isinstance(item, kind) for item in value)
    _require(sound, f"{name} is no sequence, or holds something that is no {kind.__name__}. Give {element}.")


def _require_json(name: str, value: object) -> None:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False, default=_as_dict).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        message = f"{name} cannot be written as JSON: {exc}. Give texts, numbers, lists and dicts only."
        raise PayloadError(message) from exc


def _as_dict(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    message = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(message)


# Of each number among the options: its types, whether it is in its range, and both in words.
_NUMBERS: dict[str, tuple[tuple[type, ...], Callable[[Any], bool], str]] = {
    "max_new_tokens": ((int,), lambda value: value >= 1, "a whole number of at least 1"),
    "temperature": ((int, float), lambda value: 0 <= value < inf, "a finite number of at least 0"),
    "top_p": ((int, float), lambda value: 0 < value <= 1, "a number above 0 and at most 1"),
    "top_k": ((int,), lambda value: value >= 1, "a whole number of at least 1"),
    # Engines and servers hold a seed in 64 bits.
    "seed": ((int,), lambda value: 0 <= value < 2**63, "a whole number of at least 0 and below 2**63"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How an answer is generated. ``None`` leaves the choice to the settings, then to the engine.

    Attributes:
        max_new_tokens: most tokens to generate, at least 1.
        temperature: 0 is greedy decoding (the default); above 0 samples.
        top_p: keep the smallest set of tokens whose probability reaches this, in (0, 1].
        top_k: keep this many most likely tokens, at least 1.
        seed: makes sampling repeatable on the same machine; below 2**63.
        stop: texts that end the answer; they are not part of it.

    Raises:
        PayloadError: a value is of the wrong type or outside its range.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (kinds, fits, expected) in _NUMBERS.items():
            value = getattr(self, name)
            sound = value is None or (isinstance(value, kinds) and not isinstance(value, bool) and fits(value))
            words = f"{name} is {shown(repr(value))} (type {type(value).__name__})"
            _require(sound, f"{words}. Give {expected}, or None for the default.")
        listed = isinstance(self.stop, Sequence) and not isinstance(self.stop, str)
        _require(
            listed and all(isinstance(text, str) and text for text in self.stop),
            f"stop is {shown(repr(self.stop))}. Give a sequence of texts that are not empty, such as ('###',).",
        )
        for text in self.stop:
            _require_text("a stop text", text)
        object.__setattr__(self, "stop", tuple(self.stop))

    def over(self, defaults: GenerationOptions) -> GenerationOptions:
        """These options, with what they leave open taken from ``defaults``."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, ())}
        return replace(defaults, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningEffort:
    """How hard a reasoning model thinks, and what it shows of that.

    Raises:
        PayloadError: a value is none of the named choices.
    """

    effort: Effort = "none"
    generate_summary: Summary = "none"
    summary: Summary = "none"

    # How pydantic makes one of the table that stands for it in settings.
    __pydantic_config__ = {"strict": False, "extra": "forbid"}  # noqa: RUF012  (an annotation would make it a field)

    def __post_init__(self) -> None:
        _require_choice("reasoning effort", self.effort, get_args(Effort))
        _require_choice("generate_summary", self.generate_summary, get_args(Summary))
        _require_choice("summary", self.summary, get_args(Summary))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a tool that the model asks for.

    Attributes:
        name: the tool's name.
        arguments: its arguments, parsed.
        id: the engine's name of this call; a tool's answer refers to it.

    Raises:
        PayloadError: the name is no text, or the arguments are no mapping.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None

    def __post_init__(self) -> None:
        _require_kind("a tool call's name", self.name, str, "a text")
        _require_kind("a tool call's arguments", self.arguments, Mapping, "a Mapping")


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """One earlier turn of the conversation.

    Attributes:
        role: who spoke.
        content: what was said.
        timestamp: when, if it is known.
        tool_calls: what tools an assistant's turn asked for.
        metadata: for the caller; ``tool_call_id`` in a tool's turn names the call that it answers.

    Raises:
        PayloadError: the role is unknown, the content is no text, or another field is of the wrong kind.
    """

    role: Role
    content: str
    timestamp: datetime | None = None
    tool_calls: Sequence[ToolCall] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_choice("a memory entry's role", self.role, get_args(Role))
        _require_text("a memory entry's content", self.content)
        _require_kind("a memory entry's timestamp", self.timestamp, (datetime, type(None)), "a datetime, or None")
        _require_list("a memory entry's tool_calls", self.tool_calls, ToolCall, "a ToolCall for each call")
        _require_kind("a memory entry's metadata", self.metadata, Mapping, "a Mapping")


@dataclass(frozen=True, slots=True)
class AgentPayload:
    """One request to an agent. Only ``user_message`` is required.

    Attributes:
        user_message: what the user says now; may be empty where the memory ends on a tool's turn, to go on from that.
        thinking_blob: earlier reasoning that the model should go on from.
        system_context: the system prompt.
        user_profile: what is known of the user; goes into the system prompt.
        tools_available: tools in OpenAI's function format that the model may call.
        session_id: for the caller; comes back in the response's metadata.
        metadata: for the caller; never sent to a model.
        reasoning_effort: overrides the configured one.
        memory: the conversation so far, oldest first.
        generation: overrides the configured generation options, one by one.
        output_schema: what the answer has to be: a JSON schema, or a pydantic model class (or another type that
            pydantic knows); the response's ``parsed`` is then such an object. A schema is checked when it is used.

    Raises:
        PayloadError: the message is empty, or a field is of the wrong kind.
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
    output_schema: Mapping[str, Any] | Any = None

    def __post_init__(self) -> None:
        for name in ("user_message", "system_context", "thinking_blob"):
            _require_text(name, getattr(self, name))
        _require_list("memory", self.memory, MemoryEntry, "MemoryEntry(role, content) for each turn")
        to_answer = bool(self.user_message.strip()) or (bool(self.memory) and self.memory[-1].role == "tool")
        _require(to_answer, "user_message is empty. Give the text to answer.")
        _require_list("tools_available", self.tools_available, Mapping, "each tool in OpenAI's function format")
        _require_json("tools_available", self.tools_available)
        for call in (call for entry in self.memory for call in entry.tool_calls):
            _require_text("a tool call's name", call.name)
            _require_json(f"a call of tool {call.name!r}", call.arguments)
        self._require_calls_of_results()
        _require_kind("user_profile", self.user_profile, Mapping, "a Mapping")
        _require_text("user_profile", "".join(f"{key}{value}" for key, value in self.user_profile.items()))
        _require_kind("generation", self.generation, GenerationOptions, "a GenerationOptions")
        effort, schema = self.reasoning_effort, self.output_schema
        _require_kind("reasoning_effort", effort, (ReasoningEffort, type(None)), "a ReasoningEffort, or None")
        if get_origin(schema) is None:  # else a type with parameters, such as list[int]
            kinds = (Mapping, type, type(None))
            _require_kind("output_schema", schema, kinds, "a JSON schema, a pydantic model class, or None")
        if isinstance(schema, Mapping):
            _require_json("output_schema", schema)

    def _require_calls_of_results(self) -> None:
        """Servers refuse a tool's result that answers no call, and models make up what it was about."""
        calls: list[str | None] = []
        for entry in self.memory:
            calls += [call.id for call in entry.tool_calls]
            asked = entry.metadata.get("tool_call_id")
            answers = asked in calls or (asked is None and bool(calls)) or None in calls  # not every model names calls
            _require(
                entry.role != "tool" or answers,
                f"memory holds a tool's result for call {asked!r}, but no such call before it. "
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
        first_token: from the start of the work to the first token; ``None`` where the engine cannot tell.
        total: from the start of the work to the end of the answer.
    """

    queued: float
    first_token: float | None
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResponse:
    """One answer.

    Attributes:
        response: the answer's text, without reasoning and tool calls.
        thinking: the model's reasoning, if it showed any.
        code: the content of the answer's first fenced code block.
        tool_calls: what tools the model asks for.
        parsed: the object that ``response`` stands for, where the payload had an ``output_schema``; else None.
        metadata: ``engine``, ``model``, ``finish_reason`` ("stop", "length" or "tool_calls"), ``session_id``,
            ``usage`` (Usage or None), ``timings`` (Timings), and what an engine adds: huggingface ``device``,
            ``dtype``, ``quantization``, ``weights_digest``, and ``notes``, sentences on what had no effect.
    """

    response: str
    thinking: str = ""
    code: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


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
    """A tool that the model asks for, once its call is whole."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """What the answer took; ``usage`` is None where the engine cannot tell."""

    usage: Usage | None
    timings: Timings


@dataclass(frozen=True, slots=True)
class End:
    """The last event: ``finish_reason`` is "stop", "length", "tool_calls", or a server's own word."""

    finish_reason: str


Event: TypeAlias = Reasoning | Text | ToolCallEvent | UsageEvent | End
