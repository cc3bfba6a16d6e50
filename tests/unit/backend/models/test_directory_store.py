"""Directories are made once, appear whole or not at all, and are made again when damaged."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from llm_backend.llms.models.directory_store import DirectoryStore, file_digest, remove_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Makes a directory in a process of its own; reports when it is half done, and waits for the word to go on.
MAKER = """
import sys
from pathlib import Path
from llm_backend.llms.models.directory_store import DirectoryStore

def make(directory):
    (directory / "first").write_text("1")
    print("half", flush=True)
    sys.stdin.readline()
    (directory / "second").write_text("2")

print(*DirectoryStore(Path(sys.argv[1])).provide("key", make), flush=True)
"""


@pytest.fixture
def makers(tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Start another process that makes the same directory."""
    import llm_backend

    root = str(llm_backend.__file__).rsplit("llm_backend", 1)[0]

    def start() -> subprocess.Popen[str]:
        script = f"import sys; sys.path.insert(0, {root!r})\n{MAKER}"
        return subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    return start


def make(directory: Path) -> None:
    """Fill a directory."""
    (directory / "content").write_text("whole")


def test_made_once(tmp_path: Path) -> None:
    """A sound directory is not made again, and its digests are those of its files."""
    store = DirectoryStore(tmp_path / "new" / "store")
    first = store.provide("key", make)
    made_again: list[Path] = []
    again = store.provide("key", made_again.append)
    assert (again, made_again) == (first, [])
    assert first == {"content": file_digest(tmp_path / "new" / "store" / "key" / "content")}


@pytest.mark.parametrize("damage", ["changed", "removed", "manifest", "emptied manifest"])
def test_damage_is_found_and_mended(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged directory is made again before it is handed out."""
    store = DirectoryStore(tmp_path)
    whole, directory = store.provide("key", make), tmp_path / "key"
    harm: dict[str, Callable[[], object]] = {
        "changed": lambda: (directory / "content").write_text("whole?"),
        "removed": (directory / "content").unlink,
        "manifest": (directory / "manifest.json").unlink,
        "emptied manifest": lambda: (directory / "manifest.json").write_text("{}"),
    }
    harm[damage]()
    assert store.provide("key", make) == whole
    assert (directory / "content").read_text() == "whole"
    assert "damaged" in caplog.text
    made_again: list[Path] = []
    assert store.provide("key", made_again.append) == whole
    assert made_again == []


def test_failed_making_leaves_nothing(tmp_path: Path) -> None:
    """A failure half-way leaves no directory, and raises its own error."""

    def fail(directory: Path) -> None:
        make(directory)
        message = "no space left"
        raise OSError(message)

    with pytest.raises(OSError, match="no space left"):
        DirectoryStore(tmp_path).provide("key", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_a_process_that_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """An interrupt removes what is half made, and nothing else."""
    DirectoryStore(tmp_path).provide("whole", make)

    def interrupted(directory: Path) -> None:
        make(directory)
        remove_unfinished()
        assert not directory.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DirectoryStore(tmp_path).provide("key", interrupted)
    remove_unfinished()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["whole"]


def test_threads_make_one_copy(tmp_path: Path) -> None:
    """Threads that want the same directory at once make it only once."""
    made: list[Path] = []

    def count(directory: Path) -> None:
        made.append(directory)
        make(directory)

    threads = [threading.Thread(target=DirectoryStore(tmp_path).provide, args=("key", count)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_two_processes_make_one_good_copy(tmp_path: Path, makers: Callable[[], subprocess.Popen[str]]) -> None:
    """Two processes at once make one whole copy."""
    first = makers()
    assert first.stdout is not None
    assert first.stdout.readline() == "half\n"
    second = makers()
    assert not (tmp_path / "key").exists(), "an unfinished directory is not there yet"
    first_output, _ = first.communicate("go on\n")
    second_output, _ = second.communicate("go on\n")
    assert first_output == second_output == "first second\n"
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["first", "manifest.json", "second"]


def test_killed_process_leaves_nothing_that_counts(tmp_path: Path, makers: Callable[[], subprocess.Popen[str]]) -> None:
    """What a killed process left is not handed out, blocks nobody, and is removed."""
    killed = makers()
    assert killed.stdout is not None
    assert killed.stdout.readline() == "half\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "key").exists()
    made = DirectoryStore(tmp_path).provide("key", make)
    assert made.keys() == {"content"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.lock"]
