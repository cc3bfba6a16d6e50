"""The locks of the matrix: what each is compiled from, how, and whether it still follows from that.

A lock ``tests/environments/NAME.txt`` is compiled from ``NAME.in``, which names the project itself (``-e .[extras]``),
less what ``NAME.excludes`` lists. It holds versions and hashes for every platform and Python at once, and says nothing
of where its packages come from. Only the standard library is used: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FOLDER", "NAMES", "Pin", "check", "compile_arguments", "differences", "lock_path", "pins", "refresh"]

FOLDER = Path("tests", "environments")
NAMES = ("no-llm", "llm-cpu", "llm-cuda", "tools", "build")
# These come from torch's own index where uv's torch backend is used, and from elsewhere where it is not: the file, and
# so its hash, differs by source, while the version does not.
WITHOUT_HASHES = {"llm-cpu": ("torch",), "llm-cuda": ("torch", "triton")}
PIN = re.compile(
    r"^(?P<requirement>[A-Za-z0-9].*?==[^\\\n]*?|-e .*?)[ \\]*\n(?P<hashes>(?: +--hash=.*\n)*)", re.MULTILINE
)


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a requirement with its version and marker, and the hashes of its files."""

    requirement: str
    hashes: frozenset[str]


def lock_path(name: str) -> Path:
    """Return where the lock of an environment lies, relative to the repository."""
    return FOLDER / f"{name}.txt"


def compile_arguments(name: str, output: Path) -> list[str]:
    """Return the arguments for uv that compile one lock; what ``output`` already pins stays as long as it may."""
    excludes = FOLDER / f"{name}.excludes"
    return [
        *("pip", "compile", (FOLDER / f"{name}.in").as_posix(), "--output-file", str(output), "--quiet"),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "nox -s lock"),
        *(("--excludes", excludes.as_posix()) if excludes.exists() else ()),
    ]


def refresh(name: str, uv: Callable[[Sequence[str]], object], extra: Sequence[str] = ()) -> None:
    """Compile one lock in its place. ``uv`` runs uv with arguments; ``extra`` are more of them, such as ``-U``."""
    _compile(name, lock_path(name), uv, extra)


def check(name: str, uv: Callable[[Sequence[str]], object], scratch: Path) -> list[str]:
    """Compile one lock elsewhere, starting from what it pins now, and return how the two differ."""
    present, fresh = lock_path(name), scratch / f"{name}.txt"
    if not present.exists():
        return [f"{present.as_posix()}: it is not there"]
    shutil.copyfile(present, fresh)
    _compile(name, fresh, uv)
    found = differences(present.read_text(encoding="utf-8"), fresh.read_text(encoding="utf-8"))
    return [f"{present.as_posix()}: {difference}" for difference in found]


def differences(present: str, fresh: str) -> list[str]:
    """Say, line by line, what a lock pins and should not, or should pin and does not; comments do not count."""
    old, new = pins(present), pins(fresh)
    gone = [f"pins {pin.requirement}, which does not follow from its inputs" for pin in old if pin not in new]
    missing = [
        f"lacks {pin.requirement}, or its hashes, which follows from its inputs" for pin in new if pin not in old
    ]
    return gone + missing


def pins(text: str) -> list[Pin]:
    """Read every pin of a lock, in the order of the lock."""
    return [
        Pin(found["requirement"].strip(), frozenset(re.findall(r"--hash=(\S+)", found["hashes"])))
        for found in PIN.finditer(text)
    ]


def _compile(name: str, output: Path, uv: Callable[[Sequence[str]], object], extra: Sequence[str] = ()) -> None:
    uv([*compile_arguments(name, output), *extra])
    text = output.read_text(encoding="utf-8")
    output.write_text(_drop_hashes(text, WITHOUT_HASHES.get(name, ())), encoding="utf-8", newline="\n")


def _drop_hashes(text: str, packages: Sequence[str]) -> str:
    for package in packages:
        text = re.sub(rf"(?m)^({re.escape(package)}==[^\\\n]*?) *\\\n(?: +--hash=.*\n)+", r"\1\n", text)
    return text
