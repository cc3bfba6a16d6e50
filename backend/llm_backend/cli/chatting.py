"""Ask an agent once, talk with it on a terminal, or validate it."""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import aclosing, suppress
from dataclasses import dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from llm_backend.cli.printing import print_json, say_error, write
from llm_backend.cli.running import error_console, interruptible, run
from llm_backend.errors import BackendError, PayloadError
from llm_backend.llms.agent_loader import load_agent, read_config
from llm_backend.llms.agent_validation import ValidationReport, validate_agent_report
from llm_backend.llms.conversations.conversation import Conversation
from llm_backend.llms.conversations.store import MemoryStore
from llm_backend.llms.payloads import AgentPayload, GenerationOptions

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Sequence

    from llm_backend.llms.agent import Agent
    from llm_backend.llms.settings.config_file import ConfigFile

__all__ = ["Where", "chat", "validate"]

_NO_MESSAGE = "The message is empty. Give one as an argument, or on standard input."
# Seconds until the first byte: a caller that connects a pipe, and neither writes to it nor closes it, would leave the
# command waiting forever.
_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Where:
    """Which agent to load; None leaves the choice to the configuration."""

    engine: str | None
    model: str | None
    config_file: str | None
    use_config: bool

    async def load(self) -> Agent:
        """Load the agent, with a spinner on a terminal; raises as ``load_agent`` does."""
        with error_console().status("Loading the model"):
            return await load_agent(
                self.engine, self.model, validate=False, use_config=self.use_config, config_file=self.config_file
            )

    def read_config(self) -> ConfigFile | None:
        """The configuration file that the agent's settings come from; raises as ``read_config_file``."""
        return read_config(self.config_file, use_config=self.use_config)


def chat(where: Where, words: Sequence[str], *, system: str, options: dict[str, Any], as_json: bool) -> None:
    """Answer the message and any piped input; without a message, talk, where standard input is a terminal.

    Raises:
        BackendError: the message cannot be read, the agent cannot be loaded, or it fails.
    """
    generation = GenerationOptions(**options)
    if not words and sys.stdin.isatty() and (as_json or sys.stdout.isatty()):
        if as_json:
            message = "--json answers one message. Give it as an argument, or on standard input."
            raise PayloadError(message)
        _talk(where, system, generation)
        return
    payload = AgentPayload(_message(words), system_context=system, generation=generation)
    run(_answer_as_json(where, payload) if as_json else _answer(where, payload))


def validate(where: Where, timeout: float, *, as_json: bool) -> bool:
    """Print the result of a validation, and return whether the agent works.

    Raises:
        BackendError: the agent cannot even be loaded.
    """
    report = run(_validate(where, timeout))
    if as_json:
        print_json(report)
    else:
        write(f"{report.verdict}: {report.reason} ({report.seconds:.1f} s)\n")
    return report.works


async def _validate(where: Where, timeout: float) -> ValidationReport:  # noqa: ASYNC109  (the report's own)
    async with await where.load() as agent:
        return await validate_agent_report(agent, timeout=timeout)


async def _answer(where: Where, payload: AgentPayload) -> None:
    async with await where.load() as agent:
        await _print_stream(agent.stream(payload))


async def _answer_as_json(where: Where, payload: AgentPayload) -> None:
    async with await where.load() as agent:
        print_json(await agent.invoke(payload))


async def _print_stream(stream: AsyncGenerator[str, None]) -> None:
    async with aclosing(stream):
        async for piece in stream:
            write(piece)
    write("\n")


def _talk(where: Where, system: str, generation: GenerationOptions) -> None:
    """Converse until the end of input; an interrupt stops an answer, and at the prompt the command."""
    with suppress(ImportError):
        import_module("readline")  # importing it gives `input` line editing
    with interruptible() as runner:
        agent = runner.run(where.load())
        conversation = Conversation(agent, "chat", store=MemoryStore(), system_context=system)
        try:
            while (text := _line()) is not None:
                if text.strip():
                    _turn(runner, conversation, text, generation)
        finally:
            runner.run(agent.aclose())


def _turn(runner: asyncio.Runner, conversation: Conversation, text: str, generation: GenerationOptions) -> None:
    try:
        runner.run(_print_stream(conversation.stream(text, generation=generation)))
    except KeyboardInterrupt:
        write("\n(stopped; this turn is forgotten)\n")
    except BackendError as exc:
        say_error(exc)


def _line() -> str | None:
    """The line typed; None at the end of input."""
    try:
        return input("> ")
    except EOFError:
        write("\n")
        return None


def _message(words: Sequence[str]) -> str:
    """The words, then a blank line and standard input, unless that is a terminal.

    With "-" as the last word, or with no words, waits for that input as long as it takes; otherwise gives up on a pipe
    that stays silent.
    """
    awaited = not words or words[-1] == "-"
    said = " ".join(words[:-1] if awaited else words)
    given = ""
    if awaited or not sys.stdin.isatty():
        given = _standard_input(None if awaited else _PATIENCE)
    if not (given if awaited else said + given).strip():
        raise PayloadError(_NO_MESSAGE)
    return "\n\n".join(part for part in (said, given) if part.strip())


def _standard_input(patience: float | None) -> str:
    """All of standard input; nothing, with a note, where it does not begin within ``patience`` seconds."""
    pieces: SimpleQueue[bytes | OSError] = SimpleQueue()
    threading.Thread(target=_pass_on, args=[sys.stdin.fileno(), pieces], daemon=True).start()
    came = bytearray()
    try:
        while piece := pieces.get(timeout=None if came else patience):
            if isinstance(piece, OSError):
                message = f"Standard input cannot be read: {piece.strerror}. Give the message as an argument."
                raise PayloadError(message) from piece
            came += piece
        return came.decode("utf-8-sig").rstrip("\r\n")  # the final line end is not part of the question
    except Empty:
        sys.stderr.write(
            f"Nothing came on standard input within {patience:g} s, so only the message is sent. Add - to wait for"
            " input, or < /dev/null to skip it.\n"
        )
        return ""
    except UnicodeDecodeError as exc:
        message = f"Standard input is not UTF-8 (at byte {exc.start}). Convert it first."
        raise PayloadError(message) from exc


def _read(file: int) -> bytes:
    """The next piece. Another process that shares the pipe may have made it non-blocking, as Node.js does."""
    while True:
        try:
            return os.read(file, 2**16)
        except BlockingIOError:
            select.select([file], [], [])


def _pass_on(file: int, pieces: SimpleQueue[bytes | OSError]) -> None:
    """Read to the end, marked by an empty piece; not through Python's buffer, whose lock outlives a thread."""
    try:
        while piece := _read(file):
            pieces.put(piece)
        pieces.put(b"")
    except OSError as exc:
        pieces.put(exc)
