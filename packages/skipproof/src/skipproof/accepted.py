"""The accepted list: where each test was proved to run, and how many lines coverage leaves out.

``skipproof accept`` writes it, and git reviews it: one line for each test function and each file, in order, so that a
diff shows what is gone by its name, and two branches seldom change the same line::

    [tests]
    tests/test_a.py::test_a = bare, full
    tests/test_a.py::test_b = bare 12, full 9, full+avx512 3
    tests/test_a.py::test_c = -

    [excluded from coverage]
    src/code.py = lines 3, branches 1

``test_b`` is one function with twelve ids; three of them ran in ``full`` because that machine had ``avx512``, which the
environment has only on some. ``test_c`` ran nowhere.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import Contract

_TESTS, _EXCLUDED = "[tests]", "[excluded from coverage]"
_HEAD = "# skipproof accept writes this list; a merge is red for what is on it and was not proved again."
_MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PLACE = re.compile(rf"(-|{_NAME})((?:\+{_NAME})*)(?: ([1-9][0-9]{{0,8}}))?")
_COUNT = re.compile(r"(lines|branches) ([1-9][0-9]{0,8})")


class AcceptedError(ValueError):
    """The list cannot be read; the message says which line to correct."""


class Place(NamedTuple):
    """Where a test ran.

    Attributes:
        environment: the environment; "" for a test that ran in none.
        needs: what it needed there of the capabilities that the environment has only on some machines.
    """

    environment: str
    needs: tuple[str, ...] = ()


class Excluded(NamedTuple):
    """How many lines of a file coverage leaves out, and how many of its branches it does not ask for."""

    lines: int = 0
    branches: int = 0


@dataclass(slots=True)
class Accepted:
    """The list.

    Attributes:
        tests: by function, how many of its ids ran at each place.
        excluded: by file, relative to the root.
    """

    tests: dict[str, dict[Place, int]] = field(default_factory=dict)
    excluded: dict[str, Excluded] = field(default_factory=dict)


def function_of(test: str) -> str:
    """Return the function that a test's id is of: the id without parameters."""
    file, colons, name = test.partition("::")
    return file + colons + name.partition("[")[0]


def file_of(function: str) -> str:
    """Return the file that a function is in."""
    return function.partition("::")[0]


def read_list(contract: Contract, name: str) -> Accepted:
    """Read the list from the file of this name.

    Raises:
        AcceptedError: it is not there, or a line is not one of a list.
    """
    try:
        text = (contract.root / name).read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        message = f"{name} is not there, where {contract.heading} looks for the list: run skipproof accept"
        raise AcceptedError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name} cannot be read as a list ({error}): correct it, or bring it back from git"
        raise AcceptedError(message) from error
    accepted, numbers, heading = Accepted(), dict[tuple[str, str], int](), ""
    for number, line in _lines(text):
        where = f"{name} line {number}"
        if line.startswith(_MARKS):
            message = f"{where} is a mark of a merge conflict: keep the lines of both sides, and delete the marks"
            raise AcceptedError(message)
        if line in (_TESTS, _EXCLUDED):
            heading = line
            continue
        key = _add(accepted, heading, line, where)
        first = numbers.setdefault((heading, key), number)
        if first != number:
            message = f"{where} is of {key!r}, as line {first} is: keep one of them"
            raise AcceptedError(message)
    if not heading:
        message = f"{name} has no heading {_TESTS}: bring the list back from git, or delete it and run skipproof accept"
        raise AcceptedError(message)
    return accepted


def write_list(contract: Contract, name: str, accepted: Accepted) -> None:
    """Write or replace the list, atomically."""
    tests = [f"{_spelt(key)} = {places(accepted.tests[key])}" for key in sorted(accepted.tests)]
    excluded = [f"{_spelt(key)} = {counts(accepted.excluded[key])}" for key in sorted(accepted.excluded)]
    path = contract.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    text = "\n".join([_HEAD, "", _TESTS, *tests, "", _EXCLUDED, *excluded, ""])
    draft.write_text(text, encoding="utf-8", newline="\n")
    try:
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def places(found: dict[Place, int]) -> str:
    """Return where a function's tests ran, and how many of them, as the list says it."""
    each = (("+".join([place.environment or "-", *place.needs]), count) for place, count in sorted(found.items()))
    return ", ".join(text if count == 1 else f"{text} {count}" for text, count in each)


def counts(excluded: Excluded) -> str:
    """Return how much coverage leaves out of a file, as the list says it."""
    return ", ".join(f"{name} {count}" for name, count in excluded._asdict().items() if count)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines, which also splits at characters that a name may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.rstrip()


def _add(accepted: Accepted, heading: str, line: str, where: str) -> str:
    """Add what one line says, and return what it is about."""
    key, _, told = line.rpartition(" = ")
    try:
        key = str(json.loads(f'"{key}"'))
    except ValueError:
        key = ""
    if key and heading == _TESTS:
        found = [_PLACE.fullmatch(part) for part in told.split(", ")]
        parts = {
            Place("" if each[1] == "-" else each[1], tuple(each[2].split("+")[1:])): int(each[3] or 1)
            for each in found
            if each
        }
        if len(parts) == len(found):
            accepted.tests[key] = parts
            return key
    if key and heading == _EXCLUDED:
        numbers = [_COUNT.fullmatch(part) for part in told.split(", ")]
        named = {each[1]: int(each[2]) for each in numbers if each}
        if len(named) == len(numbers):
            accepted.excluded[key] = Excluded(**named)
            return key
    message = f"{where} is {line!r}, which no list has there: bring the line back from git, or delete it"
    raise AcceptedError(message)


def _spelt(key: str) -> str:
    """Return a name as one line of text that can be read; whatever could pass for another line is escaped."""
    text = json.dumps(key, ensure_ascii=not key.isprintable())[1:-1]
    return f"\\u{ord(text[0]):04x}{text[1:]}" if text[0] in "#[<|=>" else text
