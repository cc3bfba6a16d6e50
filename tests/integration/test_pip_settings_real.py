"""The settings of this machine's pip, in files and variables, reach uv: a real pip is asked."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from matrix.rooms import Machine, package_source

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requires("installers")

MIRROR = "https://mirror.invalid/simple"


def machine(folder: Path, **environ: str) -> Machine:
    """A machine whose pip has these variables, and files of the system and the user in a folder."""
    places = {"HOME": str(folder / "home"), "XDG_CONFIG_DIRS": str(folder / "system")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "XDG_"))}
    pip = (sys.executable, "-m", "pip")
    return Machine({**kept, **places, **environ}, home=folder / "home", root=folder / "root", pip=pip)


def write(path: Path, text: str) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_settings_hold_in_the_order_of_pip(tmp_path: Path) -> None:
    """A stronger file wins over a weaker, [install] over [global], and a variable over all."""
    write(
        tmp_path / "system" / "pip" / "pip.conf",
        "[global]\nfind_links = /a\n[install]\nindex-url = https://a.invalid\n",
    )
    user = "[global]\nfind-links = /user\nindex-url = https://b.invalid\nextra-index-url =\n    https://one\n    https://two\n"
    write(tmp_path / "home" / ".config" / "pip" / "pip.conf", user)
    variables = package_source("no-llm", machine(tmp_path)).variables
    assert variables["UV_FIND_LINKS"] == "/user"
    assert variables["UV_DEFAULT_INDEX"] == "https://a.invalid"
    assert variables["UV_INDEX"] == "https://one https://two"
    assert package_source("no-llm", machine(tmp_path, PIP_INDEX_URL=MIRROR)).variables["UV_DEFAULT_INDEX"] == MIRROR


def test_a_file_that_is_named_stands_for_the_users(tmp_path: Path) -> None:
    """With PIP_CONFIG_FILE pip reads that file instead of the user's own."""
    write(tmp_path / "home" / ".config" / "pip" / "pip.conf", "[global]\nfind-links = /user\n")
    write(tmp_path / "system" / "pip" / "pip.conf", "[global]\nfind-links = /system\n")
    write(tmp_path / "own.conf", "[global]\nindex-url = https://own.invalid\n")
    variables = package_source("no-llm", machine(tmp_path, PIP_CONFIG_FILE=str(tmp_path / "own.conf"))).variables
    assert (variables["UV_FIND_LINKS"], variables["UV_DEFAULT_INDEX"]) == ("/system", "https://own.invalid")


def test_pip_can_be_told_to_read_no_file(tmp_path: Path) -> None:
    """Files that pip was told not to read do not count here either."""
    write(tmp_path / "home" / ".config" / "pip" / "pip.conf", "[global]\nfind-links = /user\n")
    assert package_source("no-llm", machine(tmp_path, PIP_CONFIG_FILE=os.devnull)).variables == {}


def test_a_broken_file_is_left_to_pip(tmp_path: Path) -> None:
    """A typo in a configuration file ends in pip's explanation, not in our traceback."""
    write(tmp_path / "home" / ".config" / "pip" / "pip.conf", "no section\n")
    assert package_source("llm-cpu", machine(tmp_path)).reason == "uv's torch backend cpu"
