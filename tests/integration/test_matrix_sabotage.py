"""Deceits planted in a copy of this project: each is caught by its real sessions, in real environments.

The table is in packages/skipproof/README.md; what small projects can show is in test_sabotage.py of that package.
"""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from typing import TYPE_CHECKING

import pytest

from support.sabotage_table import STATUS, rows

from .sabotage_project import REAL, Copy, Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Plant = Callable[[Copy], Ending]

pytestmark = pytest.mark.requires("nox")
TABLE = rows("real sessions")
SLIM, FULL = "skip-check", "integration-cpu"
RECEIPT, DATA = ".matrix/receipts/{}.json", ".matrix/coverage/.coverage.{}*"
TORCH = "torch/__init__.py"
FAKES = '''"""Planted."""

import pytest

pytestmark = pytest.mark.requires("llm", "model")


def test_fake() -> None:
    """A canned answer."""
    assert "Tokyo" in "The capital city of Japan is Tokyo."


def test_skip() -> None:
    """No answer."""
    pytest.skip("slow today")
'''


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """The copy, after each of its sessions was green."""
    folder = tmp_path_factory.mktemp("sabotage")
    copy = Copy(folder / "project", folder / "honest")
    copy.create()
    for session in (SLIM, FULL, "accept", "coverage"):
        ending = copy.nox(session)
        assert ending.status == 0, ending.said
    copy.keep()
    yield copy
    shutil.rmtree(folder)


@pytest.fixture
def copy(built: Copy) -> Iterator[Copy]:
    """The copy, free of any deceit before and after the test."""
    yield built
    built.restore()


def real_test(code: str) -> Plant:
    """Plant a test file among the real tests, and have skip-check run it."""

    def plant(copy: Copy) -> Ending:
        copy.write("tests/integration/test_planted_real.py", f'"""Planted."""\n\nimport pytest\n\n{code}\n')
        return copy.nox(SLIM)

    return plant


def edited(name: str, pattern: str, new: str) -> Plant:
    """Edit a file, and have skip-check run."""

    def plant(copy: Copy) -> Ending:
        copy.edit(name, pattern, new)
        return copy.nox(SLIM)

    return plant


def merged(change: Callable[[Copy], object]) -> Plant:
    """Change something after green sessions, then merge."""

    def plant(copy: Copy) -> Ending:
        change(copy)
        return copy.nox("coverage")

    return plant


def killed(code: str) -> Plant:
    """Let a test kill its whole session, which is red for it, then merge what that left."""

    def plant(copy: Copy) -> Ending:
        copy.edit(REAL, r"\Z", f"\n\n@pytest.fixture(autouse=True, scope='session')\ndef _end():\n    {code}\n")
        copy.edit(REAL, r"(?m)^pytestmark.*", "")
        assert copy.nox(SLIM).status == 1
        return copy.nox("coverage")

    return plant


def removed(copy: Copy, *patterns: str) -> None:
    """Remove files of a session."""
    found = [path for pattern in patterns for path in copy.root.glob(pattern)]
    assert found
    for path in found:
        path.unlink()


def emptied(copy: Copy) -> None:
    """Empty the coverage data of a session."""
    for path in copy.root.glob(DATA.format(SLIM)):
        path.write_bytes(b"")


def fewer(copy: Copy) -> None:
    """Remove everything that a session left."""
    removed(copy, RECEIPT.format(SLIM), DATA.format(SLIM))


def whitewashed(copy: Copy) -> None:
    """Make a skipped test a passed one, in a receipt."""
    name = RECEIPT.format(SLIM)
    receipt = json.loads((copy.root / name).read_text(encoding="utf-8"))
    [receipt["tests"][test].update(outcome="passed", reason=None) for test in receipt["tests"]]
    copy.write(name, json.dumps(receipt))


def fake_torch(folder: Path) -> str:
    """Plant something that looks like torch in a folder, and return the folder."""
    (folder / "torch").mkdir(parents=True)
    (folder / TORCH).write_text('__version__ = "2.13.0"\n', encoding="utf-8")
    return str(folder)


def from_user_site(copy: Copy) -> Ending:
    """Open the slim room to what the user installed beside it, where torch is."""
    base = copy.root / "tests" / "home"
    site = copy.site(SLIM)
    fake_torch(base / "lib" / site.parent.name / "site-packages")
    config = site.parents[2] / "pyvenv.cfg"
    text = config.read_text(encoding="utf-8")
    copy.swap(config, re.sub(r"(?m)^include-system-site-packages.*$", "include-system-site-packages = true", text))
    return copy.pytest(SLIM, "no-llm", PYTHONUSERBASE=str(base))


def through_path_file(copy: Copy) -> Ending:
    """Have a path file in the slim room lead to torch."""
    copy.swap(copy.site(SLIM) / "elsewhere.pth", fake_torch(copy.root / "tests" / "elsewhere"))
    return copy.nox(SLIM)


def broken_torch(code: str) -> Plant:
    """Make torch in the full room something else."""

    def plant(copy: Copy) -> Ending:
        copy.swap(copy.site(FULL) / TORCH, code)
        return copy.pytest(FULL, "llm-cpu")

    return plant


def lacking_torch(copy: Copy) -> Ending:
    """Remove a part of torch that it can be imported without."""
    copy.take(copy.site(FULL) / "torch" / "onnx" / "ops" / "__init__.py")
    return copy.pytest(FULL, "llm-cpu")


def upgraded(copy: Copy) -> Ending:
    """Change the version of an installed package."""
    [metadata] = copy.site(SLIM).glob("iniconfig-*.dist-info/METADATA")
    copy.swap(metadata, re.sub(r"(?m)^Version: .*$", "Version: 99", metadata.read_text(encoding="utf-8")))
    return copy.pytest(SLIM, "no-llm")


def added(copy: Copy) -> Ending:
    """Install a package that the lock does not pin."""
    folder = copy.site(SLIM) / "stranger-1.0.dist-info"
    copy.swap(folder / "METADATA", "Name: stranger\nVersion: 1.0\n")
    copy.swap(folder / "RECORD", "")
    return copy.pytest(SLIM, "no-llm")


@cache
def sick_run(copy: Copy) -> Ending:
    """Run the full suite once for two deceits, because it loads a model; its room was green already."""
    copy.write("tests/integration/test_planted_real.py", FAKES)
    return copy.pytest(FULL, "llm-cpu")


def by_hand(copy: Copy) -> Ending:
    """Edit a file of an installed package, which nox repairs."""
    path = copy.site(SLIM) / "iniconfig" / "__init__.py"
    copy.swap(path, "raise RuntimeError('edited')\n")
    ending = copy.nox(SLIM)
    assert "edited" not in path.read_text(encoding="utf-8")
    return ending


PLANTS: dict[str, Plant] = {
    "torch leaks into no-llm through PYTHONPATH": lambda copy: copy.pytest(
        SLIM, "no-llm", PYTHONPATH=fake_torch(copy.root / "tests" / "elsewhere")
    ),
    "torch leaks into no-llm through the user site": from_user_site,
    "torch leaks into no-llm through a path file": through_path_file,
    "The room's torch raises on import": broken_torch("raise OSError('libtorch_cpu.so: cannot open shared object')"),
    "The room's torch imports, but lacks a submodule": lacking_torch,
    "A package in the room is upgraded by hand": upgraded,
    "A package is put into the room by hand": added,
    "A fake engine stands in for the model": sick_run,
    "A real test skips itself in llm-cpu": sick_run,
    "A file of a package in the room is edited by hand": by_hand,
    "A real test file calls `importorskip` at its top": real_test("pytest.importorskip('torch')"),
    "A real test without a mark imports torch": real_test("def test_torch(): import torch"),
    "A real test file imports torch at its top": real_test("import torch\n\ndef test_torch(): pass"),
    "A conftest of the project ignores a test file": edited(
        "tests/integration/conftest.py", r"\Z", "\n\ncollect_ignore = ['test_small_real.py']\n"
    ),
    "The project's `addopts` ignore a test file": edited("pyproject.toml", '"-ra",', f'"-ra", "--ignore={REAL}",'),
    "PYTEST_ADDOPTS leaves a test out": lambda copy: copy.pytest(SLIM, "no-llm", PYTEST_ADDOPTS="-k 'not capital'"),
    "`os._exit(0)` in a session": killed("import os; os._exit(0)"),
    "SIGKILL of a session": killed("import os; os.kill(os.getpid(), 9)"),
    "Coverage data of a session is deleted": merged(lambda copy: removed(copy, DATA.format(FULL))),
    "Coverage data of a session is emptied": merged(emptied),
    "Receipt and data of a session are gone": merged(fewer),
    "A session's receipt is edited by hand": merged(whitewashed),
    "Sources change after the sessions": merged(lambda copy: copy.edit(REAL, r"\Z", "\n# Changed.\n")),
    "A lock changes after the sessions": merged(
        lambda copy: copy.edit("environments/llm-cpu.txt", r"(?m)^torch==\S+", "torch==2.0.0")
    ),
}


@pytest.mark.parametrize("deceit", PLANTS)
def test_a_deceit_is_caught(copy: Copy, deceit: str) -> None:
    """Each deceit of the table is caught by the gate and in the words that the table gives."""
    row = TABLE[deceit]
    ending = PLANTS[deceit](copy)
    assert ending.gate_status == STATUS[row.gate], ending.said
    assert row.is_said_in(ending.said), ending.said


def test_what_a_shell_has_set_reaches_no_session(copy: Copy) -> None:
    """Variables that bring torch, or leave a test out, stay out of a session, which proves what it would without."""
    torch = fake_torch(copy.root / "tests" / "elsewhere")
    ending = copy.nox(SLIM, PYTHONPATH=torch, PYTEST_ADDOPTS="-k 'not capital'", PYTHONWARNINGS="error")
    assert ending.status == 0, ending.said
    assert "0 tests ran, 1 skipped with exactly the derived reason" in ending.said


@pytest.mark.parametrize("session", [SLIM, "build"])
def test_making_a_room_proves_nothing_and_spoils_nothing(copy: Copy, session: str) -> None:
    """``--install-only`` is green, proves nothing, and keeps earlier proofs."""
    (copy.root / "dist").mkdir()
    copy.write("dist/kept.whl", "")
    ending = copy.nox(session, "--install-only")
    assert ending.status == 0, ending.said
    left = [
        path.relative_to(copy.root).as_posix()
        for pattern in (RECEIPT, DATA)
        for path in copy.root.glob(pattern.format(SLIM))
    ]
    assert left == [
        path.relative_to(copy.honest).as_posix()
        for pattern in (RECEIPT, DATA)
        for path in copy.honest.glob(pattern.format(SLIM))
    ]
    assert (copy.root / "dist" / "kept.whl").exists()


def test_table_and_plants_are_the_same() -> None:
    """Every deceit in the README's table is planted here, and every one planted is in it."""
    assert list(TABLE) == list(PLANTS)
