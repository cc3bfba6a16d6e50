"""The planted faults: found by working detectors, and missed loudly by blind ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.skipproof import canary
from tests.skipproof.canary import blind_spots
from tests.skipproof.gate import TestRecord

if TYPE_CHECKING:
    from types import ModuleType

    import pytest

DISTRUST = "; the proof cannot be trusted until it is"


def test_working_detectors_have_no_blind_spot(request: pytest.FixtureRequest) -> None:
    """Broken: a sound plugin stops every run."""
    assert blind_spots(request.session) == []


def test_detection_that_finds_nothing_is_noticed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a detection that always answers "not installed" lets every test skip, unnoticed."""
    monkeypatch.setattr(canary, "import_module", lambda _name: None)
    assert blind_spots(request.session) == [
        f"canary: pytest, which is running, was not found to be installed{DISTRUST}",
        f"canary: tests.skipproof.canary_broken, which cannot be imported, was not found to be broken{DISTRUST}",
    ]


def test_detection_that_finds_everything_is_noticed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a detection that always answers "installed" is believed."""

    def finds(_name: str) -> ModuleType:
        return sys

    monkeypatch.setattr(canary, "import_module", finds)
    assert [spot.partition(", which")[0] for spot in blind_spots(request.session)] == [
        "canary: skipproof_canary_that_is_not_installed",
        "canary: tests.skipproof.canary_broken",
    ]


def test_gate_that_lets_everything_through_is_noticed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a gate that sees no violation any more makes every run green."""
    monkeypatch.setattr(TestRecord, "violation", lambda _record: None)
    assert blind_spots(request.session) == [
        f"canary: a skip where the test has to run was not seen{DISTRUST}",
        f"canary: an xfail where the test has to run was not seen{DISTRUST}",
        f"canary: a test that runs where it has to skip was not seen{DISTRUST}",
        f"canary: a skip for another reason was not seen{DISTRUST}",
    ]


def test_gate_that_refuses_everything_is_noticed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a gate that blames sound tests is taken for a strict one."""
    monkeypatch.setattr(TestRecord, "violation", lambda _record: "no")
    assert blind_spots(request.session) == [
        f"canary: a test that runs as it has to was called a violation (no){DISTRUST}",
        f"canary: a skip with the derived reason was called a violation (no){DISTRUST}",
    ]
