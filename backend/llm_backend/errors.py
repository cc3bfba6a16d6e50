"""Every error this package raises on purpose, as one tree split by who must act.

::

    BackendError
    |-- PayloadError (ValueError)               the caller: fix the payload
    |   |-- ContextWindowError                  the prompt is longer than the model reads
    |   |-- SchemaError                         a JSON schema is invalid, or asks for what no engine can enforce
    |   `-- ToolDefinitionError                 a tool cannot be offered to a model as it is
    |-- AgentClosedError (RuntimeError)         the caller: load a new agent
    |-- EventLoopError (RuntimeError)           the caller: use the async method, or another thread
    |-- NotAwaitedError (AttributeError)        the caller: await load_agent before using what it loads
    |-- ConfigError (ValueError)                the operator: fix the settings
    |   |-- ConfigFileError                     the file is missing, unreadable or not TOML
    |   |-- UntrustedConfigError                the file was only found, and sets what needs consent
    |   `-- UnknownEngineError                  no engine has that name
    |-- ExtraError (ImportError)                the operator: fix the installation
    |   |-- MissingExtraError                   an optional library is not installed
    |   `-- BrokenExtraError                    it is installed, but does not import
    |-- ModelError                              the operator: fix the model
    |   |-- ModelNotFoundError (LookupError)    nothing has that name or path
    |   `-- ModelFormatError                    it is there, but is not a complete model
    |-- InsufficientMemoryError (MemoryError)   the operator: smaller model or larger machine
    |-- ConversationStoreError                  the operator: the stored conversations cannot be read or written
    |   `-- ConversationFormatError             they are damaged, or in a form this version does not know
    |-- AgentValidationError                    the model answers, but not sensibly
    |-- ToolError                               the caller: fix the tool, or choose a model that uses it better
    |   |-- ToolCallError                       a call of a tool gave no result
    |   `-- ToolRoundsError                     the model kept calling tools
    `-- EngineError                             the engine or its server failed while answering
        |-- EngineConnectionError (ConnectionError)
        |-- EngineTimeoutError (TimeoutError)
        |-- EngineAuthenticationError
        |-- EngineRefusalError                  the server does not accept the request as it is
        |-- EngineBusyError                     too many requests are waiting, or came already: try again later
        `-- EngineResponseError                 the answer cannot be read
            `-- StructuredOutputError           the answer does not match the schema

Each message gives the fact, the value (through ``shown`` where it is somebody else's), and the next step. This module
imports nothing else from the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LONGEST_VALUE = 300  # characters of a value in a message


def shown(text: str) -> str:
    """``text`` as it may stand in a message: on one line, printable, and not too long."""
    words = printable(text[: 2 * LONGEST_VALUE])
    return words if len(words) <= LONGEST_VALUE else f"{words[:LONGEST_VALUE]}..."


def printable(text: str) -> str:
    """``text`` on one line, with characters that could move a terminal's cursor written out as escapes."""
    words = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in words)


class BackendError(Exception):
    """Root of the tree: catch this to catch everything this package raises on purpose.

    Facts beside the message are given by name; they survive pickling, and so reach other processes.
    """

    retryable: bool = False  # whether the same request, unchanged, may well succeed a little later

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message)
        for name, fact in facts.items():
            setattr(self, name, fact)


class PayloadError(BackendError, ValueError):
    """The payload cannot be answered as it is; no model was asked."""


class ContextWindowError(PayloadError):
    """The prompt, alone or with the tokens reserved for the answer, is longer than the model's context window."""

    prompt_tokens: int  # at least this many, where a server stops counting (vLLM)
    context_window: int  # also in tokens: the most the model reads


class SchemaError(PayloadError):
    """A JSON schema is invalid, or asks for what the engine cannot enforce."""


class ToolDefinitionError(PayloadError):
    """A tool cannot be offered to a model because of its name, its signature or its schema."""


class AgentClosedError(BackendError, RuntimeError):
    """The agent was closed; its model may be gone from memory."""


class EventLoopError(BackendError, RuntimeError):
    """A sync method was called where it would block an event loop, or where no event loop can run it."""


class NotAwaitedError(BackendError, AttributeError):
    """The result of ``load_agent`` was used as an agent without ``await``."""

    name: str = ""  # of the attribute asked for; pickling loses Python 3.11's own


class ConfigError(BackendError, ValueError):
    """A setting is wrong, wherever it came from."""


class ConfigFileError(ConfigError):
    """The configuration file is missing, cannot be read, or is not TOML."""


class UntrustedConfigError(ConfigError):
    """A configuration file that nobody named chooses who answers, and the user has not consented to that."""


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
    """What the name points to exists, but is not a complete, loadable model."""


class InsufficientMemoryError(BackendError, MemoryError):
    """The model does not fit into free memory."""

    required: int | None  # bytes; None where only the device knows
    available: int  # bytes


class ConversationStoreError(BackendError):
    """The stored conversations cannot be read or written; what was stored before is still there."""


class ConversationFormatError(ConversationStoreError):
    """What is stored is damaged, another program's, or written by a newer version."""


class AgentValidationError(BackendError):
    """The model answered, but failed the validation prompts."""


class ToolError(BackendError):
    """A model's use of tools failed."""


class ToolCallError(ToolError):
    """A tool call gave no result: no such tool, wrong arguments, it raised, or its result cannot be written as JSON."""

    name: str  # as the model gave it, like the arguments
    arguments: Mapping[str, Any]


class ToolRoundsError(ToolError):
    """The model went on calling tools where it should have answered."""

    rounds: int  # of calls that were run


class EngineError(BackendError):
    """The engine, or the server behind it, failed while answering."""

    retry_after: float | None = None  # seconds to wait, where the server says so


class EngineConnectionError(EngineError, ConnectionError):
    """The server could not be reached, or the connection broke."""

    retryable = True


class EngineTimeoutError(EngineError, TimeoutError):
    """The server did not answer in time."""

    retryable = True


class EngineAuthenticationError(EngineError):
    """The server refused the key."""


class EngineRefusalError(EngineError):
    """The server does not accept the request as it is; the cause is in the payload or the settings."""


class EngineBusyError(EngineError):
    """The request was turned away: too many others are waiting, or the same caller has sent too many."""

    retryable = True
    running: int | None = None  # requests a local model is answering
    queued: int | None = None  # requests waiting for it


class EngineResponseError(EngineError):
    """The server or the model gave an unreadable answer."""


class StructuredOutputError(EngineResponseError):
    """The answer does not match the output schema, or was cut short."""

    text: str  # of the answer
    finish_reason: str  # "length" where it was cut short
