"""What this machine offers the rooms (virtual environments) in which the matrix runs.

Where packages come from, whether there is a GPU, which build of torch a room holds, where a session's coverage goes.
The noxfile asks, and passes the answers on as arguments and as ``env=``; nothing here writes to ``os.environ``, because
sessions run in parallel. Uses only the standard library: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from . import environments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Machine",
    "PackageSource",
    "data_file",
    "forget_receipt",
    "gpus",
    "leave_note",
    "lock_environment",
    "package_source",
    "pip_environment",
    "pytest_arguments",
    "receipts",
    "site_packages",
    "torch_build",
    "torch_trouble",
    "unfinished",
    "unpack_without_packages",
]

# uv's settings for where packages come from; if one is set, uv needs nothing from us.
UV_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_NO_INDEX",
    "UV_TORCH_BACKEND",
)
UV_KEYS = ("extra-index-url", "find-links", "index", "index-url", "no-index", "torch-backend")
# uv's choice of torch's index for each build, on a machine where nobody chose one.
TORCH_BACKENDS = {"cpu": "cpu", "cuda": "auto"}
TRUE_WORDS = {"1", "on", "true", "y", "yes"}


def _pip() -> tuple[str, ...]:
    """Return the command that runs pip: that of nox's Python, or else the one on the path; empty if there is none."""
    if find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    return tuple(filter(None, [shutil.which("pip3")]))


@dataclass(frozen=True)
class Machine:
    """Where this machine keeps uv's settings, and the pip that knows its own; by default, of the current machine."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    home: Path = field(default_factory=Path.home)
    root: Path = Path("/")
    pip: tuple[str, ...] = field(default_factory=_pip)

    def value(self, name: str) -> str | None:
        """Return an environment variable's value; None if it is absent or empty, which uv and pip treat alike."""
        return self.environ.get(name) or None


@dataclass(frozen=True)
class PackageSource:
    """Where a room's packages come from: which setting says so, and the variables that tell uv."""

    reason: str
    variables: dict[str, str] = field(default_factory=dict)


def package_source(environment: str, machine: Machine) -> PackageSource:
    """Give uv the settings of this machine for uv, or else those for pip; with neither, the source of torch's build.

    To pip, its extra indexes count as much as the first one, and the best version wins; uv has to be told to do so.
    """
    chosen = _uv_choice(machine)
    if chosen:
        return PackageSource(f"uv's own setting {chosen}")
    options = _pip_options(machine)
    certificates = _certificates(options, machine)
    variables = _pip_as_uv(options)
    if variables:
        return PackageSource(f"pip's {', '.join(sorted(set(options) & set(PIP_SOURCES)))}", variables | certificates)
    build = environments.torch_build(environment)
    if build:
        backend = TORCH_BACKENDS[build]
        return PackageSource(f"uv's torch backend {backend}", {"UV_TORCH_BACKEND": backend} | certificates)
    return PackageSource("uv's default index", certificates)


# pip's variable -> uv's variables.
UV_SOURCES = {
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_NO_INDEX": ("UV_NO_INDEX",),
}


def pip_environment(machine: Machine) -> dict[str, str]:
    """Variables that give pip what uv's own settings say, if pip has no settings itself."""
    if _pip_options(machine).keys() & PIP_SOURCES.keys():
        return {}
    told = {name: next(filter(None, map(machine.value, names)), None) for name, names in UV_SOURCES.items()}
    return {name: value.replace(",", " ") for name, value in told.items() if value}


def lock_environment(machine: Machine) -> dict[str, str | None]:
    """Variables for compiling locks: a full mirror of the index may be used, a partial index or a folder may not.

    A folder of wheels holds only some of a release's files, so a lock made with it would have only their hashes.
    None means that the variable must be absent.
    """
    variables: dict[str, str | None] = dict.fromkeys((*UV_VARIABLES, "UV_INDEX_STRATEGY"))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if machine.value(name):
            variables[name] = machine.value(name)
    options = _pip_options(machine)
    if not _uv_choice(machine) and options.get("index-url"):
        variables["UV_DEFAULT_INDEX"] = options["index-url"]
    return variables | _certificates(options, machine)


def _uv_choice(machine: Machine) -> str | None:
    """Name the first setting of uv that says where packages come from, or None if there is none."""
    variables = [name for name in UV_VARIABLES if machine.value(name)]
    keys = [f"{key} in {path}" for path in _uv_files(machine) for key in _uv_file_keys(path)]
    return next(iter(variables + keys), None)


def _uv_files(machine: Machine) -> list[Path]:
    explicit = machine.value("UV_CONFIG_FILE")
    if explicit:
        return [Path(explicit)]
    if machine.value("UV_NO_CONFIG"):
        return []
    named = machine.value("XDG_CONFIG_DIRS")
    system = [Path(folder) for folder in named.split(os.pathsep)] if named else [machine.root / "etc" / "xdg"]
    user = machine.value("XDG_CONFIG_HOME") or machine.value("APPDATA") or machine.home / ".config"
    return [Path(folder) / "uv" / "uv.toml" for folder in (user, *system, machine.root / "etc")]


def _uv_file_keys(path: Path) -> list[str]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return []  # uv also reads the file, and explains better what is wrong with it
    pip = settings.get("pip", {})
    return [key for key in UV_KEYS if key in settings or key in pip]


# pip's name -> uv's name, and uv's separator between two values.
PIP_SOURCES = {
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "no-index": ("UV_NO_INDEX", " "),
}


def _pip_as_uv(options: Mapping[str, str]) -> dict[str, str]:
    """Translate pip's options into uv's variables; ``no-index = false`` has no effect."""
    variables = {name: sep.join(options[key].split()) for key, (name, sep) in PIP_SOURCES.items() if key in options}
    if variables.get("UV_NO_INDEX", "").lower() not in TRUE_WORDS:
        variables.pop("UV_NO_INDEX", None)
    if "UV_INDEX" in variables:
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return variables


def _certificates(options: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """Pass on pip's certificate, without which a mirror with its own certificate authority cannot be reached."""
    if "cert" in options and not machine.value("SSL_CERT_FILE"):
        return {"SSL_CERT_FILE": options["cert"]}
    return {}


def _pip_options(machine: Machine) -> dict[str, str]:
    """Merge pip's settings as pip does: [global] of every file, then [install] of every file, then PIP_ variables.

    Its ``config debug`` lists the files and their content; ``config list`` does not tell which overrides which.
    """
    told = ""
    if machine.pip:
        # pip itself says what is wrong with its files, as soon as somebody installs with it.
        debug = [*machine.pip, "config", "debug"]
        told = subprocess.run(debug, env=dict(machine.environ), capture_output=True, text=True, check=False).stdout
    _, *parts = re.split(r"^(env_var|env|global|site|user):\n", told, flags=re.MULTILINE)
    said = dict(zip(parts[::2], parts[1::2], strict=True))
    files = "".join(said.get(kind, "") for kind in ("global", "user", "site", "env"))
    # A value of several lines continues below its name.
    lines = re.findall(r"^    ([\w-]+)\.([\w-]+): (.*(?:\n(?!.*: )    .*)*)", files, re.MULTILINE)
    options: dict[str, str] = {}
    for wanted in ("global", "install"):
        options |= {key: value for section, key, value in lines if section == wanted}
    for name, value in machine.environ.items():
        if name.startswith("PIP_"):
            options[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {key: value for key, value in options.items() if value.strip()}


def gpus(devices: Path = Path("/dev")) -> list[str]:
    """Name the NVIDIA GPUs of this machine, without loading any library that would set one up."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return sorted(path.name for path in devices.glob("nvidia[0-9]*"))
    answer = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return [line for line in answer.stdout.splitlines() if line.startswith("GPU ")] if answer.returncode == 0 else []


def torch_build(room: Path) -> str | None:
    """Say whether a room's torch was built for "cpu" or for "cuda"; None if the room holds no torch."""
    files = [site / "torch" / "version.py" for site in site_packages(room)]
    found = next((path for path in files if path.exists()), None)
    if found is None:
        return None
    cuda = re.search(r"^cuda\b[^=]*= *(.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
    return "cpu" if cuda is None or cuda[1].strip() == "None" else "cuda"


def torch_trouble(environment: str, room: Path, source: PackageSource) -> str | None:
    """Say what is wrong with a room's build of torch; None if it is the one that the name promises."""
    wanted, found = environments.torch_build(environment), torch_build(room)
    if found in {wanted, None}:
        return None
    return (
        f"The {environment} environment holds torch's {found} build, but needs its {wanted} build. "
        f"It came from {source.reason}. Offer the {wanted} build there (a folder in find-links will do), "
        f"or set UV_TORCH_BACKEND to choose one of torch's own indexes."
    )


def site_packages(room: Path) -> list[Path]:
    """Name the folders that hold a room's packages."""
    return [*room.glob("lib/python*/site-packages"), *room.glob("Lib/site-packages")]


def data_file(folder: Path, session: str) -> Path:
    """Name the coverage data file of a session, and create its folder; the plugin removes an earlier run's."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".coverage.{session}"


def forget_receipt(state: Path, session: str) -> None:
    """Remove what an earlier run of a session left, so that it is not taken for this run's."""
    (state / "receipts" / f"{session}.json").unlink(missing_ok=True)


def receipts(state: Path) -> set[str]:
    """Name the sessions whose receipts are here: another machine may have run what this one cannot."""
    return {path.stem for path in (state / "receipts").glob("*.json")}


def leave_note(state: Path, session: str, verdict: str, tried: str) -> None:
    """Leave a line for the report from a session outside the matrix's proof, replacing that of an earlier run."""
    folder = state / "notes"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{verdict} on {datetime.now(UTC).date()} with {tried}\n"
    (folder / f"{session}.txt").write_text(text, encoding="utf-8")


def unfinished(state: Path, session: str) -> str | None:
    """Say that a session whose process succeeded left no finished receipt; None if it left one.

    ``os._exit(0)`` in a test ends pytest with status 0 before anything in it can object. Call ``forget_receipt``
    before the run.
    """
    path = state / "receipts" / f"{session}.json"
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        finished, gathered = receipt["finished"], receipt["coverage"] is None or receipt["gathered"]
    except FileNotFoundError:
        fact = f"left no receipt in {path.as_posix()}"
    except (ValueError, KeyError, TypeError):
        fact = f"left a damaged receipt in {path.as_posix()}"
    else:
        if finished is not None and gathered:
            return None
        fact = "left an unfinished receipt" if finished is None else "did not put its coverage data together"
    return (
        f"{session} ended with status 0, but {fact}: something ended its process before the run was over, "
        "such as os._exit in a test; look at the last test, and any traceback, in its output"
    )


def pytest_arguments(suites: Iterable[str], chosen: Sequence[str]) -> list[str]:
    """Add the session's suites to the arguments after ``--``, unless these name a file or folder."""
    typed_a_path = any(Path(argument.partition("::")[0]).exists() for argument in chosen)
    return [*chosen] if typed_a_path else [*suites, *chosen]


def unpack_without_packages(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist and remove the packages from it, so that its tests can only find the installed ones."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [project] = folder.iterdir()
    for package in ("backend", "packages/skipproof/src"):
        shutil.rmtree(project / package)
    return project
