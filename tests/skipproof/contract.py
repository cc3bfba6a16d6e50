"""What the environments promise and what a test may ask for, read from ``[tool.skipproof]``.

::

    [tool.skipproof]
    sources = ["src", "tests", "pyproject.toml"]     # what a receipt's digest covers (of folders: every *.py)
    locks = "tests/environments"                     # <environment>.txt of each environment lies here
    state = ".matrix"                                # receipts and coverage data go here

    [tool.skipproof.capabilities]
    llm = { modules = ["torch"], distributions = ["a-model"], install = "pip install 'project[llm]'" }
    cuda = { probe = "cuda", install = "a machine with a GPU" }

    [tool.skipproof.environments]
    bare = []
    full = ["llm", "cuda"]

A capability with a ``probe`` is hardware: a test that needs it may run nowhere on a machine without.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .detection import PROBES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_TOP_KEYS = ("capabilities", "environments", "locks", "sources", "state")
_CAPABILITY_KEYS = ("distributions", "install", "modules", "probe")


class ContractError(ValueError):
    """The table, or a name that is looked up in it, is wrong; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Something an environment may have and a test may need.

    Attributes:
        name: what ``@pytest.mark.requires`` calls it.
        install: how to get it, as the skip reason prints it.
        modules: modules that must all import.
        distributions: distributions that must all be installed.
        probe: a check of the machine, one of ``PROBES``, or None.
    """

    name: str
    install: str
    modules: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    probe: str | None = None

    @property
    def is_hardware(self) -> bool:
        """True when no installation can give it to a machine that lacks it."""
        return self.probe is not None


@dataclass(frozen=True, slots=True)
class Contract:
    """The whole table, checked.

    Attributes:
        root: folder of the pyproject.toml; every other path is relative to it.
        capabilities: by name, in the order of the table.
        environments: the names of the capabilities each environment promises.
        sources: files, and folders of ``*.py`` files, that a receipt's digest covers.
        locks: folder of the lock files.
        state: folder of receipts and coverage data.
    """

    root: Path
    capabilities: Mapping[str, Capability]
    environments: Mapping[str, tuple[str, ...]]
    sources: tuple[str, ...]
    locks: str
    state: str

    def promised(self, environment: str) -> tuple[str, ...]:
        """Return the capabilities of an environment; raise ContractError for a name that is not in the table."""
        if environment not in self.environments:
            raise ContractError(_unknown("environment", environment, self.environments))
        return self.environments[environment]

    def check_capabilities(self, names: Collection[str], where: str) -> None:
        """Raise ContractError when ``where`` names a capability that is not in the table."""
        for name in names:
            if name not in self.capabilities:
                raise ContractError(f"{where}: " + _unknown("capability", name, self.capabilities))

    def reason(self, missing: Collection[str]) -> str:
        """Return the one reason with which a test may skip that misses these capabilities (in any order).

        Names and ways to install them come in the order of the table, so the same set always gives the same text.
        """
        lacking = [capability for name, capability in self.capabilities.items() if name in missing]
        names = ", ".join(capability.name for capability in lacking)
        return f"needs {names}: " + "; ".join(dict.fromkeys(capability.install for capability in lacking))

    def lock(self, environment: str) -> Path:
        """Return where the environment's lock file has to be."""
        return self.root / self.locks / f"{environment}.txt"


def read_contract(root: Path) -> Contract:
    """Read and check the table in ``root / "pyproject.toml"``.

    Raises:
        ContractError: the file or the table is not there, or something in it is wrong.
    """
    path = root / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = f"{path} does not exist: run pytest from the folder of pyproject.toml"
        raise ContractError(message) from None
    except tomllib.TOMLDecodeError as error:
        message = f"{path} is not TOML ({error}): mend it"
        raise ContractError(message) from error
    table = document.get("tool", {}).get("skipproof")
    if not isinstance(table, dict):
        message = f"{path} has no table [tool.skipproof]: add one, tests/skipproof/contract.py shows it"
        raise ContractError(message)
    return _contract(root, table)


def _contract(root: Path, table: dict[str, Any]) -> Contract:
    for key in _TOP_KEYS:
        if key not in table:
            message = f"[tool.skipproof] has no {key!r}: add it, an unset expectation proves nothing"
            raise ContractError(message)
    _refuse_unknown_keys("[tool.skipproof]", table, _TOP_KEYS)
    capabilities = {name: _capability(name, entry) for name, entry in _table(table, "capabilities").items()}
    contract = Contract(
        root=root,
        capabilities=capabilities,
        environments={
            name: _strings(f"[tool.skipproof.environments] {name}", promises)
            for name, promises in _table(table, "environments").items()
        },
        sources=_strings("[tool.skipproof] sources", table["sources"]),
        locks=_string("[tool.skipproof] locks", table["locks"]),
        state=_string("[tool.skipproof] state", table["state"]),
    )
    _check_promises(contract)
    return contract


def _check_promises(contract: Contract) -> None:
    promised: set[str] = set()
    for name, promises in contract.environments.items():
        contract.check_capabilities(promises, f"[tool.skipproof.environments] {name}")
        promised.update(promises)
    for name in contract.capabilities:
        if name not in promised:
            where = f"[tool.skipproof.capabilities] {name}"
            message = f"{where} is promised by no environment: a test that needs it would run nowhere"
            raise ContractError(message)


def _capability(name: str, entry: object) -> Capability:
    where = f"[tool.skipproof.capabilities] {name}"
    if not isinstance(entry, dict):
        message = f"{where} is {entry!r}: write a table with 'install' and what to look for"
        raise ContractError(message)
    _refuse_unknown_keys(where, entry, _CAPABILITY_KEYS)
    if "install" not in entry:
        message = f"{where} has no 'install': say how to get it, the skip reason prints it"
        raise ContractError(message)
    if len(entry) == 1:
        message = f"{where} has nothing to look for: add 'modules', 'distributions' or 'probe'"
        raise ContractError(message)
    probe = entry.get("probe")
    if probe is not None and probe not in PROBES:
        raise ContractError(f"{where}: " + _unknown("probe", str(probe), PROBES))
    return Capability(
        name=name,
        install=_string(f"{where} install", entry["install"]),
        modules=_strings(f"{where} modules", entry.get("modules", [])),
        distributions=_strings(f"{where} distributions", entry.get("distributions", [])),
        probe=probe,
    )


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table[key]
    if not isinstance(value, dict) or not value:
        message = f"[tool.skipproof.{key}] is {value!r}: it has to be a table with at least one entry"
        raise ContractError(message)
    return value


def _refuse_unknown_keys(where: str, entry: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in entry:
        if key not in allowed:
            raise ContractError(f"{where}: " + _unknown("key", key, allowed))


def _string(where: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        message = f"{where} is {value!r}: it has to be a text that is not empty"
        raise ContractError(message)
    return value


def _strings(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        message = f"{where} is {value!r}: it has to be a list of texts"
        raise ContractError(message)
    return tuple(_string(where, item) for item in value)


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"no {kind} is called {name!r}{hint}; there are: {', '.join(known)}"
