"""What this machine offers to the rooms (virtual environments) in which the matrix runs.

Where packages come from, whether a GPU is there, which build of torch a room holds, where a session's coverage goes.
The noxfile asks, and passes the answers on as arguments and as ``env=``; nothing here writes to ``os.environ``, because
sessions run side by side. Only the standard library is used: the noxfile is read before any environment exists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
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
]

# uv's settings that say where packages come from; with one of them set, uv needs nothing from us.
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
# uv's own choice of torch's index for each build of it, on a machine where nobody chose.
TORCH_BACKENDS = {"cpu": "cpu", "cuda": "auto"}
TRUE_WORDS = {"1", "on", "true", "y", "yes"}


def _pip() -> tuple[str, ...]:
    """Return the command that runs pip: of the Python that runs nox, or else the one on the path; empty without."""
    if find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    return tuple(filter(None, [shutil.which("pip3")]))


@dataclass(frozen=True)
class Machine:
    """Where this machine keeps uv's settings, and what knows pip's; the defaults are the machine that runs this."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    home: Path = field(default_factory=Path.home)
    root: Path = Path("/")
    pip: tuple[str, ...] = field(default_factory=_pip)

    def value(self, name: str) -> str | None:
        """Return an environment variable's value; None when it is absent or empty, which uv and pip take alike."""
        return self.environ.get(name) or None


@dataclass(frozen=True)
class PackageSource:
    """Where a room's packages come from: who said so, and the variables that tell uv."""

    reason: str
    variables: dict[str, str] = field(default_factory=dict)


def package_source(environment: str, machine: Machine) -> PackageSource:
    """Tell uv what this machine's owner already told uv, or else pip; with neither, where torch's build comes from.

    pip's extra indexes weigh as much as its first one, and the best version wins; uv's do not, unless told so.
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


# What pip calls it -> where uv was told.
UV_SOURCES = {
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_NO_INDEX": ("UV_NO_INDEX",),
}


def pip_environment(machine: Machine) -> dict[str, str]:
    """Variables that tell pip what uv was told by its own, where pip itself was told nothing."""
    if _pip_options(machine).keys() & PIP_SOURCES.keys():
        return {}
    told = {name: next(filter(None, map(machine.value, names)), None) for name, names in UV_SOURCES.items()}
    return {name: value.replace(",", " ") for name, value in told.items() if value}


def lock_environment(machine: Machine) -> dict[str, str | None]:
    """Variables for compiling locks: a mirror of the whole index may serve, a partial index or a folder may not.

    A folder of wheels knows only some of a release's files, so a lock made with it would carry only their hashes.
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
    """Name the first setting of uv that says where packages come from, or None when there is none."""
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
        return []  # uv reads the file too, and explains what is wrong with it better than we could
    pip = settings.get("pip", {})
    return [key for key in UV_KEYS if key in settings or key in pip]


# What pip calls it -> what uv calls it, and what uv wants between two values.
PIP_SOURCES = {
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "no-index": ("UV_NO_INDEX", " "),
}


def _pip_as_uv(options: Mapping[str, str]) -> dict[str, str]:
    """Translate pip's options to uv's variables; ``no-index = false`` is no option at all."""
    variables = {name: sep.join(options[key].split()) for key, (name, sep) in PIP_SOURCES.items() if key in options}
    if variables.get("UV_NO_INDEX", "").lower() not in TRUE_WORDS:
        variables.pop("UV_NO_INDEX", None)
    if "UV_INDEX" in variables:
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return variables


def _certificates(options: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """A mirror behind its own certificate authority is reached by pip only because pip was told which."""
    if "cert" in options and not machine.value("SSL_CERT_FILE"):
        return {"SSL_CERT_FILE": options["cert"]}
    return {}


def _pip_options(machine: Machine) -> dict[str, str]:
    """Merge pip's settings as pip does: [global] of every file, then [install] of every file, then PIP_ variables.

    Its ``config debug`` knows the files, and what each says; ``config list`` forgets which of them goes over which.
    """
    told = ""
    if machine.pip:
        # What is wrong with a file of its own pip says itself, when somebody installs with it.
        debug = [*machine.pip, "config", "debug"]
        told = subprocess.run(debug, env=dict(machine.environ), capture_output=True, text=True, check=False).stdout
    _, *parts = re.split(r"^(env_var|env|global|site|user):\n", told, flags=re.MULTILINE)
    said = dict(zip(parts[::2], parts[1::2], strict=True))
    files = "".join(said.get(kind, "") for kind in ("global", "user", "site", "env"))
    # A value of several lines goes on below its name.
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
    """Say whether a room's torch was built for "cpu" or for "cuda"; None when the room holds no torch."""
    files = [site / "torch" / "version.py" for site in site_packages(room)]
    found = next((path for path in files if path.exists()), None)
    if found is None:
        return None
    cuda = re.search(r"^cuda\b[^=]*= *(.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
    return "cpu" if cuda is None or cuda[1].strip() == "None" else "cuda"


def torch_trouble(environment: str, room: Path, source: PackageSource) -> str | None:
    """Say what is wrong with the build of torch that a room holds; None when it is the one its name promises."""
    wanted, found = environments.torch_build(environment), torch_build(room)
    if found in {wanted, None}:
        return None
    return (
        f"The {environment} environment holds torch's {found} build, and needs its {wanted} build. "
        f"It came by {source.reason}. Offer the {wanted} build there (a folder in find-links will do), "
        f"or set UV_TORCH_BACKEND to say which of torch's own indexes to use."
    )


def site_packages(room: Path) -> list[Path]:
    """Name the folders in which a room's packages lie."""
    return [*room.glob("lib/python*/site-packages"), *room.glob("Lib/site-packages")]


def data_file(folder: Path, session: str) -> Path:
    """Name the coverage data file of a session, in a folder that is there; the plugin removes an earlier run's."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".coverage.{session}"


def forget_receipt(state: Path, session: str) -> None:
    """Remove what an earlier run of a session left, so that nobody takes it for this run's."""
    (state / "receipts" / f"{session}.json").unlink(missing_ok=True)


def receipts(state: Path) -> set[str]:
    """Name the sessions whose receipts are here: another machine may have run what this one cannot."""
    return {path.stem for path in (state / "receipts").glob("*.json")}


def leave_note(state: Path, session: str, verdict: str, tried: str) -> None:
    """Leave a line for the report from a session that proves nothing of the matrix, over that of an earlier run."""
    folder = state / "notes"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{verdict} on {datetime.now(UTC).date()} with {tried}\n"
    (folder / f"{session}.txt").write_text(text, encoding="utf-8")


def unfinished(state: Path, session: str) -> str | None:
    """Say that a session whose process ended well left no finished receipt; None when it left one.

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
        f"{session} ended with status 0, and {fact}: something ended its process before the run came to its end, "
        "such as os._exit in a test; look at the last test, and any traceback, that its output shows"
    )


def pytest_arguments(suites: Iterable[str], chosen: Sequence[str]) -> list[str]:
    """Add the session's suites to what was typed after ``--``, unless a file or folder was typed there."""
    typed_a_path = any(Path(argument.partition("::")[0]).exists() for argument in chosen)
    return [*chosen] if typed_a_path else [*suites, *chosen]
