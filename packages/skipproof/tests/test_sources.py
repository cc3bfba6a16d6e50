"""The files that a receipt is tied to, and which differences from it count."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from skipproof import sources
from skipproof.sources import changes, digests, told
from skipproof.table import read_contract
from support.runs import NEEDS_ALPHA, PASSES, REAL, UNIT, violations

if TYPE_CHECKING:
    from support.project import Project

SUITES = ["tests/unit", "tests/real"]


@pytest.fixture
def repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that git knows, with a rule for what it ignores."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    project.git("init", "-q")
    project.write(".gitignore", "*.log\n/tests/data/made/\n_version.py\n")
    return project


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/test_a.py",
        "tests/unit/guide.md",
        "tests/unit/data/sample.json",
        "tests/unit/template.jinja",
        "tests/unit/stubs.pyi",
        "tests/unit/.hidden.toml",
        "tests/unit/with a space",
        "tests/unit/build/readme",
        "pyproject.toml",
        "setup.py",
        "conftest.py",
        "tests/conftest.py",
        "pytest.ini",
        ".pytest.ini",
        "tox.ini",
        "setup.cfg",
        ".coveragerc",
        ".coveragerc.toml",
    ],
)
def test_every_file_of_the_sources_and_of_the_settings_counts(project: Project, name: str) -> None:
    """A receipt follows a file that appears, one that changes, and one that is gone, of whatever kind."""
    contract = replace(project.contract, sources=("tests/unit", "setup.py"))
    (project.root / name).unlink(missing_ok=True)
    without = digests(contract, SUITES)
    project.write(name, "one")
    before = digests(contract, SUITES)
    assert changes(contract, without, before) == {name: "appeared"}
    project.write(name, "two")
    assert changes(contract, before, digests(contract, SUITES)) == {name: "changed"}
    assert changes(contract, before, without) == {name: "changed"}
    (project.root / name).unlink()
    assert changes(contract, before, without) == {name: "vanished"}


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/__pycache__/test_a.cpython-311.pyc",
        "tests/unit/test_a.pyc",
        "tests/unit/.mypy_cache/x.json",
        "tests/unit/.venv/lib/x.py",
        "tests/unit/env/pyvenv.cfg",
        "tests/unit/cache/CACHEDIR.TAG",
        "tests/unit/node_modules/x.js",
        "tests/mine.egg-info/PKG-INFO",
        "tests/build/lib/mine/a.py",
        "tests/build/bdist.linux-x86_64/a.py",
        "tests/build/lib.linux-x86_64/a.py",
        "tests/unit/.test_a.py.swp",
        "tests/unit/test_a.py~",
        "tests/unit/#test_a.py#",
        "tests/unit/.DS_Store",
        "tests/unit/.coverage.host.1",
        ".matrix/receipts/unit.json",
        "other.py",
        "docs/notes.md",
    ],
)
def test_what_tools_leave_counts_for_nothing(project: Project, name: str) -> None:
    """Byte code, caches, environments, builds, files of editors, and what lies outside the sources change no digest."""
    before = digests(project.contract, SUITES)
    project.write(name, "x")
    assert digests(project.contract, SUITES) == before


def test_a_hidden_folder_counts_when_it_is_named(project: Project) -> None:
    """What tools usually leave is a source where the table says so."""
    project.write("tests/.data/a.json", "{}")
    contract = replace(project.contract, sources=("tests/.data",))
    assert "tests/.data/a.json" in digests(contract, SUITES)


def test_a_source_that_is_not_there_counts_for_nothing(project: Project) -> None:
    """A source that does not exist does not change the digest until it does."""
    contract = project.contract
    named = replace(contract, sources=("gone", *contract.sources))
    assert digests(named, SUITES) == digests(contract, SUITES)


def test_the_project_may_be_one_source(project: Project) -> None:
    """Where the root is the source, names are relative to it, and the state is not among them."""
    project.write(UNIT, PASSES)
    project.write(".matrix/receipts/unit.json", "{}")
    found = digests(replace(project.contract, sources=(".",)), SUITES)
    assert set(found) == {UNIT, "pyproject.toml", "setup.py", "locks/bare.txt", "locks/big.txt", "locks/full.txt"}


def test_links_are_followed_once(project: Project) -> None:
    """What a link leads to counts, a circle of links ends, and a link to nothing is no file."""
    project.write("shared/data.json", "{}")
    unit = project.root / "tests" / "unit"
    (unit / "shared").symlink_to(project.root / "shared")
    (unit / "circle").symlink_to(project.root / "tests")
    (unit / "nothing").symlink_to("gone")
    (unit / "one.json").symlink_to(project.root / "shared" / "data.json")
    before = digests(project.contract, SUITES)
    assert [name for name in before if "unit" in name] == ["tests/unit/one.json", "tests/unit/shared/data.json"]
    project.write("shared/data.json", "[]")
    changed = changes(project.contract, before, digests(project.contract, SUITES))
    assert changed == {"tests/unit/one.json": "changed", "tests/unit/shared/data.json": "changed"}


def test_what_is_no_file_counts_for_nothing(project: Project) -> None:
    """A pipe in the sources is not waited for."""
    before = digests(project.contract, SUITES)
    os.mkfifo(project.root / "tests" / "pipe")
    assert digests(project.contract, SUITES) == before


def test_a_file_that_cannot_be_read_is_kept_as_that(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that this user may not read counts with the reason, and no folder that may not be listed stops a run."""
    project.write("tests/secret.json", "{}")
    listed = os.scandir

    def refuse(path: str, *_arguments: object, **_options: object) -> IO[bytes]:
        if path.endswith("secret.json"):
            raise PermissionError(13, "Permission denied")
        return Path(path).open("rb")

    def refuse_folder(folder: str) -> object:
        if folder.endswith("real"):
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(sources, "open", refuse, raising=False)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    project.write("tests/real/a.json", "{}")
    found = digests(project.contract, SUITES)
    assert found["tests/secret.json"] == "cannot be read: Permission denied"
    assert "tests/real/a.json" not in found


def test_a_name_that_is_no_text_can_be_kept(project: Project) -> None:
    """A receipt is text, and a file's name need not be."""
    (project.root / "tests" / os.fsdecode(b"\xff.json")).write_text("{}", encoding="utf-8")
    assert r"tests/\xff.json" in digests(project.contract, SUITES)
    project.write(UNIT, PASSES)
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK
    assert r"tests/\xff.json" in project.receipt("bare").sources


def test_what_git_ignores_may_differ(repository: Project) -> None:
    """What is made on each machine, or by the tests, makes no receipt stale, and neither does a whole folder of it."""
    contract = repository.contract
    repository.write("tests/_version.py", "1")
    before = digests(contract, SUITES)
    assert "tests/_version.py" in before
    repository.write("tests/_version.py", "2")
    repository.write("tests/run.log", "")
    repository.write("tests/data/made/a.json", "{}")
    assert changes(contract, before, digests(contract, SUITES)) == {}
    (repository.root / "tests" / "_version.py").unlink()
    assert changes(contract, before, digests(contract, SUITES)) == {}
    repository.write("tests/data/a.json", "{}")
    assert changes(contract, before, digests(contract, SUITES)) == {"tests/data/a.json": "appeared"}


def test_a_repository_around_the_project_may_ignore_it(repository: Project) -> None:
    """Where another repository ignores the whole project, as a folder of builds, every difference counts."""
    inner = repository.root / "tests" / "data" / "made" / "inner"
    shutil.copytree(repository.root, inner, ignore=shutil.ignore_patterns(".git", ".gitignore", "data"))
    contract = read_contract(inner)
    before = digests(contract, SUITES)
    (inner / "tests" / "new.csv").write_text("", encoding="utf-8")
    assert changes(contract, before, digests(contract, SUITES)) == {"tests/new.csv": "appeared"}


def test_what_git_has_counts_even_where_a_rule_ignores_it(repository: Project) -> None:
    """A file that was added against the rule is a source like any other."""
    repository.write("tests/kept.log", "1")
    repository.git("add", "-f", "tests/kept.log")
    before = digests(repository.contract, SUITES)
    repository.write("tests/kept.log", "2")
    assert changes(repository.contract, before, digests(repository.contract, SUITES)) == {"tests/kept.log": "changed"}


def test_rules_of_one_developer_hide_nothing(
    repository: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only this user's git ignores counts as it does on every other machine."""
    (tmp_path / "rules").write_text("*.json\n", encoding="utf-8")
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[core]\nexcludesFile = {tmp_path / 'rules'}\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    before = digests(repository.contract, SUITES)
    repository.write("tests/a.json", "{}")
    assert changes(repository.contract, before, digests(repository.contract, SUITES)) == {"tests/a.json": "appeared"}


def test_without_git_every_difference_counts(repository: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git is not installed, nothing that differs is passed over."""
    before = digests(repository.contract, SUITES)
    repository.write("tests/run.log", "")
    monkeypatch.setenv("PATH", "")
    assert changes(repository.contract, before, digests(repository.contract, SUITES)) == {"tests/run.log": "appeared"}


def test_settings_outside_the_project_are_followed(repository: Project) -> None:
    """A file that -c names elsewhere counts, and git is not asked about it."""
    settings = repository.root.parent / "ci.ini"
    settings.write_text("[pytest]\n", encoding="utf-8")
    before = digests(repository.contract, SUITES, "../ci.ini")
    settings.write_text("[pytest]\naddopts = -q\n", encoding="utf-8")
    repository.write("tests/run.log", "")
    assert changes(repository.contract, before, digests(repository.contract, SUITES)) == {"../ci.ini": "changed"}


def test_a_run_names_each_file_that_differs_at_its_end(project: Project) -> None:
    """A file that changed, one that appeared and one that went are each a violation, with its own next step."""
    project.write("tests/data.json", "{}")
    project.write("tests/old.md", "")
    code = "Path('tests/data.json').write_text('[]'); Path('tests/new.csv').touch(); Path('tests/old.md').unlink()"
    project.write(UNIT, f"from pathlib import Path\n\ndef test_a(): {code}\n")
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        "tests/data.json: changed during the run; run it again",
        "tests/new.csv: appeared during the run; write it elsewhere, such as into tmp_path, or have git ignore it",
        "tests/old.md: vanished during the run; run it again",
    ]


def test_what_tests_write_and_git_ignores_is_no_alarm(repository: Project) -> None:
    """Two runs agree although tests leave a log, byte code and a cache among the sources."""
    repository.write(REAL, NEEDS_ALPHA)
    repository.write(
        UNIT,
        """
        from pathlib import Path
        import py_compile

        def test_a():
            log = Path(__file__).with_name("run.log")
            log.write_text(log.read_text() + "a line" if log.exists() else "")
            py_compile.compile(__file__)
            Path(__file__).with_name(".cache").mkdir(exist_ok=True)
            Path(__file__).with_name(".cache").joinpath("x").touch()
        """,
    )
    for session in ("first", "second"):
        result = repository.run("--skipproof", "bare", "--skipproof-session", session)
        assert result.ret == pytest.ExitCode.OK
    first, second = (repository.receipt(session).sources for session in ("first", "second"))
    assert changes(repository.contract, first, second) == {}


def test_a_large_file_is_read_in_parts(project: Project) -> None:
    """The weights of a model beside the tests have the digest of their content, and are not held in memory whole."""
    content = bytes(sources._WHOLE + 1)  # noqa: SLF001
    (project.root / "tests" / "weights.bin").write_bytes(content)
    assert digests(project.contract, SUITES)["tests/weights.bin"] == hashlib.sha256(content).hexdigest()


def test_a_few_differences_are_told() -> None:
    """A message about many files names the first ones, and how many more there are."""
    assert told({"a": "changed", "b": "vanished"}) == "a changed, b vanished"
    assert told(dict.fromkeys("abcdefg", "changed")) == (
        "a changed, b changed, c changed, d changed, e changed and 2 more"
    )
