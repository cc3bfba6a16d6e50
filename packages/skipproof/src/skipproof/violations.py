"""Lists what broke the contract as a person reads it: what matters first, and each fact once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def listed(found: Iterable[tuple[str, str]], ids: Iterable[str]) -> list[str]:
    """Return one line for each violation, those of a file together, in the order of the files' names.

    What is true of several parameters of a function is one violation.

    Args:
        found: names (of a file, a suite or a test), each with what is wrong with it.
        ids: the ids of all tests.
    """
    parameters: dict[str, set[str]] = {}
    for name in ids:
        if _function(name) != name:
            parameters.setdefault(_function(name), set()).add(name)
    together: dict[tuple[str, str], dict[str, None]] = {}
    for name, complaint in found:
        together.setdefault((_function(name), complaint), {})[name] = None
    lines = []
    for (function, complaint), names in together.items():
        if len(names) == 1:
            lines.append((function, f"{next(iter(names))}: {complaint}"))
        else:
            every = len(parameters.get(function, names))
            lines.append((function, f"{function}: {len(names)} of its {every} parameters: {complaint}"))
    return [line for _, line in sorted(lines, key=lambda line: line[0].partition("::")[0])]


def _function(name: str) -> str:
    """Return the id of a test without its parameters, which may hold anything."""
    begin = name.find("[", name.find("::") + 1)
    return name[:begin] if "::" in name and begin > 0 else name
