"""Finds a project's table in one of the files where pytest looks for its settings.

In TOML it is ``[tool.skipproof]`` in pyproject.toml, and ``[skipproof]`` in any other file. In an INI file, such as
setup.cfg, tox.ini or pytest.ini, it is these sections, with lists split at commas and line ends::

    [skipproof]
    sources = src, tests
    locks = environments
    state = .matrix

    [skipproof:capability:llm]
    modules = torch, transformers
    install = pip install 'project[llm]'

    [skipproof:environments]
    bare =
    full = llm, server?

    [skipproof:lock:full]
    path = uv.lock
    extras = llm
    groups = test
"""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contract import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping

# As in pytest's own list, in _pytest/config/findpaths.py.
SETTINGS_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_COMMENT = re.compile(r"(^|\s)[#;]")
_LISTS = (
    *("sources", "modules", "distributions", "programs", "paths", "extras", "groups"),
    *("platform", "absent", "all", "any", "raises", "where"),
)
_GROUPS = {"capability": "capabilities", "known_failure": "known_failures", "lock": "locks"}
# What our headings look like, including those that are not read.
_HEADING = re.compile(rb"^\s*\[\s*(tool[.:])?skipproof\b|^\s*(tool\.)?skipproof\.", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Table:
    """The table as it is written.

    Attributes:
        file: the file that holds it, relative to the root, with "/".
        content: what it says, as TOML would parse it.
        heading: its own heading, without brackets.
    """

    file: str
    content: dict[str, Any]
    heading: str

    def where(self, group: str = "", name: str = "") -> str:
        """Return the heading of a part of the table, or its heading and key, as written in the file."""
        if not group:
            return f"{self.file}: [{self.heading}]"
        if _is_toml(Path(self.file)):
            return f"{self.file}: [{self.heading}.{group}] {name}".rstrip()
        section = {plural: single for single, plural in _GROUPS.items()}.get(group)
        if section is None:
            return f"{self.file}: [skipproof:{group}] {name}".rstrip()
        return f"{self.file}: [skipproof:{section}:{name or 'NAME'}]"


def find_table(root: Path, settings: Path | None = None) -> Table | None:
    """Return the only table in the files of pytest's settings, or None.

    Looks in the files that pytest finds by itself in ``root``, and in ``settings``, the file that it was given.

    Raises:
        ContractError: two files have one, it is where it is not read, or a file that names it cannot be read.
    """
    paths = [root / name for name in SETTINGS_FILES]
    if settings is not None and (root / settings).resolve() not in [path.resolve() for path in paths]:
        paths.append(root / settings)
    tables = [table for path in paths if (table := _read(path, root)) is not None]
    if len(tables) > 1:
        first, second, *_ = tables
        message = f"{first.where()} and {second.where()} are two tables: keep one of them"
        raise ContractError(message)
    return tables[0] if tables else None


def is_configured(root: Path, settings: Path | None = None) -> bool:
    """Return whether a project has a table, right or wrong; ``settings`` is the file that pytest was given."""
    try:
        return find_table(root, settings) is not None
    except ContractError:
        return True


def _read(path: Path, root: Path) -> Table | None:
    try:
        text = path.read_bytes()
    except OSError:
        return None
    if b"skipproof" not in text:
        return None
    file = Path(os.path.relpath(path, root)).as_posix()
    try:
        return _of_toml(path, file, text.decode()) if _is_toml(path) else _of_ini(file, text.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, configparser.Error, UnicodeDecodeError) as error:
        if _HEADING.search(text) is None:
            return None
        kind = "TOML" if _is_toml(path) else "an INI file"
        message = f"{file} is not {kind} ({' '.join(str(error).split())}): correct it"
        raise ContractError(message) from error


def _is_toml(path: Path) -> bool:
    return path.suffix == ".toml"


def _of_toml(path: Path, file: str, text: str) -> Table | None:
    document = tomllib.loads(text)
    tools = document.get("tool")
    tables = {
        "tool.skipproof": tools.get("skipproof") if isinstance(tools, dict) else None,
        "skipproof": document.get("skipproof"),
    }
    right, wrong = tables if path.name == "pyproject.toml" else reversed(tables)
    if tables[wrong] is not None:
        message = f"{file} has [{wrong}], which is not read there: call it [{right}]"
        raise ContractError(message)
    content = tables[right]
    if content is None:
        return None
    if not isinstance(content, dict):
        message = f"{file}: {right} is {content!r}: make it a table, python -m pydoc skipproof.contract shows it"
        raise ContractError(message)
    return Table(file, content, right)


class _Sections(configparser.ConfigParser):
    def optionxform(self, optionstr: str) -> str:
        """Return a key as written: names of environments may have capital letters."""
        return optionstr


def _of_ini(file: str, text: str) -> Table | None:
    parser = _Sections(interpolation=None, default_section="")
    parser.read_string(text, file)
    for section in parser.sections():
        if re.match(r"tool[.:]skipproof\b", section):
            message = f"{file} has [{section}], which is not read there: call it [{section[len('tool.') :]}]"
            raise ContractError(message)
    # Shortest first: [skipproof] may name a folder of locks, which rules out a section for each lock.
    sections = sorted((name for name in parser.sections() if name.split(":")[0] == "skipproof"), key=len)
    content: dict[str, Any] = {}
    for section in sections:
        _add_section(content, file, section, parser[section])
    return Table(file, content, "skipproof") if sections else None


def _add_section(content: dict[str, Any], file: str, name: str, section: Mapping[str, str]) -> None:
    for key, text in section.items():
        # What is installed, or run, may have a ";" in its command.
        if _COMMENT.search(text) and key not in ("install", "issue", "reason"):
            message = f"{file}: [{name}] {key} is {text!r}, with a comment that an INI file has as part of the value"
            message = f"{message}: write it on a line of its own"
            raise ContractError(message)
    match name.split(":", 2)[1:]:
        case []:
            content.update({key: _value(key, text) for key, text in section.items()})
        case ["environments"]:
            content["environments"] = {key: _split(text) for key, text in section.items()}
        case ["subsets"]:
            content["subsets"] = dict(section)
        case ["lock", _] if "locks" in content and not isinstance(content["locks"], dict):
            message = f"{file} has 'locks' in [skipproof], and [{name}]: keep the folder, or one section for each lock"
            raise ContractError(message)
        case [kind, of] if kind in _GROUPS:
            entries = content.setdefault(_GROUPS[kind], {})
            entries[of] = {key: _value(key, text) for key, text in section.items()}
        case _:
            known = "[skipproof], [skipproof:environments], [skipproof:subsets], " + ", ".join(
                f"[skipproof:{kind}:NAME]" for kind in _GROUPS
            )
            message = f"{file} has [{name}], which is not part of the table; there are: {known}"
            raise ContractError(message)


def _value(key: str, text: str) -> str | list[str]:
    return _split(text) if key in _LISTS else " ".join(text.split())


def _split(text: str) -> list[str]:
    return [part for part in map(str.strip, re.split(r"[,\n]", text)) if part]
