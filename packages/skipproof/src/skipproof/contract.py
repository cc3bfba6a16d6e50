"""What the environments promise and what a test may ask for, read from ``[tool.skipproof]``.

::

    [tool.skipproof]
    sources = ["src", "tests", "pyproject.toml"]     # what a receipt's digest covers (of folders: every *.py)
    locks = "environments"                           # <environment>.txt of each environment lies here
    state = ".matrix"                                # receipts and coverage data go here

    [tool.skipproof.capabilities]
    llm = { modules = ["torch"], distributions = ["a-model"], install = "pip install 'project[llm]'" }
    cuda = { probe = "cuda", install = "a machine with a GPU" }
    browser = { modules = ["playwright"], programs = ["chromium", "google-chrome"], install = "..." }
    answers = { modules = ["torch"], trace = "project.inference", digest = "9f86d0...", install = "..." }
    dataset = { paths = ["~/.cache/project/data-*.db"], install = "project download" }
    server = { variable = "PROJECT_SERVER", install = "PROJECT_SERVER=<address of a server>" }

    [tool.skipproof.environments]
    bare = []
    full = ["llm", "cuda", "dataset?", "server?"]
    web = ["browser", "answers"]

What proves a capability; all that is named has to be here, of ``programs`` and of ``paths`` one is enough:

``modules``        each imports
``distributions``  each is installed, and every file of it has the content that was installed
``programs``       the machine has at least one of them, on its PATH
``paths``          something is there that matches at least one of these patterns, each below ``~`` or absolute
``variable``       the environment variable is set, and not empty
``probe``          the machine answers yes to one of ``PROBES``: "cuda", or "cpu avx2" for a feature of the processor

No installation into the environment gives the last four: a test that needs one may run nowhere on a machine without.
An environment may promise such a capability with "?" behind its name: it has it where the machine has it, and on any
other its tests skip with the reason that follows, and are told as unproven. What an installation gives is promised
without.

``trace``          a test that needs this capability has to raise this audit event (``sys.audit``) when it really runs
``digest``         SHA-256 of the weights that the event has to name, in hexadecimal
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from .machine import FEATURES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PROBES = ("cuda", *(f"cpu {name}" for name in FEATURES))
"""What a machine can be asked; detection.py asks it."""
_TOP_KEYS = ("capabilities", "environments", "locks", "sources", "state")
_LISTS = ("modules", "distributions", "programs", "paths")
_PROOFS = (*_LISTS, "variable", "probe")
_TEXTS = ("variable", "probe", "trace", "digest")
_CAPABILITY_KEYS = ("digest", "install", "trace", *_PROOFS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
        programs: programs of which the machine must have at least one on its PATH.
        paths: patterns of paths, of which at least one must match something on the machine.
        variable: an environment variable that must be set and not empty, or None.
        trace: name of the audit event that real use of it raises, or None when a test need not leave any.
        digest: SHA-256 of the weights that the event must name, in hexadecimal, or None when any will do.
    """

    name: str
    install: str
    modules: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    probe: str | None = None
    programs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    variable: str | None = None
    trace: str | None = None
    digest: str | None = None

    @property
    def depends_on_machine(self) -> bool:
        """True when no installation into the environment can give it to a machine that lacks it."""
        return any((self.probe, self.programs, self.paths, self.variable))

    @property
    def depends_on_installation(self) -> bool:
        """True when a part of it is installed into the environment."""
        return any((self.modules, self.distributions))


@dataclass(frozen=True, slots=True)
class Contract:
    """The whole table, checked.

    Attributes:
        root: folder of the pyproject.toml; every other path is relative to it.
        capabilities: by name, in the order of the table.
        environments: the names of the capabilities each environment promises, whatever the machine.
        optional: the names of those each environment has where the machine has them.
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
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def promised(self, environment: str) -> tuple[str, ...]:
        """Return the capabilities of an environment; raise ContractError for a name that is not in the table."""
        if environment not in self.environments:
            raise ContractError(_unknown("environment", environment, self.environments))
        return self.environments[environment]

    def hoped_for(self, environment: str) -> tuple[str, ...]:
        """Return the capabilities that an environment, which is in the table, has where the machine has them."""
        return self.optional.get(environment, ())

    def covers(self, path: str) -> bool:
        """Say whether the digest of a receipt covers the Python files of a folder, given relative to the root."""
        return any(PurePosixPath(path).is_relative_to(source) for source in self.sources)

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


def is_configured(root: Path) -> bool:
    """Say whether ``root / "pyproject.toml"`` has the table; where it is not TOML, whether it names the table."""
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    try:
        tools = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError:
        return "tool.skipproof" in text
    return isinstance(tools, dict) and "skipproof" in tools


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
    tools = document.get("tool")
    table = tools.get("skipproof") if isinstance(tools, dict) else None
    if not isinstance(table, dict):
        message = f"{path} has no table [tool.skipproof]: add one, python -m pydoc skipproof.contract shows it"
        raise ContractError(message)
    return _contract(root, table)


def _contract(root: Path, table: dict[str, Any]) -> Contract:
    for key in _TOP_KEYS:
        if key not in table:
            message = f"[tool.skipproof] has no {key!r}: add it, an unset expectation proves nothing"
            raise ContractError(message)
    _refuse_unknown_keys("[tool.skipproof]", table, _TOP_KEYS)
    promises = {
        name: _strings(f"[tool.skipproof.environments] {name}", promised)
        for name, promised in _table(table, "environments").items()
    }
    contract = Contract(
        root=root,
        capabilities={name: _capability(name, entry) for name, entry in _table(table, "capabilities").items()},
        environments={
            name: tuple(each for each in promised if not each.endswith("?")) for name, promised in promises.items()
        },
        optional={
            name: tuple(each.removesuffix("?") for each in promised if each.endswith("?"))
            for name, promised in promises.items()
        },
        sources=_sources(table["sources"]),
        locks=_path("[tool.skipproof] locks", table["locks"]),
        state=_path("[tool.skipproof] state", table["state"]),
    )
    _check_promises(contract)
    return contract


def _check_promises(contract: Contract) -> None:
    promised: set[str] = set()
    for name, promises in contract.environments.items():
        where, hopes = f"[tool.skipproof.environments] {name}", contract.optional[name]
        contract.check_capabilities([*promises, *hopes], where)
        _check_hopes(contract, where, promises, hopes)
        promised.update(promises, hopes)
    for name in contract.capabilities:
        if name not in promised:
            where = f"[tool.skipproof.capabilities] {name}"
            message = f"{where} is promised by no environment: a test that needs it would run nowhere"
            raise ContractError(message)


def _check_hopes(contract: Contract, where: str, promises: Collection[str], hopes: Collection[str]) -> None:
    for hope in hopes:
        if hope in promises:
            message = f"{where} names {hope!r} with '?' and without: decide for one"
            raise ContractError(message)
        if contract.capabilities[hope].depends_on_installation:
            message = f"{where} promises {hope + '?'!r}, which an installation gives: take the '?' away, or the promise"
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
    texts = {key: _string(f"{where} {key}", entry[key]) for key in _TEXTS if key in entry}
    lists = {key: _strings(f"{where} {key}", entry[key]) for key in _LISTS if key in entry}
    if not any((*lists.values(), *map(texts.get, _PROOFS))):
        message = f"{where} has nothing to look for: add {', '.join(map(repr, _PROOFS[:-1]))} or {_PROOFS[-1]!r}"
        raise ContractError(message)
    _check_texts(where, texts)
    for module in lists.get("modules", ()):
        if _MODULE.fullmatch(module) is None:
            message = f"{where} modules is {module!r}: write a module's name as it is imported, such as 'torch.nn'"
            raise ContractError(message)
    for path in lists.get("paths", ()):
        if not Path(path).expanduser().is_absolute():
            message = f"{where} paths is {path!r}: begin it with '~/', or write an absolute path"
            raise ContractError(message)
    return Capability(
        name=name,
        install=_string(f"{where} install", entry["install"]),
        modules=lists.get("modules", ()),
        distributions=lists.get("distributions", ()),
        programs=lists.get("programs", ()),
        paths=lists.get("paths", ()),
        variable=texts.get("variable"),
        probe=texts.get("probe"),
        trace=texts.get("trace"),
        digest=texts.get("digest"),
    )


def _check_texts(where: str, texts: Mapping[str, str]) -> None:
    probe, digest = texts.get("probe"), texts.get("digest")
    if probe is not None and probe not in PROBES:
        raise ContractError(f"{where}: " + _unknown("probe", probe, PROBES))
    if digest is None:
        return
    if _SHA256.fullmatch(digest) is None:
        message = f"{where} digest is {digest!r}: write the SHA-256 of the weights, 64 digits of 0-9 and a-f"
        raise ContractError(message)
    if "trace" not in texts:
        message = f"{where} has a 'digest' and no 'trace': name the audit event that has to carry the digest"
        raise ContractError(message)


def _sources(value: object) -> tuple[str, ...]:
    where = "[tool.skipproof] sources"
    sources = tuple(_path(where, source) for source in _strings(where, value))
    if "pyproject.toml" not in sources:
        message = f"{where} is {value!r}: add 'pyproject.toml', or receipts outlive a change of this very table"
        raise ContractError(message)
    return sources


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    where, value = f"[tool.skipproof.{key}]", table[key]
    if not isinstance(value, dict) or not value:
        message = f"{where} is {value!r}: it has to be a table with at least one entry"
        raise ContractError(message)
    for name in value:
        if _NAME.fullmatch(name) is None:
            message = f"{where} names {name!r}, and files bear these names: use letters, digits, '.', '_' and '-'"
            raise ContractError(message)
    return value


def _refuse_unknown_keys(where: str, entry: Mapping[str, Any], allowed: Collection[str]) -> None:
    for key in entry:
        if key not in allowed:
            raise ContractError(f"{where}: " + _unknown("key", key, allowed))


def _path(where: str, value: object) -> str:
    path = _string(where, value)
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive or ".." in PurePosixPath(path).parts:
        message = f"{where} is {path!r}: write a path below the folder of pyproject.toml, without '..'"
        raise ContractError(message)
    return path


def _string(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        message = f"{where} is {value!r}: it has to be a text that is not empty"
        raise ContractError(message)
    return value


def _strings(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        message = f"{where} is {value!r}: it has to be a list of texts"
        raise ContractError(message)
    texts = tuple(_string(where, item) for item in value)
    for text in texts:
        if texts.count(text) > 1:
            message = f"{where} names {text!r} more than once: name it once"
            raise ContractError(message)
    return texts


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"no {kind} is called {name!r}{hint}; there are: {', '.join(known)}"
