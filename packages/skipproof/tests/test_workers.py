"""Named runs under pytest-xdist: what its workers see reaches the one receipt, and nothing is lost with a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from skipproof import machine
from support.project import XDIST
from support.runs import NEEDS_ALPHA, PASSES, REAL, REASON, UNIT, violations
from test_named_run_end import Running
from test_trace import GENERATES, WEIGHTS, demand_traces

if TYPE_CHECKING:
    from support.project import Project

GROUPED = """
    import pytest


    @pytest.mark.parametrize("number", range(3))
    def test_number(number): pass


    @pytest.mark.xdist_group("last")
    def test_grouped(): pass
"""


@pytest.fixture
def project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that runs in one worker."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    project.workers = 1
    return project


@pytest.mark.parametrize("mode", ["load", "loadscope", "loadfile", "loadgroup", "worksteal", "each"])
def test_receipt_is_the_same_as_of_a_plain_run(project: Project, mode: str) -> None:
    """In every mode, ids, their order and the outcomes are those of a run in one process."""
    project.write(UNIT, GROUPED)
    project.write(REAL, NEEDS_ALPHA)
    project.workers = 2
    result = project.run("--skipproof", "bare", "--dist", mode)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["bare: 4 tests ran, 1 skipped with exactly the derived reason, none is missing; *"])
    project.workers = 0
    project.run("--skipproof", "bare", "--skipproof-session", "plain", *XDIST)
    here, plain = project.receipt("bare"), project.receipt("plain")
    assert [(name, test.outcome, test.reason) for name, test in here.tests.items()] == [
        (name, test.outcome, test.reason) for name, test in plain.tests.items()
    ]
    assert here.tests[f"{REAL}::test_alpha"].reason == REASON
    assert (here.machine, here.violations) == (plain.machine, [])


def test_traces_and_facts_come_from_the_workers(project: Project) -> None:
    """What is generated in a worker, even after its last test, and how it used the machine, are in the receipt."""
    demand_traces(project)
    project.install_alpha()
    project.install_beta()
    project.write("model/model.safetensors", "weights")
    project.write(REAL, GENERATES)
    project.write(
        "conftest.py",
        """
        import os, sys

        import pytest

        def pytest_skipproof_facts():
            return {"worker": os.environ.get("PYTEST_XDIST_WORKER", "none")}

        @pytest.fixture(scope="session", autouse=True)
        def late():
            yield
            sys.audit("skipproof_alpha.generate", "model", 5, 0.0)
        """,
    )
    project.workers = 2
    assert project.run("--skipproof", "full", "--dist", "each").ret == pytest.ExitCode.OK
    receipt = project.receipt("full")
    [left] = receipt.tests[f"{REAL}::test_alpha"].traces
    assert (left.model, left.tokens) == (WEIGHTS, 12)
    assert receipt.machine == machine.facts() | {"worker": "gw0 / gw1"}


def test_wrong_mark_is_a_usage_error(project: Project) -> None:
    """A wrong mark ends the run as in one process, and is not taken for a crash."""
    project.write(UNIT, "import pytest\n\n@pytest.mark.requires('alhpa')\ndef test_a(): pass\n")
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {UNIT}::test_a: no capability is called 'alhpa' (did you mean 'alpha'*"])
    result.stdout.no_fnmatch_line("*crashed*")


def test_workers_without_coverage_are_a_usage_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose own process alone is measured stops before its first test."""
    Running(".coverage.bare").measure(monkeypatch)
    project.write(UNIT, PASSES)
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: *not the workers of pytest-xdist: add "subprocess" to patch in *'])


def test_coverage_of_workers_is_gathered(project: Project) -> None:
    """The lines that a worker reaches are in the run's one coverage file."""
    project.write(UNIT, PASSES)
    # A separate process sees everything that is installed here, and the project's lock names nothing.
    project.write("conftest.py", "from skipproof import search_path as s\ns.folders = s.libraries = list\n")
    text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
    project.write(
        "pyproject.toml",
        text.replace("branch = true", 'branch = true\nsource_dirs = ["tests"]\npatch = ["subprocess"]'),
    )
    data = "--data-file=.matrix/coverage/.coverage.bare"
    options = ["-p", "skipproof.plugin", *XDIST, "-n", "1", "--skipproof", "bare"]
    command = [sys.executable, "-m", "coverage", "run", data, "--context=bare", "-m", "pytest", *options]
    environment = os.environ | {"PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, cwd=project.root, check=True, env=environment, capture_output=True, text=True)
    assert "No data was collected" not in run.stdout + run.stderr, "the workers' data is the run's"
    gathered = project.receipt("bare").gathered
    assert gathered is not None
    assert (gathered.lines[UNIT], gathered.contexts) == (1, ["bare"])


@pytest.mark.parametrize(
    ("code", "option", "fact"),
    [
        (
            "pytest.exit('bye', returncode=0)",
            [],
            "tests/unit, tests/real: pytest.exit stopped the run with exit status 0, as if it had finished; ",
        ),
        ("assert False", ["-x"], f"{UNIT}::test_b: was collected but has no outcome; let the run finish, without -x"),
        ("import os; os._exit(0)", ["--max-worker-restart", "0"], f"{UNIT}::test_b: was collected but has no outcome;"),
    ],
    ids=["exit", "first failure", "death"],
)
def test_run_that_ends_early_says_so(project: Project, code: str, option: list[str], fact: str) -> None:
    """However a run in workers ends early, it is red in the words of a run in one process, and no id is missing."""
    project.write(UNIT, f"import pytest\n\ndef test_a(): {code}\n\ndef test_b(): pass\n")
    found = violations(project.run("--skipproof", "bare", *option), project, "bare")
    assert [line for line in found if line.startswith(fact)]
    assert list(project.receipt("bare").tests) == [f"{UNIT}::test_a", f"{UNIT}::test_b"]


def test_interrupt_in_a_worker_leaves_an_unfinished_receipt(project: Project) -> None:
    """A run that is interrupted in a worker has not finished."""
    project.write(UNIT, "def test_a(): raise KeyboardInterrupt\n")
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.INTERRUPTED
    assert project.receipt("bare").finished is None


def test_death_names_the_worker_and_its_last_tests(project: Project) -> None:
    """A worker that dies is a violation with the tests that it took along, at most five of them by name."""
    numbers = "import os, pytest\n\n@pytest.mark.parametrize('x', range(9))\n"
    project.write(UNIT, f"{numbers}def test_a(x): x == 7 and os._exit(0)\n")
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        (
            "gw0: this worker died (Not properly terminated) with what it knew of 8 of the tests "
            f"({', '.join(f'{UNIT}::test_a[{x}]' for x in range(3, 8))} and 3 before); "
            "find what ends its process, and run it again"
        )
    ]


def test_report_that_no_worker_sent_is_red(project: Project) -> None:
    """A report that was made in the controller is not taken for a test that ran."""
    project.write(UNIT, PASSES)
    project.write(
        "conftest.py",
        """
        import pytest

        def pytest_xdist_node_collection_finished(node, ids):
            report = pytest.TestReport(ids[0], ("", 0, ""), {}, "passed", None, "call")
            node.config.hook.pytest_runtest_logreport(report=report)
        """,
    )
    [violation] = violations(project.run("--skipproof", "bare"), project, "bare")
    assert violation.startswith(f"{UNIT}::test_a: was reported as passed but never ran")


def test_forked_test_ran(project: Project) -> None:
    """A test that runs in a fork of its own, as under pytest-forked, is seen there, in a plain run and in a worker."""
    project.write(UNIT, PASSES)
    project.write(
        "conftest.py",
        """
        import marshal, os

        import pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            end, start = os.pipe()
            child = os.fork()
            if not child:
                try:
                    reports = [report._to_json() for report in runtestprotocol(item, log=False)]
                    os.write(start, marshal.dumps(reports))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            for report in marshal.loads(os.read(end, 100_000)):
                item.ihook.pytest_runtest_logreport(report=pytest.TestReport._from_json(report))
            return True
        """,
    )
    for workers in (0, 1):
        project.workers = workers
        assert project.run("--skipproof", "bare", *XDIST).ret == pytest.ExitCode.OK


def test_runs_without_an_environment_are_left_to_pytest(project: Project) -> None:
    """Without an environment named, the tests that lack something skip in the workers as they do anywhere."""
    project.write(REAL, NEEDS_ALPHA)
    result = project.run()
    result.assert_outcomes(skipped=1)
    assert not (project.root / ".matrix").exists()
