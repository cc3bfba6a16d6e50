"""Which variables of whoever calls nox reach its programs: what they have set for other programs stays out.

Lists of what may pass, as in tox: nobody can list all that a shell may hold, and one variable too many turns a test red
on one machine only (``FORCE_COLOR``, ``COVERAGE_CORE``, ``GIT_DIR``). What ``by_…`` returns has every variable, as nox
takes it: with its value, or with None where it must be absent. Uses only the standard library: the noxfile is read
before any environment exists.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

__all__ = ["by_installers", "by_tests", "by_tools", "forget_for_tests", "forget_for_uv"]

# pytest, pytest-xdist and coverage set these for their own processes.
_RUN = ("COVERAGE_PROCESS_*", "PYTEST_VERSION", "PYTEST_XDIST_*")
# nox sets these itself.
_NOX = {"NOX_CURRENT_SESSION", "PATH", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "VIRTUAL_ENV"}
# What a program needs to run at all, here and on Windows.
_MACHINE = (
    *("DYLD_*", "HOME", "LD_LIBRARY_PATH", "LOGNAME", "PYENV_ROOT", "PYENV_VERSION", "TMPDIR", "USER"),
    *("APPDATA", "COMSPEC", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS", "PATHEXT", "PROCESSOR_ARCHITECTURE", "PROGRAMDATA"),
    *("PROGRAMFILES*", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE", "WINDIR"),
)
# What people set for these sessions: where models lie, which one to try, on which GPU, with how many threads.
_CHOSEN = (
    *("AF_LLM_MODEL", "HF_HOME", "HF_HUB_CACHE", "LLM_BACKEND_CACHE", "LLM_BACKEND_TEST_*", "XDG_CACHE_HOME"),
    *("CUDA_HOME", "CUDA_VISIBLE_DEVICES", "GOMP_SPINCOUNT", "NVIDIA_*", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"),
)
_TERMINAL = ("CI", "COLORTERM", "COLUMNS", "FORCE_COLOR", "GITHUB_*", "LINES", "NO_COLOR", "TERM", "TZ")
_NETWORK = (
    *("*_PROXY", "*_proxy", "CURL_CA_BUNDLE", "NETRC", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    *("HF_ENDPOINT", "HF_TOKEN"),
)
# Where packages come from, and how they are fetched; not what to install, where, or in which form.
_SOURCES = (
    *("UV", "UV_CACHE_DIR", "UV_CONCURRENT_*", "UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"),
    *("UV_FIND_LINKS", "UV_HTTP_*", "UV_INDEX", "UV_INDEX_*", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER"),
    *("UV_LINK_MODE", "UV_NATIVE_TLS", "UV_NO_CACHE", "UV_NO_CONFIG", "UV_NO_INDEX", "UV_NO_PROGRESS", "UV_OFFLINE"),
    *("UV_PYTHON_INSTALL_DIR", "UV_REQUEST_TIMEOUT", "UV_SYSTEM_CERTS", "UV_TORCH_BACKEND"),
    *("PIP_CACHE_DIR", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL"),
    *("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_KEYRING_PROVIDER", "PIP_NO_INDEX", "PIP_PROXY", "PIP_RETRIES"),
    *("PIP_TIMEOUT", "PIP_TRUSTED_HOST", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"),
)


def by_tools(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Let what checks and merges inherit how its output should look."""
    return _inherited(environ, _TERMINAL)


def by_installers(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Let uv, and what fetches models, also inherit where to get them from."""
    return _inherited(environ, _TERMINAL, _NETWORK, _SOURCES)


def by_tests(environ: Mapping[str, str], *, installing: bool = False) -> dict[str, str | None]:
    """Let tests inherit only what they need to run and what was chosen for them; the model hub is never asked.

    Tests that install packages also inherit where to get them from. A server reaches all of them, but under another
    name, so that only the tests written for it can ask it.
    """
    return {
        **_inherited(environ, *((_NETWORK, _SOURCES) if installing else ())),
        "HF_HUB_OFFLINE": "1",
        "LLM_BACKEND_TEST_SERVER": environ.get("OPENAI_API_URL"),
        "LLM_BACKEND_TEST_SERVER_KEY": environ.get("OPENAI_API_KEY"),
    }


def forget_for_uv(environ: MutableMapping[str, str]) -> None:
    """Remove uv's variables that installers do not inherit: nox runs uv itself, with all that it has.

    ``UV_VENV_SEED`` would put pip into each room, and two that contradict each other end in "No backends present".
    """
    for name, value in by_installers(environ).items():
        if value is None and name.startswith("UV_"):
            del environ[name]


def forget_for_tests(environ: MutableMapping[str, str]) -> None:
    """Remove what tests do not inherit, where pytest was called without nox."""
    for name, value in _inherited(environ, _NETWORK, _SOURCES, _RUN).items():
        if value is None:
            del environ[name]


def _inherited(environ: Mapping[str, str], *more: Iterable[str]) -> dict[str, str | None]:
    allowed = [pattern for group in (_MACHINE, _CHOSEN, *more) for pattern in group]
    return {
        name: value if any(fnmatchcase(name, pattern) for pattern in allowed) else None
        for name, value in environ.items()
        if name not in _NOX
    }
