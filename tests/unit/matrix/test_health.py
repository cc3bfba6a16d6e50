"""Rooms that uv could not repair, planted one by one, and what stands where a room should be."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix import health

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
INFO = f"lib/python{VERSION}/site-packages/one-1.0.dist-info"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A room as uv makes it, with one package."""
    base = Path(sys.executable).resolve()
    files = {
        "pyvenv.cfg": f"home = {base.parent}\nuv = 0.13.9\n",
        f"{INFO}/METADATA": "Metadata-Version: 2.4\nName: one\nVersion: 1.0\n",
        f"{INFO}/RECORD": "one-1.0.dist-info/METADATA,,\none-1.0.dist-info/RECORD,,\n",
    }
    room = tmp_path / "rooms" / "unit"
    for name, text in files.items():
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_text(text, encoding="utf-8")
    (room / "bin").mkdir()
    (room / "bin" / "python").symlink_to(base)
    return room


def defect(room: Path, python: str = VERSION) -> str | None:
    """Ask for a room's defect."""
    return health.defect(room, room / "bin" / "python", python)


def test_a_room_as_uv_makes_it_is_sound(room: Path) -> None:
    """A room that uv made is sound."""
    assert defect(room) is None


def emptied(name: str) -> Callable[[Path], object]:
    """Empty one file of a room."""
    return lambda room: (room / name).write_text("")


def removed(name: str) -> Callable[[Path], object]:
    """Remove one file of a room."""
    return lambda room: (room / name).unlink()


def emptied_folder(room: Path) -> None:
    """Leave an empty folder."""
    shutil.rmtree(room)
    room.mkdir()


def half_removed(room: Path) -> None:
    """Leave an empty metadata folder, as an installer that was killed does."""
    shutil.rmtree(room / INFO)
    (room / INFO).mkdir()


UNREADABLE = r"has no readable METADATA and RECORD in one-1\.0\.dist-info"


@pytest.mark.parametrize(
    ("plant", "fact"),
    [
        (shutil.rmtree, r"has no pyvenv\.cfg by uv"),
        (emptied_folder, r"has no pyvenv\.cfg by uv"),
        (removed("pyvenv.cfg"), r"has no pyvenv\.cfg by uv"),
        (emptied("pyvenv.cfg"), r"has no pyvenv\.cfg by uv"),
        (
            lambda room: (room / "pyvenv.cfg").write_text("uv = 0.13.9\nseed = true\n"),
            "was made with pip in it, which uv would leave there",
        ),
        (removed("bin/python"), r"has a Python that does not start \(.*No such file.*bin/python'\)"),
        (removed(f"{INFO}/RECORD"), UNREADABLE),
        (emptied(f"{INFO}/RECORD"), UNREADABLE),
        (lambda room: (room / INFO / "RECORD").write_bytes(b"one,\xff\xfe"), UNREADABLE),
        (removed(f"{INFO}/METADATA"), UNREADABLE),
        (emptied(f"{INFO}/METADATA"), UNREADABLE),
        (half_removed, UNREADABLE),
    ],
)
def test_a_room_that_uv_could_not_repair_is_named(room: Path, plant: Callable[[Path], object], fact: str) -> None:
    """A broken room is found, with what is wrong with it."""
    plant(room)
    found = defect(room)
    assert found is not None
    assert re.fullmatch(fact, found), found


def test_a_room_with_another_python_is_named(room: Path) -> None:
    """A room that an older Python made is found."""
    assert defect(room, "3.4") == f"has Python {VERSION}, where 3.4 should be"


def test_a_python_that_fails_is_named(room: Path) -> None:
    """A room whose Python starts, but fails, is found."""
    (room / "bin" / "python").unlink()
    (room / "bin" / "python").symlink_to("/bin/false")
    assert "has a Python that does not start (" in str(defect(room))


def test_a_python_of_elsewhere_is_named(room: Path, tmp_path: Path) -> None:
    """A room that starts the Python of another room is found."""
    other = shutil.copytree(room, tmp_path / "other", symlinks=True)
    (room / "bin" / "python").unlink()
    (room / "bin" / "python").write_text(f'#!/bin/sh\nexec {other}/bin/python "$@"\n')
    (room / "bin" / "python").chmod(0o755)
    assert defect(room) == f"has a Python that takes {other} for its home"


@pytest.mark.parametrize("form", ["#!{}/bin/python\n", "#!/bin/sh\n'''exec' '{}/bin/python' \"$0\" \"$@\"\n"])
@pytest.mark.parametrize("copied", [True, False])
def test_a_room_of_another_folder_is_named(room: Path, tmp_path: Path, form: str, copied: bool) -> None:  # noqa: FBT001
    """A room whose programs start the Python of the folder that it was copied or moved from is found."""
    script = room / "bin" / "tool"
    script.write_text(form.format(room), encoding="utf-8")
    assert defect(room) is None
    moved = tmp_path / "moved" / room.name
    shutil.copytree(room, moved, symlinks=True)
    if not copied:
        shutil.rmtree(room)
    assert defect(moved) == f"was made as {room}, whose Python its programs start"
    (moved / "bin" / "tool").write_text("#!/usr/bin/python3\n", encoding="utf-8")
    assert defect(moved) is None


def test_a_room_is_removed_and_a_link_only_itself(room: Path, tmp_path: Path) -> None:
    """A room is removed; where a link stands for it, what the link leads to stays."""
    link = tmp_path / "link"
    link.symlink_to(room)
    health.drop(link)
    assert not link.exists()
    assert room.exists()
    health.drop(room)
    assert not room.exists()


def test_what_stands_where_a_room_should_be_is_removed(room: Path) -> None:
    """A file, and a link to nowhere, no longer stand where nox makes a room; rooms and nox's own files stay."""
    rooms = room.parent
    (rooms / ".gitignore").write_text("*\n")
    (rooms / "lint").write_text("")
    (rooms / "types").symlink_to(rooms / "nowhere")
    health.drop_strays(rooms)
    assert {path.name for path in rooms.iterdir()} == {".gitignore", "unit"}
    health.drop_strays(rooms / "absent")


def test_uv_says_itself_why_it_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uv says of a wrong setting is passed on; a uv that is not there can be installed."""
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho no such file: uv.toml >&2\nexit 2\n")
    uv.chmod(0o755)
    assert health.uv_trouble(str(uv)) == "uv, which makes the rooms, does not run here: no such file: uv.toml"
    uv.write_text("#!/bin/sh\nexit 3\n")
    assert health.uv_trouble(str(uv)) == "uv, which makes the rooms, does not run here: it exits with 3"
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(health, "find_spec", lambda _: None)
    assert "does not start ([Errno 2] No such file or directory: 'uv'): pip install 'nox[uv]'" in health.uv_trouble(
        None
    )
    monkeypatch.setattr(health, "find_spec", lambda _: "found")
    monkeypatch.setattr(sys, "executable", str(uv))
    assert health.uv_trouble(None).endswith("it exits with 3")
