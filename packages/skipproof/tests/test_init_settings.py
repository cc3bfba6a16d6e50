"""``skipproof init`` follows the settings that pytest and coverage have already."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from support.adoption import MINIMAL, adopt, lay_out

if TYPE_CHECKING:
    from support.project import Project


@pytest.mark.parametrize(
    "case",
    [
        ("-m 'not stress' -q", "stress", "stress", "'not stress'"),
        ("-m slow", "rest", "not (slow)", "slow"),
        ('-m\\"not stress\\"', "stress", "stress", "'not stress'"),
        ("-m=slow", "rest", "not (slow)", "slow"),
        ("-q", None, "", ""),
    ],
)
@pytest.mark.parametrize("runner", ["nox", "tox", "none"])
def test_what_addopts_leave_out_gets_a_session(
    empty: Project, capsys: pytest.CaptureFixture[str], case: tuple[str, str | None, str, str], runner: str
) -> None:
    """``-m`` in addopts becomes a subset, and one session runs the rest: otherwise no session would prove it."""
    addopts, name, others, kept = case
    lay_out(empty)
    empty.write("pyproject.toml", f'{MINIMAL}[tool.pytest.ini_options]\naddopts = "{addopts}"\n')
    said = adopt(capsys, "--write", "--runner", runner)
    table = tomllib.loads((empty.root / "pyproject.toml").read_text())["tool"]["skipproof"]
    text = {"nox": "noxfile.py", "tox": "tox.ini"}.get(runner)
    written = said if text is None else (empty.root / text).read_text()
    if name is None:
        assert "subsets" not in table
        assert "rest" not in written.replace("the rest", "")
        return
    quoted = f"'{others}'" if " " in others else others
    assert table["subsets"] == {"usual": f"-m {kept}", name: f"-m {quoted}"}
    assert empty.contract.subsets
    if runner == "nox":
        assert f' | {{"newest-{name}": ["newest", ["-m", "{others}"]]}}' in written
    else:
        assert f"--skipproof newest --skipproof-session newest-{name} -m {quoted}\n" in written
        assert f"skipproof merge --expect oldest newest newest-{name}\n" in written


@pytest.mark.parametrize("runner", ["nox", "tox", "none"])
def test_what_every_run_needs_because_of_addopts_is_written(
    empty: Project, capsys: pytest.CaptureFixture[str], runner: str
) -> None:
    """``--cov`` gets ``--no-cov``, and ``-n`` coverage in workers: a named run refuses to do without."""
    lay_out(empty)
    empty.write("pyproject.toml", f'{MINIMAL}[tool.pytest.ini_options]\naddopts = "-nauto --cov=x"\n')
    said = adopt(capsys, "--write", "--runner", runner)
    text = {"nox": "noxfile.py", "tox": "tox.ini"}.get(runner)
    written = said if text is None else (empty.root / text).read_text()
    if runner == "nox":
        assert '"--skipproof-session", name, "--no-cov")' in written
    else:
        assert "--skipproof newest --skipproof-session newest --no-cov\n" in written
    settings = tomllib.loads((empty.root / "pyproject.toml").read_text())
    assert settings["tool"]["coverage"]["run"]["patch"] == ["subprocess"]


@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        ('testpaths = ["skipproof_own"]', ("skipproof_own",)),
        ('testpaths = ["tests/", "tests"]', ("skipproof_own", "tests")),
        ('testpaths = ["tests/check_a.py"]', ("skipproof_own", "tests/check_a.py")),
        ('python_files = ["check_*.py"]', ("skipproof_own", "tests")),
    ],
)
def test_suites_are_what_pytest_takes_for_them(
    empty: Project, capsys: pytest.CaptureFixture[str], settings: str, sources: tuple[str, ...]
) -> None:
    """Tests beside the code, a suite that is one file, and names of test files of its own; each is named once."""
    lay_out(empty)
    (empty.root / "tests" / "test_a.py").unlink()
    skips = 'import pytest\n@pytest.mark.skipif("win32" == __import__("sys").platform)\ndef test_a(): pass\n'
    for name in ("tests/check_a.py", "tests/b_test.py", "skipproof_own/test_own.py"):
        empty.write(name, skips)
    empty.write("pyproject.toml", f"{MINIMAL}[tool.pytest.ini_options]\n{settings}\n")
    assert ": skips by hand: " in adopt(capsys, "--write")
    assert empty.contract.sources == sources


def test_relative_files_are_left_to_a_person(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A named run refuses that setting of coverage, so init says so."""
    lay_out(empty)
    empty.write("pyproject.toml", f"{MINIMAL}[tool.coverage.run]\nrelative_files = true\n")
    said = adopt(capsys)
    assert "pyproject.toml:1: [tool.coverage.run] relative_files is what a named run refuses: remove it" in said
