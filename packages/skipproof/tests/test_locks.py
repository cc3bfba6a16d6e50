"""What each kind of lock pins, by locks that uv wrote: of requirements, of PEP 751, and its own.

uv 0.13.9 made the files in ``locks/`` from the pyproject.toml beside them and a folder ``wheels`` of empty wheels; the
two others were exported for the environment with the extra "fast" and the group "test".
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skipproof.contract import Lock
from skipproof.drift import drift
from skipproof.locks import LockError, Pins, pins
from support.project import PYPROJECT

if TYPE_CHECKING:
    from support.project import Project

LOCKS = Path(__file__).parent / "locks"
FULL = Lock("uv.lock", ("fast",), ("test",))
FORKED = "==2.0" if sys.version_info >= (3, 13) else "==1.0"
EVERYTHING = {
    "skipproof-alpha": "==1.5",
    "skipproof-beta": "==2.5",
    "skipproof-forked": FORKED,
    "skipproof-kernel": "==3.0",
    "skipproof-runner": "==4.0",
    "skipproof-speed": "==0.1",
}


def versions(found: Pins) -> dict[str, str]:
    """Return the pinned versions as strings."""
    return {name: str(specifier) for name, specifier in sorted(found.versions.items())}


def changed(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """Copy a lock with one change, and return the folder of the copy."""
    text = (LOCKS / name).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("lock", [Lock("full.txt"), Lock("pylock.full.toml"), FULL], ids=lambda lock: str(lock.file))
def test_each_kind_of_lock_says_the_same(lock: Lock) -> None:
    """Three kinds of lock for one environment pin the same versions, by their markers, and the project as editable."""
    found = pins(lock, LOCKS)
    assert versions(found) == EVERYTHING
    assert found.folders == [LOCKS.resolve()]


@pytest.mark.parametrize(
    ("extras", "groups", "names"),
    [
        ((), (), {"skipproof-forked"}),
        (("empty",), ("none",), {"skipproof-forked"}),
        (("alpha",), (), {"skipproof-forked", "skipproof-alpha", "skipproof-kernel"}),
        (("Alpha",), ("dev",), {"skipproof-forked", "skipproof-alpha", "skipproof-kernel", "skipproof-docs"}),
        ((), ("beta",), {"skipproof-forked", "skipproof-beta"}),
    ],
)
def test_an_environment_of_uv_lock_is_its_extras_and_groups(
    extras: tuple[str, ...], groups: tuple[str, ...], names: set[str]
) -> None:
    """A uv.lock pins what an environment's extras and groups reach, and nothing else."""
    assert pins(Lock("uv.lock", extras, groups), LOCKS).versions.keys() == names


def test_a_pylock_may_hold_several_environments(tmp_path: Path) -> None:
    """A pylock.toml with extras and groups pins those that an environment names."""
    head = 'created-by = "uv"\n'
    text = (
        (LOCKS / "pylock.full.toml")
        .read_text(encoding="utf-8")
        .replace(head, head + 'extras = ["fast"]\ndependency-groups = ["test"]\ndefault-groups = ["test"]\n')
    )
    for name, marker in (("speed", "'fast' in extras"), ("runner", "'test' in dependency_groups")):
        line = f'name = "skipproof-{name}"\n'
        assert line in text
        text = text.replace(line, f'{line}marker = "{marker}"\n')
    (tmp_path / "pylock.toml").write_text(text, encoding="utf-8")
    assert versions(pins(Lock("pylock.toml", ("fast",), ("test",)), tmp_path)) == EVERYTHING
    assert EVERYTHING.keys() - pins(Lock("pylock.toml"), tmp_path).versions.keys() == {"skipproof-speed"}


def test_project_that_is_no_package_is_not_installed(tmp_path: Path) -> None:
    """A project that uv does not install is not required, but its dependencies are."""
    found = pins(FULL, changed(tmp_path, "uv.lock", 'editable = "."', 'virtual = "."'))
    assert (versions(found), found.folders) == (EVERYTHING, [])


@pytest.mark.parametrize(
    ("name", "old", "new", "fact"),
    [
        (
            "uv.lock",
            "version = 1\n",
            "version = 2\n",
            "it has format 2 of uv.lock, and format 1 is read: export a pylock",
        ),
        ("uv.lock", 'requires-python = ">=3.11"', 'requires-python = ">=99"', "it is for Python >=99, and this is 3."),
        ("uv.lock", "revision = 5\n", "conflicts = []\n", "extras or groups in it conflict, and only uv can read"),
        (
            "uv.lock",
            'editable = "."',
            'editable = "elsewhere"',
            "it holds no project for its own folder: export a pylock.",
        ),
        ("uv.lock", "sys_platform != 'skipproof'", "x", "it is not written as uv writes it (InvalidMarker: "),
        (
            "uv.lock",
            'name = "skipproof-beta"\nversion = "2.5"\n',
            'name = "skipproof-beta"\n',
            "writes it (KeyError: 'ver",
        ),
        (
            "uv.lock",
            'version = "2.5"\nsource = { registry = "wheels" }',
            'version = "2.5"\nsource = { git = "somewhere" }',
            "skipproof-beta comes from a repository, a folder or a URL, which no version pins: take it from an",
        ),
        (
            "uv.lock",
            "version = 1\n",
            "version =\n",
            "it cannot be read (Invalid value (at line 1, column 10)); compile",
        ),
        (
            "pylock.full.toml",
            'lock-version = "1.0"\n',
            "",
            "not a lock of this environment (Missing required value in 'lock-",
        ),
        ("pylock.full.toml", '">=3.11"', '">=99"', "it is not a lock of this environment (python_full_version '3."),
        (
            "pylock.full.toml",
            "editable = true",
            "editable = false",
            "skipproof-sample comes from a repository, a folder",
        ),
        ("pylock.full.toml", 'version = "2.5"\n', "", "skipproof-beta comes from a repository, a folder or a URL"),
    ],
)
def test_what_a_lock_cannot_hold_is_said(tmp_path: Path, name: str, old: str, new: str, fact: str) -> None:
    """A lock that cannot be checked against what is installed is refused, with the next step."""
    folder = changed(tmp_path, name, old, new)
    with pytest.raises(LockError) as caught:
        pins(FULL if name == "uv.lock" else Lock(name), folder)
    assert fact in str(caught.value)


@pytest.mark.parametrize(
    ("lock", "fact"),
    [
        (Lock("uv.lock", ("fats",)), "no extra is called 'fats' (did you mean 'fast'?); there are: alpha, fast, empty"),
        (
            Lock("uv.lock", (), ("tests",)),
            "no group is called 'tests' (did you mean 'test'?); there are: beta, dev, none, test",
        ),
        (
            Lock("pylock.full.toml", ("fast",)),
            "no extra is called 'fast'; there are: none; correct the table, or",
        ),
        (Lock("pylock.full.toml", (), ("test",)), "no group is called 'test'; there are: none; correct the table, or"),
    ],
)
def test_extra_that_the_lock_lacks_is_named(lock: Lock, fact: str) -> None:
    """An extra or a group that is not in the lock is refused, with those that are."""
    with pytest.raises(LockError) as caught:
        pins(lock, LOCKS)
    assert fact in str(caught.value)


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        (Lock("locks/full.txt"), "uv pip sync locks/full.txt"),
        (Lock("pylock.toml", ("a",), ("b", "c")), "uv pip sync pylock.toml --extra a --group b --group c"),
        (FULL, "uv sync --active --locked --no-default-groups --extra fast --group test"),
        (Lock("sub/uv.lock"), "uv sync --active --locked --no-default-groups --project sub"),
    ],
)
def test_the_way_out_is_the_command_of_that_lock(lock: Lock, command: str) -> None:
    """The command in the remedy is the one for that kind of lock."""
    assert lock.command == command


def test_drift_from_uv_lock_is_named(project: Project) -> None:
    """What is installed is checked against a uv.lock, and the remedy is uv sync."""
    shutil.copy(LOCKS / "uv.lock", project.root)
    entry = '{ path = "uv.lock", extras = ["alpha"], groups = ["beta"] }'
    locks = f'{{ bare = "locks/bare.txt", full = {entry}, big = "locks/big.txt" }}'
    project.write("pyproject.toml", PYPROJECT.replace('locks = "locks"', f"locks = {locks}"))
    project.install_alpha()
    project.install_beta()
    project.install("skipproof-kernel", "3.1", {})
    project.install("skipproof-forked", FORKED.removeprefix("=="), {})
    command = "uv sync --active --locked --no-default-groups --extra alpha --group beta"
    head, tail = "full does not match its lock: ", f"; sync it with its lock: {command}"
    again = f"{tail} --reinstall-package skipproof-kernel"
    assert drift(project.contract, "full") == [
        f"{head}nothing is installed as editable from {project.root.resolve()}{tail}",
        f"{head}skipproof-kernel 3.1 is installed, but the lock pins skipproof-kernel==3.0{again}",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://name:password@host/simple",
        "--extra-index-url=https://host/simple",
        "-i https://host/simple",
        "--find-links wheels",
        "--only-binary :all:",
        "--pre",
        "-c constraints.txt",
        "-e ./elsewhere ; python_version < '3'",
    ],
)
def test_a_line_that_installs_nothing_is_passed_over(tmp_path: Path, line: str) -> None:
    """Options that say where packages come from, as pip-compile writes them, are not taken for pins."""
    (tmp_path / "full.txt").write_text(f"{line}\nskipproof-alpha==1.5\n", encoding="utf-8")
    found = pins(Lock("full.txt"), tmp_path)
    assert (versions(found), found.folders) == ({"skipproof-alpha": "==1.5"}, [])


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "--editable .",
        "--editable=.",
        "-e .[fast]",
        "-e . ; python_version > '3'",
        "-e {here}",
        "-e {here}#egg=a",
        "-e file:.",
    ],
)
def test_an_editable_folder_is_read_as_each_tool_writes_it(tmp_path: Path, line: str) -> None:
    """A folder counts with extras, with a marker, and as the address that pip-compile makes of it."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "full.txt").write_text(line.format(here=folder.as_uri()), encoding="utf-8")
    assert pins(Lock("full.txt"), folder).folders == [folder.resolve()]


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("-e git+https://token@host/a", "-e git+https://host/a comes from a repository, a folder or a URL"),
        ("-e . ; phase == 'new'", "\"-e . ; phase == 'new'\" is not a pin ("),
        ("https://name:token@host/a.whl", "'https://host/a.whl' is not a pin ("),
        ("skipproof-alpha @ https://name:token@host/a.whl", "skipproof-alpha comes from a repository, a folder or a"),
    ],
)
def test_what_no_version_pins_is_refused_without_its_password(tmp_path: Path, line: str, fact: str) -> None:
    """A line that cannot be held against an installation is named, and no name or password of an index with it."""
    (tmp_path / "full.txt").write_text(line, encoding="utf-8")
    with pytest.raises(LockError) as caught:
        pins(Lock("full.txt"), tmp_path)
    assert fact in str(caught.value)
    assert "token" not in str(caught.value)


def test_what_pip_needs_besides_a_version_is_passed_over(tmp_path: Path) -> None:
    """Hashes and options behind a pin, and the mark that editors put before a file, change nothing."""
    line = 'skipproof-alpha==1.5 --hash=sha256:aa \\\n    --hash sha256:bb --config-settings="a b=c"\n'
    (tmp_path / "full.txt").write_text(f"# a comment\n{line}", encoding="utf-8-sig")
    assert versions(pins(Lock("full.txt"), tmp_path)) == {"skipproof-alpha": "==1.5"}


def test_two_projects_in_one_folder_are_refused(tmp_path: Path) -> None:
    """A uv.lock with two projects for its own folder says nothing of either."""
    project = '[[package]]\nname = "a"\nsource = { virtual = "." }\n'
    (tmp_path / "uv.lock").write_text(f'version = 1\nrequires-python = ">=3"\n{project}{project}', encoding="utf-8")
    with pytest.raises(LockError, match=r"holds several projects for its own folder: export a pylock\.NAME\.toml"):
        pins(FULL, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "a==1.*",
        "a == 1.0.*",
        "a (==1.*)",
        "a===1.0",
        "a===1.*",
        "a~=1.0",
        "a>=1",
        "a==1,==1.0",
        "a==1,!=2",
        "a",
        "a[x]",
    ],
)
def test_a_line_that_leaves_the_version_open_is_refused(tmp_path: Path, line: str) -> None:
    """Only a line that one version fits is a pin."""
    (tmp_path / "full.txt").write_text(line, encoding="utf-8")
    with pytest.raises(LockError) as caught:
        pins(Lock("full.txt"), tmp_path)
    assert str(caught.value) == f"{line!r} does not pin one version; compile the lock again"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("a==1.0+local", "==1.0+local"),
        ("a==1.0\nA==1\n", "==1.0"),
        ("a==1 ; python_version > '3'\na==2 ; python_version < '3'\n", "==1"),
        ("a[x]==1\na==1\n", "==1"),
    ],
)
def test_a_pin_may_be_there_twice(tmp_path: Path, lines: str, expected: str) -> None:
    """A second line for one package is no contradiction when it says the same, or holds elsewhere."""
    (tmp_path / "full.txt").write_text(lines, encoding="utf-8")
    assert versions(pins(Lock("full.txt"), tmp_path)) == {"a": expected}


def test_two_pins_of_one_package_are_refused(tmp_path: Path) -> None:
    """Two versions of one package are refused in each kind of lock: one of them would go unchecked."""
    (tmp_path / "full.txt").write_text("a.b==1\nA_b==2 ; python_version > '3'\n", encoding="utf-8")
    with pytest.raises(LockError, match=r"^a-b is pinned twice, ==1 and ==2; compile the lock again$"):
        pins(Lock("full.txt"), tmp_path)
    entry = '[[packages]]\nname = "skipproof-beta"\nversion = "2.5"\n'
    text = (LOCKS / "pylock.full.toml").read_text(encoding="utf-8")
    (tmp_path / "pylock.toml").write_text(text + entry.replace("2.5", "2.6"), encoding="utf-8")
    with pytest.raises(LockError):
        pins(Lock("pylock.toml"), tmp_path)
    both = changed(tmp_path, "uv.lock", "python_full_version < '3.13'\" },", "python_full_version < '99'\" },")
    text = (both / "uv.lock").read_text(encoding="utf-8")
    (both / "uv.lock").write_text(
        text.replace("python_full_version >= '3.13'\" },", "python_full_version >= '3'\" },"), encoding="utf-8"
    )
    with pytest.raises(LockError, match=r"^skipproof-forked is pinned twice, "):
        pins(FULL, both)
