"""Deceits planted in small projects: the gate in the README's table catches each, with the message given there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import sabotage_conditions, sabotage_merges, sabotage_origins, sabotage_runs
from support.sabotage_merges import leave, merged
from support.sabotage_runs import NEEDS_ALPHA, PASSES, REAL, UNIT, run
from support.sabotage_table import STATUS, Row, rows

if TYPE_CHECKING:
    from support.project import Project

TABLE = rows("plugin")
PLANTS = sabotage_runs.PLANTS | sabotage_origins.PLANTS | sabotage_merges.PLANTS | sabotage_conditions.PLANTS


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
    """Each deceit in the table is caught by its gate, with its message."""
    row = TABLE[deceit]
    status, said = PLANTS[deceit](honest)
    assert status == STATUS[row.gate], said
    assert row.is_said_in(said), said


def test_table_and_plants_are_the_same() -> None:
    """The table and the planted deceits are the same."""
    assert list(TABLE) == list(PLANTS)


def test_honest_projects_are_green(honest: Project) -> None:
    """Without a deceit, the gates are green."""
    assert run(honest, environment="bare")[0] == 0
    assert run(honest)[0] == 0
    leave(honest, "unit")
    leave(honest, "other", "full", capabilities=["alpha", "beta"])
    status, said = merged("unit", "other")
    assert (status, said.splitlines()[-1]) == (0, "Proved: 2 sessions agree, and the gate of 100 % is reached.")


def test_a_message_is_found_only_whole() -> None:
    """Only a whole message counts, and "…" stands for text within one line."""
    row = Row("deceit", "run", "a … b", "plugin")
    assert row.is_said_in("one a (7) b two")
    assert not row.is_said_in("one a (7")
    assert not row.is_said_in("a (\n) b")
