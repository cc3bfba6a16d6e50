"""Whether a room (virtual environment) is sound enough for uv to make it match its lock.

uv repairs little: it takes a package for installed when its metadata folder is there, it fails on a garbled RECORD, and
in a room without pyvenv.cfg it works on the Python below. Such a room is made again, which takes seconds: its files are
links into uv's cache. Uses only the standard library: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["defect", "drop", "drop_strays", "uv_trouble"]

# nox's own files beside the rooms.
_NOX = {".gitignore", "CACHEDIR.TAG"}
_ASK = "import json, sys; print(json.dumps([sys.prefix, '{}.{}'.format(*sys.version_info), sys.path]))"


def defect(room: Path, program: Path, python: str) -> str | None:
    """Say why uv could not make a room match its lock; None if it can.

    ``program`` is the room's Python, and ``python`` its version as it should be, such as "3.11".
    """
    settings = _text(room / "pyvenv.cfg") or ""
    if not re.search(r"(?m)^uv = ", settings):
        return "has no pyvenv.cfg by uv"
    if re.search(r"(?m)^seed = true", settings):
        return "was made with pip in it, which uv would leave there"
    try:
        answer = subprocess.run([str(program), "-I", "-c", _ASK], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        return f"has a Python that does not start ({error})"
    prefix, version, folders = json.loads(answer)
    if not Path(prefix).samefile(room):
        return f"has a Python that takes {prefix} for its home"
    if version != python:
        return f"has Python {version}, where {python} should be"
    return _made_elsewhere(room, program.parent) or _unreadable(folders)


def _made_elsewhere(room: Path, programs: Path) -> str | None:
    home = next(filter(None, (_other_home(path, room) for path in sorted(programs.iterdir()))), None)
    return None if home is None else f"was made as {home}, whose Python its programs start"


def _unreadable(folders: Iterable[str]) -> str | None:
    damaged = [info.name for folder in folders for info in Path(folder).glob("*.dist-info") if not _is_readable(info)]
    return f"has no readable METADATA and RECORD in {', '.join(sorted(damaged))}" if damaged else None


def _other_home(script: Path, room: Path) -> Path | None:
    """Return the room of the same name that a script was made for, if that is another one; folders move, or are copied.

    A long path, or one with a space, does not fit into a script's first line; the second one then has it.
    """
    with script.open("rb") if script.is_file() else BytesIO() as file:
        start = file.read(1024)
    found = re.match(rb"#!(?:/bin/sh\n'''exec' )?['\"]?(/[^\n]+?)/bin/python", start)
    home = Path(os.fsdecode(found[1])) if found else room
    is_other = home.name == room.name and not (home.exists() and home.samefile(room))
    return home if is_other else None


def _is_readable(info: Path) -> bool:
    """Return whether uv can tell what is installed, and which files to remove; a whole RECORD names itself."""
    metadata, record = _text(info / "METADATA") or "", _text(info / "RECORD") or ""
    return bool(re.search(r"(?m)^Version: \S", metadata)) and f"{info.name}/RECORD," in record


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def drop(room: Path) -> None:
    """Remove a room, or the link that stands for it.

    Raises:
        OSError: something in it cannot be removed.
    """
    if room.is_symlink():
        room.unlink()
    else:
        shutil.rmtree(room)


def drop_strays(rooms: Path) -> None:
    """Remove files and links to nowhere that stand where a room should be: nox itself ends in a traceback there."""
    for path in rooms.iterdir() if rooms.is_dir() else ():
        if not path.is_dir() and path.name not in _NOX:
            path.unlink()


def uv_trouble(named: str | None) -> str:
    """Say in uv's own words why it does not run: nox says of every reason that it found no backend.

    ``named`` is the program that the variable UV names, if it does.
    """
    beside = [sys.executable, "-m", "uv"] if find_spec("uv") else ["uv"]
    command = [*([named] if named else beside), "self", "version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"uv, which makes the rooms, does not start ({error}): pip install 'nox[uv]'"
    return f"uv, which makes the rooms, does not run here: {done.stderr.strip() or f'it exits with {done.returncode}'}"
