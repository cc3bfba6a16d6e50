"""Every error this package raises on purpose, as one tree split by who must act.

::

    BackendError
    |-- PayloadError (ValueError)               the caller: mend the payload
    |   |-- ContextWindowError                  the prompt is longer than the model reads
    |   |-- SchemaError                         a JSON schema is none, or asks for what cannot be held
    |   `-- ToolDefinitionError                 a tool cannot be offered to a model as it is
    |-- AgentClosedError (RuntimeError)         the caller: load a new agent
    |-- EventLoopError (RuntimeError)           the caller: use the async method, or another thread
    |-- NotAwaitedError (AttributeError)        the caller: await load_agent before using what it loads
    |-- ConfigError (ValueError)                the operator: mend the settings
    |   |-- ConfigFileError                     the file is missing, unreadable or not TOML
    |   |-- UntrustedConfigError                the file was only found, and says what needs consent
    |   `-- UnknownEngineError                  no engine has that name
    |-- ExtraError (ImportError)                the operator: mend the installation
    |   |-- MissingExtraError                   an optional library is not installed
    |   `-- BrokenExtraError                    it is installed, but does not import
    |-- ModelError                              the operator: mend the model
    |   |-- ModelNotFoundError (LookupError)    nothing has that name or path
    |   `-- ModelFormatError                    it is there, but is no whole model
    |-- InsufficientMemoryError (MemoryError)   the operator: smaller model or larger machine
    |-- ConversationStoreError                  the operator: the stored conversations cannot be read or written
    |   `-- ConversationFormatError             they are damaged, or are not in a form that this version knows
    |-- AgentValidationError                    the model answers, but not sensibly
    |-- ToolError                               the caller: mend the tool, or choose a model that uses it better
    |   |-- ToolCallError                       a call of a tool gave no result
    |   `-- ToolRoundsError                     the model called tools again and again
    `-- EngineError                             the engine or its server failed while answering
        |-- EngineConnectionError (ConnectionError)
        |-- EngineTimeoutError (TimeoutError)
        |-- EngineAuthenticationError
        |-- EngineRefusalError                  the server does not take the request as it is
        |-- EngineBusyError                     too many requests wait or came already: ask again later
        `-- EngineResponseError                 the answer cannot be read
            `-- StructuredOutputError           the answer is not what the schema asks for

Each message says the fact, the value (as ``shown`` has it where it is somebody else's), and the next step. This module
imports nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LONGEST_VALUE = 300  # characters of a value in a message


def shown(text: str) -> str:
    """``text`` as a message can hold it: on one line, printable, and not too long."""
    words = printable(text[: 2 * LONGEST_VALUE])
    return words if len(words) <= LONGEST_VALUE else f"{words[:LONGEST_VALUE]}..."


def printable(text: str) -> str:
    """``text`` on one line, with characters that could move a terminal's cursor written out as escapes."""
    words = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in words)


class BackendError(Exception):
    """Root of the tree: catch this to catch everything this package raises on purpose.

    What an error tells beside its message is given by name, and comes along between processes (pickle), too.
    """

    retryable: bool = False  # whether the same request may well succeed a little later, with nothing changed

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message)
        for name, fact in facts.items():
            setattr(self, name, fact)


class PayloadError(BackendError, ValueError):
    """The payload cannot be answered as it is; nothing was sent to a model."""


class ContextWindowError(PayloadError):
    """The prompt, by itself or with the tokens that the answer may have, is longer than the model's context window."""

    prompt_tokens: int  # at least so many, where a server counts no further (vLLM)
    context_window: int  # in tokens, too: what the model reads at most


class SchemaError(PayloadError):
    """A JSON schema is none, or asks for what the engine cannot hold an answer to."""


class ToolDefinitionError(PayloadError):
    """A tool cannot be offered to a model: its name, its signature or its schema is in the way."""


class AgentClosedError(BackendError, RuntimeError):
    """The agent was closed; its model may be gone from memory."""


class EventLoopError(BackendError, RuntimeError):
    """A sync method was called where it would block an event loop, or where no event loop can do its work."""


class NotAwaitedError(BackendError, AttributeError):
    """What ``load_agent`` returned was used as the agent, without ``await``."""

    name: str = ""  # of the attribute that was asked for; Python 3.11's own is lost between processes


class ConfigError(BackendError, ValueError):
    """A setting is wrong, wherever it came from."""


class ConfigFileError(ConfigError):
    """The configuration file is missing, cannot be read, or is not TOML."""


class UntrustedConfigError(ConfigError):
    """A configuration file that nobody named says who answers, and nobody has consented to that."""


class UnknownEngineError(ConfigError):
    """No engine has the name that was asked for."""


class ExtraError(BackendError, ImportError):
    """An optional library cannot be used.

    ``name`` (from ImportError) is the library's module name.
    """


class MissingExtraError(ExtraError):
    """An optional library is not installed."""


class BrokenExtraError(ExtraError):
    """An optional library or an engine is installed, but does not import; or two engines have one name."""


class ModelError(BackendError):
    """The model cannot be used."""


class ModelNotFoundError(ModelError, LookupError):
    """No packaged model, directory, file or hub entry has that name."""


class ModelFormatError(ModelError):
    """What the name points to is there, but it is not a whole, loadable model."""


class InsufficientMemoryError(BackendError, MemoryError):
    """The model does not fit into the memory that is free."""

    required: int | None  # bytes; None where only the device knows
    available: int  # bytes


class ConversationStoreError(BackendError):
    """The stored conversations cannot be read or written; what was stored before still is."""


class ConversationFormatError(ConversationStoreError):
    """What is stored is damaged, another program's, or written by a newer version."""


class AgentValidationError(BackendError):
    """The model answered, but failed the validation prompts."""


class ToolError(BackendError):
    """A model's use of tools failed."""


class ToolCallError(ToolError):
    """A call of a tool gave no result: no such tool, wrong arguments, it raised, or what it returned is no data."""

    name: str  # as the model gave it, and the arguments too
    arguments: Mapping[str, Any]


class ToolRoundsError(ToolError):
    """The model went on calling tools where it should have answered."""

    rounds: int  # of calls, that were run


class EngineError(BackendError):
    """The engine, or the server behind it, failed while answering."""

    retry_after: float | None = None  # seconds that a server asks to wait, where it says so


class EngineConnectionError(EngineError, ConnectionError):
    """The server could not be reached, or the connection broke."""

    retryable = True


class EngineTimeoutError(EngineError, TimeoutError):
    """The server did not answer in time."""

    retryable = True


class EngineAuthenticationError(EngineError):
    """The server refused the key."""


class EngineRefusalError(EngineError):
    """The server does not take the request as it is: something in the payload or the settings."""


class EngineBusyError(EngineError):
    """The request was not taken up, because enough others wait, or came from the same caller a moment ago."""

    retryable = True
    running: int | None = None  # requests that a local model is answering
    queued: int | None = None  # requests that wait for it


class EngineResponseError(EngineError):
    """The server or the model gave an answer that cannot be read."""


class StructuredOutputError(EngineResponseError):
    """The answer is not what the output schema asks for, or was cut before its end."""

    text: str  # of the answer
    finish_reason: str  # "length" where it was cut
