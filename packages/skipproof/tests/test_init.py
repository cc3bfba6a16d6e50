"""``skipproof init``: six projects like real ones adopt the plugin by it, and run green."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.adoption import adopt, files, proposed, write
from support.replicas import REPLICAS

if TYPE_CHECKING:
    from support.project import Project


@pytest.mark.parametrize("name", REPLICAS)
def test_a_real_kind_of_project_adopts_the_plugin(
    empty: Project, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Each of six kinds of real projects is understood, changed once, and green in bare and with everything."""
    replica = REPLICAS[name]
    write(empty, replica.files)
    before = files(empty.root)
    said = adopt(capsys)
    assert files(empty.root) == before
    marks, notes = proposed(said)
    assert marks == list(replica.marks)
    assert [note[: len(expected)] for note, expected in zip(notes, replica.left, strict=True)] == list(replica.left)

    adopt(capsys, "--write", "--write-marks")
    assert list(empty.contract.environments) == list(replica.environments)
    assert "nothing to propose" in adopt(capsys, "--write", "--write-marks")

    for file, old, new in replica.by_hand:
        path = empty.root / file
        path.write_text(path.read_text().replace(old, new) if old else new)
    pins = "".join(f"{library}==1\n" for library in replica.full)
    bare, *_, full = replica.environments
    for environment in replica.environments:
        empty.write(
            f"environments/{environment}.txt", pins if environment == full or not empty.contract.capabilities else ""
        )
    if bare == "oldest":
        empty.write("environments/oldest.txt", pins)
        install(empty, replica.full)
    run = empty.run("--skipproof", bare)
    assert run.ret == 0, run.outlines
    if bare != "oldest":
        install(empty, replica.full)
    run = empty.run("--skipproof", full)
    assert run.ret == 0, run.outlines


def install(project: Project, libraries: tuple[str, ...]) -> None:
    """Install libraries, each a package with a few names."""
    names = "failure = mock_aws = True\n"
    for library in libraries:
        module = library.replace("-", "_")
        project.install(library, "1", {f"{module}/__init__.py": names, f"{module}/linalg.py": ""})
