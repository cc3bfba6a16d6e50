"""Watches what the body of each test does, from as close to it as pytest allows.

What the body raises is noted before any hook can turn it into a pass, and so is a body that never ran: a coroutine
that nobody awaited, a generator that nobody iterated, a call that a hook replaced. A test also proves nothing when it
returns its verdict instead of asserting it, or fails where that ends no test: in a thread, in a finalizer, or in a
coroutine that it left behind.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import threading
from contextlib import contextmanager
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any

import pytest

from .outcomes import Needs, TestRecord, class_names

if TYPE_CHECKING:
    import warnings
    from collections.abc import Callable, Generator, Iterator

_THREAD_WARNING = "PytestUnhandledThreadExceptionWarning"
# AsyncMock leaves such coroutines where code under test forgets to await a mock, which says nothing about the test.
_NEVER_AWAITED = re.compile(r"coroutine '(?!AsyncMock)(?P<name>[^']+)' was never awaited")


class _Watch:
    """What is known of the function of one test while it runs.

    Attributes:
        installed: True when the test is run by calling a function that is watched.
        entered: True when that function began to run.
        is_async: True when calling it only makes a coroutine.
        raised: name of the exception it raised, or None.
        failure: names of that exception's classes.
        result: what it returned.
    """

    __slots__ = ("entered", "failure", "installed", "is_async", "raised", "result")

    def __init__(self) -> None:
        self.installed = self.entered = self.is_async = False
        self.raised: str | None = None
        self.failure: list[str] = []
        self.result: object = None

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and is of the same kind, under watch."""
        self.installed = True
        self.is_async = _is_async(function)
        watched = self._awaiting(function) if self.is_async else self._calling(function)
        # Only what other plugins ask for: the rest takes longer than many a test.
        return functools.update_wrapper(watched, function, assigned=("__name__", "__module__"))

    def _awaiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(*args: object, **kwargs: object) -> object:
            __tracebackhide__ = True
            self._enter()
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                self.note(error)
                raise

        return watched

    def _calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: object, **kwargs: object) -> object:
            __tracebackhide__ = True
            self._enter()
            try:
                self.result = function(*args, **kwargs)
            except BaseException as error:
                self.note(error)
                raise
            return self.result

        return watched

    def _enter(self) -> None:
        self.entered = True
        self.raised, self.failure = None, []  # what a decorator or another runner tries again counts by its last try

    def note(self, error: BaseException) -> None:
        """Note what it raised."""
        self.raised, self.failure = type(error).__name__, class_names(error)

    def hollow(self) -> str | None:
        """Return why a pass of this test proves nothing, with the next step, or None."""
        if self.is_async and not self.entered:
            return _never_ran("a coroutine")
        match self.result:
            case CoroutineType() as coroutine if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                return _never_ran("a coroutine")
            case GeneratorType() as generator if inspect.getgeneratorstate(generator) == inspect.GEN_CREATED:
                return _never_ran("a generator")
            case AsyncGeneratorType():
                return _never_ran("an async generator")
            case verdict if type(verdict).__name__ in ("bool", "bool_"):  # the second one is numpy's
                return f"returned {verdict}, which nobody looks at; assert it instead"
        return None


def _is_async(function: Callable[..., Any]) -> bool:
    if type(function) is FunctionType and not vars(function):  # most are, and without attributes the flag tells
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function)


def _never_ran(what: str) -> str:
    step = "remove its yield"
    if "generator" not in what:
        step = "run it by a plugin for async tests, or in unittest.IsolatedAsyncioTestCase"
    return f"returned {what} that nobody ran, so that nothing in it was tested; {step}"


class Witness:
    """The hooks that watch the body of each test; what they see is noted in the test's record.

    Arguments:
        record_of: returns the record of a test by its item.
        asserts: says whether a test can assert something.

    Attributes:
        tries: how often any test was set up.
    """

    def __init__(self, record_of: Callable[[pytest.Item], TestRecord], asserts: Callable[[pytest.Item], bool]) -> None:
        self._record_of = record_of
        self._asserts = asserts
        self._item: pytest.Item | None = None
        self._record = TestRecord(Needs())  # of no test, until the first one begins
        self._watch = _Watch()
        self.tries = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Listen to threads and finalizers while tests run."""
        with _chained(threading, "excepthook", self._in_thread), _chained(sys, "unraisablehook", self._unraisable):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch what runs the test, whatever hooks run around it and how often they run it."""
        self._item, self._record = item, self._record_of(item)
        with _replaced(item, "runtest", functools.partial(self._run, item, self._record, item.runtest)):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Forget what an earlier try left: only the last one counts."""
        self.tries += 1
        self._record.raised, self._record.hollow, self._record.forged = None, None, True
        self._record.failure = []

    def note_phase(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, tries: int) -> None:
        """Note that a phase raised; ``tries`` is how many there were when its report was asked for."""
        if call.excinfo is None or item is not self._item or hasattr(report, "wasxfail"):
            return
        if tries == self.tries:  # pytest-retry tries the test again meanwhile, and reports the last try
            self._record.raised = call.excinfo.typename

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Watch the function itself: what the other hooks here call, and what they make of it, no longer matters."""
        function = pyfuncitem.obj
        pyfuncitem.obj = self._watch.around(function)
        try:
            return (yield)
        finally:
            pyfuncitem.obj = function

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        """Note a coroutine that a test left behind, unless a filter of warnings lets it."""
        found = _NEVER_AWAITED.match(str(warning_message.message))
        if found is not None and nodeid:
            self._note(f"left a coroutine that nobody awaited ({found['name']}); await it")

    def _run(self, item: pytest.Item, record: TestRecord, runtest: Callable[[], object]) -> None:
        """Run the test, and note what its body did."""
        __tracebackhide__ = True
        watch = self._watch = _Watch()
        must_enter = _calls_function(item)
        try:
            if _is_unittest(item):
                with self._method(item):
                    runtest()
            else:
                runtest()
        except BaseException as error:
            watch.note(error)
            raise
        else:
            record.unasserted = watch.installed and not self._asserts(item)
        finally:
            record.raised, record.failure = watch.raised or record.raised, watch.failure
            record.hollow = record.hollow or watch.hollow()
            record.forged = (must_enter or watch.installed) and not watch.entered
            self._watch = _Watch()

    @contextmanager
    def _method(self, item: Any) -> Iterator[None]:
        """Watch the method of a unittest: pytest calls an ordinary one as the item's, and unittest any other itself."""
        instance, function = item.instance, item.obj
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            # As the class defines it: a base class may give an event loop to whatever is looked up.
            method = inspect.getattr_static(instance, item.name).__get__(instance, type(instance))
            with _replaced(instance, item.name, self._watch.around(method)):
                yield
            return
        item.obj = self._watch.around(function)
        try:
            yield
        finally:
            item.obj = function

    def _in_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit or self._item is None or _expects(self._item, _THREAD_WARNING):
            return
        name = "that has ended" if args.thread is None else args.thread.name
        step = f"catch it there, or expect it with @pytest.mark.filterwarnings('ignore::pytest.{_THREAD_WARNING}')"
        self._note(f"left an exception in thread {name} that nobody handled ({_told(args)}); {step}")

    def _unraisable(self, args: sys.UnraisableHookArgs) -> None:
        if args.exc_type is not None and issubclass(args.exc_type, (AssertionError, pytest.fail.Exception)):
            self._note(f"failed where Python ignores it, in {args.object!r} ({_told(args)}); assert in the test itself")

    def _note(self, fact: str) -> None:
        self._record.hollow = self._record.hollow or fact


def _is_unittest(item: pytest.Item) -> bool:
    if not isinstance(item.parent, pytest.Class):
        return False
    unittest = sys.modules.get("unittest")
    owner = getattr(item, "cls", None)
    return unittest is not None and isinstance(owner, type) and issubclass(owner, unittest.TestCase)


def _calls_function(item: pytest.Item) -> bool:
    """Say whether running this item means to call its function: another class of item may run anything."""
    return _runs_function(type(item)) or _is_unittest(item)


@functools.cache
def _runs_function(kind: type[pytest.Item]) -> bool:
    return next(each for each in kind.__mro__ if "runtest" in vars(each)) is pytest.Function


def _expects(item: pytest.Item, warning: str) -> bool:
    """Say whether a filter for this test, or the project's settings, names this warning."""
    filters = [*item.config.getini("filterwarnings")]
    filters += [argument for mark in item.iter_markers("filterwarnings") for argument in mark.args]
    return any(warning in each for each in filters)


def _told(args: Any) -> str:
    text = next(iter(str(args.exc_value).splitlines()), "")
    return f"{args.exc_type.__name__}: {text}"[:200]


class _replaced:  # noqa: N801 - used as a function; written as one, it would take longer than many a test
    """Set an attribute of the object itself for a while."""

    __slots__ = ("_attributes", "_before", "_name", "_value")

    def __init__(self, owner: Any, name: str, value: object) -> None:
        self._attributes = vars(owner)
        self._name, self._value = name, value
        self._before = self._attributes.get(name, self._attributes)

    def __enter__(self) -> None:
        self._attributes[self._name] = self._value

    def __exit__(self, *_: object) -> None:
        if self._before is not self._attributes:
            self._attributes[self._name] = self._before
        else:
            self._attributes.pop(self._name, None)


@contextmanager
def _chained(module: Any, name: str, hear: Callable[[Any], None]) -> Iterator[None]:
    """Hear what one of Python's hooks hears, before the hook that is there."""
    before = getattr(module, name)

    def hook(args: Any) -> None:
        hear(args)
        before(args)

    with _replaced(module, name, hook):
        yield
