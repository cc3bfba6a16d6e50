"""The processor of a run, as far as the system reports it."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING

import pytest

from skipproof import machine

if TYPE_CHECKING:
    from pathlib import Path

CPUINFO = (
    "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nflags\t\t: fpu avx f16c avx2\n\nprocessor\t: 1\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n"


@pytest.mark.parametrize(
    ("text", "features"),
    [(CPUINFO, ["avx", "f16c", "avx2"]), (ARM, ["asimd", "i8mm", "bf16"]), ("", []), (None, [])],
)
def test_features_are_those_that_the_system_names(tmp_path: Path, text: str | None, features: list[str]) -> None:
    """The features that matter are read on both kinds of processor; without any named, there are none."""
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    assert machine.features(path) == features


def test_a_processor_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's name comes from Linux, or else macOS, or else Python, or else is its architecture."""
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    assert machine._processor.__wrapped__(path) == "AMD EPYC 7763 64-Core Processor"  # noqa: SLF001
    monkeypatch.setattr(machine, "_brand", lambda: "Apple M4")
    assert machine._processor.__wrapped__(tmp_path / "none") == "Apple M4"  # noqa: SLF001
    monkeypatch.setattr(machine, "_brand", lambda: "")
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine._processor.__wrapped__(tmp_path / "none") == platform.machine()  # noqa: SLF001


@pytest.mark.parametrize(
    ("script", "name"), [("print('Apple M4')", "Apple M4"), ("raise SystemExit(1)", ""), (None, "")]
)
def test_macos_is_asked_by_its_command(script: str | None, name: str) -> None:
    """The command's output is the name; if it fails or does not exist, the run goes on."""
    command = (sys.executable, "-c", script) if script else ("skipproof-no-such-command",)
    assert machine._brand(command) == name  # noqa: SLF001


def test_facts_hold_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt has the processor, its features and the number of processors, and omits what is unknown."""
    monkeypatch.setattr(machine, "_processor", lambda: "a processor")
    monkeypatch.setattr(machine, "available", lambda: 2)
    monkeypatch.setattr(machine, "features", lambda: ["avx", "avx2"])
    assert machine.facts() == {"processor": "a processor", "features": "avx avx2", "processors": "2"}
    assert machine.has_feature("avx2")
    assert not machine.has_feature("avx512f")
    monkeypatch.setattr(machine, "features", list)
    assert machine.facts() == {"processor": "a processor", "processors": "2"}


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000\n", 8), ("200000 100000\n", 2), ("50000 100000\n", 1), ("6400000 100000\n", 8), (None, 8)],
)
def test_a_container_has_fewer_processors_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, count: int
) -> None:
    """In a container with a quota, only the processors of the quota count."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    assert machine.available(path) == count


def test_a_system_without_affinity_is_asked_for_its_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without affinity, all processors count."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.available(tmp_path / "none") == 6
