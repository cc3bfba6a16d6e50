"""Runs without a named environment: capabilities are detected, and the skip reasons are the same."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from skipproof.table import read_contract

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project

NEEDS_ALPHA = """
    import pytest

    pytestmark = pytest.mark.requires("alpha")


    @pytest.fixture
    def alpha():
        import skipproof_alpha
        return skipproof_alpha


    def test_alpha(alpha):
        assert alpha
"""


def test_what_is_missing_skips_with_the_derived_reason(project: Project) -> None:
    """A test that needs a missing library skips with the derived reason, before its fixtures run."""
    project.write("tests/real/test_a.py", NEEDS_ALPHA)
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    reason = read_contract(project.root).reason(["alpha"])
    result.stdout.fnmatch_lines([f"SKIPPED [[]1[]] tests/real/test_a.py: {reason}"])
    assert result.ret == pytest.ExitCode.OK


def test_what_is_here_runs(project: Project) -> None:
    """A test runs if what it needs is installed."""
    project.install_alpha()
    project.write("tests/real/test_a.py", NEEDS_ALPHA)
    project.run().assert_outcomes(passed=1)


def test_every_test_requires_what_the_run_does(project: Project) -> None:
    """A run that requires a capability skips every test where it is missing, each with the derived reason."""
    project.install_alpha()
    project.install_beta()
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    project.write("tests/real/test_a.py", NEEDS_ALPHA)
    result = project.run("--skipproof", "full", "--skipproof-also-requires", "gpu", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*needs gpu: a machine with a GPU", "*needs gpu: a machine with a GPU"])
    assert result.ret == pytest.ExitCode.OK
    assert [test.requires for test in project.receipt("full").tests.values()] == [["gpu"], ["alpha", "gpu"]]
    project.run("--skipproof-also-requires", "alpha").assert_outcomes(passed=2)


def test_marks_of_class_and_module_add_up(project: Project) -> None:
    """The marks of a test, its class and its module add up."""
    project.write(
        "tests/real/test_a.py",
        """
        import pytest

        pytestmark = pytest.mark.requires("gpu")


        @pytest.mark.requires("beta")
        class TestIt:
            @pytest.mark.requires("alpha", "beta")
            def test_it(self):
                raise AssertionError
        """,
    )
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    reason = "needs alpha, beta, gpu: pip install alpha; pip install beta; a machine with a GPU"
    result.stdout.fnmatch_lines([f"SKIPPED [[]1[]] tests/real/test_a.py:*: {reason}"])


def test_only_what_is_asked_for_is_imported(project: Project) -> None:
    """A plain run imports only the libraries that its tests need."""
    project.install_alpha("raise RuntimeError('imported')")
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    project.write("tests/real/test_a.py", NEEDS_ALPHA)
    project.run("tests/unit").assert_outcomes(passed=1)


def test_listing_tests_imports_nothing(project: Project) -> None:
    """--collect-only imports no library."""
    project.install_alpha("raise RuntimeError('imported')")
    project.write("tests/real/test_a.py", NEEDS_ALPHA)
    result = project.run("--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["tests/real/test_a.py::test_alpha"])


def test_broken_library_stops_the_run(project: Project) -> None:
    """A broken library stops the run."""
    project.install_alpha("raise RuntimeError('no kernel image')")
    project.write("tests/real/test_a.py", NEEDS_ALPHA)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: module skipproof_alpha is installed but broken (RuntimeError: no kernel image); install it again"]
    )


@pytest.mark.parametrize(
    ("mark", "fact"),
    [
        ('"alhpa"', "no capability is called 'alhpa' (did you mean 'alpha'?); there are: alpha, beta, gpu"),
        ("", "@pytest.mark.requires takes capabilities, not () {}; there are: alpha, beta, gpu"),
        ('name="alpha"', "@pytest.mark.requires takes capabilities, not () {'name': 'alpha'}; there are: alpha"),
        ('["alpha"]', "@pytest.mark.requires takes capabilities, not (['alpha'],) {}; there are: alpha"),
    ],
)
def test_wrong_mark_is_a_usage_error(project: Project, mark: str, fact: str) -> None:
    """A mark that names nothing known is a usage error."""
    project.write(
        "tests/unit/test_a.py", f"import pytest\n\n@pytest.mark.requires({mark})\ndef test_a():\n    assert True\n"
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    [line] = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert line.startswith(f"ERROR: tests/unit/test_a.py::test_a: {fact}")


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--skipproof", "ful"], "no environment is called 'ful' (did you mean 'full'?); there are: bare, full, big"),
        (
            ["--skipproof-also-requires", "cud"],
            "--skipproof-also-requires: no capability is called 'cud'; there are: alpha, beta, gpu",
        ),
        (
            ["--skipproof-session", "s"],
            "--skipproof-session s needs an environment: add --skipproof ENVIRONMENT",
        ),
        (
            ["--skipproof", "bare", "--skipproof-session", "a/b"],
            "a session cannot be called 'a/b': use letters, digits",
        ),
        (
            ["--skipproof", "bare", "tests/unit/test_a.py"],
            "--skipproof runs whole suites (tests/unit, tests/real), ",
        ),
        (["--skipproof", "bare", "tests/unit/x"], "not tests/unit/x; to run a part, drop --skipproof"),
    ],
)
def test_wrong_option_is_a_usage_error(project: Project, arguments: list[str], fact: str) -> None:
    """A wrong option is a usage error."""
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert fact in result.stderr.str()
    assert not (project.root / ".matrix").exists()


@pytest.mark.parametrize("text", ["", "[tool]\nother = 1\n", None])
@pytest.mark.parametrize("options", [["--skipproof", "bare"], ["--skipproof-also-requires", "alpha"]])
def test_a_contract_that_is_asked_for_has_to_be_there(project: Project, text: str | None, options: list[str]) -> None:
    """An option of the plugin is a usage error in a project without a table."""
    project.write("pytest.ini", "[pytest]\n")
    project.write("pyproject.toml", text or "")
    if text is None:
        (project.root / "pyproject.toml").unlink()
    result = project.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: * has no table [[]tool.skipproof[]] in pyproject.toml, *: add one, *"])


@pytest.mark.parametrize("text", ["[tool]\nskipproof = 1\n", "[tool.skipproof]\n"])
def test_wrong_table_is_a_usage_error(project: Project, text: str) -> None:
    """A wrong table is a usage error even without an option."""
    project.write("pytest.ini", "[pytest]\n")
    project.write("pyproject.toml", text)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *tool.skipproof*"])


@pytest.mark.parametrize("text", [None, "", "[tool.other]\n"])
def test_without_a_table_the_plugin_does_nothing(project: Project, text: str | None) -> None:
    """A project without a table gets no header, no mark, no skip and no error from the plugin."""
    project.write("pytest.ini", "[pytest]\naddopts = -p no:cacheprovider\n")
    project.write("pyproject.toml", text or "")
    if text is None:
        (project.root / "pyproject.toml").unlink()
    project.write("tests/unit/test_a.py", "import pytest\n\n@pytest.mark.requires('alpha')\ndef test_a(): pass\n")
    result = project.run("-rs", "-Wignore")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*skipproof:*")
    listed = project.run("--markers")
    listed.stdout.no_fnmatch_line("*requires(*")
    assert {path.name for path in project.root.iterdir()} <= {
        *("pytest.ini", "pyproject.toml", "setup.py", "locks", "tests", "tmp_path")
    }


def test_options_of_others_do_not_clash(project: Project) -> None:
    """Another plugin's --environment, --session and --also-requires work beside this one's options."""
    project.write(
        "tests/unit/test_a.py", "def test_a(pytestconfig): assert pytestconfig.getoption('environment') == 'x'\n"
    )
    project.write("tests/real/test_b.py", "def test_b(): pass\n")
    project.write(
        "conftest.py",
        """
        def pytest_addoption(parser):
            for name in ("--environment", "--session", "--also-requires"):
                parser.addoption(name)
        """,
    )
    result = project.run("--environment", "x", "--session", "y", "--also-requires", "z", "--skipproof", "bare")
    assert result.ret == pytest.ExitCode.OK
    assert project.receipt("bare").environment == "bare"


def test_suites_have_to_be_named(project: Project) -> None:
    """A named run without testpaths is a usage error."""
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('testpaths = ["tests/unit", "tests/real"]', ""))
    result = project.run("--skipproof", "bare", "tests")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --skipproof runs whole suites (name them in testpaths), not tests; *"])


def test_header_without_environment(project: Project) -> None:
    """The header of a plain run names Python, and says that no environment is named."""
    project.run().stdout.fnmatch_lines(
        [
            "skipproof: no environment named, *",
            f"skipproof: python {platform.python_version()} (*",
            "skipproof: processor: *",
        ]
    )


def test_header_names_environment_and_versions(project: Project) -> None:
    """The header of a named run names the environment and its libraries' versions."""
    project.install_alpha("__version__ = '1.5'")
    project.install_beta()
    project.run("--skipproof", "full").stdout.fnmatch_lines(
        [
            "skipproof: environment full, has alpha, beta",
            f"skipproof: python {platform.python_version()} (*",
            "skipproof: skipproof_alpha 1.5, skipproof-beta 2.5",
        ]
    )


LOADED = """
import sys
import pytest

pytest.main(["-q", "-p", "skipproof.plugin"])
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("skipproof", "pydantic", "rich")))
"""


def test_without_a_table_nothing_heavy_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that has the plugin by chance does not pay for what it does not use."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "test_a.py").write_text("def test_a(): pass\n", encoding="utf-8")
    command = [sys.executable, "-c", LOADED]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    parts = ("contract", "machine", "plugin", "table_files")
    assert ended.stdout.splitlines()[-1].split() == ["skipproof", *(f"skipproof.{part}" for part in parts)]


def test_a_pattern_is_no_suite(project: Project) -> None:
    """A suite that pytest finds by a pattern is named as what is wrong, not the folder that it matched."""
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('["tests/unit", "tests/real"]', '["tests/*"]'))
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: testpaths has the pattern 'tests/[*]': name each suite's folder, a receipt *"])


@pytest.mark.parametrize("file", [".matrix", ".matrix/receipts"])
def test_a_file_where_receipts_belong_is_a_usage_error(project: Project, file: str) -> None:
    """A run that can leave no receipt says so, and where, before its first test."""
    project.write(file, "")
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    result = project.run("--skipproof", "bare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no receipt can be written (*.matrix/receipts'): correct what is there, or *"])


def test_a_fact_may_be_a_number(project: Project) -> None:
    """What a project tells of its libraries is told as a text, whatever it was."""
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    project.write("conftest.py", "def pytest_skipproof_facts(): return {'threads': 8}\n")
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK
    assert project.receipt("bare").machine["threads"] == "8"


def test_plugin_is_imported_as_it_is_written(project: Project) -> None:
    """Pytest does not rewrite the plugin's modules, although it rewrites those of any plugin that is installed."""
    project.write(
        "conftest.py",
        """
        import sys
        import pytest

        pytest.register_assert_rewrite("skipproof")

        def pytest_report_header():
            own = [name for name in sys.modules if name.startswith("skipproof.")]
            loaders = {name: type(sys.modules[name].__spec__.loader).__name__ for name in own}
            return f"rewritten: {[name for name in own if loaders[name] == 'AssertionRewritingHook']}"
        """,
    )
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "skipproof.plugin", "-W", "ignore", "--co"]
    shown = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False).stdout
    assert "rewritten: ['skipproof.plugin']" in shown
