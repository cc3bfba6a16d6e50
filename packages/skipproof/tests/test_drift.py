"""What is installed, checked against the lock: other versions, foreign packages, damaged and replaced files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skipproof.contract import Lock
from skipproof.drift import Package, damaged, damages, differences, drift, installed
from skipproof.locks import LockError, Pins, pins
from support.project import PYPROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.project import Project

    Read = Callable[[str], Pins]

SITE = Path("site")


def facts(project: Project, environment: str = "full") -> list[str]:
    """Return what drift reports, without the part that is the same in each line."""
    head, tail = (
        f"{environment} does not match its lock: ",
        f"; sync it with its lock: uv pip sync locks/{environment}.txt",
    )
    lines = drift(project.contract, environment)
    assert all(line.startswith(head) and tail in line for line in lines)
    return [line.removeprefix(head).replace(tail, "") for line in lines]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Parses a string as a requirements lock."""

    def read(text: str) -> Pins:
        (tmp_path / "lock.txt").write_text(text, encoding="utf-8")
        return pins(Lock("lock.txt"), tmp_path)

    return read


@pytest.fixture
def full(project: Project) -> Project:
    """A project whose environment "full" matches its lock exactly."""
    project.install_alpha()
    project.install_beta()
    return project


def test_environment_that_is_its_lock_has_no_drift(full: Project) -> None:
    """An environment just made from its lock has no drift."""
    assert drift(full.contract, "full") == []


def test_environment_without_a_lock_is_refused(full: Project) -> None:
    """An environment without a lock is refused."""
    (full.root / "locks" / "full.txt").unlink()
    [line] = drift(full.contract, "full")
    assert line == "locks/full.txt does not exist, so nothing says what full has to be: compile it, or correct 'locks'"


@pytest.mark.parametrize("name", ["setuptools", "wheel", "uv"])
def test_what_uv_leaves_is_uninstalled_by_name(full: Project, name: str) -> None:
    """For a package that ``uv pip sync`` leaves in place, the remedy names the command that removes it."""
    full.install(name, "65.5.0", {f"{name}.py": ""})
    [fact] = facts(full)
    remedy = f"and uv pip uninstall --python {sys.executable} {name}"
    assert fact == f"{name} 65.5.0 is installed, but the lock does not pin it, {remedy}"


def test_every_difference_is_named_with_both_versions(full: Project) -> None:
    """A package upgraded, added or removed by hand is named with both versions."""
    full.write("locks/full.txt", "skipproof-alpha==1.4\nskipproof-gamma==3\n")
    assert facts(full) == [
        "skipproof-alpha 1.5 is installed, but the lock pins skipproof-alpha==1.4 --reinstall-package skipproof-alpha",
        "skipproof-gamma is not installed, but the lock pins skipproof-gamma==3",
        "skipproof-beta 2.5 is installed, but the lock does not pin it",
    ]


def test_package_that_is_installed_twice_is_named(full: Project) -> None:
    """A package left in two versions by an interrupted upgrade is named."""
    full.install("skipproof-alpha", "1.6", {})
    [fact] = facts(full)
    assert fact.startswith("skipproof-alpha 1.5 and 1.6 is installed, but the lock pins skipproof-alpha==1.5 --rein")


def test_very_many_differences_are_counted(full: Project) -> None:
    """Beyond ten differences the rest is counted, with the remedy."""
    full.write("locks/full.txt", "".join(f"skipproof-x{number}==1\n" for number in range(30)))
    lines = drift(full.contract, "full")
    assert lines[-1] == "and 22 more; sync it with its lock: uv pip sync locks/full.txt"
    assert len(lines) == 11


@pytest.mark.parametrize(
    ("lock", "version", "fits"),
    [
        ("torch==2.13.0", "2.13.0", True),
        ("torch==2.13.0", "2.13.0+cpu", True),
        ("torch==2.13.0", "2.13", True),
        ("torch==2.13.0+cu130", "2.13.0+cpu", False),
        ("torch==2.13.0", "2.13.1", False),
        ("torch==2.13.0", "2.13.0.post1", False),
        ("torch==2.14.0rc1", "2.14.0rc1", True),
        ("torch==2.13.0", "unknown", False),
        ("torch==2.12 ; python_full_version < '3'\ntorch==2.13 ; python_full_version >= '3'", "2.13", True),
        ("torch==2.13 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via x", "2.13", True),
        ("# made by a machine\nTorch==2.13  # said so", "2.13", True),
    ],
)
def test_version_is_the_pinned_one(read: Read, lock: str, version: str, *, fits: bool) -> None:
    """A version passes exactly when it is the pinned one."""
    assert (differences(read(lock), [Package("torch", version, SITE)]) == []) is fits


def test_pin_for_another_machine_is_not_missed(read: Read) -> None:
    """A package pinned only for other systems is not required here, and foreign if present."""
    lock = "pywin32==3 ; sys_platform == 'skipproof'"
    assert differences(read(lock), []) == []
    assert len(differences(read(lock), [Package("pywin32", "3", SITE)])) == 1


def test_installer_is_not_foreign() -> None:
    """pip, which Python puts into an environment, is not foreign."""
    assert differences(Pins(), [Package("pip", "25", SITE)]) == []


def test_lock_that_is_no_text_is_named(full: Project) -> None:
    """A lock that is not text is refused by name."""
    (full.root / "locks" / "full.txt").write_bytes(b"\xff")
    [line] = drift(full.contract, "full")
    assert line.startswith("locks/full.txt: it cannot be read ('utf-8' codec can't decode byte")


def test_record_that_was_cut_off_is_no_traceback(full: Project) -> None:
    """A truncated RECORD is reported as damage, without a traceback."""
    [record] = full.site.glob("skipproof_beta*/RECORD")
    record.write_text("beta.py,sha256=wr\n\nb")
    assert facts(full) == [
        (
            "beta.py of skipproof-beta has content sha256 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU, "
            "but wr was installed --reinstall-package skipproof-beta"
        ),
        "b of skipproof-beta is missing --reinstall-package skipproof-beta",
    ]


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("torch", "'torch' does not pin one version; compile the lock again"),
        ("torch>=2", "'torch>=2' does not pin one version"),
        ("torch==2.*", "'torch==2.*' does not pin one version; compile the lock again"),
        ("torch==2,!=2.1", "does not pin one version"),
        ("torch @ file:///x.whl", "torch comes from a repository, a folder or a URL, which no version pins"),
        (
            "-r other.txt",
            "'-r other.txt' is another file, which no receipt depends on; compile everything into one lock",
        ),
        ("torch 2", "'torch 2' is not a pin ("),
    ],
)
def test_line_that_is_no_pin_is_named(full: Project, read: Read, line: str, fact: str) -> None:
    """A line of a lock that does not pin one version is named."""
    with pytest.raises(LockError) as caught:
        read(line)
    assert fact in str(caught.value)
    full.write("locks/full.txt", f"{line}\n")
    [found] = drift(full.contract, "full")
    assert found == f"locks/full.txt: {caught.value}"


def test_project_has_to_be_installed_editable_from_here(full: Project) -> None:
    """The project must be installed as editable from this folder."""
    full.write("locks/full.txt", "-e .\nskipproof-alpha==1.5\nskipproof-beta==2.5\n")
    metadata = full.install("mine", "0.1", {})
    missing = f"nothing is installed as editable from {full.root.resolve()}"
    foreign = "mine 0.1 is installed, but the lock does not pin it"
    assert facts(full) == [missing, foreign]
    for origin in (
        '{"url": "file:///elsewhere", "dir_info": {"editable": true}}',
        '{"url": "https://x.invalid/x.whl"}',
    ):
        (metadata / "direct_url.json").write_text(origin)
        assert facts(full) == [missing, foreign]
    here = full.root.resolve().as_uri()
    (metadata / "direct_url.json").write_text(f'{{"url": "{here}", "dir_info": {{"editable": true}}}}')
    assert facts(full) == []


def test_what_is_installed_editable_is_no_pinned_version(full: Project) -> None:
    """A pinned package that is installed from a folder is whatever that folder holds, and is refused."""
    [metadata] = full.site.glob("skipproof_alpha*.dist-info")
    (metadata / "direct_url.json").write_text('{"url": "file:///elsewhere", "dir_info": {"editable": true}}')
    again = "--reinstall-package skipproof-alpha"
    fact = "skipproof-alpha is installed as editable from /elsewhere, but the lock pins skipproof-alpha==1.5"
    assert facts(full) == [f"{fact} {again}"]


def test_editable_folder_outside_the_project_is_refused(full: Project) -> None:
    """No receipt follows a folder outside the project, which an import hook may hide from the path."""
    full.write("locks/full.txt", "-e ../elsewhere\nskipproof-alpha==1.5\nskipproof-beta==2.5\n")
    folder = (full.root.parent / "elsewhere").resolve()
    metadata = full.install("mine", "0.1", {"__editable___mine_finder.py": ""})
    (metadata / "direct_url.json").write_text(f'{{"url": "{folder.as_uri()}", "dir_info": {{"editable": true}}}}')
    fact = f"{folder}, which the lock has as editable, is not in the project, so no receipt follows it"
    assert facts(full) == [f"{fact}, after you pinned its wheel instead"]


def test_package_without_metadata_is_foreign(full: Project) -> None:
    """The remains of a half-removed package are foreign."""
    (full.site / "gone-1.0.dist-info").mkdir()
    assert facts(full) == [
        "gone-1.0.dist-info is installed, but the lock does not pin it",
        "gone-1.0.dist-info has no RECORD of its files --reinstall-package gone-1.0.dist-info",
    ]


def test_metadata_of_setuptools_is_read(tmp_path: Path) -> None:
    """Packages with setuptools' older metadata are seen."""
    (tmp_path / "old.egg-info").write_text("Name: Old_Way\nVersion: 1\n\nVersion: 2\n")
    (tmp_path / "new.egg-info").mkdir()
    (tmp_path / "new.egg-info" / "PKG-INFO").write_text("Name: new\nVersion: 3\n")
    assert {(package.name, package.version) for package in installed([tmp_path])} == {("old-way", "1"), ("new", "3")}


def test_missing_and_edited_files_are_named(full: Project) -> None:
    """A missing or edited file of a package is named."""
    metadata = full.install("skipproof-gamma", "1", {"gamma.py": "x = 1\n", "gamma_inner.py": "", "gamma_same.py": "1"})
    full.write("locks/full.txt", "skipproof-alpha==1.5\nskipproof-beta==2.5\nskipproof-gamma==1\n")
    (full.site / "gamma.py").write_text("x = 1000\n")
    (full.site / "gamma_inner.py").unlink()
    assert facts(full) == [
        "gamma.py of skipproof-gamma has 9 bytes, but 6 were installed --reinstall-package skipproof-gamma",
        "gamma_inner.py of skipproof-gamma is missing --reinstall-package skipproof-gamma",
    ]
    (metadata / "RECORD").unlink()
    (full.site / "gamma.py").unlink()
    (full.site / "gamma_same.py").unlink()
    assert facts(full) == ["skipproof-gamma has no RECORD of its files --reinstall-package skipproof-gamma"]


def test_packages_that_lost_or_changed_a_file_are_named(full: Project) -> None:
    """Exactly the packages that lost a file, or have one of another size, are named."""
    for name in ("whole", "gone", "edited", "bare"):
        metadata = full.install(name, "1", {f"{name}.py": "x = 1\n"})
    assert damaged([full.site]) == []
    (full.site / "gone.py").unlink()
    (full.site / "edited.py").write_text("x = 1000\n")
    (metadata / "RECORD").unlink()
    assert damaged([full.site]) == ["edited", "gone"]


def test_replaced_content_of_a_promised_distribution_is_named(full: Project) -> None:
    """A file of a promised distribution with other content of the same size is named."""
    weights = full.install("skipproof-model", "1", {"model.gguf": "weights"})
    proofs = 'distributions = ["skipproof-beta", "skipproof_model"]'
    full.write("pyproject.toml", PYPROJECT.replace('distributions = ["skipproof-beta"]', proofs))
    full.write("locks/full.txt", "skipproof-alpha==1.5\nskipproof-beta==2.5\nskipproof-model==1\n")
    assert facts(full) == []
    (full.site / "model.gguf").write_text("WEIGHTS")
    [fact] = facts(full)
    assert fact.startswith("model.gguf of skipproof-model has content sha256 ")
    assert fact.endswith(" --reinstall-package skipproof-model")
    for unknown in ("", "sum=0"):
        (weights / "RECORD").write_text(f"model.gguf,{unknown},7\n")
        assert facts(full) == ["model.gguf of skipproof-model has no recorded hash --reinstall-package skipproof-model"]


def test_content_is_read_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """Only the files of promised distributions are read whole."""
    (tmp_path / "a.py").write_text("x")
    package = Package("a", "1", tmp_path, [("a.py", "sha256=wrong", "1")])
    assert damages(package, content=False) == []
    assert len(damages(package, content=True)) == 1


def test_what_no_package_brought_is_named(full: Project) -> None:
    """A module, a start-up file or a whole library that no package installed is named."""
    full.install("skipproof-gamma", "1", {"gamma/__init__.py": "", "gamma/data.txt": ""})
    full.write("locks/full.txt", "skipproof-alpha==1.5\nskipproof-beta==2.5\nskipproof-gamma==1\n")
    harmless = ["_virtualenv.py", "notes.txt", "left/__pycache__/x.pyc", "gamma/__pycache__/x.py", "gamma/cache.txt"]
    strange = ["sitecustomize.py", "leak.pth", "copied/inner/__init__.py", "copied/fast.so", "gamma/added.py"]
    for name in (*harmless, *strange):
        path = full.site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (full.site / "linked").symlink_to(full.root, target_is_directory=True)
    assert facts(full) == [
        f"{full.site / name} belongs to no package, and remove {name}"
        for name in ("copied", "gamma/added.py", "leak.pth", "linked", "sitecustomize.py")
    ]
