"""Tests of README.md and docs/: what a reader copies from them is there, and means what it should.

The Python that asks a model is in tests/integration/test_documents_real.py.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import redirect_stdout, suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest
import typer

import llm_backend
from llm_backend.cli.app import app
from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.settings.agent_settings import AgentSettings
from llm_backend.llms.settings.config_file import read_config_file
from skipproof import table
from skipproof.__main__ import main as skipproof
from tests.documents import PAGES, Block, blocks, commands, infers, pages, run_python

from .sessions import ROOT, session_names

LINES = 150  # of a README that can be read at a glance
FOLDERS = "llm_backend|skipproof|benchmarks|docs|environments|examples|matrix|packages|tests"
KINDS = {"python", "console", "toml", "ini", "text"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
# Other projects' programs define their own arguments.
OTHERS = {".", "git", "hf", "pip", "python3", "tail", "uv", "echo", "/dev/null"}


def check_own(words: list[str]) -> None:
    """Check that ``llm-backend`` has this command with these options."""
    command = typer.main.get_command(app)
    while words and (inner := getattr(command, "commands", {})):
        command, words = inner[words[0]], words[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if re.match("--?[a-z]", word)} <= options


def help_of(subcommand: str) -> str:
    """The output of ``skipproof SUBCOMMAND --help``."""
    shown = StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        skipproof([subcommand, "--help"])
    return shown.getvalue()


def check(words: list[str], config: pytest.Config) -> None:
    """Check that a command exists, with these options."""
    options = [word for word in words if word.startswith("--")]
    match words:
        case ["llm-backend", *rest] | ["python", "-m", "llm_backend", *rest]:
            check_own(rest)
        case ["nox", *rest] | ["uv", "run", "noxfile.py", *rest]:
            before = rest[: rest.index("--")] if "--" in rest else rest
            assert set(before) - {"-s", "-j", "auto"} <= session_names()
        case ["skipproof", subcommand, *_]:
            assert {"options:", *options} <= set(help_of(subcommand).split())
        case ["python", "-m", *rest] if "pytest" in rest:
            for option in (word for word in rest[rest.index("pytest") :] if word.startswith("--")):
                config.getoption(option)
        case ["python", "-m", module, *_]:
            assert find_spec(module)
        case ["python", path, *_]:
            assert (ROOT / path).is_file()
        case _:
            assert words[0] in OTHERS
            named = re.findall(r"\.\[([\w,]+)\]", " ".join(words))
            assert {extra for each in named for extra in each.split(",")} <= EXTRAS.keys()


def test_a_page_has_only_blocks_that_a_test_runs() -> None:
    """Every block is of a kind that a test runs, parses or reads, or is a directive that Sphinx runs."""
    assert [
        block for page in PAGES for block in blocks(page) if block.kind not in KINDS and not block.kind.startswith("{")
    ] == []


@pytest.mark.parametrize(
    "command",
    [
        "llm-backend chat --loudly",
        "llm-backend shout",
        "python -m llm_backend models fetch",
        "nox -s everything",
        "python -m llm_backed chat",
        "python examples/tuor.py",
        "pip install '.[lmm]'",
        "llm-backnd chat",
        "skipproof merge --expects bare",
        "skipproof marge",
        "python -m pytest --environments bare",
    ],
)
def test_a_command_that_is_not_there_is_found(command: str, pytestconfig: pytest.Config) -> None:
    """A wrong program, command, option, session, module, file or extra fails the check of a page."""
    [words] = commands(Block("page.md", 1, "console", f"$ {command}\n"))
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check(words, pytestconfig)


@pytest.mark.parametrize("page", pages("console"))
def test_commands_of_a_page_exist(page: str, pytestconfig: pytest.Config) -> None:
    """Each command on a page exists, with its options."""
    for block in blocks(page, "console"):
        assert commands(block), block
        for words in commands(block):
            check(words, pytestconfig)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page: str) -> None:
    """Each file or folder of this project that a page names exists."""
    text = (ROOT / page).read_text(encoding="utf-8")
    own = "(?:backend/|packages/skipproof/src/)?"
    named = re.findall(rf"`{own}((?:{FOLDERS})/[\w./-]*)`", text)
    named += re.findall(rf"include\}} (?:\.\./)+{own}(\S+)", text)
    # Where installed packages are tested, their sources are no longer in the root.
    installed = (Path(file).parents[1] for file in (llm_backend.__file__, table.__file__))
    places = [ROOT, (ROOT / page).parent, *installed]
    found = {name for name in named if any((place / name).exists() for place in places)}
    assert {name for name in named if "NAME" not in name} - found == set()


def test_the_command_line_is_shown_whole() -> None:
    """A page shows each command, or names it after another of its group."""
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    groups: dict[str, object] = getattr(typer.main.get_command(app), "commands", {})
    names = {*groups, *(name for group in groups.values() for name in getattr(group, "commands", ()))}
    assert "chat" in names
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize("page", pages("toml"))
def test_tables_of_a_page_are_read(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table on a page is accepted by the reader it is meant for."""
    monkeypatch.setenv("MY_KEY", "k")
    for block in blocks(page, "toml"):
        path = tmp_path / "pyproject.toml"
        path.write_text(block.text, encoding="utf-8")
        tables = tomllib.loads(block.text)
        if "agent" in tables:
            file = read_config_file(path)
            assert file is not None
            assert file.levels("openai")
        if "skipproof" in tables.get("tool", {}):
            assert table.read_contract(tmp_path).environments


@pytest.mark.parametrize("page", pages("ini"))
def test_ini_files_of_a_page_are_read(page: str, tmp_path: Path) -> None:
    """Each INI file on a page is a valid table of the plugin."""
    for block in blocks(page, "ini"):
        (tmp_path / "tox.ini").write_text(block.text, encoding="utf-8")
        assert table.read_contract(tmp_path).environments


@pytest.mark.parametrize("page", [page for page in pages("python") if not infers(page)])
async def test_python_of_a_page(page: str) -> None:
    """The Python of a page that asks no model runs."""
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        await run_python(block, names)
    assert names


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/configuration.md", list(AgentSettings.model_fields)),
        ("docs/getting-started.md", [*ENGINES, *EXTRAS]),
        ("README.md", list(EXTRAS)),
    ],
    ids=["settings", "engines and extras", "extras"],
)
def test_tables_of_a_page_are_whole(page: str, names: list[str]) -> None:
    """Everything in the code has a row in the table that lists it."""
    rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert names
    assert [name for name in names if not any(re.search(rf"`{name}[`.]", row) for row in rows)] == []


def test_the_readme_is_short() -> None:
    """The README is short enough to read at a glance."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LINES


def test_the_check_command_is_the_one_of_the_readme() -> None:
    """``.ci/run`` runs the command that the README requires of a contribution."""
    command = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert f"\n$ {command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
