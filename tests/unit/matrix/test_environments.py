"""Tests of what follows from the table of environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrix import environments

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """
[tool.skipproof.capabilities]
gpu = { probe = "cuda" }
models = { modules = ["transformers", "torch"] }
server = { variable = "SERVER" }

[tool.skipproof.environments]
slim = ["server?"]
small = ["models", "server?"]
large = ["models", "gpu"]
screen = ["gpu"]
"""


@pytest.mark.parametrize(
    ("environment", "build"),
    [("slim", None), ("small", "cpu"), ("large", "cuda"), ("screen", None), ("tools, which the table has not", None)],
)
def test_the_build_of_torch_follows_from_what_an_environment_promises(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: str, build: str | None
) -> None:
    """An environment that promises torch needs a build of it, and one that promises a GPU too needs the CUDA build."""
    path = tmp_path / "pyproject.toml"
    path.write_text(TABLE, encoding="utf-8")
    monkeypatch.setattr(environments, "TABLE", path)
    environments.torch_build.cache_clear()
    try:
        assert environments.torch_build(environment) == build
    finally:
        environments.torch_build.cache_clear()
