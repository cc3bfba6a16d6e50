"""A noxfile or a tox.ini that locks, proves and merges the environments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_NOXFILE = '''"""Prove the environments: ``nox -s lock`` writes locks, ``nox`` runs the tests in each and merges."""

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
'''

_SESSIONS = '''
ENVIRONMENTS = list(nox.project.load_toml("pyproject.toml")["tool"]["skipproof"]["environments"])
{pythons}

def furnish(session: nox.Session, environment: str) -> None:
    """Make the session's virtual environment exactly a lock."""
    session.run_install("uv", "pip", "sync", f"environments/{{environment}}.txt")


def prove(session: nox.Session) -> None:
    """Run the tests in the environment of this name, under its contract."""
    name = {name}
    furnish(session, name)
    measured = ("coverage", "run", f"--data-file=.matrix/coverage/.coverage.{{name}}", f"--context={{name}}")
    session.run("python", "-m", *measured, "-m", "pytest", "--skipproof", name)


for environment in ENVIRONMENTS:
    nox.session(prove, name={named})


@nox.session(name="{prefix}merge")
def merge(session: nox.Session) -> None:
    """Show what they left; then refuse what is missing or red, merge the rest, and gate its coverage."""
    furnish(session, "report")
    session.run("skipproof", "report", "--expect", *ENVIRONMENTS)
    session.run("skipproof", "merge", "--expect", *ENVIRONMENTS)


@nox.session(name="{prefix}lock", default=False)
def lock(session: nox.Session) -> None:
    """Compile the lock of each environment; ``nox -s {prefix}lock -- --upgrade`` takes newer versions."""
    for name in (*ENVIRONMENTS, "report"):
        path = Path("environments", f"{{name}}.in")
        output = ("--output-file", str(path.with_suffix(".txt")), "--custom-compile-command", "nox -s {prefix}lock")
        portable = ("--universal", "--python-version", {version}, "--no-emit-index-url", "--no-emit-find-links")
        session.run("uv", "pip", "compile", str(path), *output, *portable, "--quiet", *session.posargs)
'''


def noxfile(pythons: Mapping[str, str], lowest: str, *, beside: bool) -> str:
    """Return a noxfile, or what one needs besides what it has (``beside``), with names that are its own."""
    prefix = "skipproof-" if beside else ""
    named = f'f"{prefix}{{environment}}"' if prefix else "environment"
    text = _SESSIONS.format(
        pythons=f"PYTHONS = {json.dumps(dict(pythons))}\n" if pythons else "",
        name=f'session.name.removeprefix("{prefix}").partition("-3.")[0]'
        if prefix
        else 'session.name.partition("-3.")[0]',
        named=f"{named}, python=PYTHONS.get(environment)" if pythons else named,
        prefix=prefix,
        version=f'PYTHONS.get(name, "{lowest}")' if pythons else f'"{lowest}"',
    )
    if not pythons:
        text = text.replace('.partition("-3.")[0]', "")
    return f"from pathlib import Path\n\nimport nox\n{text}" if beside else _NOXFILE + text


def tox_ini(environments: Collection[str], pythons: Mapping[str, str], *, beside: bool) -> str:
    """Return a tox.ini, or what one needs besides what it has."""
    prefix, names = "skipproof-" if beside else "", list(environments)
    own = [f"{prefix}{name}" for name in names]
    head = [] if beside else ["[tox]", "requires = tox-uv", f"env_list = {', '.join([*own, 'merge'])}", ""]
    sections = []
    for name in names:
        run = f"python -m coverage run --data-file=.matrix/coverage/.coverage.{name} --context={name} -m pytest"
        sections += [
            f"[testenv:{prefix}{name}]",
            f"description = run the tests in the environment {name}, under its contract",
            *([f"base_python = {pythons[name]}"] if pythons else []),
            "skip_install = true",
            "package = skip",
            f"deps = -r environments/{name}.txt",
            f"commands = {run} --skipproof {name}",
            "",
        ]
    sections += [
        f"[testenv:{prefix}merge]",
        "description = show what the environments left, then merge it",
        f"depends = {', '.join(own)}",
        "skip_install = true",
        "package = skip",
        "deps = -r environments/report.txt",
        "commands =",
        f"    skipproof report --expect {' '.join(names)}",
        f"    skipproof merge --expect {' '.join(names)}",
    ]
    return "\n".join([*head, *sections]) + "\n"
