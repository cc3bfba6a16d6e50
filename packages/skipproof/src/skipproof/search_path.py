"""Where this interpreter finds its packages, and folders on that path that are not part of the environment.

A library in such a folder is not in the lock, and changing the environment cannot remove it: with PYTHONPATH set, a
slim environment may contain anything.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .contract import Contract


def folders() -> list[Path]:
    """Return the existing entries of ``sys.path``, in order."""
    return list(dict.fromkeys(Path(entry).resolve() for entry in sys.path if Path(entry).exists()))


def libraries() -> list[Path]:
    """Return the folders where the environment's packages are installed."""
    return list(dict.fromkeys(map(_scheme, ("purelib", "platlib"))))


def leaks(contract: Contract) -> list[str]:
    """Return every folder on the path that is not part of the environment, with its origin and the remedy."""
    return [
        f"{folder} is on this Python's path but not part of the environment: {_origin(folder)}"
        for folder in folders()
        if is_foreign(contract, folder)
    ]


def is_foreign(contract: Contract, folder: Path) -> bool:
    """Return whether a folder belongs neither to Python nor to the environment nor to the project's sources."""
    return folder not in {*_standard(), *libraries()} and not _is_own(contract, folder)


def is_installed(path: str) -> bool:
    """Return whether a file, given by its real path, lies where the environment's packages or Python's own are."""
    # Not Path.is_relative_to: every module of a large library is asked for.
    return path.startswith(tuple(f"{folder}{os.sep}" for folder in (*libraries(), *_own_libraries())))


def linked() -> list[Path]:
    """Return the folders that path files in the environment name, as an installation as editable leaves them."""
    return [folder for file in _path_files() for folder in _named_in(file)]


def _path_files() -> list[Path]:
    return [path for library in libraries() for path in sorted(library.glob("*.pth"))]


def _named_in(file: Path) -> set[Path]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return {(file.parent / line).resolve() for line in lines if line and not line.startswith("import")}


@cache
def _own_libraries() -> list[Path]:
    """Return the folders of Python's own modules."""
    libs = [_scheme("stdlib"), _scheme("platstdlib")]
    return [*libs, Path(sys.base_prefix).resolve() / "DLLs", *(folder / "lib-dynload" for folder in libs)]


def _standard() -> set[Path]:
    """Return Python's own folders, and the scripts folder, which ``bin/pytest`` puts on the path."""
    return {*_own_libraries(), Path(sys.base_prefix).resolve(), _scheme("scripts")}


@cache
def _scheme(name: str) -> Path:
    return Path(sysconfig.get_path(name)).resolve()


def _is_own(contract: Contract, folder: Path) -> bool:
    """Return whether a folder is the root, a parent of sources ("src" of "src/package"), or inside them."""
    root = contract.root.resolve()
    sources = [root / name for name in contract.sources]
    above = {parent for source in sources for parent in source.parents if parent.is_relative_to(root)}
    return folder in above or any(folder.is_relative_to(source) for source in sources)


def _origin(folder: Path) -> str:
    named = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if folder in named:
        return "PYTHONPATH names it; unset PYTHONPATH"
    if folder == Path(site.getusersitepackages()).resolve():
        return "it is the user site; set PYTHONNOUSERSITE=1"
    for file in _path_files():
        if folder in _named_in(file):
            # What lies outside the project is in no receipt's digest.
            return f"{file} names it; remove that file, and install from a wheel what was installed editable from there"
    if folder.is_relative_to(Path(sys.base_prefix).resolve()):
        return "pyvenv.cfg lets it in; recreate the environment without --system-site-packages"
    return "nothing says where it comes from; see `python -m site`, sitecustomize.py and the conftest.py files"
