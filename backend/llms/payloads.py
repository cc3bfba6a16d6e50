"""What goes into an agent and what comes out of it: plain, frozen, standard-library dataclasses.

They check themselves when they are made, so that bad input is refused before a model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin

from backend.errors import PayloadError

if TYPE_CHECKING:
    from datetime import datetime

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

_SEEDS = 2**63  # engines and servers hold a seed in 64 bits


def _require(condition: bool, message: str) -> None:  # noqa: FBT001  (a check reads best as `_require(x > 0, ...)`)
    if not condition:
        raise PayloadError(message)


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} is {value!r}. Use one of: {', '.join(choices)}.")


def _require_number(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    if value is None:
        return
    _require(
        isinstance(value, kind) and not isinstance(value, bool),
        f"{name} is {value!r}, a {type(value).__name__}. Give {expected}, or None for the default.",
    )


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        message = f"{name} is a {type(value).__name__}. Give a text."
        raise PayloadError(message)
    try:
        value.encode()
    except UnicodeEncodeError as exc:  # half of a surrogate pair, as a text that was cut or wrongly decoded has it
        message = f"{name} holds {value[exc.start]!r} at {exc.start}, which is no character. Replace it."
        raise PayloadError(message) from exc


def _require_list(name: str, value: object, kind: type, element: str) -> None:
    sound = isinstance(value, Sequence) and all(isinstance(item, kind) for item in value)
    _require(sound, f"{name} is no sequence, or holds something that is no {kind.__name__}. Give {element}.")


def _require_json(name: str, value: object) -> None:
    fault = ""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False, default=_as_dict).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        fault = str(exc)
    _require(not fault, f"{name} cannot be written as JSON: {fault}. Give texts, numbers, lists and dicts only.")


def _as_dict(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    message = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(message)


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
        _require_number("max_new_tokens", self.max_new_tokens, int, "a whole number of at least 1")
        _require_number("temperature", self.temperature, (int, float), "a number of at least 0")
        _require_number("top_p", self.top_p, (int, float), "a number above 0 and at most 1")
        _require_number("top_k", self.top_k, int, "a whole number of at least 1")
        _require_number("seed", self.seed, int, "a whole number of at least 0")
        for name, low in (("max_new_tokens", 1), ("temperature", 0), ("top_k", 1), ("seed", 0)):
            value = getattr(self, name)
            _require(value is None or value >= low, f"{name} is {value!r}. Give at least {low}.")
        _require(self.temperature != float("inf"), "temperature is inf. Give a finite number.")
        _require(self.seed is None or self.seed < _SEEDS, f"seed is {self.seed!r}. Give a number below 2**63.")
        _require(
            self.top_p is None or 0 < self.top_p <= 1,
            f"top_p is {self.top_p!r}. Give a number above 0 and at most 1.",
        )
        _require(
            not isinstance(self.stop, str) and all(isinstance(text, str) and text for text in self.stop),
            f"stop is {self.stop!r}. Give a sequence of texts that are not empty, such as ('###',).",
        )
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
    """

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None


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
        PayloadError: the role is unknown, or the content is no text.
    """

    role: Role
    content: str
    timestamp: datetime | None = None
    tool_calls: Sequence[ToolCall] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_choice("a memory entry's role", self.role, get_args(Role))
        _require_text("a memory entry's content", self.content)


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
            _require_json(f"a call of tool {call.name!r}", call.arguments)
        self._require_calls_of_results()
        for name, kind in (("user_profile", Mapping), ("generation", GenerationOptions)):
            value = getattr(self, name)
            _require(isinstance(value, kind), f"{name} is a {type(value).__name__}. Give a {kind.__name__}.")
        _require(
            self.reasoning_effort is None or isinstance(self.reasoning_effort, ReasoningEffort),
            f"reasoning_effort is a {type(self.reasoning_effort).__name__}. Give a ReasoningEffort, or None.",
        )
        schema = self.output_schema
        _require(
            schema is None or isinstance(schema, (Mapping, type)) or get_origin(schema) is not None,
            f"output_schema is a {type(schema).__name__}. Give a JSON schema, a pydantic model class, or None.",
        )
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
