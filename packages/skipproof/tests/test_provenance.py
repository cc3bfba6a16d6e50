"""Where modules came from: what is no alarm, and how complaints are worded; the deceits are in the README's table."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from skipproof import search_path
from skipproof.detection import disagreements
from skipproof.own_modules import OwnModules
from skipproof.provenance import file_of, stray
from support.project import PYPROJECT
from support.runs import NEEDS_ALPHA, PASSES, REAL, UNIT, violations
from support.sabotage_origins import FIRST, MINE, USES, packaged
from support.sabotage_runs import run

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project


class Lazy(ModuleType):
    """A module that imports something as soon as anybody asks it for anything, like those of six."""

    def __getattribute__(self, name: str) -> Any:
        """Raise what a library that is not here raises."""
        if name in ("__file__", "__spec__", "__dict__", "__path__"):
            raise ImportError(name)
        return super().__getattribute__(name)


class Slots:
    """No module at all, and without a dictionary."""

    __slots__ = ()


def with_spec(**values: object) -> ModuleType:
    """Make a module with such a spec."""
    module = ModuleType("some")
    module.__spec__ = SimpleNamespace(**values)  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        pytest.param(pytest, pytest.__file__, id="a path of this machine"),
        (sys, None),
        (Lazy("six.moves"), None),
        (Slots(), None),
        (None, None),
        (with_spec(), None),
        (with_spec(origin="frozen", has_location=False), None),
        (with_spec(origin=7, has_location=True), None),
        (with_spec(origin="/a.py", has_location=True), "/a.py"),
        (SimpleNamespace(__file__="/b.py"), "/b.py"),
        (SimpleNamespace(__file__=None), None),
    ],
)
def test_a_module_is_not_asked_for_its_file(module: object, expected: str | None) -> None:
    """Lazy modules stay unloaded, and what only looks like a module has no file."""
    assert file_of(module) == expected


def test_the_lazy_module_would_have_raised() -> None:
    """The sample of a lazy module does raise when somebody asks it."""
    with pytest.raises(ImportError):
        assert Lazy("six.moves").__file__


@pytest.mark.parametrize("name", ["json", "sys", "skipproof.search_path"])
def test_modules_of_python_and_of_the_project_are_no_strays(tmp_path: Path, name: str) -> None:
    """A capability may name a module of Python, or an optional part of the project."""
    own = OwnModules(tmp_path, {"skipproof": [os.path.dirname(search_path.__file__)]})  # noqa: PTH120
    assert stray(own, name, sys.modules[name]) is None


@pytest.fixture
def mine(project: Project) -> Project:
    """A project with a package of its own, which a test imports."""
    packaged(project)
    return project


def test_the_project_from_its_sources_is_no_alarm(mine: Project) -> None:
    """The package that the receipt is tied to may be imported."""
    assert run(mine, environment="bare")[0] == 0


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_each_way_to_import_tests_is_no_alarm(mine: Project, mode: str) -> None:
    """Tests, their helpers and conftest.py files are the project's in every import mode, in packages or not."""
    # Not "tests": the run around this one has a package of that name.
    checks = "skipproof_checks"
    text = (mine.root / "pyproject.toml").read_text(encoding="utf-8")
    text = text.replace('"src", "tests", ', f'"src", "{checks}", ').replace(
        "--import-mode=importlib", f"--import-mode={mode}"
    )
    text = text.replace('["tests/unit", "tests/real"]', f'["{checks}/unit"]').replace('["src"]', '["src", "."]')
    mine.write("pyproject.toml", text)
    for name in ("__init__.py", "conftest.py", "unit/__init__.py", "unit/helpers.py"):
        mine.write(f"{checks}/{name}", "")
    mine.write("conftest.py", "")
    mine.write(f"{checks}/unit/test_a.py", f"{USES}    import {checks}.unit.helpers\n")
    assert run(mine, environment="bare")[0] == 0
    assert mine.receipt("bare").suites == [f"{checks}/unit"]


def test_a_wheel_of_these_sources_is_no_alarm(mine: Project) -> None:
    """What is installed may be a copy of the project when it is the same, but for what was compiled or git ignores."""
    packaged(mine, "tests")
    mine.write("src/skipproof_mine/data.json", "{}")
    built = f"skipproof_mine/_speed{EXTENSION_SUFFIXES[0]}"
    files = {"skipproof_mine/__init__.py": "VALUE = 2\n", "skipproof_mine/data.json": "{}", built: "", "../x": ""}
    mine.install("mine", "1.0", files)
    mine.write("locks/bare.txt", "mine==1.0\n")
    assert run(mine, environment="bare")[0] == 0


def test_data_of_a_copy_has_to_be_equal_too(mine: Project) -> None:
    """A copy of the project with other data is refused although its modules are the same."""
    mine.write("src/skipproof_mine/data.json", "{}")
    files = {"skipproof_mine/__init__.py": "VALUE = 2\n", "skipproof_mine/data.json": "[]"}
    mine.install("mine", "1.0", files)
    mine.write("locks/bare.txt", "mine==1.0\n")
    fact = "which differs from its sources (src/skipproof_mine/data.json changed)"
    step = "lock the project as editable (-e .), or install a wheel of these sources"
    assert disagreements(mine.contract, "bare") == [f"mine 1.0 is installed as a copy of the project, {fact}; {step}"]


def test_a_copy_that_no_source_covers_is_refused(project: Project) -> None:
    """The project's own wheel proves nothing when its code is in no source."""
    project.write("pyproject.toml", f"[project]\nname = 'Mine'\n{PYPROJECT}")
    project.install("mine", "1.0", {"skipproof_mine/__init__.py": "VALUE = 2\n"})
    project.write("locks/bare.txt", "mine==1.0\n")
    fact = "mine 1.0 is installed as a copy of the project, whose modules no source covers"
    step = "add their folder to sources, or no receipt is tied to them"
    assert disagreements(project.contract, "bare") == [f"{fact}; {step}"]


def test_a_distribution_of_metadata_alone_is_no_copy(project: Project) -> None:
    """A project that installs no module needs no source for one."""
    project.write("pyproject.toml", f"[project]\nname = 'Mine'\n{PYPROJECT}")
    project.install("mine", "1.0", {"mine-data/a.json": "{}"})
    project.write("locks/bare.txt", "mine==1.0\n")
    assert disagreements(project.contract, "bare") == []


def test_what_a_build_wrote_and_git_ignores_is_no_difference(mine: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has the version that its build wrote, which no source has."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    packaged(mine, "tests")
    mine.git("init", "-q")
    mine.write(".gitignore", "_version.py\n")
    files = {"skipproof_mine/__init__.py": "VALUE = 2\n", "skipproof_mine/_version.py": "VERSION = 1\n"}
    mine.install("mine", "1.0", files)
    mine.write("locks/bare.txt", "mine==1.0\n")
    mine.write(UNIT, f"{USES}    import skipproof_mine._version\n")
    assert run(mine, environment="bare")[0] == 0


def test_what_a_build_made_for_an_editable_project_is_no_alarm(mine: Project) -> None:
    """A build may put modules that it made among the installed ones: they belong to the editable project."""
    metadata = mine.install("mine", "1.0", {"skipproof_made/__init__.py": "", "skipproof_mine/made.py": "MADE = 1\n"})
    here = mine.root.resolve().as_uri()
    (metadata / "direct_url.json").write_text(
        json.dumps({"url": here, "dir_info": {"editable": True}}), encoding="utf-8"
    )
    other = mine.install("other", "1.0", {})
    (other / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {}}', encoding="utf-8")
    mine.write("locks/bare.txt", "-e .\nother==1.0\n")
    mine.write("src/skipproof_mine/__init__.py", f"VALUE = 2\n__path__.append({str(mine.site / 'skipproof_mine')!r})\n")
    mine.write(UNIT, f"{USES}    import skipproof_mine.made\n")
    assert run(mine, environment="bare")[0] == 0


def compiled(project: Project, folder: str) -> Path:
    """Put a compiled module into a folder, and return its path."""
    spec = importlib.util.find_spec("coverage.tracer")
    assert spec is not None
    assert spec.origin is not None
    path = project.root / folder / os.path.basename(spec.origin)  # noqa: PTH119
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(spec.origin, path)
    return path


@pytest.mark.parametrize("folder", ["src/skipproof_mine", "build/cp311"])
def test_a_compiled_module_is_no_alarm(mine: Project, folder: str) -> None:
    """What a build compiled may lie in the package, newer than its source, or in a folder of the build."""
    mine.write("src/skipproof_mine/tracer.c", "")
    compiled(mine, folder)
    mine.write(MINE, f"VALUE = 2\n__path__.append({str(mine.root / folder)!r})\n")
    mine.write(UNIT, f"{USES}    import skipproof_mine.tracer\n")
    assert run(mine, environment="bare")[0] == 0


def test_links_in_the_sources_are_no_alarm(mine: Project) -> None:
    """A module, or a whole package, may be a link to a place outside the project: its content is in the digest."""
    elsewhere = mine.root.parent / "elsewhere"
    (elsewhere / "skipproof_linked").mkdir(parents=True)
    (elsewhere / "skipproof_linked" / "__init__.py").write_text("", encoding="utf-8")
    (elsewhere / "part.py").write_text("", encoding="utf-8")
    (mine.root / "src" / "skipproof_linked").symlink_to(elsewhere / "skipproof_linked")
    (mine.root / "src" / "skipproof_mine" / "part.py").symlink_to(elsewhere / "part.py")
    mine.write(UNIT, f"{USES}    import skipproof_linked, skipproof_mine.part\n")
    assert run(mine, environment="bare")[0] == 0


def test_modules_made_on_the_way_are_no_alarm(mine: Project) -> None:
    """A package may put modules of its own among the others, block one, and so may a library."""
    made = "import sys, types\n"
    for name in ("skipproof_mine.moves", "skipproof_alpha.moves", "skipproof_alpha.classes"):
        made += f"sys.modules[{name!r}] = types.ModuleType({name!r})\n"
    made += (
        "sys.modules['skipproof_alpha.classes'].__file__ = '_classes.py'\nsys.modules['skipproof_mine.none'] = None\n"
    )
    mine.write(UNIT, f"{made}\n{USES}")
    mine.write(REAL, NEEDS_ALPHA)
    assert run(mine)[0] == 0


def test_a_test_may_block_what_it_requires(mine: Project) -> None:
    """A test may show what happens where a library cannot be imported, and one that requires nothing may use a stub."""
    mine.write(
        REAL,
        """
        import sys
        import types

        import pytest


        @pytest.mark.requires("alpha")
        def test_blocked(monkeypatch):
            monkeypatch.setitem(sys.modules, "skipproof_alpha", None)


        @pytest.mark.requires("alpha")
        def test_imported_again(monkeypatch):
            monkeypatch.delitem(sys.modules, "skipproof_alpha")
            import skipproof_alpha


        def test_stub(monkeypatch):
            monkeypatch.setitem(sys.modules, "skipproof_alpha", types.ModuleType("skipproof_alpha"))
        """,
    )
    assert run(mine)[0] == 0


def test_what_tests_write_and_import_is_no_alarm(mine: Project) -> None:
    """What tests write in the folder for it, even in the project, is no source; nor is what is gone at the end."""
    mine.write(
        UNIT,
        """
        import importlib
        import sys

        import pytest


        @pytest.mark.parametrize("name", ["skipproof_kept", "skipproof_gone"])
        def test_a(tmp_path, monkeypatch, pytestconfig, name):
            folder = tmp_path if name == "skipproof_kept" else pytestconfig.rootpath
            path = folder / f"{name}.py"
            path.write_text("")
            monkeypatch.syspath_prepend(folder)
            importlib.import_module(name)
            if folder is not tmp_path:
                path.unlink()
        """,
    )
    assert run(mine, "--basetemp", str(mine.root / "scratch"), environment="bare")[0] == 0


@pytest.mark.parametrize("folder", [".tools", "build/lib", "node_modules/x"])
def test_what_tools_leave_is_no_source(mine: Project, folder: str) -> None:
    """A module from a folder of tools is none of the project's, and no source has to cover it."""
    mine.write(f"{folder}/skipproof_tool.py", "")
    mine.write("conftest.py", FIRST.format(folder=str(mine.root / folder)) + "import skipproof_tool\n")
    assert run(mine, environment="bare")[0] == 0


def test_what_git_ignores_need_not_be_covered(mine: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generated module that git ignores is made again everywhere, in the sources or beside them."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    mine.git("init", "-q")
    mine.write(".gitignore", "/generated/\n")
    mine.write("generated/skipproof_generated.py", "")
    mine.write("conftest.py", FIRST.format(folder=str(mine.root / "generated")) + "import skipproof_generated\n")
    assert run(mine, environment="bare")[0] == 0


def test_an_empty_folder_of_that_name_is_found(mine: Project) -> None:
    """A folder without modules, first on the path, becomes a namespace that hides an editable installation."""
    packaged(mine, ".")
    mine.write("skipproof_mine/data.txt", "")
    mine.write(UNIT, "def test_a(): import skipproof_mine\n")
    [found] = violations(mine.run("--skipproof", "bare"), mine, "bare")
    fact = "skipproof_mine: came from no file at all, not from src/skipproof_mine"
    assert found == f"{fact}; remove what puts it among the modules"


def test_a_copy_in_an_archive_is_found(mine: Project) -> None:
    """A package that comes out of a zip file is not the project's."""
    archive = mine.root / "old.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("skipproof_mine/__init__.py", "VALUE = 1\n")
    mine.write("conftest.py", FIRST.format(folder=str(archive)))
    [found] = violations(mine.run("--skipproof", "bare"), mine, "bare")
    where = archive.resolve() / "skipproof_mine" / "__init__.py"
    assert found == f"skipproof_mine: came from {where}, not from src/skipproof_mine; remove what hides it"


def test_a_part_of_a_library_from_elsewhere_is_found(mine: Project) -> None:
    """A stub of one module of a library is found, where the library itself is the installed one."""
    mine.install("skipproof-alpha", "1.5", {"skipproof_alpha/__init__.py": ""})
    mine.install_beta()
    stub = mine.write("tests/stubs/kernels.py", "")
    mine.write(
        REAL,
        f"""
        import pytest


        @pytest.mark.requires("alpha")
        def test_alpha():
            import skipproof_alpha
            skipproof_alpha.__path__.insert(0, {str(stub.parent)!r})
            import skipproof_alpha.kernels
        """,
    )
    [found] = violations(mine.run("--skipproof", "full"), mine, "full")
    step = "not from what is installed; remove what hides it"
    assert found == f"skipproof_alpha.kernels: came from {stub.resolve()}, {step}"


def test_an_optional_part_of_the_project_may_be_a_capability(mine: Project) -> None:
    """A capability may name a module of the project, and a copy of that is found like any other."""
    text = (mine.root / "pyproject.toml").read_text(encoding="utf-8")
    mine.write("pyproject.toml", text.replace('"skipproof_alpha"]', '"skipproof_mine.speed"]'))
    mine.write("src/skipproof_mine/speed.py", "")
    mine.write(REAL, NEEDS_ALPHA.replace("skipproof_alpha", "skipproof_mine.speed"))
    assert run(mine)[0] == 0
    mine.write("copies/skipproof_mine/__init__.py", "VALUE = 1\n")
    mine.write("copies/skipproof_mine/speed.py", "")
    mine.write("conftest.py", FIRST.format(folder=str(mine.root / "copies")))
    status, said = run(mine, alpha=None)
    where = (mine.root / "copies/skipproof_mine/speed.py").resolve()
    assert status == 10
    assert f"full promises alpha, but module skipproof_mine.speed comes from {where}, not from what is" in said


def test_a_hidden_module_of_the_project_has_to_be_a_source(mine: Project) -> None:
    """A part of the package that lies where tools leave things is in no receipt, and is named."""
    mine.write("src/skipproof_mine/.parts/part.py", "")
    mine.write(MINE, "VALUE = 2\n__path__.append(__path__[0] + '/.parts')\n")
    mine.write(UNIT, f"{USES}    import skipproof_mine.part\n")
    [found] = violations(mine.run("--skipproof", "bare"), mine, "bare")
    place = "src/skipproof_mine/.parts/part.py"
    fact = f"skipproof_mine.part: came from {place}, to which no receipt is tied"
    assert found == f"{fact}; add it to sources, or delete it"


def test_a_name_that_python_has_is_no_alarm(project: Project) -> None:
    """A folder of sources that is called like a module of Python hides nothing."""
    text = PYPROJECT.replace('["tests", ', '["src", "tests", ')
    project.write("pyproject.toml", text)
    project.write("src/json/__init__.py", "")
    project.write(UNIT, PASSES)
    assert run(project, environment="bare")[0] == 0


def test_combined_capabilities_are_asked_for_their_parts(mine: Project) -> None:
    """A test that requires a combination may use no stub for what that combines."""
    text = (mine.root / "pyproject.toml").read_text(encoding="utf-8")
    entry = 'both = { all = ["alpha", "beta"], install = "pip install both" }\n'
    mine.write("pyproject.toml", text.replace("beta = {", f"{entry}beta = {{"))
    stub = "monkeypatch.setitem(sys.modules, 'skipproof_alpha', types.ModuleType('skipproof_alpha'))"
    mine.write(
        REAL,
        f"import sys, types, pytest\n\n@pytest.mark.requires('both')\ndef test_alpha(monkeypatch): {stub}\n",
    )
    mine.install_alpha()
    mine.install_beta()
    [found] = violations(mine.run("--skipproof", "full"), mine, "full")
    assert found.startswith(f"{REAL}::test_alpha: module skipproof_alpha came from no file at all, not from what is")
