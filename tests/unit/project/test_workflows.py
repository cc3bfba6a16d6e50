"""Tests of the workflows: they call the noxfile and nothing else, and trust nothing that can move."""

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
    """Return every value of a key, in YAML that keeps a key and its value on one line, without comments."""
    found = re.findall(rf"^ *(?:- )?{key}: *(.*?)(?: +#.*)?$", text, re.MULTILINE)
    return [str(value) for value in found]


def calls(text: str, group: str) -> set[str]:
    """Return the sessions that a workflow calls by name, or the tags by which it calls them."""
    return {match[group] for run in values(text, "run") if (match := CALL.fullmatch(run)) and match[group]}


def called_tags(text: str) -> set[str]:
    """Return the tags by which a workflow calls sessions: at once, or by a matrix that is made from the menu."""
    given = [*values(text, "tags"), *values(text, "TAGS")]
    words = " ".join(each for value in given for each in re.findall(r"^[\w -]+$|(?<=')[\w -]+(?=')", value))
    return calls(text, "tag") | (set(words.split()) - {"llm-cuda"})


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> str:
    """The text of each workflow in turn."""
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_the_workflows_are_the_three_that_are_known() -> None:
    """No workflow is missing, and none is there that these tests do not look at."""
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "integration.yml", "release.yml"]


def test_every_session_says_when_ci_runs_it() -> None:
    """A session that somebody added would never run in CI, or twice, or would lose its receipt on the way."""
    assert {s.name: sorted(s.tags) for s in menu() if len(s.tags & WHEN) != 1 or s.tags - WHEN - {"receipt"}} == {}


def test_ci_runs_every_session_but_those_by_hand() -> None:
    """A tag that no workflow asks for would keep its sessions on nobody's machine but the contributor's."""
    called = set().union(*(called_tags(path.read_text(encoding="utf-8")) for path in WORKFLOWS))
    assert called == WHEN - {"by-hand"}


def test_the_jobs_of_ci_are_made_from_the_menu() -> None:
    """A session that somebody adds to the noxfile would need a second edit, and be forgotten."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert LIST in values(text, "run")
    assert values(text, "sessions") == ["${{ steps.list.outputs.sessions }}"]
    assert values(text, "include") == ["${{ fromJSON(needs.menu.outputs.sessions) }}"]
    assert values(text, "SESSION") == ["${{ matrix.session }}"]


def test_ci_runs_on_each_change_wherever_it_waits() -> None:
    """A merge queue waits for checks of its own: without them it stalls."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    events = re.findall(r"^  (\w+):$", text.partition("\non:\n")[2].partition("\npermissions:")[0], re.MULTILINE)
    assert events == ["push", "pull_request", "merge_group", "workflow_call"]


def test_a_workflow_calls_only_sessions_and_tags_that_exist(workflow: str) -> None:
    """The weekly run would end in "session not found", weeks after a session was renamed."""
    assert calls(workflow, "session") - session_names() - {'"$SESSION"'} == set()
    assert called_tags(workflow) - {tag for session in menu() for tag in session.tags} == set()


def test_a_workflow_installs_nox_and_calls_it_and_nothing_else(workflow: str) -> None:
    """What a workflow does besides could not be done, or proved, on a contributor's machine."""
    runs = values(workflow, "run")
    assert runs
    assert [run for run in runs if not INSTALL.fullmatch(run) and not CALL.fullmatch(run) and run != LIST] == []


def test_a_workflow_installs_the_nox_that_the_noxfile_asks_for(workflow: str) -> None:
    """Every job would fail at its first command, or jobs of one run would use different ones."""
    [needed] = re.findall(r'^nox\.needs_version = ">=(.+)"$', NOXFILE.read_text(encoding="utf-8"), re.MULTILINE)
    versions = {match["version"] for match in INSTALL.finditer(workflow)}
    assert versions == {needed}


def test_a_workflow_uses_actions_by_commit_with_their_version_beside(workflow: str) -> None:
    """Somebody who moves a tag would run code in this repository."""
    lines = [line.strip() for line in workflow.splitlines() if re.match(r" *(?:- )?uses:", line)]
    pinned = re.compile(r"(?:- )?uses: (?:\$/\.github/workflows/ci\.yml|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")
    assert lines
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_a_workflow_has_no_permission_that_a_job_does_not_ask_for(workflow: str) -> None:
    """Every step would hold a token that can do more than its job."""
    assert re.search(r"^permissions: \{\}$", workflow, re.MULTILINE)
    assert set(values(workflow, "contents")) == {"read"}


def test_data_that_is_lost_or_hidden_makes_the_upload_fail(workflow: str) -> None:
    """No upload is empty or replaces another, and what a session leaves is taken whole: its files begin with a dot."""
    uploads = [text.partition("\n      - ")[0] for text in workflow.split("uses: actions/upload-artifact@")[1:]]
    assert uploads
    assert [text for text in uploads if "\n          if-no-files-found: error\n" not in text] == []
    assert len({values(text, "name")[0] for text in uploads}) == len(uploads)
    kept = [text for text in uploads if "\n          path: .matrix\n" in text]
    assert [text for text in kept if "\n          include-hidden-files: true\n" not in text] == []
