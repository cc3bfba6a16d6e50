"""Reads and checks a project's table: an unset or unknown key is an error, never a default."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from .capability_table import read_capabilities
from .contract import Contract, ContractError, Lock, unknown
from .listings import read_known_failures, read_subsets
from .table_files import find_table
from .table_values import refuse_unknown_keys, string, strings

if TYPE_CHECKING:
    from collections.abc import Collection

    from .contract import KnownFailure, Subset
    from .table_files import Table

_TOP_KEYS = ("capabilities", "environments", "locks", "sources", "state")
_OPTIONAL_KEYS = ("accepted", "known_failures", "mark", "subsets")
_LOCK_KEYS = ("path", "extras", "groups")
# pytest's own marks, and the plugin's other one.
_MARKS = ("filterwarnings", "parametrize", "skip", "skipif", "untraced", "usefixtures", "xfail")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOCK = re.compile(r".+\.txt|pylock(\.[^.]+)?\.toml|uv\.lock")


def read_contract(root: Path, settings: Path | None = None) -> Contract:
    """Read and check the table of the project in ``root``; ``settings`` is the file that pytest was given.

    Raises:
        ContractError: there is no table, there are two, or it is wrong.
    """
    table = find_table(root, settings)
    if table is None:
        fact = f"{root} has no table [tool.skipproof] in pyproject.toml, nor [skipproof] in another file of settings"
        message = f"{fact}: add one, as python -m pydoc skipproof.contract shows it, or run in the project's folder"
        raise ContractError(message)
    for key in _TOP_KEYS:
        if key not in table.content:
            message = f"{table.where()} has no {key!r}: add it, an unset expectation proves nothing"
            raise ContractError(message)
    refuse_unknown_keys(table.where(), table.content, (*_TOP_KEYS, *_OPTIONAL_KEYS))
    promises = {
        name: strings(table.where("environments", name), promised)
        for name, promised in _entries(table, "environments").items()
    }
    sources = _sources(f"{table.where()} sources", table.content["sources"])
    contract = Contract(
        root=root,
        capabilities=read_capabilities(_entries(table, "capabilities"), partial(table.where, "capabilities")),
        environments={
            name: tuple(each for each in promised if not each.endswith("?")) for name, promised in promises.items()
        },
        optional={
            name: tuple(each.removesuffix("?") for each in promised if each.endswith("?"))
            for name, promised in promises.items()
        },
        sources=sources,
        locks=_locks(root, table, promises),
        known_failures=_known_failures(table),
        subsets=_subsets(table),
        state=_state(f"{table.where()} state", table.content["state"], sources),
        mark=_mark(f"{table.where()} mark", table.content.get("mark", "requires")),
        accepted=_path(f"{table.where()} accepted", table.content["accepted"]) if "accepted" in table.content else None,
        table=table.file,
        heading=table.where(),
    )
    _check_promises(contract, table)
    return contract


def _known_failures(table: Table) -> tuple[KnownFailure, ...]:
    key = "known_failures"
    return read_known_failures(table.where(key), table.content[key]) if key in table.content else ()


def _subsets(table: Table) -> dict[str, Subset]:
    key = "subsets"
    return read_subsets(table.where(key), table.content[key]) if key in table.content else {}


def _check_promises(contract: Contract, table: Table) -> None:
    promised: set[str] = set()
    for name, promises in contract.environments.items():
        where, hopes = table.where("environments", name), contract.optional[name]
        contract.check_capabilities([*promises, *hopes], where)
        _check_hopes(contract, where, promises, hopes)
        for each in (*promises, *hopes):
            if contract.capabilities[each].is_condition:
                message = f"{where} promises {each!r}, a condition that each run evaluates: remove it there"
                raise ContractError(message)
        promised.update(promises, hopes)
    for known in contract.known_failures:
        contract.check_capabilities(known.where, f"{table.where('known_failures', known.tests)} where")
    for name, capability in contract.capabilities.items():
        if name not in promised and not capability.is_condition:
            where = table.where("capabilities", name)
            message = f"{where} is promised by no environment: a test that needs it would run nowhere"
            raise ContractError(message)


def _check_hopes(contract: Contract, where: str, promises: Collection[str], hopes: Collection[str]) -> None:
    for hope in hopes:
        if hope in promises:
            message = f"{where} names {hope!r} with '?' and without: keep one"
            raise ContractError(message)
        if contract.capabilities[hope].depends_on_installation:
            message = f"{where} promises {hope + '?'!r}, which an installation gives: remove the '?', or the promise"
            raise ContractError(message)


def _mark(where: str, value: object) -> str:
    mark = string(where, value)
    if not mark.isidentifier() or mark in _MARKS:
        message = f"{where} is {mark!r}: write a name that pytest.mark can have, and does not have already"
        raise ContractError(message)
    return mark


def _locks(root: Path, table: Table, environments: Collection[str]) -> dict[str, Lock]:
    value = table.content["locks"]
    if not isinstance(value, dict):
        folder = _path(f"{table.where()} locks", value)
        return {name: _lock_in(root, folder, name, table.where()) for name in environments}
    for name in value:
        if name not in environments:
            message = f"{table.where('locks', name)}: {unknown('environment', name, environments)}"
            raise ContractError(message)
    for name in environments:
        if name not in value:
            message = f"{table.where('locks')} has no lock of {name}: add one, nothing else says what it has to be"
            raise ContractError(message)
    return {name: _lock(table.where("locks", name), value[name]) for name in environments}


def _lock_in(root: Path, folder: str, environment: str, where: str) -> Lock:
    plain, other = (PurePosixPath(folder, name) for name in (f"{environment}.txt", f"pylock.{environment}.toml"))
    if not (root / other).is_file():
        return Lock(plain.as_posix())
    if (root / plain).is_file():
        message = f"{where} locks: both {plain} and {other} are locks of {environment}: keep one of them"
        raise ContractError(message)
    return Lock(other.as_posix())


def _lock(where: str, entry: object) -> Lock:
    entry = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or "path" not in entry:
        message = f"{where} is {entry!r}: write the path of a lock, or a table with 'path', 'extras' and 'groups'"
        raise ContractError(message)
    refuse_unknown_keys(where, entry, _LOCK_KEYS)
    file = PurePosixPath(_path(where, entry["path"]))
    if _LOCK.fullmatch(file.name) is None:
        message = f"{where} is {file.name!r}: a lock is a *.txt of pins, pylock.toml, pylock.NAME.toml or uv.lock"
        raise ContractError(message)
    extras, groups = (strings(f"{where} {key}", entry.get(key, [])) for key in ("extras", "groups"))
    if file.suffix == ".txt" and (extras or groups):
        message = f"{where} asks {file} for extras or groups, but its lines are for one environment: remove them"
        raise ContractError(message)
    if file.name == "uv.lock" and entry.keys().isdisjoint(("extras", "groups")):
        message = f"{where} is {file}, which holds several environments: say which, by 'extras' and 'groups'"
        raise ContractError(message)
    return Lock(file.as_posix(), extras, groups)


def _sources(where: str, value: object) -> tuple[str, ...]:
    sources = tuple(_path(where, source) for source in strings(where, value))
    if not sources:
        message = f"{where} is []: name the folders of the project's code and tests, which receipts are tied to"
        raise ContractError(message)
    return sources


def _state(where: str, value: object, sources: Collection[str]) -> str:
    """Return the folder of what runs leave, which may not change what they are tied to."""
    state = PurePosixPath(_path(where, value))
    for source in sources:
        # In a hidden folder nothing is a source, unless it is named.
        inside = state.is_relative_to(source) and not any(
            part.startswith(".") for part in state.relative_to(source).parts
        )
        if inside or PurePosixPath(source).is_relative_to(state):
            fact = f"{where} is {str(state)!r}, but {source!r} is a source, and what a run leaves would change it"
            message = f"{fact}: name a folder of its own, such as '.matrix'"
            raise ContractError(message)
    return state.as_posix()


def _entries(table: Table, key: str) -> dict[str, Any]:
    where, value = table.where(key), table.content[key]
    if not isinstance(value, dict) or not (value or key == "capabilities"):
        message = f"{where} is {value!r}: write a table with at least one entry"
        raise ContractError(message)
    for name in value:
        if _NAME.fullmatch(name) is None:
            message = f"{where} names {name!r}, but files are named after it: use letters, digits, '.', '_' and '-'"
            raise ContractError(message)
    return value


def _path(where: str, value: object) -> str:
    text = string(where, value)
    path = PurePosixPath(text)
    # Nobody puts "~" for the home folder here, and a folder of that name would be made.
    strange = path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts or path.parts[:1] == ("~",)
    if strange:
        message = f"{where} is {text!r}: write a path below the project's folder, without '..'"
        raise ContractError(message)
    return path.as_posix()
