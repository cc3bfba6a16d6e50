"""Each extra alone, from the built wheel, by pip and by uv: what it promises works, and what it lacks is named."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.models.store import packaged_gguf

from .extra_rooms import BROUGHT, INSTALLERS, ROOT, Room, build_wheel, furnish, write_constraints

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("installers")

KEY = "sk-of-the-room"
# By doctor's finding: the extra that installs it.
EXTRAS = {
    **{f"engine {name}": engine.extra for name, engine in ENGINES.items()},
    "GGUF files": "llm",
    "GPU": "llm",
    "structured output": "llm",
    "quantization": "quantization",
}


@dataclass(frozen=True)
class Installation:
    """What the rooms are made of, and where."""

    folder: Path
    wheel: Path
    constraints: Path


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, and the versions to install beside it."""
    folder = tmp_path_factory.mktemp("extras")
    chosen = os.environ.get("LLM_BACKEND_TEST_CONSTRAINTS") or write_constraints(folder / "constraints.txt")
    return Installation(folder, build_wheel(folder / "dist"), Path(chosen))


@pytest.fixture(scope="module", params=[f"{installer}-{extra}" for installer in INSTALLERS for extra in BROUGHT])
def room(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Room]:
    """A room for each extra and installer in turn."""
    installer, _, extra = request.param.partition("-")
    folder = installation.folder / "room"
    furnish(folder, installer, extra, installation.wheel, installation.constraints)
    yield Room(extra, folder, installation.folder / f"work-{request.param}")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, str]]:
    """llama.cpp's own server with the packaged model, and the variables that point our engines to it."""
    library: Any = import_module("xllamacpp")
    chosen = library.CommonParams()
    chosen.model.path = str(packaged_gguf())
    chosen.chat_template = (Path(__file__).parent / "hermes.jinja").read_text(encoding="utf-8")
    chosen.hostnames, chosen.port, chosen.api_keys = ["127.0.0.1"], 0, [KEY]
    chosen.use_jinja, chosen.n_ctx, chosen.n_parallel = True, 2048, 1
    chosen.cpuparams.n_threads = 1  # many times faster than two on a busy machine
    server = library.Server(chosen)
    yield {"OPENAI_API_URL": f"{server.listening_address}/v1", "OPENAI_API_KEY": KEY}
    del server


@pytest.fixture
def variables(room: Room, served: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The variables that a user of the extra sets."""
    if room.extra == "quantization":
        (tmp_path / "packed.toml").write_text("[agent]\nquantization = 'int8'\n", encoding="utf-8")
        return {"LLM_BACKEND_CONFIG": str(tmp_path / "packed.toml")}
    return served if "engine openai" in BROUGHT[room.extra] else {}


def test_every_extra_is_tried_alone() -> None:
    """Every extra in pyproject.toml is tried here."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {*extras, "none"} == set(BROUGHT)


def test_the_package_imports_without_the_test_tools(room: Room) -> None:
    """The wheel's package imports with only what it depends on."""
    code = "import llm_backend.llms, importlib.util; print(llm_backend.__file__, importlib.util.find_spec('pytest'))"
    ended = room.run("-c", code)
    assert (ended.returncode, ended.stderr) == (0, "")
    where, tools = ended.stdout.split()
    assert Path(where).is_relative_to(room.folder)
    assert tools == "None"


def test_doctor_finds_what_the_extra_brings(room: Room, variables: dict[str, str]) -> None:
    """Doctor finds all that the extra installs, and names the extra of everything else."""
    ended = room.command("doctor", "--json", **variables)
    found = {finding["what"]: finding for finding in json.loads(ended.stdout)}
    brought = {what for what in EXTRAS if found[what]["state"] in {"ok", "note"}}
    assert brought == BROUGHT[room.extra], ended.stdout
    for what in EXTRAS.keys() - brought:
        assert (found[what]["state"], f"'.[{EXTRAS[what]}]'" in found[what]["todo"]) == ("missing", True), found[what]
    assert ended.returncode == (1 if room.extra == "none" else 0), ended.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_answers_or_names_its_extra(room: Room, variables: dict[str, str], engine: str) -> None:
    """An extra's engine gives a text, an object and a call; any other says what to install."""
    ended = room.run(ROOT / "examples" / "tour.py", engine, **variables)
    if f"engine {engine}" not in BROUGHT[room.extra]:
        assert ended.returncode == 1
        last = ended.stderr.splitlines()[-1]
        assert last.startswith(f"llm_backend.errors.MissingExtraError: The {engine} engine needs "), ended.stderr
        assert f"'.[{EXTRAS[f'engine {engine}']}]'" in last
        return
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)
    assert "Tokyo" in answers["text"]
    assert answers["object"].startswith("City(name='")
    assert answers["called"] == ["get_population"]
    assert "709037" in answers["told"]
