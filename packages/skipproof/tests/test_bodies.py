"""What a test's body does, watched in small projects: one that proves nothing is red, and no other is blamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.runs import UNIT, violations

if TYPE_CHECKING:
    from support.project import Project

CONFTEST = "conftest.py"
UNITTEST = "import unittest\n\nclass TestIt(unittest.TestCase):\n"
THREAD = """
import threading
import pytest

def run(target):
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
"""
EXPECTED = "ignore::pytest.PytestUnhandledThreadExceptionWarning"
ASYNC = "async def test_a(): assert True\n"
TWICE = """
FAILED = []

def test_a():
    if not FAILED:
        FAILED.append(1)
        assert FAILED == []
"""
RUNNERS = {
    "a hook awaits it, as anyio's": (
        """
        import asyncio, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            asyncio.run(pyfuncitem.obj())
            return True
        """,
        ASYNC,
    ),
    "an item awaits it, as pytest-asyncio's": (
        """
        import asyncio, pytest

        class Coroutine(pytest.Function):
            def runtest(self):
                test = self.obj
                self.obj = lambda: asyncio.run(test())
                super().runtest()

        def pytest_pycollect_makeitem(collector, name, obj):
            if name == "test_a":
                return Coroutine.from_parent(collector, name=name)
        """,
        ASYNC,
    ),
    "an item runs something else": (
        """
        import pytest

        class Other(pytest.Function):
            def runtest(self): pass

        def pytest_pycollect_makeitem(collector, name, obj):
            if name == "test_a":
                return Other.from_parent(collector, name=name)
        """,
        "def test_a(): pass",
    ),
    "a base class awaits it, as aiounittest's": (
        """
        import asyncio, inspect, unittest

        class AsyncCase(unittest.TestCase):
            def __getattribute__(self, name):
                found = super().__getattribute__(name)
                return (lambda: asyncio.run(found())) if inspect.iscoroutinefunction(found) else found
        """,
        "from conftest import AsyncCase\n\nclass TestIt(AsyncCase):\n    async def test_a(self): pass",
    ),
    "run again, as by pytest-rerunfailures": (
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, log=False, nextitem=nextitem)
            runtestprotocol(item, nextitem=nextitem)
            return True
        """,
        TWICE,
    ),
    "run again, as by pytest-retry": (
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if report.failed:
                item._initrequest()
                item.ihook.pytest_runtest_setup(item=item)
                item.ihook.pytest_runtest_call(item=item)
                report.outcome, report.longrepr = "passed", None
            return report
        """,
        TWICE,
    ),
    "called again": (
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_pyfunc_call(pyfuncitem):
            try:
                return (yield)
            except AssertionError:
                pyfuncitem.obj()
                return True
        """,
        TWICE,
    ),
}


def run_test(project: Project, text: str, *options: str) -> pytest.RunResult:
    """Run a project whose only test file has this text."""
    project.write(UNIT, text)
    return project.run("--skipproof", "bare", "-W", "ignore", *options)


@pytest.mark.parametrize(
    "text",
    [
        f"{UNITTEST}    def test_a(self):\n        for i in range(2):\n            with self.subTest(i=i): pass",
        "def test_a(subtests):\n    for i in range(2):\n        with subtests.test(i=i): pass",
        "import unittest\n\nclass TestIt(unittest.IsolatedAsyncioTestCase):\n    async def test_a(self): pass",
        "import pytest\n\ndef test_a():\n    with pytest.raises(ValueError): raise ValueError",
        "def each(test): return lambda: list(test() for _ in 'ab') and None\n\n@each\ndef test_a(): pass",
        "import asyncio\n\nasync def helper(): pass\n\ndef test_a(): asyncio.run(helper())",
        "from unittest.mock import AsyncMock\n\ndef test_a(): AsyncMock()()",
        "def test_a(): return 'a name'",
        "class Late:\n    def __del__(self): raise OSError\n\ndef test_a(): Late()",
        f"{THREAD}\ndef test_a(): run(exit)",
        f"{THREAD}\n@pytest.mark.filterwarnings({EXPECTED!r})\ndef test_a(): run(lambda: 1 / 0)",
        (
            f"{THREAD}\ndef test_a(monkeypatch):\n"
            "    monkeypatch.setattr(threading, 'excepthook', lambda args: None)\n    run(lambda: 1 / 0)"
        ),
    ],
    ids=[
        "subTest",
        "subtests",
        "IsolatedAsyncioTestCase",
        "raises",
        "generator that a decorator iterates",
        "coroutine that is run",
        "mock that nobody awaits",
        "value returned",
        "finalizer without an assertion",
        "thread that exits",
        "thread that is expected to fail",
        "thread whose exception is handled",
    ],
)
def test_a_body_that_ran_is_not_blamed(project: Project, text: str) -> None:
    """A test whose body ran and raised nothing where it counts is green."""
    result = run_test(project, text, "-W", "default::RuntimeWarning")
    assert result.ret == 0, result.stdout.str()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_body_that_another_plugin_runs_is_not_blamed(project: Project, runner: str) -> None:
    """A test is green when a plugin runs its body in its own way, and when the last of several tries passes."""
    hooks, text = RUNNERS[runner]
    project.write(CONFTEST, hooks)
    result = run_test(project, text, "--import-mode=prepend")
    assert result.ret == 0, result.stdout.str()


def test_a_file_of_another_kind_is_not_blamed(project: Project) -> None:
    """An item that is no function counts as run when pytest runs it, and its exception cannot be swallowed."""
    hooks = """
        import pytest

        class Check(pytest.Item):
            def runtest(self):
                if self.path.read_text(): raise ValueError

        class File(pytest.File):
            def collect(self):
                yield Check.from_parent(self, name="check")

        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".check":
                return File.from_parent(parent, path=file_path)

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call():
            try:
                yield
            except ValueError:
                pass
    """
    project.write(CONFTEST, hooks)
    project.write("tests/unit/empty.check", "")
    assert run_test(project, "def test_a(): pass").ret == 0
    project.write("tests/unit/full.check", "x")
    step = "and was reported as passed; remove the hook or plugin that swaps outcomes"
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        f"tests/unit/full.check::check: raised ValueError {step}"
    ]


@pytest.mark.parametrize(
    ("body", "raised"),
    [("def test_a(): pytest.skip('later')", "Skipped"), ("async def test_a(): raise KeyError", "KeyError")],
)
def test_whatever_a_body_raises_is_noted(project: Project, body: str, raised: str) -> None:
    """A hook cannot make a pass of a skip either, nor of what a coroutine raised."""
    hooks = """
        import asyncio, inspect, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            try:
                if inspect.iscoroutine(result := pyfuncitem.obj()):
                    asyncio.run(result)
            except BaseException:
                pass
            return True
    """
    project.write(CONFTEST, hooks)
    found = violations(run_test(project, f"import pytest\n\n{body}\n"), project, "bare")
    assert [line.partition(" and ")[0] for line in found] == [f"{UNIT}::test_a: raised {raised}"]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (f"{UNITTEST}    async def test_a(self): yield", "returned an async generator that nobody ran"),
        (
            (f"{UNITTEST}    test_a = lambda self: self.check()\n    async def check(self): self.fail()"),
            "returned a coroutine that nobody ran",
        ),
        (
            "class bool_: pass\n\ndef test_a(): return bool_()",  # as numpy 1 calls its own
            "which nobody looks at; assert it instead",
        ),
        (
            (
                "import threading\n\ndef test_a():\n"
                "    threading.excepthook(threading.ExceptHookArgs([ValueError, ValueError(), None, None]))"
            ),
            "left an exception in thread that has ended that nobody handled (ValueError: )",
        ),
    ],
)
def test_a_hollow_body_is_red(project: Project, text: str, fact: str) -> None:
    """A test whose pass proves nothing is a violation, with the fact."""
    (found,) = violations(run_test(project, text), project, "bare")
    assert fact in found


def test_what_happens_outside_tests_blames_none(project: Project) -> None:
    """An exception in a thread before the first test, and one that the project's settings expect, blame no test."""
    project.write(CONFTEST, f"{THREAD}\ndef pytest_runtestloop(): run(lambda: 1 / 0)")
    assert run_test(project, "def test_a(): pass").ret == 0
    project.write(CONFTEST, "")
    result = run_test(project, f"{THREAD}\ndef test_a(): run(lambda: 1 / 0)", "-o", f"filterwarnings={EXPECTED}")
    assert result.ret == 0
