"""Tests of what an index shows: README.md without dead links, and only classifiers that are true."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import llm_backend
import skipproof

from .sessions import ROOT, session_names

README = "[errors](backend/errors.py), ![grid](docs/grid.png), [uv](https://docs.astral.sh/uv/), [below](#matrix)"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What hatch_build.py defines; its base, from hatchling, exists only where packages are built."""
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
    """Links and pictures from the repository get its address, and other links stay as they are."""
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    assert described(hook, tmp_path, urls={"Source": "https://code.example/us/it/"}) == (
        "[errors](https://code.example/us/it/blob/HEAD/backend/errors.py),"
        " ![grid](https://code.example/us/it/raw/HEAD/docs/grid.png),"
        " [uv](https://docs.astral.sh/uv/), [below](#matrix)"
    )


def test_without_an_address_no_link_is_dead(hook: dict[str, Any], tmp_path: Path) -> None:
    """Without a known address of the repository, links into it become plain names."""
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    assert described(hook, tmp_path) == "errors, grid, [uv](https://docs.astral.sh/uv/), [below](#matrix)"


def test_every_link_of_the_readme_leads_somewhere(hook: dict[str, Any]) -> None:
    """The README as an index shows it has no relative link, and each link into the repository leads to a file."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = [link["path"].partition("#")[0] for link in hook["RELATIVE"].finditer(text)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert hook["RELATIVE"].findall(described(hook, ROOT)) == []


@pytest.fixture(params=[".", "packages/skipproof"])
def project(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The table that describes each distribution in turn."""
    found: dict[str, Any] = tomllib.loads((ROOT / request.param / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, Any] = found["project"]
    return table


def test_the_pythons_of_the_classifiers_are_those_of_the_matrix(project: dict[str, Any]) -> None:
    """The classifiers name exactly the Pythons that sessions prove."""
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert named == [name.removeprefix("unit-") for name in sorted(session_names()) if name.startswith("unit-")]
    assert project["requires-python"] == f">={named[0]}"


def test_the_classifiers_say_that_the_package_is_typed_where_it_is(project: dict[str, Any]) -> None:
    """A distribution is classified as typed exactly if it contains py.typed."""
    packages = {"llm-backend": llm_backend, "pytest-skipproof": skipproof}
    marker = Path(packages[project["name"]].__file__ or "").parent / "py.typed"
    assert ("Typing :: Typed" in project["classifiers"]) == marker.exists()


def test_the_licence_is_named_once(project: dict[str, Any]) -> None:
    """The licence is only in its own field; an index rejects a classifier next to it."""
    assert project["license"] == "Apache-2.0"
    assert [each for each in project["classifiers"] if each.startswith("License ::")] == []
