"""How structlog, cattrs, pydantic-settings, threadpoolctl, llm and click skip: each construct, as the table says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.project import PYPROJECT
from support.runs import UNIT

if TYPE_CHECKING:
    from support.project import Project

KNOWN = '{ reason = "open", issue = "#7" }'


@dataclass(frozen=True, slots=True)
class Construct:
    """A construct of a real project's tests, translated.

    Attributes:
        capabilities: lines of the table.
        code: the test file; each test is called test_a, and may have parameters.
        outcomes: how its tests end in the environment "bare", on Linux and CPython, with nothing installed.
        promise: what "bare" promises.
        failures: lines of the known failures.
    """

    capabilities: str
    code: str
    outcomes: dict[str, int]
    promise: str = ""
    failures: str = ""


NEEDS = "import pytest\n\n@pytest.mark.requires('c')\ndef test_a(): pass\n"
RUNS, SKIPS = {"passed": 1}, {"skipped": 1}
CONSTRUCTS = {
    "structlog: skipif(not windows or colorama)": Construct(
        'windows = { platform = "win32" }\nplain = { absent = "skipproof_x" }\nc = { all = ["windows", "plain"] }',
        NEEDS,
        SKIPS,
    ),
    "structlog: skipif(windows and colorama is None)": Construct(
        'unix = { platform = "not win32" }\nc = { any = ["unix", "alpha"] }', NEEDS, RUNS
    ),
    "structlog: skipif(greenlet is not None)": Construct('c = { absent = "skipproof_x" }', NEEDS, RUNS),
    "structlog, cattrs: skipif(sys.version_info < ...)": Construct('c = { python = ">=3.11" }', NEEDS, RUNS),
    "cattrs: a file that an old Python ignores": Construct(
        'c = { python = ">=3.99" }',
        "import pytest\n\npytestmark = pytest.mark.requires('c')\n\ndef test_a(): import skipproof_new\n",
        SKIPS,
    ),
    "cattrs: a file that PyPy ignores": Construct('c = { platform = "cpython" }', NEEDS, RUNS),
    "cattrs, pydantic-settings: skipif(not hasattr(time, 'tzset'))": Construct(
        'c = { platform = "posix" }', NEEDS, RUNS
    ),
    "cattrs: pytest.xfail(...) for some parameters": Construct(
        "",
        "import pytest\n\n@pytest.mark.parametrize('x', ['with-a', 'wo-a', 'wo-b'])\ndef test_a(x):\n"
        "    if x.startswith('wo'): pytest.xfail('cannot')\n    assert x == 'with-a'\n",
        {"passed": 1, "xfailed": 2},
        failures=f'"{UNIT}::test_a[wo-*]" = {KNOWN}',
    ),
    "pydantic-settings: skipif(a library is too old)": Construct(
        'c = { probe = "skipproof_probes:no", install = "pip install \'x>=2\'" }', NEEDS, SKIPS, '"c?"'
    ),
    "pydantic-settings: pytest.xfail(...) after an exception": Construct(
        "",
        "import pytest\n\ndef test_a():\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n"
        "        pytest.xfail(str(error))\n        raise\n",
        {"xfailed": 1},
        failures=f'"{UNIT}::test_a" = {KNOWN}',
    ),
    "pydantic-settings: skip('requires Python') for some parameters": Construct(
        'c = { python = ">=3.99" }',
        "import pytest\n\nX = [pytest.param('new', marks=pytest.mark.requires('c')), 'old']\n\n"
        "@pytest.mark.parametrize('x', X)\ndef test_a(x): assert x == 'old'\n",
        {"passed": 1, "skipped": 1},
    ),
    "click: skipif(WIN)": Construct('c = { platform = "not win32" }', NEEDS, RUNS),
    "click: skipif(not WIN)": Construct('c = { platform = "win32" }', NEEDS, SKIPS),
    "click: skipif(shutil.which('cat') is None)": Construct(
        'c = { programs = ["skipproof-cat", "cat"], install = "cat" }', NEEDS, RUNS, '"c?"'
    ),
    "click: skipif(not _symlinks_supported())": Construct(
        'c = { probe = "skipproof_probes:yes", install = "links" }', NEEDS, RUNS, '"c?"'
    ),
    "click: a bare xfail": Construct(
        "",
        "import pytest\n\n@pytest.mark.xfail\ndef test_a(): assert 0\n",
        {"xfailed": 1},
        "",
        f'"{UNIT}::test_a" = {KNOWN}',
    ),
    "threadpoolctl: skip(f'{prefix} runtime missing') for some parameters": Construct(
        'c = { probe = "skipproof_probes:no", install = "MKL" }\n'
        'd = { probe = "skipproof_probes:yes", install = "BLAS" }',
        "import pytest\n\nX = [pytest.param(each, marks=pytest.mark.requires(each)) for each in 'cd']\n\n"
        "@pytest.mark.parametrize('x', X)\ndef test_a(x): assert x == 'd'\n",
        {"passed": 1, "skipped": 1},
        '"c?", "d?"',
    ),
    "llm: xfail(sys.platform == 'win32')": Construct(
        'c = { platform = "win32" }',
        "def test_a(): pass\n",
        RUNS,
        failures=f'"{UNIT}::test_a" = {{ reason = "open", issue = "#7", where = "c" }}',
    ),
    "llm: xfail(sys.platform == 'linux')": Construct(
        'c = { platform = "linux" }',
        "def test_a(): assert 0\n",
        {"xfailed": 1},
        failures=f'"{UNIT}::test_a" = {{ reason = "open", issue = "#7", where = "c" }}',
    ),
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_of_a_real_project_can_be_said(project: Project, name: str) -> None:
    """What a real project skips or expects to fail ends the same by the table, and the run is green."""
    construct = CONSTRUCTS[name]
    failures = f"[tool.skipproof.known_failures]\n{construct.failures}\n" if construct.failures else ""
    environments = f"{failures}[tool.skipproof.environments]\nbare = [{construct.promise}]"
    head, tail = PYPROJECT.split("[tool.skipproof.environments]\nbare = []")
    project.write("pyproject.toml", f"{head}{construct.capabilities}\n{environments}{tail}")
    probes = "def yes(): return True\n\ndef no(): return False\n"
    project.install("skipproof-probes", "1", {"skipproof_probes.py": probes})
    project.write("locks/bare.txt", "skipproof-probes==1\n")
    project.write(UNIT, construct.code)
    ran = project.run("--skipproof", "bare", "tests/unit")
    assert ran.ret == pytest.ExitCode.OK, ran.stdout.str()
    ran.assert_outcomes(**construct.outcomes)
