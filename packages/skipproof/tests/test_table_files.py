"""The files that may hold the table; it reads the same in each of them."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from skipproof.contract import ContractError, Lock
from skipproof.table import read_contract
from skipproof.table_files import is_configured
from support.project import PYPROJECT
from support.runs import violations

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project

TABLE, _, REST = PYPROJECT.partition("[tool.pytest")
TOML = TABLE.replace("tool.skipproof", "skipproof")
INI = """
[skipproof]
sources = tests, pyproject.toml, setup.py
locks = locks
state = .matrix

[skipproof:capability:alpha]
modules = skipproof_alpha
install = pip install alpha

[skipproof:capability:beta]
distributions =
    skipproof-beta
install = pip install beta

[skipproof:capability:gpu]
probe = cuda
install = a machine
    with a GPU

[skipproof:environments]
bare =
full = alpha, beta
big = alpha
    beta
    gpu
"""
FILES = {
    "pytest.toml": (TOML, "[skipproof]"),
    ".pytest.toml": (TOML, "[skipproof]"),
    "pytest.ini": (INI, "[skipproof]"),
    ".pytest.ini": (INI, "[skipproof]"),
    "tox.ini": (INI, "[skipproof]"),
    "setup.cfg": (INI, "[skipproof]"),
    "pyproject.toml": (TABLE, "[tool.skipproof]"),
}
SETTINGS = """
[{section}]
addopts = -p no:cacheprovider --import-mode=importlib
testpaths = tests/unit tests/real
"""


@pytest.mark.parametrize("file", FILES)
def test_the_table_says_the_same_in_each_file(project: Project, file: str) -> None:
    """The contract is the same whichever of pytest's files holds its table."""
    expected = project.contract
    text, heading = FILES[file]
    project.write("pyproject.toml", "[project]\nname = 'mine'\n")
    project.write(file, text)
    assert is_configured(project.root)
    assert read_contract(project.root) == replace(expected, table=file, heading=f"{file}: {heading}")


@pytest.mark.parametrize(
    ("file", "section"),
    [("pytest.ini", "pytest"), (".pytest.ini", "pytest"), ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")],
)
def test_a_project_without_pyproject_is_proved(project: Project, file: str, section: str) -> None:
    """A project with all its settings in an INI file gets a receipt that follows that file."""
    (project.root / "pyproject.toml").unlink()
    path = project.write(file, INI.replace("pyproject.toml, ", "") + SETTINGS.format(section=section))
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK
    receipt = project.receipt("bare")
    assert file in receipt.sources
    path.write_text(path.read_text() + "# a change\n")
    project.run("--skipproof", "bare")
    assert project.receipt("bare").sources != receipt.sources


def test_conditions_read_the_same_in_an_ini_file(project: Project) -> None:
    """Conditions and the name of the mark are the same in an INI file and in TOML."""
    added = """
        new = { python = ">=3.12,<3.14" }
        unix = { platform = ["posix", "cygwin"] }
        plain = { absent = "skipproof_alpha" }
        colour = { any = ["unix", "alpha"] }
    """
    text = PYPROJECT.replace("[tool.skipproof.environments]", f"{added}\n[tool.skipproof.environments]")
    project.write("pyproject.toml", text.replace('state = ".matrix"', 'state = ".matrix"\nmark = "needs"'))
    expected = project.contract
    (project.root / "pyproject.toml").unlink()
    added = """
        [skipproof:capability:new]
        python = >=3.12,<3.14
        [skipproof:capability:unix]
        platform = posix, cygwin
        [skipproof:capability:plain]
        absent = skipproof_alpha
        [skipproof:capability:colour]
        any = unix, alpha
    """
    project.write("tox.ini", INI.replace("state = .matrix", "state = .matrix\nmark = needs") + textwrap.dedent(added))
    assert project.contract == replace(expected, table="tox.ini", heading="tox.ini: [skipproof]")


def test_settings_that_change_while_the_run_goes_on_are_named(project: Project) -> None:
    """A run during which its settings file was edited is red, and names that file."""
    (project.root / "pyproject.toml").unlink()
    project.write("tox.ini", INI.replace("pyproject.toml, ", "") + SETTINGS.format(section="pytest"))
    project.write("tests/unit/test_a.py", "def test_a():\n    with open('tox.ini', 'a') as file: file.write('#')\n")
    assert violations(project.run("--skipproof", "bare"), project, "bare") == [
        "tox.ini: changed during the run; run it again"
    ]


def test_settings_beside_the_table_are_part_of_the_proof(project: Project) -> None:
    """A receipt follows both the file with pytest's settings and the file with the table."""
    settings = project.write("ci.ini", SETTINGS.format(section="pytest"))
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")

    def digest() -> str:
        assert project.run("-c", "ci.ini", "--skipproof", "bare").ret == pytest.ExitCode.OK
        assert "ci.ini" in project.receipt("bare").sources
        return str(project.receipt("bare").sources)

    digests = {digest()}
    settings.write_text(settings.read_text() + "# a change\n")
    digests.add(digest())
    project.write("pyproject.toml", PYPROJECT.replace('"pyproject.toml", ', ""))
    digests.add(digest())
    project.write("pyproject.toml", PYPROJECT.replace('"pyproject.toml", ', "") + "# a change\n")
    digests.add(digest())
    assert len(digests) == 4


@pytest.mark.parametrize(("file", "text"), [("ci.ini", INI), ("ci.toml", TOML)])
def test_the_table_may_stand_where_pytest_is_told_to_look(project: Project, file: str, text: str) -> None:
    """The table may be in a file that pytest gets with -c."""
    project.write("pyproject.toml", "")
    project.write("tests/unit/test_a.py", "def test_a(): pass\n")
    section = SETTINGS.format(section="pytest") if file.endswith("ini") else "[pytest]\ntestpaths = ['tests/unit']\n"
    path = project.write(file, text + section)
    assert not is_configured(project.root)
    assert read_contract(project.root, path).table == file
    # An older pytest takes no settings from a TOML file of another name.
    reads_it = file.endswith("ini") or pytest.version_tuple >= (9, 2)
    status = pytest.ExitCode.OK if reads_it else pytest.ExitCode.USAGE_ERROR
    assert project.run("-c", file, "--skipproof", "bare").ret == status


def test_two_tables_are_a_usage_error(project: Project) -> None:
    """Tables in two files are a usage error that names both."""
    project.write("setup.cfg", INI)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    both = "pyproject.toml: [[]tool.skipproof[]] and setup.cfg: [[]skipproof[]] are two tables: keep one of them"
    result.stderr.fnmatch_lines([f"ERROR: {both}"])


@pytest.mark.parametrize(
    ("file", "text", "fact"),
    [
        (
            "pytest.toml",
            "[tool.skipproof]\n",
            "pytest.toml has [tool.skipproof], which is not read there: call it [skip",
        ),
        (
            "pyproject.toml",
            "[skipproof]\n",
            "pyproject.toml has [skipproof], which is not read there: call it [tool.s",
        ),
        (
            "pyproject.toml",
            "[tool]\nskipproof = 1\n",
            "pyproject.toml: tool.skipproof is 1: make it a table, python -m",
        ),
        (
            "setup.cfg",
            "[tool:skipproof]\n",
            "setup.cfg has [tool:skipproof], which is not read there: call it [skippr",
        ),
        ("tox.ini", "[tool.skipproof:environments]\n", "not read there: call it [skipproof:environments]"),
        ("tox.ini", "[skipproof]\na\n", "tox.ini is not an INI file (Source contains parsing errors"),
        ("pytest.toml", "skipproof.state = 1\nskipproof\n", "pytest.toml is not TOML (Expected '='"),
        (
            "tox.ini",
            "[skipproof:enviroments]\n",
            "tox.ini has [skipproof:enviroments], which is not part of the table; ",
        ),
        (
            "tox.ini",
            "[skipproof:lock]\n",
            "tox.ini has [skipproof:lock], which is not part of the table; there are: [skip",
        ),
        (
            "tox.ini",
            "[skipproof:lock:a]\n[skipproof]\nlocks = x\n",
            "tox.ini has 'locks' in [skipproof], and [skipproof:lock:a]: keep the folder, or one section for each lock",
        ),
        (
            "tox.ini",
            INI.replace("state = .matrix", "state = .matrix  ; in git's ignored files"),
            'tox.ini: [skipproof] state is ".matrix  ; in git\'s ignored files", with a comment that an INI file has',
        ),
        (
            "tox.ini",
            INI.replace("full = alpha, beta", "full = alpha, beta # everything"),
            "tox.ini: [skipproof:environments] full is 'alpha, beta # everything', with a comment that an INI file has",
        ),
        ("tox.ini", "[skipproof]\n", "tox.ini: [skipproof] has no 'capabilities': add it, an unset expectation proves"),
        (
            "setup.cfg",
            INI.replace("probe = cuda", "prbe = x"),
            "setup.cfg: [skipproof:capability:gpu]: no key is called",
        ),
        (
            "setup.cfg",
            INI.replace("full = alpha,", "full = alhpa,"),
            "setup.cfg: [skipproof:environments] full: no capab",
        ),
        (
            "setup.cfg",
            INI.replace("[skipproof:environments]", "[other]"),
            "setup.cfg: [skipproof] has no 'environments'",
        ),
        (
            "setup.cfg",
            INI.replace("bare =", "a/b ="),
            "setup.cfg: [skipproof:environments] names 'a/b', but files are",
        ),
        (
            "setup.cfg",
            INI.replace("ity:gpu", "ity:g/u"),
            "setup.cfg: [skipproof:capability:NAME] names 'g/u', but files",
        ),
        ("pytest.toml", TOML.replace('= "locks"', "= 3"), "pytest.toml: [skipproof] locks is 3: write a string"),
        (
            "pytest.toml",
            TOML.replace('["alpha", "beta"]', "1"),
            "pytest.toml: [skipproof.environments] full is 1: write",
        ),
    ],
)
def test_wrong_table_is_named_with_its_file(tmp_path: Path, file: str, text: str, fact: str) -> None:
    """A wrong table is refused with its file and section, as written there."""
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert is_configured(tmp_path)
    with pytest.raises(ContractError) as caught:
        read_contract(tmp_path)
    assert fact in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[project]\ndependencies = ['pytest-skipproof']\n"),
        ("pyproject.toml", "[project]\ndependencies = ['pytest-skipproof'\n"),
        ("tox.ini", "[testenv:skipproof]\ndeps = pytest-skipproof\n"),
        ("tox.ini", "[testenv\ndeps = pytest-skipproof\n"),
        ("setup.cfg", "[options]\ntests_require = pytest-skipproof\n"),
        ("pytest.toml", "[pytest]\naddopts = ['-p', 'no:skipproof']\n"),
        ("pytest.ini", "[pytest]\naddopts = -p no:skipproof\n"),
    ],
)
def test_a_project_that_only_names_the_plugin_is_not_configured(tmp_path: Path, file: str, text: str) -> None:
    """A file that names the plugin without its table, readable or not, is ignored."""
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert not is_configured(tmp_path)


@pytest.mark.parametrize(
    ("locks", "expected"),
    [
        ('"locks"', {"bare": Lock("locks/bare.txt"), "full": Lock("locks/pylock.full.toml")}),
        (
            '{ bare = "a.txt", full = { path = "uv.lock", extras = ["x"], groups = [] } }',
            {"bare": Lock("a.txt"), "full": Lock("uv.lock", ("x",))},
        ),
        (
            '{ bare = "pylock.toml", full = "b/pylock.c.toml" }',
            {"bare": Lock("pylock.toml"), "full": Lock("b/pylock.c.toml")},
        ),
    ],
)
def test_locks_are_a_folder_or_a_file_each(project: Project, locks: str, expected: dict[str, Lock]) -> None:
    """An environment's lock is in the folder, under either name, or where the table says."""
    (project.root / "locks" / "full.txt").rename(project.root / "locks" / "pylock.full.toml")
    environments = 'bare = []\nfull = ["alpha", "beta", "gpu"]\n'
    text = PYPROJECT.replace('locks = "locks"', f"locks = {locks}")
    head, _, tail = text.partition("bare = []\n")
    project.write("pyproject.toml", head + environments + tail[tail.index("[tool.pytest") :])
    assert project.contract.locks == expected


def test_locks_have_a_section_each_in_an_ini_file(project: Project) -> None:
    """In an INI file, each environment has a section for its lock."""
    sections = "".join(f"[skipproof:lock:{name}]\npath = {name}.txt\n" for name in ("bare", "big"))
    full = "[skipproof:lock:full]\npath = uv.lock\nextras = a, b\ngroups = c\n"
    (project.root / "pyproject.toml").unlink()
    project.write("tox.ini", INI.replace("locks = locks\n", "") + sections + full)
    assert project.contract.locks == {
        "bare": Lock("bare.txt"),
        "big": Lock("big.txt"),
        "full": Lock("uv.lock", ("a", "b"), ("c",)),
    }


@pytest.mark.parametrize(
    ("locks", "fact"),
    [
        ('{ bare = "a.txt", full = "b.txt" }', "[tool.skipproof.locks] has no lock of big: add one, nothing else says"),
        ('{ baer = "a.txt" }', "[tool.skipproof.locks] baer: no environment is called 'baer' (did you mean 'bare'?)"),
        ("{ bare = 3, full = 'a.txt', big = 'a.txt' }", "[tool.skipproof.locks] bare is 3: write the path of a lock"),
        ("{ bare = {}, full = 'a.txt', big = 'a.txt' }", "[tool.skipproof.locks] bare is {}: write the path of a lock"),
        (
            "{ bare = '../a.txt', full = 'a.txt', big = 'a.txt' }",
            "bare is '../a.txt': write a path below the project's",
        ),
        (
            "{ bare = 'poetry.lock', full = 'a.txt', big = 'a.txt' }",
            "bare is 'poetry.lock': a lock is a *.txt of pins,",
        ),
        (
            "{ bare = 'uv.lock', full = 'a.txt', big = 'a.txt' }",
            "bare is uv.lock, which holds several environments: say",
        ),
        (
            "{ bare = { path = 'a.txt', extras = ['b'] }, full = 'a.txt', big = 'a.txt' }",
            "bare asks a.txt for extras or groups, but its lines are for one environment: remove them",
        ),
        (
            "{ bare = { path = 'a.txt', extra = ['b'] }, full = 'a.txt', big = 'a.txt' }",
            "[tool.skipproof.locks] bare: no key is called 'extra' (did you mean 'extras'?); there are: path, ex",
        ),
    ],
)
def test_wrong_lock_is_named(project: Project, locks: str, fact: str) -> None:
    """A lock that is not in the table, or cannot be read, is refused."""
    project.write("pyproject.toml", PYPROJECT.replace('locks = "locks"', f"locks = {locks}"))
    with pytest.raises(ContractError) as caught:
        read_contract(project.root)
    assert fact in str(caught.value)


def test_two_locks_of_one_environment_are_refused(project: Project) -> None:
    """Two locks of one environment in the folder are refused."""
    project.write("locks/pylock.full.toml", "")
    with pytest.raises(ContractError, match=r"both locks/full.txt and locks/pylock.full.toml are locks of full: keep"):
        read_contract(project.root)


@pytest.mark.parametrize("file", [name for name in FILES if not name.endswith("toml")])
def test_an_ini_file_may_begin_with_a_byte_order_mark(project: Project, file: str) -> None:
    """What editors on Windows put before a file, and pytest passes over, does not hide the table."""
    project.write("pyproject.toml", "")
    (project.root / file).write_text(INI.lstrip(), encoding="utf-8-sig")
    assert read_contract(project.root).table == file


def test_a_link_to_the_table_is_no_second_one(project: Project) -> None:
    """One file that pytest finds, and is told of under another name, holds one table."""
    link = project.root / "ci.toml"
    link.symlink_to(project.root / "pyproject.toml")
    assert read_contract(project.root, link).table == "pyproject.toml"


def test_a_comment_of_its_own_line_is_none_of_the_value(project: Project) -> None:
    """Lines of comments are passed over, and a command to install may have a semicolon."""
    (project.root / "pyproject.toml").unlink()
    text = INI.replace("install = pip install alpha", "install = apt install a ; pip install alpha")
    project.write("tox.ini", text.replace("big = alpha\n", "; all\nbig = alpha\n    # one more\n"))
    assert project.contract.environments["big"] == ("alpha", "beta", "gpu")
    assert project.contract.capabilities["alpha"].install == "apt install a ; pip install alpha"
