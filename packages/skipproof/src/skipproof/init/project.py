"""What a project says of itself: its metadata, the settings of pytest and coverage, where its code and tests are."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from glob import has_magic
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

# Of extras and groups: what holds the test tools, the best first, and what holds other tools.
_TEST_TOOLS = ("test", "tests", "testing", "dev", "develop", "development")
_OTHER_TOOLS = (
    "bench",
    "benchmark",
    "build",
    "ci",
    "coverage",
    "cov",
    "doc",
    "docs",
    "lint",
    "linting",
    "release",
    "typing",
)
_TOOL_FILES = ("requirements-test.txt", "test-requirements.txt", "requirements-dev.txt", "dev-requirements.txt")
_NO_CODE = {
    "test",
    "tests",
    "benchmark",
    "benchmarks",
    "doc",
    "docs",
    "example",
    "examples",
    "scripts",
    "tools",
    "build",
    "dist",
}
_PYTEST_FILES = (
    ("pytest.toml", "pytest"),
    (".pytest.toml", "pytest"),
    ("pytest.ini", "pytest"),
    (".pytest.ini", "pytest"),
    ("pyproject.toml", "tool.pytest"),
    ("pyproject.toml", "tool.pytest.ini_options"),
    ("tox.ini", "pytest"),
    ("setup.cfg", "tool:pytest"),
)
_COVERAGE_FILES = (
    (".coveragerc", ""),
    ("setup.cfg", "coverage:"),
    ("tox.ini", "coverage:"),
    ("pyproject.toml", "tool.coverage."),
)
# Modules that are not called as their distribution is.
_MODULES = {
    "pil": "pillow", "attr": "attrs", "bs4": "beautifulsoup4", "bson": "pymongo", "crypto": "pycryptodome",
    "cv2": "opencv-python", "dateutil": "python-dateutil", "docx": "python-docx", "dotenv": "python-dotenv",
    "git": "gitpython", "jwt": "pyjwt", "magic": "python-magic", "mysqldb": "mysqlclient", "openssl": "pyopenssl",
    "psycopg2": "psycopg2-binary", "serial": "pyserial", "skimage": "scikit-image", "sklearn": "scikit-learn",
    "usb": "pyusb", "yaml": "pyyaml", "zmq": "pyzmq",
}  # fmt: skip


class InitError(ValueError):
    """The project cannot be read or written; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A section of a tool's settings.

    Attributes:
        file: the file that the tool takes them from, relative to the root, or None when there is none.
        heading: the section's heading, without brackets.
        values: what it says; lists are split.
    """

    file: str | None
    heading: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Project:
    """What the files of a project say.

    Attributes:
        root: its folder.
        name: its name.
        python: the versions it is for, or an empty set.
        dependencies: normalized names of what it always needs.
        extras: by name, the requirements of each extra that holds libraries, those of extras that it includes too.
        tools: the lines of an ``.in`` file that install its test tools.
        known: normalized names of all distributions that it names anywhere.
        conflicts: extras that cannot be installed together.
        pytest: pytest's settings.
        coverage: coverage's settings of a run and of the report.
        code: folders and files of its own code.
        suites: folders of its tests.
        notes: what a person has to know or decide.
    """

    root: Path
    name: str
    python: SpecifierSet
    dependencies: frozenset[str]
    extras: dict[str, tuple[Requirement, ...]]
    tools: tuple[str, ...]
    known: frozenset[str]
    conflicts: frozenset[str]
    pytest: Settings
    coverage: tuple[Settings, Settings]
    code: tuple[str, ...]
    suites: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    def distribution(self, module: str) -> str:
        """Return the normalized name of the distribution that has a module, or else the module's first part."""
        parts = module.split(".")
        squashed = {_squash(name): name for name in self.known}
        for end in range(len(parts), 0, -1):
            name = "".join(parts[:end])
            found = squashed.get(_squash(name)) or squashed.get(_squash(_MODULES.get(name.lower(), "-")))
            if found is not None:
                return found
        for name in _installed().get(parts[0], ()):
            if canonicalize_name(name) in self.known:
                return canonicalize_name(name)
        return canonicalize_name(_MODULES.get(parts[0].lower(), parts[0]))

    def sources(self, places: Iterable[str]) -> Iterator[Path]:
        """Yield the Python files of folders, and those that are named themselves."""
        for place in (self.root / each for each in places):
            yield from [place] if place.is_file() else place.rglob("*.py")


def read_project(root: Path) -> Project:
    """Read the project in a folder.

    Raises:
        InitError: it has no pyproject.toml, or settings that cannot be read, or no tests.
    """
    path = root / "pyproject.toml"
    if not path.is_file():
        message = f"{root} has no pyproject.toml: run this in the project's folder"
        raise InitError(message)
    document = _toml(path, "pyproject.toml")
    project = document.get("project", {})
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        message = "pyproject.toml has no [project] with a name: what is optional is read from there; add it (PEP 621)"
        raise InitError(message)
    notes: list[str] = []
    if "optional-dependencies" in project.get("dynamic", ()):
        notes.append("the extras are dynamic, so their libraries are not known: add them by hand")
    groups: dict[str, Any] = {
        canonicalize_name(name): lines for name, lines in document.get("dependency-groups", {}).items()
    }
    extras = {name: tuple(_requirements(lines)) for name, lines in project.get("optional-dependencies", {}).items()}
    pytest = _pytest(root, document)
    suites = _suites(root, pytest)
    dependencies = tuple(_requirements(project.get("dependencies", ())))
    tools = _tools(root, project["name"], groups, extras)
    named = [*dependencies, *(each for lines in extras.values() for each in lines)]
    named += [each for group in groups for each in _requirements(_group(groups, group))]
    coverage = _coverage(root, document)
    if str(coverage[0].values.get("relative_files")).lower() == "true":
        notes.append(f"[{coverage[0].heading}] relative_files is what a named run refuses: remove it")
    return Project(
        root=root,
        name=project["name"],
        python=_python(project),
        dependencies=frozenset(_names(dependencies)),
        extras=_libraries(project["name"], extras),
        tools=tools,
        known=frozenset(_names([*named, *_requirements(tools)])),
        conflicts=_conflicts(document),
        pytest=pytest,
        coverage=coverage,
        code=tuple(each for each in _code(root, project["name"], suites) if each not in suites),
        suites=suites,
        notes=notes,
    )


def _toml(path: Path, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        message = f"{name} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        raise InitError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{name} is not TOML ({error}): correct it"
        raise InitError(message) from error


def _python(project: dict[str, Any]) -> SpecifierSet:
    try:
        return SpecifierSet(project.get("requires-python", ""))
    except InvalidSpecifier as error:
        message = f"pyproject.toml: requires-python is no range of versions ({error}): correct it"
        raise InitError(message) from error


def _requirements(lines: Iterable[str]) -> Iterator[Requirement]:
    for line in lines:
        # What pip alone understands, such as -e and -r, names no distribution.
        try:
            yield Requirement(line)
        except InvalidRequirement:
            continue


def _names(requirements: Iterable[Requirement]) -> Iterator[str]:
    return (canonicalize_name(each.name) for each in requirements)


def _group(groups: dict[str, Any], name: str, within: tuple[str, ...] = ()) -> Iterator[str]:
    if name in within:
        message = f"pyproject.toml: [dependency-groups] {name} includes itself: remove one of these includes"
        raise InitError(message)
    for line in groups.get(name, ()):
        if isinstance(line, str):
            yield line
        else:
            yield from _group(groups, canonicalize_name(line.get("include-group", "")), (*within, name))


def _tools(
    root: Path, name: str, groups: dict[str, Any], extras: dict[str, tuple[Requirement, ...]]
) -> tuple[str, ...]:
    """Return the lines of the first group, extra or file that holds test tools, pytest's own among them."""
    for group in _TEST_TOOLS:
        if group in groups:
            return tuple(dict.fromkeys(_group(groups, group)))
    for extra in _TEST_TOOLS:
        if extra in extras:
            return tuple(str(each) for each in extras[extra] if canonicalize_name(each.name) != canonicalize_name(name))
    for file in _TOOL_FILES:
        if (root / file).is_file():
            text = (root / file).read_text(encoding="utf-8", errors="replace")
            return tuple(str(each) for each in _requirements(line.partition(" #")[0] for line in text.splitlines()))
    return ()


def _libraries(name: str, extras: dict[str, tuple[Requirement, ...]]) -> dict[str, tuple[Requirement, ...]]:
    """Return the extras that hold libraries; one that only includes others is not one of its own."""
    here = {
        extra: tuple(each for each in lines if each.marker is None or each.marker.evaluate({"extra": extra}))
        for extra, lines in extras.items()
    }
    found = {}
    for extra, lines in here.items():
        own = tuple(each for each in lines if canonicalize_name(each.name) != canonicalize_name(name))
        if own and extra.lower() not in (*_TEST_TOOLS, *_OTHER_TOOLS):
            included = {canonicalize_name(part) for each in lines if each not in own for part in each.extras}
            others = (here[part] for part in here if canonicalize_name(part) in included)
            found[extra] = (*own, *(each for other in others for each in other))
    return found


def _conflicts(document: dict[str, Any]) -> frozenset[str]:
    sets = document.get("tool", {}).get("uv", {}).get("conflicts", ())
    return frozenset(part["extra"] for each in sets for part in each if "extra" in part)


def _section(document: dict[str, Any], heading: str) -> dict[str, Any] | None:
    for part in heading.split("."):
        document = document.get(part, {})
        if not isinstance(document, dict):
            message = f"pyproject.toml: [{heading}] is no table: correct it"
            raise InitError(message)
    return document or None


def _ini(path: Path, name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_bytes().decode("utf-8-sig"), name)
    except (configparser.Error, UnicodeDecodeError) as error:
        message = f"{name} is not an INI file in UTF-8 ({' '.join(str(error).split())}): correct it"
        raise InitError(message) from error
    return parser


def _pytest(root: Path, document: dict[str, Any]) -> Settings:
    for file, heading in _PYTEST_FILES:
        if not (root / file).is_file():
            continue
        if file == "pyproject.toml":
            values = _section(document, heading)
            # [tool.pytest] is pytest's own since 9, and holds nothing but ini_options before.
            if values is not None and set(values) != {"ini_options"}:
                return Settings(file, heading, _lists(file, values))
        elif file.endswith(".toml"):
            return Settings(file, heading, _lists(file, _toml(root / file, file).get(heading, {})))
        else:
            parser = _ini(root / file, file)
            if heading in parser or "pytest" in file:
                values = dict(parser[heading]) if heading in parser else {}
                return Settings(file, heading, _lists(file, values))
    return Settings(None, "tool.pytest.ini_options", {})


def _lists(file: str, values: dict[str, Any]) -> dict[str, Any]:
    split = {}
    for key in ("testpaths", "addopts", "python_files"):
        if isinstance(values.get(key), str):
            try:
                split[key] = shlex.split(values[key])
            except ValueError as error:
                message = f"{file}: {key} is {values[key]!r}, which cannot be split ({error}): correct it"
                raise InitError(message) from error
    return values | split


def _coverage(root: Path, document: dict[str, Any]) -> tuple[Settings, Settings]:
    for file, prefix in _COVERAGE_FILES:
        if not (root / file).is_file():
            continue
        headings = [f"{prefix}{part}" for part in ("run", "report")]
        if file == "pyproject.toml":
            sections = [_section(document, heading) or {} for heading in headings]
        else:
            parser = _ini(root / file, file)
            sections = [dict(parser[heading]) if heading in parser else {} for heading in headings]
        if any(sections) or not prefix:
            run, report = (Settings(file, *pair) for pair in zip(headings, sections, strict=True))
            return run, report
    return Settings(None, "tool.coverage.run", {}), Settings(None, "tool.coverage.report", {})


def _suites(root: Path, pytest: Settings) -> tuple[str, ...]:
    patterns = tuple(pytest.values.get("python_files", ("test_*.py", "*_test.py")))

    def has_tests(place: str) -> bool:
        return any(fnmatch(path.name, each) for path in (root / place).rglob("*.py") for each in patterns)

    named = tuple(pytest.values.get("testpaths", ()))
    for each in named:
        if has_magic(each):
            message = f"{pytest.file}: testpaths has the pattern {each!r}: name each suite's folder"
            raise InitError(message)
    if not named:
        named = tuple(each for each in ("tests", "test") if has_tests(each))[:1]
        if not named:
            fact = f"none is named by testpaths, and there is no {patterns[0]} in tests/ or test/"
            message = f"{root} has no tests: {fact}"
            raise InitError(message)
    elif not any((root / each).is_file() or has_tests(each) for each in named):
        message = f"{pytest.file}: testpaths is {', '.join(named)}, where there is no {patterns[0]}: correct it"
        raise InitError(message)
    return tuple(dict.fromkeys(each.rstrip("/") for each in named))


def _code(root: Path, name: str, suites: Collection[str]) -> tuple[str, ...]:
    """Return where the project's own code is: src, the package or module of its name, or else every package."""
    if (root / "src").is_dir():
        return ("src",)
    called = re.sub(r"[-.]", "_", name)
    for own in (called, called.lower()):
        if (root / own / "__init__.py").is_file():
            return (own,)
        if (root / f"{own}.py").is_file():
            return (f"{own}.py",)
    found = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    return tuple(each for each in found if each not in _NO_CODE and each not in suites)


def _squash(name: str) -> str:
    return re.sub(r"[-_.]", "", name).lower()


@cache
def _installed() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
