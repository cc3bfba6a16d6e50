"""Changes to files as text: settings added under their heading, diffs, and writing all of them or none."""

from __future__ import annotations

import ast
import configparser
import difflib
import os
import re
import shutil
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .project import InitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .bodies import Edit


@dataclass(slots=True)
class File:
    """A file as it is and as it would be.

    Attributes:
        path: where it is.
        old: its text now, or None when it does not exist; whatever its line ends are, here they are LF.
        new: its text then.
        asked: the option without which it is not written, or None when it is safe.
        ends: its line ends.
    """

    path: Path
    old: str | None
    new: str
    asked: str | None = None
    ends: str = "\n"

    def diff(self, root: Path) -> str:
        """Return the change as a unified diff."""
        name = self.path.relative_to(root).as_posix()
        before = "/dev/null" if self.old is None else name
        lines = difflib.unified_diff(
            (self.old or "").splitlines(keepends=True), self.new.splitlines(keepends=True), before, name
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def read_file(path: Path) -> File:
    """Return a file, changed in nothing yet; raise InitError when it is not UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return File(path, None, "")
    except UnicodeDecodeError as error:
        message = f"{path.name} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        raise InitError(message) from error
    ends = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    return File(path, text, text, ends=ends)


def append(file: File, text: str) -> None:
    """Add a block to the end of a file, after an empty line."""
    start = file.new.rstrip("\n")
    file.new = f"{start}\n\n{text}" if start else text


def set_under(file: File, heading: str, line: str) -> bool:
    """Add a line under a heading, or heading and line to the end; return False when the heading is not on a line.

    A TOML file that says it in another way, such as by dotted keys, cannot get the heading a second time.
    """
    spaced = r"\s*".join(map(re.escape, re.split(r"(\.)", heading)))
    found = re.search(rf"^[ \t]*\[[ \t]*{spaced}[ \t]*\][^\n]*\n?", file.new, re.MULTILINE)
    if found is not None:
        start = file.new[: found.end()]
        start += "" if start.endswith("\n") else "\n"
        file.new = f"{start}{line}\n{file.new[found.end() :]}"
        return True
    before = file.new
    append(file, f"[{heading}]\n{line}\n")
    if _parses(file):
        return True
    file.new = before
    return False


def _parses(file: File) -> bool:
    try:
        if file.path.suffix == ".toml":
            tomllib.loads(file.new.removeprefix("\ufeff"))
        else:
            configparser.ConfigParser(interpolation=None).read_string(file.new.removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, configparser.Error):
        return False
    return True


def check_kept(file: File) -> None:
    """Raise InitError when the new text of a TOML file does not say all that the old one says."""
    name = file.path.name
    try:
        old, new = (tomllib.loads((text or "").removeprefix("\ufeff")) for text in (file.old, file.new))
        kept = _within(old, new)
    except tomllib.TOMLDecodeError as error:
        message = f"{name} cannot take [tool.skipproof] at its end ({error}): write [tool] as headings, not inline"
        raise InitError(message) from error
    if not kept:
        message = f"{name} would say something else by what is added: a text in it looks like a heading; change that"
        raise InitError(message)


def _within(old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and _within(value, new[key]) for key, value in old.items())
    return bool(old == new)


def edited(text: str, edits: Iterable[Edit]) -> str | None:
    """Return a Python file after these edits, or None when the result is not Python any more."""
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    for (first, start, last, end), new in sorted(edits, reverse=True):
        lines += [b""] * (last - len(lines))
        before, after = lines[first - 1][:start], lines[last - 1][end:]
        whole = not new and not before.strip() and not after.strip()
        lines[first - 1 : last] = [b"" if whole else before + new.encode() + after]
    result = b"".join(lines).decode()
    try:
        ast.parse(result)
    except SyntaxError:
        return None
    return result


def write_all(files: Iterable[File]) -> None:
    """Write these files: all, or none when one of them cannot be written.

    Raises:
        InitError: one cannot be written; everything is as it was.
    """
    ready: list[tuple[Path, Path, File]] = []
    done: list[tuple[Path, File]] = []
    folders: list[Path] = []
    try:
        for file in files:
            path = Path(os.path.realpath(file.path))  # a link stays a link
            if not path.parent.exists():
                path.parent.mkdir(parents=True)
                folders.append(path.parent)
            ready.append((path.with_name(f".{path.name}.skipproof"), path, file))
            _draft(*ready[-1])
        for draft, path, file in ready:
            draft.replace(path)
            done.append((path, file))
    except OSError as error:
        _undo(done, [draft for draft, *_ in ready], folders)
        message = f"nothing was written: {error}: correct what is there, or who may write it"
        raise InitError(message) from error


def _draft(draft: Path, path: Path, file: File) -> None:
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, "may not be written", str(path))
    draft.write_bytes(file.new.replace("\n", file.ends).encode())
    if file.old is not None:
        shutil.copymode(path, draft)


def _undo(done: Iterable[tuple[Path, File]], drafts: Iterable[Path], folders: Iterable[Path]) -> None:
    for path, file in done:
        if file.old is None:
            path.unlink()
        else:
            path.write_bytes(file.old.replace("\n", file.ends).encode())
    for draft in drafts:
        with suppress(OSError):
            draft.unlink()
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
