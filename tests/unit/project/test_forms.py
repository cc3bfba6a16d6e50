"""Tests of what contributors are asked: the issue forms, and the hook before a commit."""

from __future__ import annotations

import re
import tomllib

from .sessions import ROOT
from .test_workflows import values

FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


def questions(form: str) -> dict[str, str]:
    """Return each question of a form that has an id, with its whole text."""
    text = (FORMS / f"{form}.yml").read_text(encoding="utf-8")
    return dict(re.findall(r"^    id: (\w+)\n((?: {4}.*\n)+)", text, re.MULTILINE))


def test_a_bug_comes_with_what_a_maintainer_needs_to_find_it() -> None:
    """The bug form requires doctor's output, the environment and steps to reproduce; a receipt is for tests only."""
    asked = questions("bug")
    required = {name for name, text in asked.items() if values(text, "required") == ["true"]}
    assert asked.keys() - required == {"receipt"}
    assert required >= {"doctor", "environment", "reproduce"}
    assert "`llm-backend doctor`" in asked["doctor"]


def test_a_bug_form_says_where_receipts_are() -> None:
    """The folder that the form names is the one in the project's settings."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["skipproof"]
    assert f"`{settings['state']}/receipts/SESSION.json`" in questions("bug")["receipt"]


def test_a_feature_says_in_which_environment_it_can_be_proved() -> None:
    """A feature request says which environment could prove it."""
    assert values(questions("feature")["environment"], "required") == ["true"]


def test_the_hook_is_the_session_itself() -> None:
    """The hook runs what `lint` runs, with the tools from its lock, and nothing else."""
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert values(text, "repo") == ["local"]
    assert values(text, "entry") == ["nox -s lint"]
    assert values(text, "(?:always_run|pass_filenames)") == ["true", "false"]
