"""Deceits in a run, each planted in a small project that is otherwise green."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof import outcomes

from .project import PYPROJECT, XDIST

if TYPE_CHECKING:
    from collections.abc import Callable

    from .project import Project

    # The result of a run or a merge: its exit status and everything it printed.
    Ending = tuple[int, str]
    Plant = Callable[[Project], Ending]

UNIT, REAL, SECOND, CONFTEST = "tests/unit/test_a.py", "tests/real/test_real.py", "tests/unit/test_b.py", "conftest.py"
PASSES = "def test_a():\n    pass\n"
NEEDS_ALPHA = "import pytest\n\n@pytest.mark.requires('alpha')\ndef test_alpha(): import skipproof_alpha\n"
ID = f"{UNIT}::test_a"


def run(project: Project, *options: str, environment: str = "full", alpha: str | None = "") -> Ending:
    """Run the tests in this process; the environment "full" finds what it promises."""
    if environment == "full" and alpha is not None:
        project.install_alpha(alpha)
        project.install_beta()
    outcome = project.run("--skipproof", environment, *options)
    return int(outcome.ret), f"{outcome.stdout}\n{outcome.stderr}"


def file(name: str, text: str, *options: str, environment: str = "full") -> Plant:
    """Plant a file, then run."""

    def plant(project: Project) -> Ending:
        project.write(name, f"import pytest\n\n{text}\n")
        return run(project, *options, environment=environment)

    return plant


def also(text: str) -> Plant:
    """Write a setup.cfg next to pyproject.toml, then run."""

    def plant(project: Project) -> Ending:
        project.write("setup.cfg", text)
        return run(project)

    return plant


def commented(project: Project) -> Ending:
    """Write the table in an INI file, with a comment where it becomes part of a value."""
    (project.root / "pyproject.toml").unlink()
    project.write("tox.ini", "[skipproof]\nsources = tests # and more\nlocks = locks\nstate = .matrix\n")
    return run(project)


def data_changed(project: Project) -> Ending:
    """Let a test change the data that another one reads."""
    project.write("tests/data/answers.json", "{}")
    project.write(UNIT, "def test_a(): open('tests/data/answers.json', 'w').write('[]')\n")
    return run(project)


def failing(hooks: str) -> Plant:
    """Let a test fail under these hooks, then run."""

    def plant(project: Project) -> Ending:
        project.write(UNIT, "def test_a():\n    1 / 0\n")
        return file(CONFTEST, hooks)(project)

    return plant


def options(*options: str) -> Plant:
    """Run with options."""
    return lambda project: run(project, *options)


def blinded(project: Project) -> Ending:
    """Make the gate see no skip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes.TestRecord, "violation", lambda _record: None)
        return run(project)


def hollow(project: Project) -> Ending:
    """Leave an empty folder of a library that was removed."""
    (project.site / "skipproof_alpha").mkdir()
    return run(project, environment="full", alpha=None)


def halved(project: Project) -> Ending:
    """Remove a file of an installed distribution."""
    project.install_alpha()
    project.install_beta()
    (project.site / "beta.py").unlink()
    return run(project, alpha=None)


def leaked(project: Project) -> Ending:
    """Put a library where the slim environment finds it."""
    project.install_alpha()
    return run(project, environment="bare")


def table(old: str, new: str) -> Plant:
    """Change pyproject.toml, then run."""

    def plant(project: Project) -> Ending:
        text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
        assert old in text
        project.write("pyproject.toml", text.replace(old, new))
        return run(project)

    return plant


def renamed(project: Project) -> Ending:
    """Give a test file a name that pytest does not collect."""
    (project.root / UNIT).rename(project.root / "tests/unit/a.py")
    return run(project)


def vanishing(project: Project, suites: str = '"tests/unit", "tests/real"') -> Ending:
    """Make a test exist only where a library is, and run without the library after a run with it."""
    project.write("pyproject.toml", PYPROJECT.replace('"tests/unit", "tests/real"', suites))
    made = "['x'] * bool(importlib.util.find_spec('skipproof_alpha'))"
    project.write(
        UNIT,
        "import importlib.util\n\ndef pytest_generate_tests(metafunc):\n"
        f"    metafunc.parametrize('x', {made} + ['y'])\n\n"
        "def test_a(x): pass\n",
    )
    assert run(project)[0] == 0
    for path in project.site.iterdir():
        path.rename(project.root / path.name)
    return run(project, environment="bare")


def installed(change: Callable[[Project], object]) -> Plant:
    """Change something in the environment by hand, then run."""

    def plant(project: Project) -> Ending:
        project.install_alpha()
        project.install_beta()
        change(project)
        return run(project, alpha=None)

    return plant


def upgraded(project: Project) -> None:
    """Make the installed version another one than the lock's."""
    metadata = project.site / "skipproof_alpha-1.5.dist-info" / "METADATA"
    metadata.write_text("Name: skipproof-alpha\nVersion: 1.6\n", encoding="utf-8")


def weighed(digest: str) -> Plant:
    """Let the tests that need alpha leave traces of one model when the table demands this one."""

    def plant(project: Project) -> Ending:
        project.write("model/model.safetensors", "weights")
        project.write(REAL, f"{NEEDS_ALPHA.rstrip()}; import sys; sys.audit('alpha.inference', 'model', 3, 0.0)\n")
        return table(*traced(f', digest = "{digest}"'))(project)

    return plant


def distributed(count: int, plant: Plant) -> Plant:
    """Plant something, then run in so many workers of pytest-xdist."""

    def planted(project: Project) -> Ending:
        project.workers = count
        return plant(project)

    return planted


def traced(digest: str = "") -> tuple[str, str]:
    """Return the change to the table that makes tests that need alpha leave a trace."""
    proof = 'modules = ["skipproof_alpha"]'
    return proof, f'{proof}, trace = "alpha.inference"{digest}'


TEST = "def test_a(): "
XFAIL = "@pytest.mark.xfail(reason='bug 7')\ndef test_a(): assert "
UNITTEST = "import unittest\n\nclass TestIt(unittest.TestCase):\n"
ALPHA = "@pytest.mark.requires('alpha')\n"
IN_WORKERS = "hasattr(session.config, 'workerinput')"
NO_OTHER = ("--max-worker-restart", "0")
EACH = ("--dist", "each")
PLANTS: dict[str, Plant] = {
    # Usage.
    "`--skipproof` names one that is not in the table": lambda project: run(project, environment="fulll"),
    "`requires` names a capability that is not in the table": file(
        REAL, "@pytest.mark.requires('alhpa')\n" + TEST + "1"
    ),
    "`requires` without a name": file(REAL, "@pytest.mark.requires()\n" + TEST + "1"),
    "A key of the table is misspelt": table("locks =", "lokcs ="),
    "An environment promises what is not in the table": table('["alpha", "beta"]', '["alpha", "betta"]'),
    "A value of an INI file has a comment behind it": commented,
    "Receipts are written among the sources": table('".matrix"', '"tests/left"'),
    "A suite does not exist": table('"tests/real"]', '"tests/rael"]'),
    "The table stands in two files": also("[skipproof]\n"),
    "The table stands where nobody reads it": also("[tool:skipproof]\n"),
    "One test file stands for the whole suite": options(UNIT),
    "`-p no:skipping` leaves pytest without skips": options("-p", "no:skipping"),
    "A promised library raises on import": lambda project: run(project, alpha="raise RuntimeError('no AVX')"),
    "A promised library imports, but lacks a submodule": lambda project: run(
        project, alpha="import skipproof_alpha.kernels"
    ),
    "A promised library is not installed": lambda project: run(project, alpha=None),
    "Only an empty folder is left of a promised library": hollow,
    "A file of a promised distribution is gone": halved,
    "A library leaks into the slim environment": leaked,
    "A package is upgraded by hand": installed(upgraded),
    "A lock leaves the version open": installed(
        lambda project: project.write("locks/full.txt", "skipproof-alpha==1.*\n")
    ),
    "A lock pins one package twice": installed(
        lambda project: project.write("locks/full.txt", "skipproof-alpha==1.5\nskipproof-alpha==1.6\n")
    ),
    "A pinned package is installed from somebody's folder": installed(
        lambda project: (
            next(project.site.glob("*alpha*.dist-info/METADATA"))
            .with_name("direct_url.json")
            .write_text('{"url": "file:///elsewhere", "dir_info": {"editable": true}}', encoding="utf-8")
        )
    ),
    "A file of a package is edited by hand": installed(
        lambda project: (project.site / "skipproof_alpha.py").write_text("x = 1\n", encoding="utf-8")
    ),
    "A package that the lock does not pin": installed(lambda project: project.install("stranger", "1.0", {})),
    "A path file that no package brought": installed(
        lambda project: (project.site / "elsewhere.pth").write_text(str(project.root), encoding="utf-8")
    ),
    "An environment promises hardware that is not there": lambda project: run(project, environment="big"),
    # Canaries.
    "The gate went blind": blinded,
    # Run.
    "`pytest.skip` in a test that can run": file(UNIT, TEST + "pytest.skip('later')"),
    "`pytest.skip` in a fixture": file(UNIT, "@pytest.fixture\ndef x(): pytest.skip('later')\n\ndef test_a(x): pass"),
    "`skipif` with a condition that is always true": file(
        UNIT, "@pytest.mark.skipif(True, reason='flaky')\n" + TEST + "pass"
    ),
    "`importorskip` in a test": file(UNIT, TEST + "pytest.importorskip('skipproof_none')"),
    "`importorskip` at the top of a file": file(REAL, "pytest.importorskip('skipproof_none')\n\n" + TEST + "pass"),
    "A skip whose reason lies": file(
        REAL, ALPHA + "@pytest.mark.skipif(True, reason='no alpha')\n" + TEST + "pass", environment="bare"
    ),
    "A mark is removed, and the test passes without what it needs": file(
        CONFTEST,
        "@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session):\n"
        "    for item in session.items: item.own_markers.clear()\n\n"
        "@pytest.fixture(autouse=True)\ndef alpha(monkeypatch):\n"
        "    import sys\n    monkeypatch.setitem(sys.modules, 'skipproof_alpha', sys)",
        environment="bare",
    ),
    "An `xfail` that fails": file(UNIT, XFAIL + "False"),
    "An `xfail` that passes": file(UNIT, XFAIL + "True"),
    "`-k` leaves a test out": options("-k", "alpha"),
    "`-m` leaves a test out": options("-m", "requires"),
    "`--deselect` leaves a test out": options("--deselect", ID),
    "`--ignore` leaves a file out": options("--ignore", UNIT),
    "`--ignore-glob` in `addopts` leaves a file out": table('"--tb=line"', '"--ignore-glob=*/test_a.py"'),
    "`collect_ignore` in a conftest leaves a file out": file(CONFTEST, "collect_ignore = ['tests/unit/test_a.py']"),
    "A conftest takes tests out of the collection": file(
        CONFTEST, "def pytest_collection_modifyitems(items): del items[0]"
    ),
    "A syntax error under `--continue-on-collection-errors`": file(
        SECOND, "def test_b(: pass", "--continue-on-collection-errors"
    ),
    "A test file holds no test any more": file(SECOND, "def check_b(): pass"),
    "A folder whose name pytest passes over by default": file("tests/unit/build/test_b.py", TEST + "pass"),
    "A decorator makes a function of a test class": file(
        SECOND, f"{PASSES}\n@lambda owner: print\nclass TestB:\n    def test_b(self): pass"
    ),
    "A test file is renamed": renamed,
    "A test file lies beside the suites": file("tests/more/test_c.py", TEST + "pass"),
    "A test is defined twice": file(UNIT, TEST + "pass\n\n" + TEST + "pass"),
    "A test is defined under a condition that does not hold": file(
        UNIT, TEST + "pass\n\nif False:\n    def test_b(): pass"
    ),
    "A test class says that it is not one": file(
        SECOND, "class TestIt:\n    __test__ = False\n\n    def test_b(self): pass\n\ndef test_c(): pass"
    ),
    "Parametrised ids that vanish where a library is missing": vanishing,
    "Parametrised ids that vanish from a suite that `testpaths` writes with a slash": lambda project: vanishing(
        project, '"tests/unit/", "./tests/real"'
    ),
    "Parametrised ids that vanish from a suite of one file": lambda project: vanishing(
        project, f'"{UNIT}", "tests/real"'
    ),
    "A test that a plugin collects lies in no suite": file(
        CONFTEST,
        "def pytest_collection_modifyitems(session, items):\n"
        "    path = session.config.rootpath / 'setup.py'\n    path.write_text('def test_a(): pass')\n"
        "    items.extend(pytest.Module.from_parent(session, path=path).collect())",
    ),
    "Parameters that come from a missing library": file(UNIT, "@pytest.mark.parametrize('x', [])\ndef test_a(x): pass"),
    "A doctest in the docstring of a test file": file(
        SECOND, "def test_b():\n    '''Add.\n\n    >>> 1 + 1\n    3\n    '''"
    ),
    "A document of doctests": file("tests/unit/test_guide.md", ">>> 1 + 1\n3"),
    "Doctests that only `load_tests` adds": file(
        SECOND, f"import doctest\n\n{PASSES}\ndef load_tests(loader, tests, pattern): return doctest.DocFileSuite('x')"
    ),
    "Tests that only `load_tests` makes": file(
        SECOND, f"{PASSES}\ndef load_tests(loader, tests, pattern): return [Case(n) for n in range(9)]"
    ),
    "A test without a mark needs a library": file(REAL, "def test_b(): import skipproof_alpha", environment="bare"),
    "`-x` ends the run early": file(
        UNIT, TEST + "assert False\n\n" + "".join(f"def test_{name}(): pass\n\n" for name in "bcd"), "-x"
    ),
    "`--setup-only` runs no test's body": options("--setup-only"),
    "`pytest.exit` in a test, with exit status 0": file(UNIT, TEST + "pytest.exit('done', returncode=0)"),
    "A hook turns a failed test into a passed one": file(
        CONFTEST,
        "@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    report = yield\n    report.outcome = 'passed'\n    return report\n\n"
        "@pytest.fixture(autouse=True)\ndef broken(): raise ValueError",
    ),
    "A hook swallows what a test raises": failing(
        "@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_call():\n    (yield).force_result(None)"
    ),
    "A hook calls a test, and swallows what it raises": failing(
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_pyfunc_call(pyfuncitem):\n"
        "    try: pyfuncitem.obj()\n    except Exception: pass\n    return True"
    ),
    "A hook says that it has called a test": failing(
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_pyfunc_call(): return True"
    ),
    "A fixture replaces what runs a test": failing(
        "@pytest.fixture(autouse=True)\ndef quiet(request): request.node.runtest = lambda: None"
    ),
    "A test is async, and no plugin runs it": file(UNIT, "async " + TEST + "assert False"),
    "A test of unittest is async, and nobody awaits it": file(
        UNIT, UNITTEST + "    async def test_a(self): self.fail()", "-W", "ignore"
    ),
    "A test of unittest is a generator": file(UNIT, UNITTEST + "    def test_a(self): yield self.fail()"),
    "A decorator turns a test into a generator": file(
        UNIT,
        "def each(test): return lambda: (test() for _ in 'ab')\n\n@each\n" + TEST + "assert False",
        "-W",
        "ignore",
    ),
    "A test does not await what it calls": file(
        UNIT, "async def check(): assert False\n\n" + TEST + "check()", "-W", "default"
    ),
    "A test returns what it should assert": file(UNIT, TEST + "return 1 == 2", "-W", "ignore"),
    "An assertion fails in a thread": file(
        UNIT,
        "import threading\n\ndef check(): assert False\n\ndef test_a():\n"
        "    thread = threading.Thread(target=check, name='worker')\n    thread.start()\n    thread.join()",
        "-W",
        "ignore",
    ),
    "An assertion fails in a finalizer": file(
        UNIT, "class Late:\n    def __del__(self): assert False\n\n" + TEST + "Late()", "-W", "ignore"
    ),
    "A hook turns the exit status of a red run to 0": file(
        CONFTEST,
        "def pytest_sessionfinish(session): session.exitstatus = 0\n\n"
        "@pytest.fixture(autouse=True)\ndef later(): pytest.skip('later')",
    ),
    "A file of data is changed while the run goes on": data_changed,
    "A file is changed while the run goes on": file(UNIT, TEST + "open(__file__, 'a').write('# changed')"),
    "A fake engine stands in for real inference": table(*traced()),
    "A model file is replaced by another": weighed("0" * 64),
    # Under pytest-xdist.
    "A worker dies in a test": distributed(1, file(UNIT, f"import os\n\n{TEST}os._exit(0)")),
    "A worker dies after its last test": distributed(
        1, file(CONFTEST, f"import os\n\ndef pytest_sessionfinish(session): {IN_WORKERS} and os._exit(0)", *NO_OTHER)
    ),
    "Each worker collects other tests": distributed(
        2, file(UNIT, "import os\n\n@pytest.mark.parametrize('x', [os.getpid()])\ndef test_a(x): pass")
    ),
    "A hook turns a failed test into a passed one in the workers only": distributed(
        1,
        file(
            CONFTEST,
            "@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport(item, call):\n    report = yield\n"
            f"    if {IN_WORKERS.replace('session', 'item')}: report.outcome = 'passed'\n    return report\n\n"
            "@pytest.fixture(autouse=True)\ndef broken(): raise ValueError",
        ),
    ),
    "A test skips itself in one worker of `--dist each`": distributed(
        2,
        file(UNIT, f"import os\n\n{TEST}'gw1' in os.environ['PYTEST_XDIST_WORKER'] and pytest.skip('once')", *EACH),
    ),
    "`--tx` names another interpreter": distributed(0, options(*XDIST, "-d", "--tx", "popen//python=python3")),
    "`--looponfail` runs what failed last": distributed(0, options(*XDIST, "--looponfail")),
}
