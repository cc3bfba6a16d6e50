"""Tests of the description that an index shows: README.md, without links that lead nowhere there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import llm_backend
import pytest

from .sessions import ROOT

README = "[errors](backend/errors.py), ![grid](docs/grid.png), [uv](https://docs.astral.sh/uv/), [below](#matrix)"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What hatch_build.py defines; hatchling, whose interface it fills, is only where packages are built."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.__dict__["MetadataHookInterface"] = object
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    return runpy.run_path(str(ROOT / "hatch_build.py"))


def described(hook: dict[str, Any], root: Path, **project: Any) -> str:
    """The description of a project whose README is in ``root``."""
    hook["Description"].update(SimpleNamespace(root=str(root)), project)
    assert project["readme"]["content-type"] == "text/markdown"
    text: str = project["readme"]["text"]
    return text


def test_links_into_the_repository_get_its_address(hook: dict[str, Any], tmp_path: Path) -> None:
    """Links and pictures lead to the repository, and other links stay as they are."""
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    assert described(hook, tmp_path, urls={"Source": "https://code.example/us/it/"}) == (
        "[errors](https://code.example/us/it/blob/HEAD/backend/errors.py),"
        " ![grid](https://code.example/us/it/raw/HEAD/docs/grid.png),"
        " [uv](https://docs.astral.sh/uv/), [below](#matrix)"
    )


def test_without_an_address_no_link_is_dead(hook: dict[str, Any], tmp_path: Path) -> None:
    """As long as nobody knows the repository's address, what is linked is named."""
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    assert described(hook, tmp_path) == "errors, grid, [uv](https://docs.astral.sh/uv/), [below](#matrix)"


def test_every_link_of_the_readme_leads_somewhere(hook: dict[str, Any]) -> None:
    """What an index shows has no relative link, and each one in the repository leads to a file."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = [link["path"].partition("#")[0] for link in hook["RELATIVE"].finditer(text)]
    assert paths
    places = (ROOT, Path(llm_backend.__file__).parents[1])  # the package may be an installed one
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []
    assert hook["RELATIVE"].findall(described(hook, ROOT)) == []
