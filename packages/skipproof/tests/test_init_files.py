"""``skipproof init`` reads what projects have, adds to it as text, and writes all of it or nothing."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skipproof import init
from support.adoption import MINIMAL, TEST, adopt, files, lay_out, proposed, write

if TYPE_CHECKING:
    from support.project import Project


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the error that init ends with."""
    with pytest.raises(SystemExit) as ended:
        init.main(arguments)
    assert ended.value.code == pytest.ExitCode.USAGE_ERROR
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"pyproject.toml": None}, "has no pyproject.toml: run this in the project's folder"),
        ({"pyproject.toml": b"[project\n"}, "pyproject.toml is not TOML (Expected ']' at the end of a table"),
        ({"pyproject.toml": b"# caf\xe9\n"}, "pyproject.toml is not UTF-8 (invalid continuation byte at byte 5)"),
        ({"pyproject.toml": b"[tool.poetry]\n"}, "pyproject.toml has no [project] with a name"),
        ({"tests/test_a.py": None}, "has no tests: none is named by testpaths, and there is no test_*.py"),
        ({"pytest.ini": b"[pytest]\ntestpaths = else\n"}, "pytest.ini: testpaths is else, where there is no test_*.py"),
        ({"pytest.ini": b"pytest\n"}, "pytest.ini is not an INI file in UTF-8 (File contains no section headers"),
        ({"pyproject.toml": MINIMAL.encode() + b"[tool.skipproof]\n"}, "[tool.skipproof] has no 'capabilities'"),
        (
            {"pyproject.toml": b'project = { name = "x" }\ntool = { ruff = {} }\n'},
            "cannot take [tool.skipproof] at its end",
        ),
        ({".gitignore": b"caf\xe9\n"}, ".gitignore is not UTF-8"),
        ({"pyproject.toml": MINIMAL.encode() + b'requires-python = "x"\n'}, "requires-python is no range of versions"),
        ({"pyproject.toml": MINIMAL.encode() + b'[tool.coverage]\nrun = "x"\n'}, "[tool.coverage.run] is no table"),
        (
            {"pyproject.toml": MINIMAL.encode() + b'[dependency-groups]\nTest = [{ include-group = "test" }]\n'},
            "[dependency-groups] test includes itself",
        ),
        (
            {"pytest.ini": b"[pytest]\naddopts = -m 'not slow\n"},
            """pytest.ini: addopts is "-m 'not slow", which cannot be split (No closing quotation)""",
        ),
        ({"pytest.ini": b"[pytest]\ntestpaths = tes*\n"}, "pytest.ini: testpaths has the pattern 'tes*'"),
        ({"pytest.ini": b"[pytest]\npython_files = check_*.py\n"}, "and there is no check_*.py in tests/ or test/"),
        (
            {"pyproject.toml": b'[project]\nname = "x"\ntext = """\n[tool.coverage.report]\n"""\n'},
            "would say something else by what is added",
        ),
    ],
)
def test_bad_input_is_named(
    empty: Project, capsys: pytest.CaptureFixture[str], contents: dict[str, bytes | None], said: str
) -> None:
    """What cannot be read ends with 4 and says what to correct; nothing is written."""
    lay_out(empty)
    for name, content in contents.items():
        (empty.root / name).unlink(missing_ok=True)
        if content is not None:
            (empty.root / name).write_bytes(content)
    before = files(empty.root)
    assert said in refusal(capsys, "--write", "--write-marks")
    assert files(empty.root) == before


@pytest.mark.parametrize("test", ["def test_a(:\n", "def test_a(): '\0'\n"])
def test_a_test_file_that_is_not_python_is_named_and_passed_over(
    empty: Project, capsys: pytest.CaptureFixture[str], test: str
) -> None:
    """The other files are read all the same."""
    lay_out(empty)
    empty.write("pyproject.toml", f'{MINIMAL}[project.optional-dependencies]\na = ["skipproof-alpha"]\n')
    empty.write("tests/test_b.py", test)
    _, notes = proposed(adopt(capsys))
    [note] = notes
    assert note.startswith("tests/test_b.py:1: is not Python 3.")


def test_comments_and_order_of_pyproject_stay(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines are only added: comments, order, odd spacing and line ends of the file stay."""
    text = (
        '\ufeff# First\r\n[project]   # the project\r\nname = "skipproof-own"\r\n\r\n[tool.coverage.report] # gate\r\n'
        "show_missing = true # lines\r\n[ tool . pytest.ini_options ]\r\nxfail_strict = true\r\n# Last"
    )
    lay_out(empty)
    (empty.root / "pyproject.toml").write_bytes(text.encode())
    adopt(capsys, "--write")
    new = (empty.root / "pyproject.toml").read_bytes().decode()
    assert new.count("\n") == new.count("\r\n")
    left = iter(new.splitlines())
    assert all(any(line == other for other in left) for line in text.splitlines())
    document = tomllib.loads(new.removeprefix("\ufeff").replace("\r\n", "\n"))
    assert document["tool"]["coverage"]["report"] == {"fail_under": 100, "show_missing": True}
    assert document["tool"]["pytest"]["ini_options"] == {"testpaths": ["tests"], "xfail_strict": True}
    assert not (empty.root / "noxfile.py").read_bytes().count(b"\r")


def test_dotted_keys_are_left_to_a_person(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A section without a heading of its own gets nothing added, and the missing setting is named."""
    lay_out(empty)
    empty.write("pyproject.toml", MINIMAL + "[tool]\npytest.ini_options.minversion = '9'\n")
    _, notes = proposed(adopt(capsys, "--write"))
    assert notes == [
        'pyproject.toml:1: has no line [tool.pytest.ini_options] to write testpaths = ["tests"] under: add it by hand'
    ]


def test_settings_stay_where_the_tools_read_them(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The suites and the gate are added to the INI files that pytest and coverage read, and to no other."""
    lay_out(empty, setup__cfg="[metadata]\nname = x\n[tool:pytest]\naddopts = -q\n", __coveragerc="")
    empty.write("tox.ini", "[tox]\nenv_list = py\n")
    adopt(capsys, "--write", "--runner", "none")
    assert "[tool:pytest]\ntestpaths = tests\naddopts = -q\n" in (empty.root / "setup.cfg").read_text()
    coverage = (empty.root / ".coveragerc").read_text()
    assert coverage == "[run]\nsource_dirs = skipproof_own, tests\n\n[report]\nfail_under = 100\n"
    assert set(tomllib.loads((empty.root / "pyproject.toml").read_text())["tool"]) == {"skipproof"}
    assert not (empty.root / "noxfile.py").exists()


@pytest.mark.parametrize(
    ("file", "text", "heading"),
    [
        ("pytest.toml", "[pytest]\n", "[pytest]"),
        ("pyproject.toml", MINIMAL + "[tool.pytest]\nminversion = '9'\n", "[tool.pytest]"),
        ("pytest.ini", "", "[pytest]"),
        ("tox.ini", "[pytest]\n[coverage:run]\nbranch = true\n", "[pytest]"),
    ],
)
def test_every_file_of_pytests_settings_is_known(
    empty: Project, capsys: pytest.CaptureFixture[str], file: str, text: str, heading: str
) -> None:
    """The suites go under the heading that pytest reads in that file."""
    lay_out(empty)
    empty.write(file, text)
    adopt(capsys, "--write", "--runner", "none")
    lines = (empty.root / file).read_text().splitlines()
    assert lines[lines.index(heading) + 1].startswith("testpaths = ")
    assert "nothing to propose" in adopt(capsys, "--runner", "none")


def test_nothing_that_exists_is_overwritten_unasked(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A noxfile and an input of a lock that exist are shown as a diff, and changed only with --overwrite."""
    lay_out(empty, noxfile__py="import nox\n", __gitignore="/.matrix/\n")
    empty.write("environments/oldest.in", "-e .\n")
    before = files(empty.root)
    said = adopt(capsys, "--write")
    after = files(empty.root)
    assert {name for name in before if before[name] != after[name]} == {"pyproject.toml"}
    assert "--- noxfile.py\n+++ noxfile.py\n" in said
    assert "not written: environments/oldest.in, noxfile.py; --write --overwrite does it" in said
    adopt(capsys, "--write", "--overwrite")
    noxfile = (empty.root / "noxfile.py").read_text()
    assert noxfile.startswith("import nox\n")
    compile(noxfile, "noxfile.py", "exec")
    assert 'name=f"skipproof-{name}", python=PYTHONS.get(environment)' in noxfile
    assert "nothing to propose" in adopt(capsys, "--write")


@pytest.mark.parametrize("there", ["", "[tox]\nenv_list = py\n"])
@pytest.mark.parametrize(
    "extras", ["", '[project.optional-dependencies]\na = ["skipproof-alpha"]\nb = ["skipproof-beta"]\n']
)
def test_tox_gets_an_environment_for_each(
    empty: Project, capsys: pytest.CaptureFixture[str], there: str, extras: str
) -> None:
    """tox.ini runs each environment and merges them; one that exists gets only sections with names of their own."""
    lay_out(empty)
    empty.write("pyproject.toml", MINIMAL + extras)
    if there:
        empty.write("tox.ini", there)
    said = adopt(capsys, "--write", "--overwrite", "--runner", "tox")
    text = (empty.root / "tox.ini").read_text()
    names = ["bare", "a", "b", "full"] if extras else ["oldest", "newest"]
    prefix = "skipproof-" if there else ""
    assert [line for line in text.splitlines() if line.startswith("[testenv")] == [
        f"[testenv:{prefix}{name}]" for name in (*names, "merge")
    ]
    assert text.startswith(there or "[tox]\nrequires = tox-uv\n")
    assert f"    skipproof merge --expect {' '.join(names)}" in text.splitlines()
    assert "pip install tox-uv && tox" in said
    assert said.count("uv pip compile environments/") == len(names) + 1
    assert "nothing to propose" in adopt(capsys, "--runner", "tox")


def test_without_a_runner_every_command_is_printed(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Compile, sync, doctor, run and merge: what to type is printed, for each environment."""
    lay_out(empty)
    said = adopt(capsys, "--runner", "none")
    assert "  uv pip sync environments/oldest.txt && skipproof doctor --environment oldest" in said
    assert "-m pytest --skipproof newest --skipproof-session newest\n" in said
    assert said.endswith("  uv pip sync environments/report.txt && skipproof merge --expect oldest newest\n")


def test_a_table_that_is_there_stays(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Marks take their names from the table that is there; a capability that it lacks is named with what to add."""
    lay_out(empty)
    adopt(capsys, "--write")
    table = (empty.root / "pyproject.toml").read_text()
    table = table.replace(
        "[tool.skipproof.capabilities]\n",
        '[tool.skipproof.capabilities]\nfast = { modules = ["skipproof_alpha"], install = "x" }\n'
        'windows = { platform = "win32" }\n',
    ).replace("oldest = []", 'oldest = ["fast"]')
    empty.write("pyproject.toml", table + '\n[project.optional-dependencies]\na = ["skipproof-alpha"]\n')
    empty.write(
        "tests/test_a.py",
        "import sys, pytest\n"
        "@pytest.mark.skipif(sys.platform != 'win32', reason='')\ndef test_a(): import skipproof_alpha\n"
        "@pytest.mark.skipif(sys.platform != 'linux', reason='')\ndef test_b(): pass\n",
    )
    marks, notes = proposed(adopt(capsys))
    assert marks == ["tests/test_a.py:2 windows", "tests/test_a.py:3 fast", "tests/test_a.py:4 linux"]
    assert notes == ['pyproject.toml:1: [tool.skipproof.capabilities] lacks linux = { platform = "linux" }: add it']


@pytest.mark.parametrize("kind", ["folder", "file", "late"])
def test_nothing_is_half_written(
    empty: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A folder or file that may not be written ends with 4 and leaves everything as it was, late failures too."""
    lay_out(empty)
    before = files(empty.root)
    if kind == "late":
        replace = Path.replace

        def fail(self: Path, target: Path) -> Path:
            if target.name == "noxfile.py":
                raise OSError(28, "No space left on device")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", fail)
    elif kind == "folder":
        empty.write("environments", "a file")
        before = files(empty.root)
    else:
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "pyproject.toml" and access(path, mode))
    assert "nothing was written: " in refusal(capsys, "--write")
    assert files(empty.root) == before
    assert (empty.root / "environments").is_file() == (kind == "folder")


def test_a_link_stays_a_link_and_a_script_executable(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """pyproject.toml may be a link, and keeps the permissions it has."""
    lay_out(empty)
    real = empty.root / "settings" / "real.toml"
    real.parent.mkdir()
    (empty.root / "pyproject.toml").rename(real)
    (empty.root / "pyproject.toml").symlink_to(real)
    real.chmod(0o755)
    adopt(capsys, "--write")
    assert (empty.root / "pyproject.toml").is_symlink()
    assert "[tool.skipproof]" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o755


def test_extras_become_environments(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Tools are no capabilities, an extra of extras is no environment, and extras that conflict are kept apart."""
    lay_out(empty)
    write(
        empty,
        {
            "pyproject.toml": """
                [project]
                name = "skipproof-own"
                dynamic = ["optional-dependencies"]
                requires-python = ">=3.12"
                [project.optional-dependencies]
                test = ["pytest", "skipproof-own[cpu]"]
                docs = ["sphinx"]
                all = ["skipproof-own[cpu,gpu]"]
                cpu = ["skipproof-alpha; python_version > '3'", "skipproof-old; python_version < '3'"]
                gpu = ["skipproof-beta", "skipproof-own[cpu]"]
                [tool.uv]
                conflicts = [[{extra = "cpu"}, {extra = "gpu"}, {group = "x"}]]
                """,
            "tests/test_a.py": """
                import skipproof_alpha
                @skipproof_alpha.mock
                def test_a(): pass
                """,
        },
    )
    _, notes = proposed(adopt(capsys, "--write", "--write-marks"))
    said = [note.partition(": ")[2][:60] for note in notes]
    assert said == [
        "[tool.uv] conflicts keeps cpu, gpu out of the environment fu",
        "the extras are dynamic, so their libraries are not known: ad",
        "imports skipproof_alpha at its top, and uses it when it is i",
    ]
    assert (empty.root / "environments" / "bare.in").read_text().splitlines() == [
        "-e .[cpu]", "pytest", "coverage", "pytest-skipproof",
    ]  # fmt: skip
    assert list(empty.contract.environments) == ["bare", "gpu", "full"]
    assert empty.contract.capabilities["gpu"].distributions == ("skipproof-beta",)


@pytest.mark.parametrize(
    ("layout", "code"),
    [
        (["src/own/__init__.py"], ("src",)),
        (["skipproof_own.py"], ("skipproof_own.py",)),
        (["other/__init__.py", "docs/__init__.py", "tests/__init__.py"], ("other",)),
        ([], ()),
    ],
)
def test_the_projects_code_is_found(
    empty: Project, capsys: pytest.CaptureFixture[str], layout: list[str], code: tuple[str, ...]
) -> None:
    """The code is in src, in the package or module of the project's name, or in whatever package there is."""
    empty.write("pyproject.toml", MINIMAL)
    empty.write("test/a_test.py", TEST)
    for name in layout:
        empty.write(name, "import other.missing\nfrom other import missing\n")
    adopt(capsys, "--write")
    assert empty.contract.sources == (*code, "test")
