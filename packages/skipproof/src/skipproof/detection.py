"""What is really here: a capability is present, not installed, or broken, and these three are never confused.

"Not installed" is a ModuleNotFoundError for that very module. Any other failure to import is a broken install, which is
an error: a skip would look like a machine that never had it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import conditions, machine, search_path
from .contract import PROBES
from .drift import drift, recorded
from .own_modules import own_modules
from .provenance import stray

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import ModuleType

    from .contract import Capability, Contract
    from .own_modules import OwnModules


class BrokenInstallError(Exception):
    """Something is installed but does not work; the message says why, and the next step."""


def import_module(name: str) -> ModuleType | None:
    """Import a module for real; return it, or None when it is not installed.

    Raises:
        BrokenInstallError: it is installed but fails to import, or only an empty folder of it is left.
    """
    try:
        with warnings.catch_warnings():
            # A library's own deprecations say nothing about whether it is installed.
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise BrokenInstallError(_broken(f"module {name}", error)) from error
    except (Exception, SystemExit) as error:
        raise BrokenInstallError(_broken(f"module {name}", error)) from error
    if _is_hollow(module):
        message = (
            f"module {name} is an empty folder, left behind by an installation: {list(module.__path__)}; remove it"
        )
        raise BrokenInstallError(message)
    return module


def has_distribution(name: str) -> bool:
    """Return whether a distribution is installed.

    Raises:
        BrokenInstallError: it is registered, but files in its RECORD are gone.
    """
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    # Not distribution.files: since Python 3.12 it omits exactly the files that are missing.
    for file, *_ in recorded(distribution.read_text("RECORD") or ""):
        if not Path(str(distribution.locate_file(file))).exists():
            raise BrokenInstallError(_broken(f"distribution {name}", FileNotFoundError(f"{file} is missing")))
    return True


def missing_parts(capability: Capability) -> list[str]:
    """Return what a capability lacks here, such as ``["module torch"]``; empty when nothing is missing.

    Where a condition does not hold, nothing else is looked for: it may be here for another capability.

    Raises:
        BrokenInstallError: a part of it is installed but does not work.
    """
    return conditions.unmet(capability) or _not_installed(capability) + _missing_of_machine(capability)


def lacking(contract: Contract, name: str) -> list[str]:
    """Return what a capability lacks here, as ``missing_parts`` does, even if it is a combination of others."""
    return conditions.missing(contract.capabilities, name, missing_parts)


def _not_installed(capability: Capability) -> list[str]:
    parts = [f"module {name}" for name in capability.modules if import_module(name) is None]
    return parts + [f"distribution {name}" for name in capability.distributions if not has_distribution(name)]


def _missing_of_machine(capability: Capability) -> list[str]:
    parts = []
    if capability.programs and not any(shutil.which(name) for name in capability.programs):
        parts.append(f"program {' or '.join(capability.programs)}")
    if capability.paths and not any(map(_matches, capability.paths)):
        parts.append(f"path {' or '.join(capability.paths)}")
    if capability.variable is not None and not os.environ.get(capability.variable):
        parts.append(f"variable {capability.variable}")
    if capability.probe is not None and not _answers(capability.probe):
        parts.append(f"{'hardware' if capability.probe in PROBES else 'probe'} {capability.probe}")
    return parts


def _matches(pattern: str) -> bool:
    path = Path(pattern).expanduser()
    return any(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _answers(probe: str) -> bool:
    if probe not in PROBES:
        return _own_answer(probe)
    try:
        return _has_cuda() if probe == "cuda" else machine.has_feature(probe.removeprefix("cpu "))
    except BrokenInstallError:
        raise
    except Exception as error:
        raise BrokenInstallError(_broken(f"what the probe {probe} asks", error)) from error


def _own_answer(probe: str) -> bool:
    """Ask a probe of the project's own, "module:function"."""
    name, _, function = probe.partition(":")
    try:
        answer = getattr(importlib.import_module(name), function)()
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        fact = f"probe {probe} cannot be asked, because there is no module {error.name}"
        message = f"{fact}: correct the table, or put the module's folder on pytest's pythonpath"
        raise BrokenInstallError(message) from error
    except BaseException as error:  # of pytest.skip too, which is no Exception
        fact = f"probe {probe} raised {type(error).__name__} ({error})"
        message = f"{fact}: let it return False where something is missing"
        raise BrokenInstallError(message) from error
    if not isinstance(answer, bool):
        message = f"probe {probe} returned {answer!r}: let it return True or False"
        raise BrokenInstallError(message)
    return answer


def leftover_parts(capability: Capability) -> list[str]:
    """Return the parts of a capability that are here and should not be, without importing anything.

    Programs, paths and variables are not looked for: a machine may have them, and alone they provide nothing.
    """
    parts = [f"module {name}" for name in capability.modules if conditions.can_find(name)]
    parts += [f"distribution {name}" for name in capability.distributions if _is_registered(name)]
    # A probe needs its library, and a library that should not be here is named above.
    if capability.probe in PROBES and "torch" in sys.modules and _answers(capability.probe):
        parts.append(f"hardware {capability.probe}")
    return parts


def settled(contract: Contract, environment: str) -> Contract:
    """Return the table as it holds on this machine: with what the environment has by a "?" or by conditions.

    It also promises what it has here by a "?" and each condition that holds; it does not promise what has a condition
    that does not hold.

    Raises:
        ContractError: the environment is not in the table.
        BrokenInstallError: what a probe asks does not work.
    """
    promised, hopes = contract.promised(environment), contract.hoped_for(environment)

    def lacks(capability: Capability) -> list[str]:
        if capability.name in promised:
            return conditions.unmet(capability)  # whether the rest is here is for the preflight to say
        known = capability.name in hopes or capability.is_condition
        return missing_parts(capability) if known else [f"capability {capability.name}"]

    conditional = (name for name, capability in contract.capabilities.items() if capability.is_condition)
    names = (*promised, *hopes, *conditional)
    kept = tuple(name for name in names if not conditions.missing(contract.capabilities, name, lacks))
    return replace(contract, environments={**contract.environments, environment: kept})


def disagreements(
    contract: Contract, environment: str, suites: Collection[str] = (), own: OwnModules | None = None
) -> list[str]:
    """Return every way in which this interpreter is not the named environment; empty when it is exactly that.

    A receipt has to cover the ``suites`` that are to run, folders relative to the root; ``own`` are the modules of the
    project, where they are known already.
    """
    own = own_modules(contract, suites, search_path.linked()) if own is None else own
    promised = contract.promised(environment)
    found = [*_blunt_tools(contract, suites), *search_path.leaks(contract), *drift(contract, environment, own=own)]
    # What is promised comes first: only then does a probe of what is not find its library imported.
    subjects = [name for name in contract.capabilities if name in promised or not _is_ruled_out(contract, name)]
    for name in sorted(subjects, key=lambda name: name not in promised):
        judge = _broken_promises if name in promised else _contaminations
        try:
            found += judge(contract, environment, contract.capabilities[name], own)
        except BrokenInstallError as error:
            found.append(f"{environment} {'promises' if name in promised else 'does not promise'} {name}, but {error}")
    return found


def _is_ruled_out(contract: Contract, name: str) -> bool:
    """Return whether a condition rules a capability out here: its parts may then be here for another one."""
    return bool(conditions.unmet(contract.capabilities[name]))


def _blunt_tools(contract: Contract, suites: Iterable[str]) -> list[str]:
    """Return what would make tests or receipts prove nothing."""
    found = [
        f"{contract.heading} sources names {name!r}, which does not exist: correct it, or no receipt covers it"
        for name in contract.sources
        if not (contract.root / name).exists()
    ]
    found += [
        f"{contract.heading} sources covers no {suite}: add it, or a receipt survives a change to its own tests"
        for suite in suites
        if not contract.covers(suite)
    ]
    found += [
        f"probe {probe} is in {file}, which {contract.heading} sources does not cover: add it, or a receipt survives "
        "a change to what its conditions mean"
        for probe, file in _uncovered_probes(contract)
    ]
    if sys.flags.optimize:
        found.append("Python was started with -O or PYTHONOPTIMIZE, which removes assertions: start it without")
    return found


def _uncovered_probes(contract: Contract) -> Iterator[tuple[str, str]]:
    root = contract.root.resolve()
    for probe in filter(None, (capability.probe for capability in contract.capabilities.values())):
        file = getattr(sys.modules.get(probe.partition(":")[0]), "__file__", None)
        path = Path(file or root.anchor).resolve()
        # What is installed is in the lock.
        if path.is_relative_to(root) and not any(map(path.is_relative_to, search_path.libraries())):
            name = path.relative_to(root).as_posix()
            if not contract.covers(name):
                yield probe, name


def _broken_promises(contract: Contract, environment: str, capability: Capability, own: OwnModules) -> list[str]:
    lacks = f"{environment} promises {capability.name}, but"
    remedy = _remedy(contract, environment)
    found = [f"{lacks} {part} is missing; {remedy}" for part in _not_installed(capability)]
    found += [
        f"{lacks} {part} is missing; what it takes: {capability.install}" for part in _missing_of_machine(capability)
    ]
    for name in capability.modules:
        module = import_module(name)
        where = None if module is None else stray(own, name, module)
        if where is not None:
            found.append(f"{lacks} module {name} comes from {where}, not from what is installed; remove what hides it")
    return found


def _contaminations(contract: Contract, environment: str, capability: Capability, _own: OwnModules) -> list[str]:
    return [
        f"contaminated: {environment} does not promise {capability.name}, but {part} is here; "
        f"{_remedy(contract, environment)}, and remove what that leaves"
        for part in leftover_parts(capability)
    ]


def _remedy(contract: Contract, environment: str) -> str:
    return f"sync it with its lock: {contract.locks[environment].command}"


def versions(capabilities: Iterable[Capability]) -> list[str]:
    """Return ``name version`` for every module and distribution of these capabilities, for the run's header."""
    parts: dict[str, str | None] = {}
    for capability in capabilities:
        for name in (*capability.modules, *capability.distributions):
            known = getattr(sys.modules.get(name), "__version__", None)
            # A module in a namespace package is named after its parent, and a distribution's own name may contain dots.
            parts[name] = known or _recorded_version(name) or _recorded_version(name.partition(".")[0])
    return [f"{name} {version or 'of unknown version'}" for name, version in parts.items()]


def _recorded_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_registered(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _is_hollow(module: ModuleType) -> bool:
    return hasattr(module, "__path__") and getattr(module, "__file__", None) is None


def _broken(what: str, cause: BaseException) -> str:
    return f"{what} is installed but broken ({type(cause).__name__}: {cause}); install it again"


def _has_cuda() -> bool:
    torch = import_module("torch")
    return torch is not None and bool(torch.cuda.is_available())
