"""Tests of the workflows: they call only the noxfile, and trust nothing that can move."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .sessions import NOXFILE, ROOT, menu, session_names

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
INSTALL = re.compile(r'python -m pip install "nox\[uv\]==(?P<version>[\d.]+)"')
LIST = 'sessions="$(nox --list --json -t $TAGS)" && echo "sessions=$sessions" >> "$GITHUB_OUTPUT"'
CALL = re.compile(r'nox (?:-s (?P<session>"\$SESSION"|[\w.-]+)(?: -- --check)?|-t (?P<tag>[\w-]+))')
# When CI runs a session: every session has exactly one of them.
WHEN = {"push", "weekly", "gpu", "merge", "by-hand"}


def values(text: str, key: str) -> list[str]:
    """Return every value of a key, in YAML with key and value on one line, ignoring comments."""
    found = re.findall(rf"^ *(?:- )?{key}: *(.*?)(?: +#.*)?$", text, re.MULTILINE)
    return [str(value) for value in found]


def calls(text: str, group: str) -> set[str]:
    """Return the sessions that a workflow calls by name, or the tags by which it calls them."""
    return {match[group] for run in values(text, "run") if (match := CALL.fullmatch(run)) and match[group]}


def called_tags(text: str) -> set[str]:
    """Return the tags by which a workflow calls sessions, directly or by a matrix made from the menu."""
    given = [*values(text, "tags"), *values(text, "TAGS")]
    words = " ".join(each for value in given for each in re.findall(r"^[\w -]+$|(?<=')[\w -]+(?=')", value))
    return calls(text, "tag") | (set(words.split()) - {"llm-cuda"})


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> str:
    """The text of each workflow in turn."""
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_the_workflows_are_the_three_that_are_known() -> None:
    """There are exactly the three workflows that these tests check."""
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "integration.yml", "release.yml"]


def test_every_session_says_when_ci_runs_it() -> None:
    """Every session has exactly one tag that says when CI runs it."""
    assert {s.name: sorted(s.tags) for s in menu() if len(s.tags & WHEN) != 1 or s.tags - WHEN - {"receipt"}} == {}


def test_ci_runs_every_session_but_those_by_hand() -> None:
    """Some workflow calls each tag except the one for sessions run by hand."""
    called = set().union(*(called_tags(path.read_text(encoding="utf-8")) for path in WORKFLOWS))
    assert called == WHEN - {"by-hand"}


def test_the_jobs_of_ci_are_made_from_the_menu() -> None:
    """The jobs of CI are made from the menu, so a new session needs no second edit."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert LIST in values(text, "run")
    assert values(text, "sessions") == ["${{ steps.list.outputs.sessions }}"]
    assert values(text, "include") == ["${{ fromJSON(needs.menu.outputs.sessions) }}"]
    assert values(text, "SESSION") == ["${{ matrix.session }}"]


def test_ci_runs_on_each_change_wherever_it_waits() -> None:
    """CI runs on each change, including those in a merge queue, which otherwise stalls."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    events = re.findall(r"^  (\w+):$", text.partition("\non:\n")[2].partition("\npermissions:")[0], re.MULTILINE)
    assert events == ["push", "pull_request", "merge_group", "workflow_call"]


def test_a_workflow_calls_only_sessions_and_tags_that_exist(workflow: str) -> None:
    """A workflow calls only sessions and tags that exist."""
    assert calls(workflow, "session") - session_names() - {'"$SESSION"'} == set()
    assert called_tags(workflow) - {tag for session in menu() for tag in session.tags} == set()


def test_a_workflow_installs_nox_and_calls_it_and_nothing_else(workflow: str) -> None:
    """A workflow installs nox and calls it, and does nothing else."""
    runs = values(workflow, "run")
    assert runs
    assert [run for run in runs if not INSTALL.fullmatch(run) and not CALL.fullmatch(run) and run != LIST] == []


def test_a_workflow_installs_the_nox_that_the_noxfile_asks_for(workflow: str) -> None:
    """A workflow installs the nox that the noxfile requires."""
    [needed] = re.findall(r'^nox\.needs_version = ">=(.+)"$', NOXFILE.read_text(encoding="utf-8"), re.MULTILINE)
    versions = {match["version"] for match in INSTALL.finditer(workflow)}
    assert versions == {needed}


def test_a_workflow_uses_actions_by_commit_with_their_version_beside(workflow: str) -> None:
    """A workflow pins actions by commit, with the version next to it."""
    lines = [line.strip() for line in workflow.splitlines() if re.match(r" *(?:- )?uses:", line)]
    pinned = re.compile(r"(?:- )?uses: (?:\$/\.github/workflows/ci\.yml|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")
    assert lines
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_a_workflow_has_no_permission_that_a_job_does_not_ask_for(workflow: str) -> None:
    """A workflow grants only the permissions that a job asks for."""
    assert re.search(r"^permissions: \{\}$", workflow, re.MULTILINE)
    assert set(values(workflow, "contents")) == {"read"}


def test_data_that_is_lost_or_hidden_makes_the_upload_fail(workflow: str) -> None:
    """No upload is empty or replaces another, and hidden files are included."""
    uploads = [text.partition("\n      - ")[0] for text in workflow.split("uses: actions/upload-artifact@")[1:]]
    assert uploads
    assert [text for text in uploads if "\n          if-no-files-found: error\n" not in text] == []
    assert len({values(text, "name")[0] for text in uploads}) == len(uploads)
    kept = [text for text in uploads if "\n          path: .matrix\n" in text]
    assert [text for text in kept if "\n          include-hidden-files: true\n" not in text] == []
