"""Conditions: what a run's Python, its platform or its installation decides.

A condition is never promised. Each run evaluates it, and its receipt says which conditions held.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
import sysconfig
from itertools import chain
from typing import TYPE_CHECKING

from .contract import ContractError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .contract import Capability

PYTHONS = ">=3.11"
"""The Pythons that the plugin runs on."""
# These compare with one release, where a reader thinks of all patches of a version.
_EXACT = ("==", "===", "!=", "<=", ">")
_MINOR = 2
# What else a machine calls itself.
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}
PLATFORMS = (
    *("aix", "android", "cygwin", "darwin", "emscripten", "freebsd", "ios", "linux", "netbsd", "openbsd", "sunos"),
    *("wasi", "win32"),  # sys.platform, without the number of a release
    *("nt", "posix"),  # os.name
    *("aarch64", "armv7l", "i686", "loongarch64", "ppc64le", "riscv64", "s390x", "wasm32", "x86_64", *_SAME),
    *("cpython", "graalpy", "pypy"),  # sys.implementation.name
    "free-threaded",
)
"""The names that a platform may have: system, family, processor, implementation, and a build without the GIL."""


def check_python(where: str, specifier: str) -> None:
    """Raise ContractError for a specifier that is not one, or that no Python meets which the plugin runs on.

    A pre-release counts as its release, as ``sys.version_info >= (3, 15)`` does, so none can be named.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - few tables need it

    try:
        wanted = SpecifierSet(specifier)
    except InvalidSpecifier as error:
        message = f"{where} is {specifier!r}: write a version specifier, such as '>=3.12' or '>=3.12,<3.14'"
        raise ContractError(message) from error
    for each in wanted:
        if each.operator in _EXACT and each.version.count(".") < _MINOR and not each.version.endswith(".*"):
            fact = f"{where} is {specifier!r}, where {each.version} is {each.version}.0 and not every {each.version}"
            message = f"{fact}: compare with >= and <, or with '=={each.version}.*'"
            raise ContractError(message)
    if wanted.prereleases:
        message = f"{where} is {specifier!r}: a pre-release counts as its release, so name that"
        raise ContractError(message)
    if (wanted & SpecifierSet(PYTHONS)).is_unsatisfiable():
        message = f"{where} is {specifier!r}, which no Python meets that the plugin runs on ({PYTHONS}): correct it"
        raise ContractError(message)


def check_platforms(where: str, names: tuple[str, ...]) -> None:
    """Raise ContractError for a name that no platform has, and for "not NAME" beside a name."""
    for name in names:
        if name.removeprefix("not ") not in PLATFORMS:
            raise ContractError(f"{where}: " + unknown("platform", name.removeprefix("not "), PLATFORMS))
    if len({name.startswith("not ") for name in names}) > 1:
        message = f"{where} is {list(names)}: give only names, one of which has to fit, or only names with 'not'"
        raise ContractError(message)


def unmet(capability: Capability) -> list[str]:
    """Return the conditions of a capability that do not hold here, such as ``["Python >=3.14"]``."""
    found = []
    if capability.python is not None and not _fits(capability.python):
        found.append(f"Python {capability.python}")
    if capability.platforms and not _is_one_of(capability.platforms):
        found.append(f"platform {' or '.join(capability.platforms)}")
    return found + [f"absence of module {name}" for name in capability.absent if can_find(name)]


def _fits(specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - few tables need it

    return SpecifierSet(specifier).contains(".".join(map(str, sys.version_info[:3])))


def _is_one_of(names: tuple[str, ...]) -> bool:
    here = _platform()
    excluded = [name.removeprefix("not ") for name in names if name.startswith("not ")]
    if excluded:
        return here.isdisjoint(_SAME.get(name, name) for name in excluded)
    return not here.isdisjoint(_SAME.get(name, name) for name in names)


def _platform() -> set[str]:
    system = sys.platform if sys.platform == "win32" else re.sub(r"\d+$", "", sys.platform)
    machine = platform.machine().lower()
    names = {system, os.name, _SAME.get(machine, machine), sys.implementation.name}
    return names | ({"free-threaded"} if sysconfig.get_config_var("Py_GIL_DISABLED") else set())


def can_find(module: str) -> bool:
    """Return whether a module is here, without importing it, but for the packages that it is in."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # The parent of a dotted name does not exist, so neither does the module.
        return False
    except ValueError:
        # Something without a spec, such as a stub, was put into sys.modules under this name.
        return True


def missing(capabilities: Mapping[str, Capability], name: str, lacks: Callable[[Capability], list[str]]) -> list[str]:
    """Return what ``name`` lacks here, such as ``["module torch"]``; empty when it is here.

    ``lacks`` says what a capability lacks that is no combination of others.
    """
    capability = capabilities[name]
    parts = [missing(capabilities, part, lacks) for part in (*capability.all_of, *capability.any_of)]
    if capability.any_of:
        return [] if not all(parts) else [" or ".join(", ".join(part) for part in parts)]
    return list(chain.from_iterable(parts)) if capability.all_of else lacks(capability)
