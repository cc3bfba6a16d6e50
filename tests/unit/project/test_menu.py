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
    """The menu has every session that the project promises, by its name."""
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
        "plugins",
        "portability",
        "coverage",
        "report",
        "accept",
        "bench",
        "lock",
    }
    assert session_names() == promised | {"unit-3.11", "unit-3.12", "unit-3.13", "unit-3.14"}


def test_every_session_says_in_one_line_what_it_does() -> None:
    """Every session has a description of one line for ``nox -l``."""
    assert [s.name for s in menu() if not s.docstring.endswith(".") or "\n" in s.docstring] == []


def test_what_needs_a_gpu_or_rewrites_files_is_not_in_the_default_run() -> None:
    """Plain ``nox`` rewrites no lock, needs no GPU, and runs no session of many minutes."""
    assert {session.name for session in menu() if not session.default} == {
        "accept",
        "integration-cuda",
        "floors",
        "newest",
        "plugins",
        "portability",
        "bench",
        "lock",
    }


def test_the_coverage_is_merged_after_everything_that_is_measured() -> None:
    """In the file, the merge comes after every session that is measured."""
    assert [session.name for session in menu() if session.default][-2:] == ["coverage", "report"]


def test_the_longest_session_starts_early() -> None:
    """The longest session comes early, so that ``nox -j auto`` starts it early."""
    assert [session.name for session in menu() if session.default][:3] == ["lint", "types", "integration-cpu"]


def test_what_is_merged_runs_side_by_side_and_the_merge_alone() -> None:
    """``nox -j auto`` runs measured sessions side by side, and the merge alone after them.

    nox starts a session that allows no others beside it once all before it have ended, whatever their result; with
    ``requires=``, the report of a red run would never come.
    """
    default = [session for session in menu() if session.default]
    assert {session.name for session in default if not session.parallel} == {"coverage", "report"}
    assert [session.name for session in default][-2:] == ["coverage", "report"]
    assert "requires=" not in NOXFILE.read_text(encoding="utf-8")


def test_the_two_ways_to_start_nox_ask_for_the_same_one() -> None:
    """``uv run noxfile.py`` installs a nox that the noxfile accepts."""
    text = NOXFILE.read_text(encoding="utf-8")
    inline = re.search(r'^# dependencies = \["nox\[uv\](.+)"\]$', text, re.MULTILINE)
    needed = re.search(r'^nox\.needs_version = "(.+)"$', text, re.MULTILINE)
    assert inline is not None
    assert needed is not None
    assert inline[1] == needed[1]


def test_no_session_changes_the_environment_of_the_others() -> None:
    """No session changes the environment variables of another."""
    text = NOXFILE.read_text(encoding="utf-8")
    assert re.findall(r"os\.environ\[.*\] *=|os\.environ\.(?:update|setdefault|pop)|putenv", text) == []


def test_the_documents_name_every_session() -> None:
    """The documents name every session."""
    text = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
    families = {re.sub(r"^unit-3\.\d+$", "unit-3.11", name) for name in session_names()}
    assert {name for name in families if f"`{name}`" not in text} == set()


def test_documents_call_only_sessions_that_exist() -> None:
    """The documents call only sessions that exist."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS if (ROOT / name).exists()]
    called = {name for text in texts for name in re.findall(r"(?:nox|noxfile\.py) -s ([\w.-]*\w)", text)}
    assert called - session_names() - {"unit"} == set()
