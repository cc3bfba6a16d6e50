"""Tests of the release: which tag publishes what, who may publish, and after which checks."""

from __future__ import annotations

import re
import tomllib

import pytest

from .sessions import ROOT
from .test_workflows import WORKFLOWS, values

TEXT = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
PROJECTS = (ROOT / "pyproject.toml", ROOT / "packages" / "skipproof" / "pyproject.toml")
NAMES = [tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"] for path in PROJECTS]


@pytest.fixture
def jobs() -> dict[str, str]:
    """The text of each job in the release workflow."""
    return dict(re.findall(r"^  (\w+):\n((?: {4}.*\n|\n)+)", TEXT.partition("\njobs:\n")[2], re.MULTILINE))


def test_each_distribution_has_a_tag_of_its_own() -> None:
    """A tag begins like the distribution's files, so the upload finds only the files of the tagged version."""
    tags, *_ = values(TEXT, "tags")
    assert re.findall(r'"([^"]+)-\*"', tags) == [name.replace("-", "_") for name in NAMES]
    assert re.findall(r"^ +(dist/.*)$", TEXT, re.MULTILINE) == [
        "dist/${{ github.ref_name }}.tar.gz",
        "dist/${{ github.ref_name }}-py3-none-any.whl",
    ]


def test_each_distribution_is_published_from_an_environment_of_its_own(jobs: dict[str, str]) -> None:
    """Each distribution is published from its own environment: who may publish one may not publish the other."""
    backend, plugin = NAMES
    [environment] = re.findall(r"^    environment:\n      name: (.*)$", jobs["publish"], re.MULTILINE)
    prefix = plugin.replace("-", "_")
    assert environment == f"${{{{ startsWith(github.ref_name, '{prefix}-') && '{plugin}' || '{backend}' }}}}"


def test_only_the_job_that_publishes_may_show_who_it_is(jobs: dict[str, str]) -> None:
    """Only the job that publishes can get an identity token."""
    everywhere = [value for path in WORKFLOWS for value in values(path.read_text(encoding="utf-8"), "id-token")]
    assert everywhere == values(jobs["publish"], "id-token") == ["write"]
    assert values(jobs["publish"], "run") == []
    assert "secrets." not in TEXT


def test_nothing_is_published_that_is_not_checked_and_attested(jobs: dict[str, str]) -> None:
    """The checks and the build come first, then the provenance, and the upload last."""
    assert values(jobs["publish"], "needs") == ["[ci, build]"]
    assert values(jobs["ci"], "uses") == ["$/.github/workflows/ci.yml"]
    assert values(jobs["ci"], "tags") == ["push"]
    actions = [value.partition("@")[0] for value in values(jobs["publish"], "uses")]
    assert actions == ["actions/download-artifact", "actions/attest", "pypa/gh-action-pypi-publish"]
