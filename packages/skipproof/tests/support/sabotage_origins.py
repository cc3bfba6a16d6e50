"""Deceits about where modules come from, each planted in a small project that is otherwise green."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import sys
from typing import TYPE_CHECKING

from .project import PYPROJECT
from .sabotage_runs import NEEDS_ALPHA, REAL, UNIT, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from .project import Project
    from .sabotage_runs import Ending, Plant

MINE = "src/skipproof_mine/__init__.py"
USES = "def test_a():\n    import skipproof_mine\n\n    assert skipproof_mine.VALUE\n"
FIRST = "import sys\n\nsys.path.insert(0, {folder!r})\n"


def packaged(project: Project, path: str = "src") -> None:
    """Give the project a package of its own, with a test that imports it, and a lock that pins nothing."""
    text = PYPROJECT.replace('["tests", ', '["src", "tests", ').replace(
        "[tool.pytest", "[project]\nname='mine'\n[tool.pytest"
    )
    project.write("pyproject.toml", text.replace("testpaths", f'pythonpath = ["{path}"]\ntestpaths'))
    project.write(MINE, "VALUE = 2\n")
    project.write(UNIT, USES)


def installed(name: str) -> Plant:
    """Install and pin an old copy of the project, which is then imported."""

    def plant(project: Project) -> Ending:
        packaged(project, "tests")
        project.install(name, "1.0", {"skipproof_mine/__init__.py": "VALUE = 1\n"})
        project.write("locks/bare.txt", f"{name}==1.0\n")
        return run(project, environment="bare")

    return plant


def hidden(file: str, code: str = "VALUE = 1\n", sources: str = "src") -> Plant:
    """Put a copy of the project's package first on the path."""

    def plant(project: Project) -> Ending:
        packaged(project)
        text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
        project.write("pyproject.toml", text.replace('["src", ', f'["{sources}", '))
        path = project.write(file, code)
        project.write("conftest.py", FIRST.format(folder=str(path.parents[1])))
        return run(project, environment="bare")

    return plant


def found_by_hook(project: Project) -> Ending:
    """Let an import hook, as an installation as editable leaves one, find the package in another checkout."""
    packaged(project, "tests")
    elsewhere = project.root.parent / "other" / "skipproof_mine.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text("VALUE = 1\n", encoding="utf-8")
    project.write(
        "conftest.py",
        f"""
        import sys
        from importlib.util import spec_from_file_location

        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return spec_from_file_location(name, {str(elsewhere)!r}) if name == "skipproof_mine" else None

        sys.meta_path[:] = [each for each in sys.meta_path if each.__module__ != "conftest"] + [Finder]
        """,
    )
    ending = run(project, environment="bare")
    sys.meta_path[:] = [each for each in sys.meta_path if getattr(each, "__module__", None) != "conftest"]
    return ending


def without_source(project: Project) -> Ending:
    """Leave the byte code of a module that is deleted where Python finds it."""
    packaged(project)
    source = project.write("src/skipproof_mine/old.py", "VALUE = 1\n")
    py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")))
    source.unlink()
    project.write(UNIT, USES.replace("import skipproof_mine", "import skipproof_mine.old"))
    return run(project, environment="bare")


def never_compared(project: Project) -> Ending:
    """Change a module whose byte code says that nobody has to look at it."""
    packaged(project)
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(project.write(MINE, "VALUE = 1\n")), invalidation_mode=unchecked)
    project.write(MINE, "VALUE = 0\n")
    return run(project, environment="bare")


def not_built_again(project: Project) -> Ending:
    """Change the source of a compiled module after it was built: the old one is imported."""
    packaged(project)
    spec = importlib.util.find_spec("coverage.tracer")
    assert spec is not None
    assert spec.origin is not None
    source = project.write("src/skipproof_mine/tracer.py", "CTracer = None\n")
    compiled = source.with_name(os.path.basename(spec.origin))  # noqa: PTH119
    shutil.copyfile(spec.origin, compiled)
    os.utime(compiled, (1, 1))
    project.write(UNIT, "def test_a():\n    from skipproof_mine.tracer import CTracer\n\n    assert CTracer\n")
    return run(project, environment="bare")


def stubbed(project: Project) -> Ending:
    """Put something else among the modules in the place of the project's package."""
    packaged(project)
    code = "import sys, types\n\nsys.modules['skipproof_mine'] = types.SimpleNamespace(VALUE=1)\n"
    project.write("conftest.py", code)
    return run(project, environment="bare")


def beside(project: Project) -> Ending:
    """Import a helper from a folder that no source covers."""
    packaged(project)
    project.write("tools/skipproof_helper.py", "VALUE = 1\n")
    project.write(UNIT, f"{FIRST.format(folder=str(project.root / 'tools'))}\ndef test_a(): import skipproof_helper\n")
    return run(project, environment="bare")


def alpha(code: str, file: str = "conftest.py") -> Plant:
    """Let this code hide the library that capability alpha names."""

    def plant(project: Project) -> Ending:
        project.write(file, code)
        return run(project)

    return plant


def local(file: str) -> Plant:
    """Let a file of the project hide the library that capability alpha names."""

    def plant(project: Project) -> Ending:
        path = project.write(file, "")
        return alpha(FIRST.format(folder=str(path.parent)))(project)

    return plant


STUB = "import sys, types\n\nsys.modules['skipproof_alpha'] = types.ModuleType('skipproof_alpha')\n"
FIXTURE = (
    "import sys, types, pytest\n\n@pytest.fixture(autouse=True)\ndef stub(monkeypatch):\n"
    "    monkeypatch.setitem(sys.modules, 'skipproof_alpha', types.ModuleType('skipproof_alpha'))\n"
)
PLANTS: dict[str, Callable[[Project], Ending]] = {
    "A file of the project hides a promised library": local("skipproof_alpha.py"),
    "A stub among the tests hides a promised library": local("tests/stubs/skipproof_alpha.py"),
    "A conftest puts a stub among the modules": alpha(STUB),
    "A copy of the project that is pinned differs from its sources": installed("mine"),
    "A copy of the project under another name is imported": installed("skipproof-old"),
    "A copy of the project in another folder is imported": hidden("copies/skipproof_mine/__init__.py", sources="."),
    "A copy of the project that a build left is imported": hidden("build/lib/skipproof_mine/__init__.py", sources="."),
    "An import hook finds another checkout of the project": found_by_hook,
    "The byte code of a deleted module of the project is imported": without_source,
    "Byte code that hides its source is imported": never_compared,
    "A compiled module of the project is older than its source": not_built_again,
    "A stub stands for the project's package": stubbed,
    "A module that no source covers is imported": beside,
    "A test module puts a stub among the modules": alpha(f"{STUB}\n{NEEDS_ALPHA}", REAL),
    "A fixture puts a stub among the modules for the time of a test": alpha(FIXTURE),
}
