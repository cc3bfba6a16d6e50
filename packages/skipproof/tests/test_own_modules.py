"""What a project's sources give to import, in each layout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from skipproof.own_modules import own_modules
from skipproof.sources import digest

if TYPE_CHECKING:
    from support.project import Project

SUITES = ["tests/unit", "tests/real"]


def own(project: Project, *sources: str, linked: str | None = None) -> dict[str, list[str]]:
    """Return what a project with these sources gives to import."""
    folders = [] if linked is None else [(project.root / linked).resolve()]
    found = own_modules(replace(project.contract, sources=sources), SUITES, folders)
    return {name: sorted(places) for name, places in sorted(found.places.items()) if name != "setup"}


@pytest.mark.parametrize(
    ("sources", "files", "expected"),
    [
        (["src", "tests"], ["src/mine/__init__.py", "src/mine/a.py"], {"mine": ["src/mine"]}),
        (["src/mine"], ["src/mine/__init__.py", "src/mine/a.py"], {"mine": ["src/mine"], "src.mine": ["src/mine"]}),
        (["mine", "tests"], ["mine/__init__.py", "mine/tests/test_a.py"], {"mine": ["mine"]}),
        (["mine/sub"], ["mine/__init__.py", "mine/sub/__init__.py"], {"mine.sub": ["mine/sub"]}),
        (["backend"], ["backend/mine/__init__.py"], {"backend.mine": ["backend/mine"], "mine": ["backend/mine"]}),
        (["mine.py"], ["mine.py"], {"mine": ["mine.py"]}),
        (["src"], ["src/mine.py"], {"mine": ["src/mine.py"], "src.mine": ["src/mine.py"]}),
        (["src"], ["src/space/mine/__init__.py"], {"space.mine": ["src/space/mine"]}),
        (["src"], ["src/space/mine/a.py"], {"space.mine.a": ["src/space/mine/a.py"]}),
        (["."], ["src/mine/__init__.py"], {"mine": ["src/mine"], "src.mine": ["src/mine"]}),
        (["."], ["mine/__init__.py", "conftest.py", "a-b.py"], {"mine": ["mine"]}),
        (["tests"], ["tests/unit/test_a.py", "tests/unit/helpers/__init__.py"], {}),
        (["tests"], ["tests/__init__.py", "tests/unit/test_a.py"], {"tests": ["tests"]}),
        (["tests"], ["tests/stubs/torch/__init__.py", "tests/torch/__init__.py"], {}),
        (
            ["libs/mine"],
            ["libs/mine/pyproject.toml", "libs/mine/src/mine/__init__.py"],
            {"mine": ["libs/mine/src/mine"]},
        ),
    ],
)
def test_what_the_sources_give_to_import(
    project: Project, sources: list[str], files: list[str], expected: dict[str, list[str]]
) -> None:
    """Packages and modules have the name they are imported by; tests, their helpers and stubs are not among them."""
    for file in files:
        project.write(file, "")
    found = own(project, *sources)
    names = {name: places for name, places in found.items() if "stubs" not in name and "tests." not in name}
    # From the root, a folder of sources is a namespace, which nothing else has.
    extra = {name for name in names if name.startswith(("src.", "libs."))} - expected.keys()
    assert {name: places for name, places in names.items() if name not in extra} == expected


@pytest.mark.parametrize(
    "code",
    [
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
        "__import__('pkg_resources').declare_namespace(__name__)\n",
    ],
)
def test_a_package_that_others_share_is_a_namespace(project: Project, code: str) -> None:
    """What another distribution has in a package of the old kind of namespace is not the project's."""
    project.write("src/space/__init__.py", code)
    project.write("src/space/mine/__init__.py", "")
    found = own_modules(replace(project.contract, sources=("src",)), SUITES)
    assert (found.owner("space.mine.a"), found.owner("space.theirs"), found.owner("space")) == (
        "space.mine",
        None,
        None,
    )


def test_what_is_installed_as_editable_is_found_by_its_path_file(project: Project) -> None:
    """A project below a source gives what its folder has that a path file names."""
    project.write("packages/mine/lib/mine.py", "")
    project.write("packages/mine/lib/also/__init__.py", "")
    assert "mine" not in own(project, "packages")
    found = own(project, "packages", linked="packages/mine/lib")
    assert (found["mine"], found["also"]) == (["packages/mine/lib/mine.py"], ["packages/mine/lib/also"])
    assert own(project, "packages", linked="../elsewhere") == own(project, "packages")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[project]\nname = 'My.Project'\n", {"my-project"}),
        ("[project]\ndynamic = ['name']\n", {"mine", "setup"}),
        ("project = 1\n", {"mine", "setup"}),
        ("[project\n", {"mine", "setup"}),
    ],
)
def test_distributions_are_called_like_the_project_or_else_its_modules(
    project: Project, text: str, expected: set[str]
) -> None:
    """A copy of the project has the name in pyproject.toml or, where there is none, that of a package."""
    contract = replace(project.contract, sources=("src", "setup.py"))
    project.write("src/mine/__init__.py", "")
    project.write("pyproject.toml", text)
    assert {name for name in own_modules(contract, SUITES).distributions if "src" not in name} == expected
    (project.root / "pyproject.toml").unlink()
    assert "mine" in own_modules(contract, SUITES).distributions


def test_an_installed_file_is_compared_with_its_place(project: Project) -> None:
    """A file of the project, code or data, differs, is equal, or has no place in the sources."""
    for name in ("src/mine/__init__.py", "src/mine/data/a.json", "src/mine/_speed.cpython-311-x86_64-linux-gnu.so"):
        project.write(name, "1")
    found = own_modules(replace(project.contract, sources=("src",)), SUITES)
    for inner in ("mine/__init__.py", "mine/data/a.json", "mine/old.py", "mine/_speed.so", "other/a.py"):
        path = project.site / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1", encoding="utf-8")
    assert digest(str(project.site / "mine/__init__.py")) == digest(f"{project.root}/src/mine/__init__.py")

    def difference(inner: str) -> dict[str, str]:
        return found.difference(str(project.site / inner), inner)

    assert difference("mine/data/a.json") == difference("mine/__init__.py") == {}
    assert difference("other/a.py") == difference("mine/_speed.so") == {}
    assert difference("mine/old.py") == {"src/mine/old.py": "vanished"}
    project.write("src/mine/data/a.json", "2")
    assert difference("mine/data/a.json") == {"src/mine/data/a.json": "changed"}
