"""A noxfile or a tox.ini that locks, proves and merges the environments."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Rest = Mapping[str, tuple[str, list[str]]]

_NOXFILE = '''"""Prove the environments: ``nox -s lock`` writes locks, ``nox`` runs the tests in each and merges."""

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
'''

_SESSIONS = '''
ENVIRONMENTS = list(nox.project.load_toml("pyproject.toml")["tool"]["skipproof"]["environments"])
# Sessions, each with its environment and options of pytest.
SESSIONS = {{name: (name, []) for name in ENVIRONMENTS}}{rest}
{pythons}

def furnish(session: nox.Session, environment: str) -> None:
    """Make the session's virtual environment exactly a lock."""
    session.run_install("uv", "pip", "sync", f"environments/{{environment}}.txt")


def prove(session: nox.Session) -> None:
    """Run the tests in an environment, under its contract."""
    name = {name}
    environment, options = SESSIONS[name]
    furnish(session, environment)
    measured = ("coverage", "run", f"--data-file=.matrix/coverage/.coverage.{{name}}", f"--context={{environment}}")
    chosen = ("--skipproof", environment, "--skipproof-session", name{options})
    session.run("python", "-m", *measured, "-m", "pytest", *chosen, *options)


for name, (environment, _) in SESSIONS.items():
    nox.session(prove, name={named})


@nox.session(name="{prefix}merge")
def merge(session: nox.Session) -> None:
    """Show what they left; then refuse what is missing or red, merge the rest, and gate its coverage."""
    furnish(session, "report")
    session.run("skipproof", "report", "--expect", *SESSIONS)
    session.run("skipproof", "merge", "--expect", *SESSIONS)


@nox.session(name="{prefix}lock", default=False)
def lock(session: nox.Session) -> None:
    """Compile the lock of each environment; ``nox -s {prefix}lock -- --upgrade`` takes newer versions."""
    for name in (*ENVIRONMENTS, "report"):
        path = Path("environments", f"{{name}}.in")
        output = ("--output-file", str(path.with_suffix(".txt")), "--custom-compile-command", "nox -s {prefix}lock")
        portable = ("--universal", "--python-version", {version}, "--no-emit-index-url", "--no-emit-find-links")
        session.run("uv", "pip", "compile", str(path), *output, *portable, "--quiet", *session.posargs)
'''


def noxfile(pythons: Mapping[str, str], rest: Rest, options: Collection[str], *, beside: bool) -> str:
    """Return a noxfile, or what one needs besides what it has (``beside``), with names that are its own."""
    prefix = "skipproof-" if beside else ""
    named = f'f"{prefix}{{name}}"' if prefix else "name"
    text = _SESSIONS.format(
        pythons=f"PYTHONS = {json.dumps(dict(pythons))}\n" if pythons else "",
        name=f'session.name.removeprefix("{prefix}").partition("-3.")[0]'
        if prefix
        else 'session.name.partition("-3.")[0]',
        named=f"{named}, python=PYTHONS.get(environment)" if pythons else named,
        prefix=prefix,
        options="".join(f", {json.dumps(each)}" for each in options),
        rest=f" | {json.dumps(rest)}" if rest else "",
        version='PYTHONS.get(name, "3.11")' if pythons else '"3.11"',
    )
    if not pythons:
        text = text.replace('.partition("-3.")[0]', "")
    return f"from pathlib import Path\n\nimport nox\n{text}" if beside else _NOXFILE + text


def tox_ini(
    environments: Collection[str], pythons: Mapping[str, str], rest: Rest, options: Collection[str], *, beside: bool
) -> str:
    """Return a tox.ini, or what one needs besides what it has."""
    prefix = "skipproof-" if beside else ""
    sessions: dict[str, tuple[str, list[str]]] = {name: (name, []) for name in environments} | dict(rest)
    own = [f"{prefix}{name}" for name in sessions]
    head = [] if beside else ["[tox]", "requires = tox-uv", f"env_list = {', '.join([*own, 'merge'])}", ""]
    sections = []
    for name, (environment, others) in sessions.items():
        run = f"python -m coverage run --data-file=.matrix/coverage/.coverage.{name} --context={environment} -m pytest"
        chosen = ["--skipproof", environment, "--skipproof-session", name, *options, *map(shlex.quote, others)]
        sections += [
            f"[testenv:{prefix}{name}]",
            f"description = run the tests in the environment {environment}, under its contract",
            *([f"base_python = {pythons[environment]}"] if pythons else []),
            "skip_install = true",
            "package = skip",
            f"deps = -r environments/{environment}.txt",
            f"commands = {run} {' '.join(chosen)}",
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
        f"    skipproof report --expect {' '.join(sessions)}",
        f"    skipproof merge --expect {' '.join(sessions)}",
    ]
    return "\n".join([*head, *sections]) + "\n"
