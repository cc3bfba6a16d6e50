"""Stores of conversations, on real files and with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend import MemoryEntry, ToolCall
from llm_backend.errors import ConversationFormatError, ConversationStoreError, PayloadError
from llm_backend.llms import MemoryStore, SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_backend.llms.conversations.store import ConversationStore

EVERYTHING = [
    MemoryEntry("system", "Be brief."),
    MemoryEntry("user", "Tab\t, NUL \0 and 🦉\r\n", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    MemoryEntry("assistant", "", tool_calls=(ToolCall(name="roll", arguments={"sides": [6, None]}, id="c1"),)),
    MemoryEntry("tool", "4", metadata={"tool_call_id": "c1", "half": "\ud800"}),
    MemoryEntry(
        "assistant",
        "Again.",
        tool_calls=(ToolCall(name="roll", arguments={}, extras={"k": [1]}), ToolCall(name="roll", arguments={})),
        metadata={"k": 1},
        extras={"reasoning_content": ""},
    ),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will be, in a folder that does not exist yet."""
    return tmp_path / "data" / "conversations.sqlite3"


@pytest.fixture
def store(path: Path) -> SQLiteStore:
    """A store whose file does not exist yet."""
    return SQLiteStore(path)


@pytest.fixture(params=["file", "memory"])
def any_store(request: pytest.FixtureRequest, store: SQLiteStore) -> ConversationStore:
    """Each of the stores."""
    return store if request.param == "file" else MemoryStore()


async def test_older_programs_read_what_goes_back_to_a_server(store: SQLiteStore, path: Path) -> None:
    """Extras are stored in metadata, where older programs ignore them."""
    await store.append("s", EVERYTHING)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT tool_calls, metadata FROM turns").fetchall()
    assert {key for calls, _ in rows for call in json.loads(calls) for key in call} == {"name", "arguments", "id"}
    assert json.loads(rows[-1][1]) == {"k": 1, "llm_backend_extras": [{"reasoning_content": ""}, {"k": [1]}, {}]}
    assert "extras" not in rows[2][1]


def execute(path: Path, statement: str) -> None:
    """Change a file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def content(path: Path) -> bytes:
    """The file's bytes."""
    return path.read_bytes()


def mode(path: Path) -> int:
    """The file's permissions."""
    return path.stat().st_mode & 0o777


async def test_turns_come_back_as_they_were(any_store: ConversationStore) -> None:
    """A stored turn comes back whole: time, tool calls, metadata and every character."""
    await any_store.append("s", EVERYTHING)
    turns = [turn.entry for turn in await any_store.read("s")]
    assert turns == EVERYTHING
    assert [call.extras for call in turns[-1].tool_calls] == [{"k": [1]}, {}]


async def test_sessions_are_apart(any_store: ConversationStore) -> None:
    """Each session reads and clears only its own turns, and only sessions with turns are listed."""
    assert (await any_store.read("b"), await any_store.sessions()) == ([], [])
    await any_store.append("b", EVERYTHING[:1])
    await any_store.append("a", EVERYTHING[1:2])
    assert [turn.entry for turn in await any_store.read("a")] == EVERYTHING[1:2]
    assert await any_store.sessions() == ["a", "b"]
    await any_store.clear("a")
    await any_store.clear("never there")
    assert (await any_store.read("a"), await any_store.sessions()) == ([], ["b"])


async def test_a_place_is_never_used_again(any_store: ConversationStore) -> None:
    """A cleared session never reuses a sequence number."""
    await any_store.append("s", EVERYTHING)
    [*_, last] = await any_store.read("s")
    await any_store.clear("s")
    await any_store.append("s", EVERYTHING)
    assert all(turn.sequence > last.sequence for turn in await any_store.read("s"))


async def test_stores_with_the_same_turns_have_one_name(store: SQLiteStore, path: Path) -> None:
    """Stores on one file share a name; stores in memory do not."""
    assert SQLiteStore(path.parent / ".." / "data" / path.name).name == store.name == str(path)
    first, second = MemoryStore(), MemoryStore()
    assert first.name != second.name


async def test_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Conversations are stored where the variable says, or else where the system does."""
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: str(tmp_path / name))
    assert SQLiteStore().path == tmp_path / "llm-backend" / "conversations.sqlite3"
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path / "chosen"))
    assert SQLiteStore().path == tmp_path / "chosen" / "conversations.sqlite3"


async def test_only_the_owner_reads_it(store: SQLiteStore, path: Path) -> None:
    """Only the file's owner can read it."""
    await store.append("s", EVERYTHING)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


async def test_cleared_text_is_gone(store: SQLiteStore, path: Path) -> None:
    """Text that was cleared is no longer in the file."""
    await store.append("s", [MemoryEntry("user", "my secret" * 3)])
    assert b"my secret" in content(path)
    await store.clear("s")
    assert b"my secret" not in content(path)


async def test_what_json_cannot_hold(store: SQLiteStore) -> None:
    """A turn that JSON cannot hold raises PayloadError, and none of its call is stored."""
    with pytest.raises(PayloadError, match=r"cannot be stored: Object of type .* Use only what JSON can hold"):
        await store.append("s", [MemoryEntry("user", "Hi."), MemoryEntry("user", "", metadata={"set": {1}})])
    assert await store.read("s") == []


async def test_all_or_none(store: SQLiteStore, path: Path) -> None:
    """An append that fails half-way stores none of its turns."""
    await store.append("s", EVERYTHING[:1])
    execute(
        path, "CREATE TRIGGER t BEFORE INSERT ON turns WHEN new.role = 'assistant' BEGIN SELECT raise(FAIL, 'no'); END"
    )
    with pytest.raises(ConversationStoreError, match=r"cannot be read or written: no\. Free some space, fix"):
        await store.append("s", EVERYTHING[1:])
    assert len(await store.read("s")) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE turns SET role = 'alien'", r"role is 'alien'\. Use one of: system"),
        ("UPDATE turns SET content = CAST(x'ff' AS TEXT)", r"holds '\\udcff' at 0, which is not a character"),
        ("UPDATE turns SET content = x'05'", "content is of type bytes"),
        ("UPDATE turns SET timestamp = 'yesterday'", "Invalid isoformat string"),
        ("UPDATE turns SET tool_calls = '['", "Expecting value"),
        ("UPDATE turns SET tool_calls = '[1]'", "must be a mapping"),
        ("UPDATE turns SET tool_calls = '[{\"id\": null}]'", "missing 2 required"),
        ("UPDATE turns SET metadata = '5'", "not iterable"),
    ],
)
async def test_damaged_turn(store: SQLiteStore, path: Path, change: str, reason: str) -> None:
    """A damaged turn raises ConversationFormatError, and the file stays as it is."""
    await store.append("s", EVERYTHING)
    execute(path, change)
    before = content(path)
    with pytest.raises(ConversationFormatError, match=rf"Turn 1 in '.*' cannot be read: .*{reason}.* left unchanged"):
        await store.read("s")
    assert content(path) == before
    assert await store.read("other") == []


async def test_newer_version(store: SQLiteStore, path: Path) -> None:
    """A file of a newer version is refused, and not changed."""
    await store.append("s", EVERYTHING)
    execute(path, "PRAGMA user_version = 7")
    with pytest.raises(
        ConversationFormatError, match=r"have version 7, but this program knows only 1\. Install a newer"
    ):
        await store.append("s", EVERYTHING)


@pytest.mark.parametrize("mark", ["application_id = 0", "user_version = 1", "application_id = 5"])
async def test_database_of_another_program(store: SQLiteStore, path: Path, mark: str) -> None:
    """Another program's database is refused, and not changed."""
    path.parent.mkdir()
    execute(path, "CREATE TABLE theirs (a)")
    execute(path, f"PRAGMA {mark}")
    before = content(path)
    with pytest.raises(ConversationFormatError, match=r"is another program's database\. Name another file"):
        await store.append("s", EVERYTHING)
    assert content(path) == before


def _other_file(path: Path) -> None:
    path.write_text("Dear diary, " * 100)


def _damaged(path: Path) -> None:
    asyncio.run(SQLiteStore(path).append("s", [MemoryEntry("user", "x" * 10_000)] * 20))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("plant", "error", "message"),
    [
        (_other_file, ConversationFormatError, "file is not a database. Move the file away, or name another"),
        (_damaged, ConversationFormatError, "database disk image is malformed. Move the file away, then restore"),
        (_folder, ConversationStoreError, "unable to open database file. Free some space, fix its permissions, or set"),
    ],
)
def test_no_file_of_ours(
    store: SQLiteStore, path: Path, plant: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    """A file that holds no conversations raises our error, with the next step."""
    path.parent.mkdir()
    plant(path)
    with pytest.raises(ConversationStoreError) as caught:
        asyncio.run(store.read("s"))
    assert type(caught.value) is error
    assert message in str(caught.value)


async def test_folder_that_cannot_be_made(path: Path) -> None:
    """A data folder that cannot be made raises our error."""
    path.parent.write_text("in the way")
    with pytest.raises(ConversationStoreError, match=r"cannot be read or written: .*LLM_BACKEND_DATA"):
        await SQLiteStore(path).read("s")


@pytest.mark.parametrize(("file", "session"), [("a\0b", "s"), ("conversations", "\ud800")])
async def test_names_that_nothing_can_have(tmp_path: Path, file: str, session: str) -> None:
    """An impossible name of a file or a session raises our error."""
    with pytest.raises(ConversationStoreError, match=r"cannot be read or written: .*(embedded null|surrogates)"):
        await SQLiteStore(tmp_path / file).read(session)


async def test_full_disk(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk raises our error, and keeps what was stored."""
    await store.append("s", EVERYTHING)
    connect = sqlite3.connect

    def connect_to_little(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 1")  # no more than it has now, so SQLite finds the disk full
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_to_little)
    with pytest.raises(ConversationStoreError, match=r"database or disk is full\. Free some space"):
        await store.append("s", [MemoryEntry("user", "x" * 100_000)])
    assert [turn.entry for turn in await store.read("s")] == EVERYTHING


async def test_held_by_another_process(path: Path) -> None:
    """A file that another process holds raises our error after a bounded wait."""
    store = SQLiteStore(path, patience=0)
    await store.append("s", EVERYTHING)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            ConversationStoreError, match=r"database is locked\. Another process is using it\. Try again"
        ):
            await store.append("s", EVERYTHING)
        assert len(await store.read("s")) == len(EVERYTHING), "reading goes on"
    await store.append("s", EVERYTHING)


async def test_other_process_that_makes_the_file_first(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that create the file at once both store their turns."""
    await store.append("s", EVERYTHING)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert len(await store.read("s")) == len(EVERYTHING)


WRITER = """
import asyncio, sys
from llm_backend import MemoryEntry
from llm_backend.llms import SQLiteStore

async def main(path, writer):
    sys.stdin.read(1)
    for number in range(25):
        pair = [MemoryEntry("user", f"{writer} {number}"), MemoryEntry("assistant", f"{writer} {number}")]
        await SQLiteStore(path).append("s", pair)

asyncio.run(main(*sys.argv[1:]))
"""


KILLED = """
import asyncio, os, signal, sqlite3, sys
from llm_backend import MemoryEntry
from llm_backend.llms import SQLiteStore

def connect_to_die(*args, connect=sqlite3.connect, **options):
    connection = connect(*args, **options)
    connection.execute("PRAGMA cache_size = 1")  # so that most of the turns are in the file before they are committed
    connection.set_trace_callback(lambda sql: sql == "COMMIT" and os.kill(os.getpid(), signal.SIGKILL))
    return connection

sqlite3.connect = connect_to_die
asyncio.run(SQLiteStore(sys.argv[1]).append("s", [MemoryEntry("user", "x" * 10_000)] * 20))
"""


def test_process_that_is_killed_while_it_writes(store: SQLiteStore, path: Path) -> None:
    """A process killed while it writes leaves none of that, and the file works."""
    asyncio.run(store.append("s", EVERYTHING))
    size = path.stat().st_size
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = subprocess.run([sys.executable, "-c", KILLED, path], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.stat().st_size > size + 100_000, "it was in the middle"
    assert [turn.entry for turn in asyncio.run(store.read("s"))] == EVERYTHING
    asyncio.run(store.append("s", EVERYTHING))
    assert [turn.entry for turn in asyncio.run(store.read("s"))] == EVERYTHING * 2


def test_processes_at_once(store: SQLiteStore, path: Path) -> None:
    """Processes that write at the same time lose and mix no turns."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, name], env=environment, stdin=subprocess.PIPE)
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write(b"!")
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0, 0]
    said = [turn.entry.content for turn in asyncio.run(store.read("s"))]
    assert said[::2] == said[1::2], "question and answer stay together"
    assert {name: [text for text in said[::2] if text[0] == name] for name in "ab"} == {
        name: [f"{name} {number}" for number in range(25)] for name in "ab"
    }


async def test_threads_at_once(store: SQLiteStore) -> None:
    """Threads that write at the same time lose no turns."""
    await asyncio.gather(*(store.append("s", [MemoryEntry("user", str(number))]) for number in range(40)))
    assert {int(turn.entry.content) for turn in await store.read("s")} == set(range(40))


def test_rows_are_readable_with_other_tools(store: SQLiteStore, path: Path) -> None:
    """Plain SQL and JSON read what was stored."""
    asyncio.run(store.append("s", EVERYTHING))
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT session, role, timestamp, tool_calls FROM turns").fetchall()
    assert rows[1][:3] == ("s", "user", "2026-01-02T03:04:05+00:00")
    assert json.loads(rows[2][3]) == [{"name": "roll", "arguments": {"sides": [6, None]}, "id": "c1"}]
