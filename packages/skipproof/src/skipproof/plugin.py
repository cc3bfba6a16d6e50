"""What every run of pytest loads where this plugin is installed: the options, and whether the project has a table.

pytest loads it by the entry point ``skipproof`` of the distribution pytest-skipproof. Where there is no table, nothing
else of the plugin is imported.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hooks:
    """The hook that a project may implement."""

    @pytest.hookspec
    def pytest_skipproof_facts(self) -> dict[str, str]:  # type: ignore[empty-body]
        """Return facts by name, as strings: how the project's libraries use this machine.

        They appear in the run's header, its receipt and the report. Called before the first test and after the last;
        import nothing for it: what a run has not imported by its end did not affect it.
        """


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hook that projects may implement."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("skipproof", "what each environment must run and skip")
    group.addoption(
        "--skipproof",
        dest="skipproof_environment",
        metavar="ENVIRONMENT",
        help="the environment this run is in; every unplanned skip is then red",
    )
    group.addoption(
        "--skipproof-session", metavar="NAME", help="name of the run's receipt (default: the environment's)"
    )
    group.addoption(
        "--skipproof-also-requires",
        action="append",
        default=[],
        metavar="CAPABILITY",
        help="a capability that every test in this run requires besides its own",
    )
    group.addoption(
        "--skipproof-try",
        action="store_true",
        help="run each test that would skip, and list those that pass without what they require",
    )

    group.addoption(
        "--skipproof-shard", metavar="N/M", help="run only the Nth of M shares of the test files; the merge wants all"
    )
    group.addoption(
        "--skipproof-durations",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="earlier receipts, or a folder of them, by which shards take equally long; the same for all of them",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Refuse --looponfail of pytest-xdist, which would run this very command in another process, again and again."""
    environment = config.getoption("skipproof_environment")
    if environment is not None and config.getoption("looponfail", default=False):
        message = (
            f"--skipproof {environment} proves whole runs, and --looponfail runs what failed last: drop one of them"
        )
        raise pytest.UsageError(message)


def pytest_configure(config: pytest.Config) -> None:
    """Read the contract and register what this run needs; a wrong table or name is a usage error.

    Does nothing in a project without a table, unless an option asks for it.
    """
    environment, session = config.getoption("skipproof_environment"), config.getoption("skipproof_session")
    also, tries = config.getoption("skipproof_also_requires"), config.getoption("skipproof_try")
    shard = config.getoption("skipproof_shard")
    asked = (environment, session, shard) != (None, None, None) or also or tries
    with _not_rewritten(config):
        from .table_files import is_configured  # noqa: PLC0415 - not rewritten

    if not asked and not is_configured(config.rootpath, config.inipath):
        return
    config.addinivalue_line("markers", "untraced(reason): leave no trace of real inference, although one is required")
    for option, value in (("session", session), ("shard", shard)):
        if value is not None and environment is None:
            message = f"--skipproof-{option} {value} needs an environment: add --skipproof ENVIRONMENT"
            raise pytest.UsageError(message)
    if tries and environment is not None:
        message = f"--skipproof {environment} proves, and --skipproof-try runs what has to skip: drop one of them"
        raise pytest.UsageError(message)
    with _not_rewritten(config):
        from .requirements import register  # noqa: PLC0415 - a run without a table need not pay for it

    register(config, environment, session, also)


@contextmanager
def _not_rewritten(config: pytest.Config) -> Iterator[None]:
    """Import as Python does: pytest rewrites the assertions of plugins, and these modules have none to rewrite.

    Where no byte code may be written, each run would do that again, which takes longer than all else here.
    """
    finders, rewrites = sys.meta_path[:], id(config.pluginmanager.rewrite_hook)
    sys.meta_path[:] = [each for each in finders if id(each) != rewrites]
    try:
        yield
    finally:
        sys.meta_path[:] = finders
