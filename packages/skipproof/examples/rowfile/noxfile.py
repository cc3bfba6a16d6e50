"""Prove the extras: ``nox`` runs the tests in each environment, then shows and merges what they left."""

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"

ENVIRONMENTS = list(nox.project.load_toml("pyproject.toml")["tool"]["skipproof"]["environments"])


def furnish(session: nox.Session, environment: str) -> None:
    """Make the session's virtual environment exactly a lock."""
    session.run_install("uv", "pip", "sync", f"environments/{environment}.txt")


def prove(session: nox.Session) -> None:
    """Run the tests in the environment of this name, under its contract."""
    furnish(session, session.name)
    data = f".matrix/coverage/.coverage.{session.name}"
    measured = ("coverage", "run", f"--data-file={data}", f"--context={session.name}")
    session.run("python", "-m", *measured, "-m", "pytest", "--skipproof", session.name)


for name in ENVIRONMENTS:
    nox.session(prove, name=name)


@nox.session
def merge(session: nox.Session) -> None:
    """Show what they left, also of a red run; then refuse what is missing, merge the rest, and gate its coverage."""
    furnish(session, "report")
    session.run("skipproof", "report", "--expect", *ENVIRONMENTS)
    session.run("skipproof", "merge", "--expect", *ENVIRONMENTS)


@nox.session(default=False)
def accept(session: nox.Session) -> None:
    """Write down what they proved, in the list that the merge holds the next sessions against."""
    furnish(session, "report")
    session.run("skipproof", "accept", "--expect", *ENVIRONMENTS)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Compile the lock of each environment; ``nox -s lock -- --upgrade`` takes newer versions."""
    for path in sorted(Path("environments").glob("*.in")):
        output = ("--output-file", str(path.with_suffix(".txt")), "--custom-compile-command", "nox -s lock")
        portable = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url")
        session.run("uv", "pip", "compile", str(path), *output, *portable, "--quiet", *session.posargs)
