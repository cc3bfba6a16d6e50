"""Stores the turns of conversations: in an SQLite file by default, or in memory.

Turns are only ever added, all turns of a call or none, so that several processes can share a file.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llm_backend.errors import ConversationFormatError, ConversationStoreError, PayloadError
from llm_backend.llms.payloads import MemoryEntry, ToolCall
from llm_backend.llms.settings.environment import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ConversationStore", "MemoryStore", "SQLiteStore", "StoredTurn"]


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One turn and its place: ``sequence`` grows with each turn of a store and is never reused."""

    sequence: int
    entry: MemoryEntry


class ConversationStore(Protocol):
    """What a Conversation needs from a store; every method may raise ConversationStoreError."""

    @property
    def name(self) -> str:
        """Equal for stores that hold the same conversations, and only for those."""
        ...

    async def read(self, session_id: str) -> list[StoredTurn]:
        """The turns of a session, oldest first; empty for an unknown session."""
        ...

    async def append(self, session_id: str, entries: Sequence[MemoryEntry]) -> None:
        """Add turns, all or none."""
        ...

    async def clear(self, session_id: str) -> None:
        """Forget a session."""
        ...

    async def sessions(self) -> list[str]:
        """The sessions that have turns, sorted by name."""
        ...


class MemoryStore:
    """Keeps conversations in memory, for as long as the object lives."""

    def __init__(self) -> None:
        self._sessions: dict[str, list[StoredTurn]] = {}
        self._sequence = itertools.count(1)

    @property
    def name(self) -> str:
        """Unique to this object."""
        return f"memory {id(self)}"

    async def read(self, session_id: str) -> list[StoredTurn]:
        """The turns of a session, oldest first."""
        return list(self._sessions.get(session_id, ()))

    async def append(self, session_id: str, entries: Sequence[MemoryEntry]) -> None:
        """Add turns."""
        turns = [StoredTurn(next(self._sequence), entry) for entry in entries]
        self._sessions.setdefault(session_id, []).extend(turns)

    async def clear(self, session_id: str) -> None:
        """Forget a session."""
        self._sessions.pop(session_id, None)

    async def sessions(self) -> list[str]:
        """The sessions that have turns."""
        return sorted(self._sessions)


_APPLICATION = 0x4C4C4D43  # "LLMC", which marks our files
_VERSION = 1
_SCHEMA = (
    """CREATE TABLE turns (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        session TEXT NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        timestamp TEXT,
        tool_calls TEXT NOT NULL,
        metadata TEXT NOT NULL
    )""",
    "CREATE INDEX turns_of_session ON turns (session, sequence)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
# In the metadata of a stored turn: its own extras, then those of each call. Older versions ignore it.
_EXTRAS = "llm_backend_extras"
_INSERT = "INSERT INTO turns (session, role, content, timestamp, tool_calls, metadata) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT sequence, role, content, timestamp, tool_calls, metadata FROM turns WHERE session = ? ORDER BY 1"
_ADVICE = {
    sqlite3.SQLITE_BUSY: "Another process is using it. Try again.",
    sqlite3.SQLITE_NOTADB: "Move the file away, or name another one.",
    sqlite3.SQLITE_CORRUPT: "Move the file away, then restore a backup or save what 'sqlite3 FILE .recover' finds.",
}
_creating = threading.Lock()


class SQLiteStore:
    """Keeps conversations in one SQLite file, which several threads and processes may use at once.

    The file is created on first use, readable only by its owner.

    Args:
        path: the file; by default ``conversations.sqlite3`` in the folder ``LLM_BACKEND_DATA``, or else in the user's
            data folder.
        patience: how long to wait for other processes to finish writing, in seconds.

    Its methods raise ConversationStoreError when the file cannot be read or written, and ConversationFormatError when
    it is damaged, belongs to another program, or was written by a newer version.
    """

    def __init__(self, path: str | Path | None = None, *, patience: float = 10) -> None:
        self.path = Path(os.path.abspath(os.path.expanduser(path or data_folder() / "conversations.sqlite3")))  # noqa: PTH100, PTH111  (Path's own raise)
        self._patience = patience

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    async def read(self, session_id: str) -> list[StoredTurn]:
        """The turns of a session, oldest first; raises ConversationFormatError for a damaged one."""
        return await asyncio.to_thread(lambda: [self._turn(*row) for row in self._select(_SELECT, session_id)])

    async def append(self, session_id: str, entries: Sequence[MemoryEntry]) -> None:
        """Add turns, all or none; raises PayloadError for tool calls or metadata that JSON cannot hold."""
        await asyncio.to_thread(lambda: self._write(_INSERT, [(session_id, *_row(entry)) for entry in entries]))

    async def clear(self, session_id: str) -> None:
        """Forget a session, and overwrite it in the file."""
        await asyncio.to_thread(self._write, "DELETE FROM turns WHERE session = ?", [(session_id,)])

    async def sessions(self) -> list[str]:
        """The sessions that have turns, sorted by name."""
        rows = await asyncio.to_thread(self._select, "SELECT DISTINCT session FROM turns ORDER BY 1")
        return [session for (session,) in rows]

    def _select(self, query: str, *values: str) -> list[Any]:
        with self._open() as connection:
            return connection.execute(query, values).fetchall()

    def _write(self, statement: str, rows: Sequence[tuple[str | None, ...]]) -> None:
        with self._open() as connection, _transaction(connection):
            connection.executemany(statement, rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one operation: none is kept that threads could share or a fork could inherit."""
        try:
            self._create()
            with closing(sqlite3.connect(self.path, timeout=self._patience, isolation_level=None)) as connection:
                # Invalid UTF-8 is found later, when the turn is built, because its error can name the turn.
                connection.text_factory = lambda text: text.decode(errors="surrogateescape")
                connection.execute("PRAGMA secure_delete = ON")
                self._prepare(connection)
                yield connection
        except (OSError, ValueError, sqlite3.Error) as exc:  # ValueError: an impossible name for a file or database
            code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the upper bits only add detail
            message = f"The conversations in {self.name!r} cannot be read or written: {exc}. " + _ADVICE.get(
                code, "Free some space, fix its permissions, or set LLM_BACKEND_DATA to another folder."
            )
            damaged = code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
            raise (ConversationFormatError if damaged else ConversationStoreError)(message) from exc

    def _create(self) -> None:
        """Create the file for its owner only: SQLite itself would let everybody read it.

        Under a lock, because closing a file that another thread has open cancels that thread's locks on it
        (https://sqlite.org/howtocorrupt.html, "Posix advisory locks canceled").
        """
        with _creating:
            if not self.path.exists():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with suppress(FileExistsError):  # another process has just created it
                    os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _identity(connection) == (0, 0):
            with _transaction(connection):
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    for statement in _SCHEMA:
                        connection.execute(statement)
        application, version = _identity(connection)
        if application != _APPLICATION:
            message = f"The file {self.name!r} is another program's database. Name another file for the conversations."
            raise ConversationFormatError(message)
        if version > _VERSION:
            message = (
                f"The conversations in {self.name!r} have version {version}, but this program knows only {_VERSION}. "
                "Install a newer llm-backend, or name another file."
            )
            raise ConversationFormatError(message)

    def _turn(self, sequence: int, *columns: str) -> StoredTurn:
        try:
            return StoredTurn(sequence, _entry(*columns))
        except (TypeError, ValueError) as exc:
            message = (
                f"Turn {sequence} in {self.name!r} cannot be read: {str(exc).rstrip('.')}. "
                "It was left unchanged. Fix it with sqlite3, or clear its session."
            )
            raise ConversationFormatError(message) from exc


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write under a lock; closing the connection undoes what fails inside."""
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    [application], [version] = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    return application, version


def _row(entry: MemoryEntry) -> tuple[str | None, ...]:
    calls = [{"name": call.name, "arguments": dict(call.arguments), "id": call.id} for call in entry.tool_calls]
    extras = [dict(each) for each in (entry.extras, *(call.extras for call in entry.tool_calls))]
    metadata = {**entry.metadata, **({_EXTRAS: extras} if any(extras) else {})}
    try:
        as_json = json.dumps(calls), json.dumps(metadata)
    except (TypeError, ValueError) as exc:
        message = f"A turn's tool calls or metadata cannot be stored: {exc}. Use only what JSON can hold."
        raise PayloadError(message) from exc
    timestamp = None if entry.timestamp is None else entry.timestamp.isoformat()
    return entry.role, entry.content, timestamp, *as_json


def _entry(role: str, content: str, timestamp: str | None, tool_calls: str, metadata: str) -> MemoryEntry:
    about, calls = dict(json.loads(metadata)), json.loads(tool_calls)
    extras, *of_calls = about.pop(_EXTRAS, [{} for _ in (None, *calls)])
    return MemoryEntry(
        role,  # type: ignore[arg-type]  # the entry checks it
        content,
        None if timestamp is None else datetime.fromisoformat(timestamp),
        tuple(ToolCall(**call, extras=each) for call, each in zip(calls, of_calls, strict=True)),
        about,
        extras,
    )
