"""Deceits planted in small projects: each is caught by the gate, and in the words, that the README's table names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import sabotage_merges, sabotage_runs
from support.sabotage_merges import leave, merged
from support.sabotage_runs import NEEDS_ALPHA, PASSES, REAL, UNIT, run
from support.sabotage_table import STATUS, Row, rows

if TYPE_CHECKING:
    from support.project import Project

TABLE = rows("plugin")
PLANTS = sabotage_runs.PLANTS | sabotage_merges.PLANTS


@pytest.fixture
def honest(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without any deceit."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    project.write(UNIT, PASSES)
    project.write(REAL, NEEDS_ALPHA)
    return project


@pytest.mark.parametrize("deceit", PLANTS)
def test_a_deceit_is_caught(honest: Project, deceit: str) -> None:
    """Broken: a deceit of the table passes, or another gate catches it, or in other words than the table says."""
    row = TABLE[deceit]
    status, said = PLANTS[deceit](honest)
    assert status == STATUS[row.gate], said
    assert row.is_said_in(said), said


def test_table_and_plants_are_the_same() -> None:
    """Broken: the README promises that a deceit is caught which nobody plants, or hides one that is."""
    assert list(TABLE) == list(PLANTS)


def test_honest_projects_are_green(honest: Project) -> None:
    """Broken: the gates are red without any deceit, so that being red for one says nothing."""
    assert run(honest, environment="bare")[0] == 0
    assert run(honest)[0] == 0
    leave(honest, "unit")
    leave(honest, "other", "full", capabilities=["alpha", "beta"])
    status, said = merged("unit", "other")
    assert (status, said.splitlines()[-1]) == (0, "Proved: 2 sessions agree, and the gate of 100 % is reached.")


def test_a_message_is_found_only_whole() -> None:
    """Broken: half of a sentence counts as the sentence, or what stands for anything spans lines."""
    row = Row("deceit", "run", "a … b", "plugin")
    assert row.is_said_in("one a (7) b two")
    assert not row.is_said_in("one a (7")
    assert not row.is_said_in("a (\n) b")
