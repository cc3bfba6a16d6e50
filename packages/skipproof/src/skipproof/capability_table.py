"""Reads and checks the capabilities in a project's table, and the conditions among them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .conditions import check_platforms, check_python
from .contract import PROBES, Capability, ContractError, unknown
from .table_values import one_or_more, refuse_unknown_keys, string, strings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LISTS = ("modules", "distributions", "programs", "paths")
_PROOFS = (*_LISTS, "variable", "probe")
_TEXTS = ("variable", "probe", "trace", "digest")
_CONDITIONS = ("python", "platform", "absent", "all", "any")
_KEYS = ("digest", "install", "trace", *_PROOFS, *_CONDITIONS)
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_OWN_PROBE = re.compile(rf"{_MODULE.pattern}:[^\W\d]\w*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_capabilities(entries: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Capability]:
    """Return the capabilities by name; ``where`` says where in the file one of them stands.

    Raises:
        ContractError: one of them is wrong.
    """
    found = {name: _capability(name, entry, where(name)) for name, entry in entries.items()}
    for name in found:
        _check_combination(found, (name,), where(name))
    return {name: replace(each, install=_install(found, name)) for name, each in found.items()}


def _capability(name: str, entry: object, where: str) -> Capability:
    if not isinstance(entry, dict):
        message = f"{where} is {entry!r}: write a table with 'install' and what to look for"
        raise ContractError(message)
    refuse_unknown_keys(where, entry, _KEYS)
    proved = any(entry.get(key) for key in _PROOFS)
    conditional = any(key in entry for key in _CONDITIONS)
    if "install" not in entry and (proved or not conditional):
        message = f"{where} has no 'install': say how to get it, the skip reason prints it"
        raise ContractError(message)
    texts = {key: string(f"{where} {key}", entry[key]) for key in _TEXTS if key in entry}
    lists = {key: strings(f"{where} {key}", entry[key]) for key in _LISTS if key in entry}
    if not proved and not conditional:
        message = f"{where} has nothing to look for: add {', '.join(map(repr, _PROOFS))} or a condition"
        raise ContractError(message)
    _check_texts(where, texts)
    _check_lists(where, lists)
    capability = Capability(
        name=name,
        install=string(f"{where} install", entry["install"]) if "install" in entry else "",
        modules=lists.get("modules", ()),
        distributions=lists.get("distributions", ()),
        programs=lists.get("programs", ()),
        paths=lists.get("paths", ()),
        variable=texts.get("variable"),
        probe=texts.get("probe"),
        trace=texts.get("trace"),
        digest=texts.get("digest"),
    )
    return _with_conditions(capability, entry, where) if conditional else capability


def _with_conditions(capability: Capability, entry: Mapping[str, Any], where: str) -> Capability:
    lists = {
        key: one_or_more(f"{where} {key}", entry[key]) for key in ("platform", "absent", "all", "any") if key in entry
    }
    python = string(f"{where} python", entry["python"]) if "python" in entry else None
    if python is not None:
        check_python(f"{where} python", python)
    check_platforms(f"{where} platform", lists.get("platform", ()))
    _check_modules(f"{where} absent", lists.get("absent", ()))
    alone = [key for key in ("all", "any", "absent") if key in entry]
    others = [key for key in entry if key not in (*alone[:1], "install")]
    if alone and others:
        message = f"{where} has {alone[0]!r} and {others[0]!r}: make each a capability of its own, and combine them"
        raise ContractError(message)
    return replace(
        capability,
        python=python,
        platforms=lists.get("platform", ()),
        absent=lists.get("absent", ()),
        all_of=lists.get("all", ()),
        any_of=lists.get("any", ()),
    )


def _check_texts(where: str, texts: Mapping[str, str]) -> None:
    probe, digest = texts.get("probe"), texts.get("digest")
    if probe is not None and probe not in PROBES and _OWN_PROBE.fullmatch(probe) is None:
        known = (*PROBES, "package.module:function of the project's own")
        raise ContractError(f"{where}: " + unknown("probe", probe, known))
    if digest is None:
        return
    if _SHA256.fullmatch(digest) is None:
        message = f"{where} digest is {digest!r}: write the SHA-256 of the weights, 64 digits of 0-9 and a-f"
        raise ContractError(message)
    if "trace" not in texts:
        message = f"{where} has a 'digest' but no 'trace': name the audit event that must carry the digest"
        raise ContractError(message)


def _check_lists(where: str, lists: Mapping[str, tuple[str, ...]]) -> None:
    _check_modules(f"{where} modules", lists.get("modules", ()))
    for path in lists.get("paths", ()):
        # Not Path.expanduser, which raises where there is no such user.
        if not Path(os.path.expanduser(path)).is_absolute():  # noqa: PTH111
            message = f"{where} paths is {path!r}: begin it with '~/', or write an absolute path"
            raise ContractError(message)


def _check_modules(where: str, names: tuple[str, ...]) -> None:
    for name in names:
        if _MODULE.fullmatch(name) is None:
            message = f"{where} is {name!r}: write a module's name as it is imported, such as 'torch.nn'"
            raise ContractError(message)


def _check_combination(known: Mapping[str, Capability], path: tuple[str, ...], where: str) -> set[str]:
    """Return the names of all that a capability needs, by way of "all" too.

    Raises:
        ContractError: a name is not in the table, a capability needs itself, or needs what excludes each other.
    """
    capability = known[path[-1]]
    needed = {path[-1]}
    for part in (*capability.all_of, *capability.any_of):
        if part not in known:
            raise ContractError(f"{where}: " + unknown("capability", part, known))
        if part in path:
            message = f"{where} needs itself ({' -> '.join((*path, part))}): remove one of these"
            raise ContractError(message)
        inner = _check_combination(known, (*path, part), where)
        needed |= inner if capability.all_of else set()
    parts = [known[name] for name in needed]
    both = {module for part in parts for module in part.modules} & {module for part in parts for module in part.absent}
    if both:
        message = f"{where} needs module {min(both)} and its absence: no environment can have both"
        raise ContractError(message)
    return needed


def _install(known: Mapping[str, Capability], name: str) -> str:
    """Return what a capability takes, as the skip reason prints it: the conditions, then how to install the rest."""
    capability = known[name]
    if capability.all_of or capability.any_of:
        inner = [_install(known, part) for part in (*capability.all_of, *capability.any_of)]
        return capability.install or (" and " if capability.all_of else " or ").join(inner)
    texts = [f"Python {capability.python}"] if capability.python else []
    texts += [f"a platform that is {' or '.join(capability.platforms)}"] if capability.platforms else []
    texts += [f"an environment without {' and '.join(capability.absent)}"] if capability.absent else []
    return ", ".join([*texts, capability.install] if capability.install else texts)
