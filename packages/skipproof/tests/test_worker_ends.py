"""How a worker of pytest-xdist ends, asked in this process: one that is refused may be killed before it tells."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from skipproof import workers
from skipproof.observation import Observation
from skipproof.workers import Worker, Workers

if TYPE_CHECKING:
    from support.project import Project


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker whose coverage should be measured, and is not."""
    monkeypatch.setattr(workers, "running_coverage", lambda: None)
    monkeypatch.setattr(workers, "run_facts", lambda _: {"kernels": "avx2"})
    config = SimpleNamespace(workeroutput={})
    observer = SimpleNamespace(seen=Observation(), end=lambda: None)
    return Worker(cast("Any", config), cast("Any", observer), measured=True)


def told(worker: Worker) -> workers.Testimony:
    """Return what a worker tells when its session finishes."""
    worker.pytest_sessionfinish()
    [text] = cast("Any", worker)._config.workeroutput.values()  # noqa: SLF001
    testimony = pickle.loads(text)  # noqa: S301
    assert isinstance(testimony, workers.Testimony)
    return testimony


def test_worker_without_coverage_is_refused(worker: Worker) -> None:
    """A worker that coverage does not measure, although the controller is, ends with the step to take."""
    with pytest.raises(pytest.exit.Exception, match="not the workers of pytest-xdist: add"):
        worker.pytest_collection()
    assert "patch in" in str(told(worker).refused)


def test_wrong_mark_ends_the_worker(worker: Worker) -> None:
    """A usage error of a hook is the worker's last word, not a crash."""
    hook = worker.pytest_collection_finish()
    next(hook)
    with pytest.raises(pytest.exit.Exception, match="a wrong mark"):
        hook.throw(pytest.UsageError("a wrong mark"))
    assert told(worker).refused == "a wrong mark"


def test_interrupted_worker_says_so(worker: Worker) -> None:
    """A worker that was interrupted tells that, and how its libraries use the machine."""
    worker.pytest_keyboard_interrupt()
    testimony = told(worker)
    assert (testimony.left, testimony.machine) == (True, {"kernels": "avx2"})


def test_only_a_worker_has_other_tests(project: Project) -> None:
    """A report of a file that could not be collected is no worker's."""
    controller = Workers(project.contract, None)
    controller.seen["gw0"] = Observation()
    for name in ("gw0", "tests/test_a.py"):
        controller.pytest_collectreport(cast("Any", SimpleNamespace(nodeid=name)))
    assert controller.ran() is False
