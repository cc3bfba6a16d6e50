"""What a developer has set for other programs stays out, and what was set for these sessions comes through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrix import inherited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHELL = {
    "COVERAGE_CORE": "sysmon",
    "FORCE_COLOR": "1",
    "GIT_DIR": "/elsewhere/.git",
    "HOME": "/home/her",
    "HTTPS_PROXY": "http://proxy.invalid",
    "OMP_NUM_THREADS": "3",
    "OPENAI_API_KEY": "hers",
    "OPENAI_API_URL": "http://server.invalid/v1",
    "PATH": "/bin",
    "PIP_FIND_LINKS": "/wheels",
    "PIP_TARGET": "/elsewhere",
    "PYTHONWARNINGS": "error",
    "UV_DEFAULT_INDEX": "https://mirror.invalid",
    "UV_NO_BUILD": "1",
    "UV_PYTHON": "3.9",
    "VIRTUAL_ENV": "/elsewhere",
}


@pytest.mark.parametrize(
    ("by", "inherited_names"),
    [
        (inherited.by_tools, {"FORCE_COLOR", "HOME", "OMP_NUM_THREADS"}),
        (
            inherited.by_installers,
            {"FORCE_COLOR", "HOME", "HTTPS_PROXY", "OMP_NUM_THREADS", "PIP_FIND_LINKS", "UV_DEFAULT_INDEX"},
        ),
        (inherited.by_tests, {"HOME", "OMP_NUM_THREADS"}),
        (
            lambda environ: inherited.by_tests(environ, installing=True),
            {"HOME", "HTTPS_PROXY", "OMP_NUM_THREADS", "PIP_FIND_LINKS", "UV_DEFAULT_INDEX"},
        ),
    ],
)
def test_only_what_is_listed_comes_through(
    by: Callable[[Mapping[str, str]], Mapping[str, str | None]], inherited_names: set[str]
) -> None:
    """A variable that is not listed must be absent, and what nox sets is left to nox."""
    passed = {name: value for name, value in by(SHELL).items() if name in SHELL}
    assert {name for name, value in passed.items() if value is not None} == inherited_names
    assert {name: SHELL[name] for name in inherited_names}.items() <= passed.items()
    assert SHELL.keys() - passed.keys() == {"PATH", "UV_PYTHON", "VIRTUAL_ENV"}


def test_a_server_reaches_only_the_tests_that_are_written_for_it() -> None:
    """A server has another name in the tests, the model hub is never asked, and no server is no variable."""
    told = inherited.by_tests(SHELL)
    assert told["LLM_BACKEND_TEST_SERVER"] == "http://server.invalid/v1"
    assert told["LLM_BACKEND_TEST_SERVER_KEY"] == "hers"
    assert told["OPENAI_API_URL"] is None
    assert told["HF_HUB_OFFLINE"] == "1"
    assert inherited.by_tests({"HOME": "/"})["LLM_BACKEND_TEST_SERVER"] is None


def test_uv_as_nox_runs_it_has_only_the_settings_of_installers() -> None:
    """Settings of uv that no installer inherits are gone for nox too, and nothing else is."""
    environ = dict(SHELL)
    inherited.forget_for_uv(environ)
    assert SHELL.keys() - environ.keys() == {"UV_NO_BUILD"}


def test_without_nox_the_tests_forget_what_they_do_not_inherit() -> None:
    """What pytest and coverage set for their own processes stays, and so does what was chosen; the rest is gone."""
    own = {"COVERAGE_PROCESS_CONFIG": "data", "PYTEST_XDIST_WORKER": "gw0", "LLM_BACKEND_TEST_SERVER": "http://s"}
    environ = {**SHELL, **own}
    inherited.forget_for_tests(environ)
    gone = {"COVERAGE_CORE", "FORCE_COLOR", "GIT_DIR", "OPENAI_API_KEY", "OPENAI_API_URL"}
    assert SHELL.keys() - environ.keys() == {*gone, "PIP_TARGET", "PYTHONWARNINGS", "UV_NO_BUILD"}
    assert own.items() <= environ.items()
