"""The suites of a project: the entries of pytest's ``testpaths``, written as the ids of their tests begin."""

from __future__ import annotations

import os
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from .contract import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest


def all_suites(config: pytest.Config) -> list[str]:
    """Return every suite, a folder or a file, relative to the root, with "/".

    Raises:
        ContractError: an entry is a pattern, does not exist, or lies outside the root.
    """
    return list(dict.fromkeys(_suite(config.rootpath, entry) for entry in config.getini("testpaths")))


def chosen_suites(config: pytest.Config) -> list[str]:
    """Return the suites that the arguments of a run name.

    Raises:
        ContractError: an argument names less than a whole suite, or testpaths is wrong.
    """
    suites = all_suites(config)
    chosen = []
    for argument in config.args:
        path = Path(os.path.abspath(config.invocation_params.dir / argument))  # noqa: PTH100 - links keep their names
        whole = [suite for suite in suites if (config.rootpath / suite).is_relative_to(path)]
        if not whole:
            named = ", ".join(suites) or "name them in testpaths"
            message = f"--skipproof runs whole suites ({named}), not {argument}; to run a part, drop --skipproof"
            raise ContractError(message)
        chosen += whole
    return list(dict.fromkeys(chosen))


def in_suites(nodeid: str, suites: Iterable[str]) -> bool:
    """Return whether a test belongs to one of these suites, by its id."""
    file = nodeid.partition("::")[0]
    return any(suite in (file, ".") or file.startswith(f"{suite}/") for suite in suites)


def _suite(root: Path, entry: str) -> str:
    if has_magic(entry):
        message = f"testpaths has the pattern {entry!r}: name each suite's folder, a receipt says which it is of"
        raise ContractError(message)
    # Not resolved: pytest names the tests in a linked folder after the link.
    suite = Path(os.path.relpath(root / entry, root)).as_posix()
    if suite.startswith(".."):
        message = f"testpaths has {entry!r}, which lies outside {root}: name a folder in it"
        raise ContractError(message)
    if not (root / suite).exists():
        message = f"testpaths has {entry!r}, which does not exist: correct it, or pytest collects something else"
        raise ContractError(message)
    return suite
