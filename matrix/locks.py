"""The locks of the matrix: what each is compiled from, how, and whether it still follows from its inputs.

A lock ``environments/NAME.txt`` is compiled from ``NAME.in``, which names the project itself (``-e .[extras]``),
except what ``NAME.excludes`` lists. It holds versions and hashes for every platform and Python at once, but not where
its packages come from. Uses only the standard library: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "FOLDER",
    "NAMES",
    "Pin",
    "asked_for",
    "check",
    "compile_arguments",
    "differences",
    "direct_arguments",
    "lock_path",
    "pins",
    "refresh",
]

FOLDER = Path("environments")
# One for each environment of [tool.skipproof], and for what checks and builds the project.
NAMES = tuple(sorted(path.stem for path in (Path(__file__).resolve().parent.parent / FOLDER).glob("*.in")))
DESCRIPTIONS = ("pyproject.toml", "packages/skipproof/pyproject.toml")
# These come from torch's own index if uv's torch backend is used, otherwise from elsewhere: the file, and so its hash,
# differs by source, but the version does not.
WITHOUT_HASHES = ("torch", "triton")
PIN = re.compile(
    r"^(?P<requirement>[A-Za-z0-9].*?==[^\\\n]*?|-e .*?)[ \\]*\n(?P<hashes>(?: +--hash=.*\n)*)", re.MULTILINE
)


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a requirement with its version and marker, and the hashes of its files."""

    requirement: str
    hashes: frozenset[str]


def lock_path(name: str) -> Path:
    """Return the path of an environment's lock, relative to the repository."""
    return FOLDER / f"{name}.txt"


def compile_arguments(name: str, output: Path) -> list[str]:
    """Return the arguments for uv that compile one lock; what ``output`` already pins stays if possible."""
    excludes = FOLDER / f"{name}.excludes"
    return [
        *("pip", "compile", (FOLDER / f"{name}.in").as_posix(), "--output-file", str(output), "--quiet"),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "nox -s lock"),
        *(("--excludes", excludes.as_posix()) if excludes.exists() else ()),
    ]


def direct_arguments(resolution: str, output: Path) -> list[str]:
    """Return the arguments for uv that choose versions of all that both distributions require, by a uv resolution."""
    return [
        *("pip", "compile", *DESCRIPTIONS, "--all-extras", "--resolution", resolution, "--upgrade"),
        *("--output-file", str(output), "--quiet", "--no-header", "--no-annotate"),
    ]


def asked_for(compiled: str) -> str:
    """Name the compiled versions of what the two distributions themselves require."""
    asked = []
    for description in DESCRIPTIONS:
        project = tomllib.loads(Path(description).read_text(encoding="utf-8"))["project"]
        asked += [*project["dependencies"], *chain.from_iterable(project.get("optional-dependencies", {}).values())]
    names = {re.split(r"[^\w.-]", each)[0] for each in asked}
    return ", ".join(
        pin.requirement.replace("==", " ", 1) for pin in pins(compiled) if pin.requirement.partition("==")[0] in names
    )


def refresh(name: str, uv: Callable[[Sequence[str]], object], scratch: Path, extra: Sequence[str] = ()) -> None:
    """Compile one lock again. ``uv`` runs uv with arguments; ``extra`` are more of them, such as ``-U``."""
    text = _compiled(name, uv, scratch, extra)
    lock_path(name).write_text(text, encoding="utf-8", newline="\n")


def check(name: str, uv: Callable[[Sequence[str]], object], scratch: Path) -> list[str]:
    """Compile one lock elsewhere, starting from the versions it pins now, and return the differences."""
    present = lock_path(name)
    if not present.exists():
        return [f"{present.as_posix()}: it does not exist"]
    found = differences(present.read_text(encoding="utf-8"), _compiled(name, uv, scratch))
    return [f"{present.as_posix()}: {difference}" for difference in found]


def differences(present: str, fresh: str) -> list[str]:
    """Say, line by line, what a lock pins but should not, or should pin but does not; comments do not count.

    A release that has gained files since still follows: fewer hashes than it has now are fine, others are not.
    """
    old, new = ({pin.requirement: pin.hashes for pin in pins(text)} for text in (present, fresh))
    gone = [f"pins {pin}, which does not follow from its inputs" for pin in old if pin not in new]
    missing = [f"lacks {pin}, which follows from its inputs" for pin in new if pin not in old]
    wrong = [
        f"pins {pin} with hashes that are not those of its files"
        for pin in old
        if pin in new and not (old[pin] <= new[pin] and bool(old[pin]) == bool(new[pin]))
    ]
    return gone + missing + wrong


def pins(text: str) -> list[Pin]:
    """Read every pin of a lock, in the order of the lock."""
    return [
        Pin(found["requirement"].strip(), frozenset(re.findall(r"--hash=(\S+)", found["hashes"])))
        for found in PIN.finditer(text)
    ]


def _compiled(name: str, uv: Callable[[Sequence[str]], object], scratch: Path, extra: Sequence[str] = ()) -> str:
    present, output = lock_path(name), scratch / f"{name}.txt"
    output.unlink(missing_ok=True)
    if present.exists():
        # uv keeps hashes that it finds: without any, it asks the index, which corrects hashes written by hand.
        output.write_text(_drop_hashes(present.read_text(encoding="utf-8"), [r"[^\s=]+"]), encoding="utf-8")
    uv([*compile_arguments(name, output), *extra])
    return _drop_hashes(output.read_text(encoding="utf-8"), WITHOUT_HASHES)


def _drop_hashes(text: str, packages: Sequence[str]) -> str:
    """Return a lock without the hashes of some packages, given as patterns."""
    for package in packages:
        text = re.sub(rf"(?m)^({package}==[^\\\n]*?) *\\\n(?: +--hash=.*\n)+", r"\1\n", text)
    return text
