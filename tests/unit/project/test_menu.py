"""Tests of the noxfile as a menu, and of what the documents and tools say about it."""

from __future__ import annotations

import re

from tests.documents import PAGES

from .sessions import NOXFILE, ROOT, menu, session_names

DOCUMENTS = (
    *PAGES,
    ".github/dependabot.yml",
    ".github/pull_request_template.md",
    ".pre-commit-config.yaml",
)


def test_the_menu_offers_what_the_project_promises() -> None:
    """A session would be gone, or would have another name than documents and workflows call it by."""
    promised = {
        "lint",
        "types",
        "skip-check",
        "browser",
        "build",
        "docs",
        "integration-cpu",
        "integration-cuda",
        "sabotage",
        "extras",
        "floors",
        "newest",
        "portability",
        "coverage",
        "report",
        "bench",
        "lock",
    }
    assert session_names() == promised | {"unit-3.11", "unit-3.12", "unit-3.13", "unit-3.14"}


def test_every_session_says_in_one_line_what_it_does() -> None:
    """``nox -l`` would show a session without, or with only half of, its explanation."""
    assert [s.name for s in menu() if not s.docstring.endswith(".") or "\n" in s.docstring] == []


def test_what_needs_a_gpu_or_rewrites_files_is_not_in_the_default_run() -> None:
    """Plain ``nox`` would rewrite the locks, ask every contributor for a GPU, or run for many minutes."""
    assert {session.name for session in menu() if not session.default} == {
        "integration-cuda",
        "floors",
        "newest",
        "portability",
        "bench",
        "lock",
    }


def test_the_coverage_is_merged_after_everything_that_is_measured() -> None:
    """``nox`` would merge the data of an earlier run, because it runs the sessions in the order of the file."""
    assert [session.name for session in menu() if session.default][-2:] == ["coverage", "report"]


def test_the_longest_session_starts_early() -> None:
    """``nox -j auto`` would start it when everything else is done, and run it beside an idle processor for minutes."""
    assert [session.name for session in menu() if session.default][:3] == ["lint", "types", "integration-cpu"]


def test_what_is_merged_runs_side_by_side_and_the_merge_alone() -> None:
    """``nox -j auto`` would merge data that is still written, or run the sessions one after the other.

    nox starts a session that does not allow others beside it when all before it have ended, whatever came of them;
    with ``requires=`` the report of a red run would never come.
    """
    default = [session for session in menu() if session.default]
    assert {session.name for session in default if not session.parallel} == {"coverage", "report"}
    assert [session.name for session in default][-2:] == ["coverage", "report"]
    assert "requires=" not in NOXFILE.read_text(encoding="utf-8")


def test_the_two_ways_to_start_nox_ask_for_the_same_one() -> None:
    """``uv run noxfile.py`` would bring a nox that the noxfile refuses."""
    text = NOXFILE.read_text(encoding="utf-8")
    inline = re.search(r'^# dependencies = \["nox\[uv\](.+)"\]$', text, re.MULTILINE)
    needed = re.search(r'^nox\.needs_version = "(.+)"$', text, re.MULTILINE)
    assert inline is not None
    assert needed is not None
    assert inline[1] == needed[1]


def test_no_session_changes_the_environment_of_the_others() -> None:
    """Sessions that run side by side would see each other's variables."""
    text = NOXFILE.read_text(encoding="utf-8")
    assert re.findall(r"os\.environ\[.*\] *=|os\.environ\.(?:update|setdefault|pop)|putenv", text) == []


def test_the_documents_name_every_session() -> None:
    """The menu in the documents would lack a session that ``nox -l`` shows."""
    text = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
    families = {re.sub(r"^unit-3\.\d+$", "unit-3.11", name) for name in session_names()}
    assert {name for name in families if f"`{name}`" not in text} == set()


def test_documents_call_only_sessions_that_exist() -> None:
    """A reader would copy a command that ends in "session not found"."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS if (ROOT / name).exists()]
    called = {name for text in texts for name in re.findall(r"(?:nox|noxfile\.py) -s ([\w.-]*\w)", text)}
    assert called - session_names() - {"unit"} == set()
