"""Present, absent or broken: three answers that must never be confused."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from skipproof import detection, machine
from skipproof.contract import Capability
from skipproof.detection import (
    BrokenInstallError,
    disagreements,
    has_distribution,
    import_module,
    leftover_parts,
    missing_parts,
    versions,
)
from skipproof.exits import ExitStatus
from support.project import PYPROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project

HEADING = "pyproject.toml: [tool.skipproof]"


def test_installed_module_is_imported(site: Path) -> None:
    """A module counts as present only once it has been imported."""
    (site / "skipproof_sound.py").write_text("VALUE = 3\n")
    module = import_module("skipproof_sound")
    assert module is sys.modules["skipproof_sound"]
    assert module.VALUE == 3


@pytest.mark.parametrize("name", ["skipproof_absent", "skipproof_absent.inner", "json.skipproof_absent"])
def test_absent_module_is_absent(name: str) -> None:
    """A module that is not installed is absent, not broken."""
    assert import_module(name) is None


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import skipproof_needed", "ModuleNotFoundError: No module named 'skipproof_needed'"),
        ("raise ImportError('libfoo.so.1: cannot open')", "ImportError: libfoo.so.1: cannot open"),
        ("raise ModuleNotFoundError('nameless')", "ModuleNotFoundError: nameless"),
        ("raise OSError('bad DLL')", "OSError: bad DLL"),
        ("def", "SyntaxError: "),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_broken_module_is_an_error_with_its_cause(site: Path, code: str, cause: str) -> None:
    """An installed module that fails to import is an error with its cause, not an absent one."""
    (site / "skipproof_broken.py").write_text(f"{code}\n")
    with pytest.raises(BrokenInstallError) as caught:
        import_module("skipproof_broken")
    assert f"module skipproof_broken is installed but broken ({cause}" in str(caught.value)
    assert str(caught.value).endswith("; install it again")


def test_warning_while_importing_is_no_fault(site: Path) -> None:
    """A library that warns when it is imported is not broken, even with warnings as errors."""
    (site / "skipproof_warns.py").write_text("import warnings\nwarnings.warn('old', DeprecationWarning)\n")
    assert import_module("skipproof_warns") is not None


def test_empty_folder_is_no_module(site: Path) -> None:
    """The empty folder left by a removed library is not the library."""
    (site / "skipproof_hollow").mkdir()
    with pytest.raises(BrokenInstallError, match=r"skipproof_hollow is an empty folder, left behind .*; remove it"):
        import_module("skipproof_hollow")


def test_distribution_is_found(project: Project) -> None:
    """An installed distribution is found, even without its byte code."""
    assert not has_distribution("skipproof-beta")
    project.install_beta()
    assert has_distribution("skipproof-beta")


def test_distribution_without_its_files_is_broken(project: Project) -> None:
    """A distribution whose files are gone is broken, neither installed nor absent."""
    project.install_beta()
    (project.site / "beta.py").unlink()
    with pytest.raises(BrokenInstallError, match=r"skipproof-beta is installed but broken \(.*beta\.py is missing\)"):
        has_distribution("skipproof-beta")


def test_missing_parts_are_all_named(project: Project) -> None:
    """Every missing part of a capability is named."""
    whole = Capability("x", "x", ("json", "skipproof_alpha"), ("pytest", "skipproof-beta"), "cuda")
    assert missing_parts(whole) == ["module skipproof_alpha", "distribution skipproof-beta", "hardware cuda"]
    project.install_alpha()
    project.install_beta()
    assert missing_parts(whole) == ["hardware cuda"]


def test_leftovers_are_found_without_importing(project: Project) -> None:
    """What should not be installed is found, without importing it."""
    unwanted = Capability("x", "x", ("skipproof_alpha", "skipproof_no.inner"), ("skipproof-beta",))
    assert leftover_parts(unwanted) == []
    project.install_alpha("raise RuntimeError")
    project.install_beta()
    assert leftover_parts(unwanted) == ["module skipproof_alpha", "distribution skipproof-beta"]


def test_hardware_is_asked_only_where_its_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not promised is found only if torch is loaded already; torch is never imported for it."""
    hardware = Capability("gpu", "x", probe="cuda")
    monkeypatch.setattr(detection, "_has_cuda", lambda: True)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert leftover_parts(hardware) == []
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert leftover_parts(hardware) == ["hardware cuda"]


@pytest.mark.parametrize("available", [True, False])
def test_cuda_is_what_torch_says(monkeypatch: pytest.MonkeyPatch, *, available: bool) -> None:
    """A GPU is present exactly when torch can use it."""
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: available))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert missing_parts(Capability("gpu", "x", probe="cuda")) == ([] if available else ["hardware cuda"])


def test_cuda_is_missing_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch, a machine has no GPU."""
    monkeypatch.setattr(detection, "import_module", lambda _name: None)
    assert missing_parts(Capability("gpu", "x", probe="cuda")) == ["hardware cuda"]


def test_one_of_the_programs_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capability has its programs if at least one of them is on the PATH."""
    browser = Capability("browser", "x", programs=("skipproof-one", "skipproof-two"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_parts(browser) == ["program skipproof-one or skipproof-two"]
    (tmp_path / "skipproof-two").touch(mode=0o755)
    assert missing_parts(browser) == []
    assert leftover_parts(browser) == []


def test_what_the_machine_lacks_is_not_to_be_installed_from_the_lock(project: Project) -> None:
    """For a missing GPU, the message says how to get one, not to sync the lock."""
    project.install_alpha()
    project.install_beta()
    assert disagreements(project.contract, "big") == [
        "big promises gpu, but hardware cuda is missing; what it takes: a machine with a GPU"
    ]


def test_matching_environment_has_no_disagreement(project: Project) -> None:
    """An environment that is exactly what it promises has no disagreement."""
    assert disagreements(project.contract, "bare") == []
    project.install_alpha()
    project.install_beta()
    assert disagreements(project.contract, "full") == []


def test_every_disagreement_is_named_with_its_remedy(project: Project) -> None:
    """Every missing part of an environment is named with its remedy."""
    remedy = "sync it with its lock: uv pip sync locks/full.txt"
    assert disagreements(project.contract, "full") == [
        (
            f"full does not match its lock: skipproof-alpha is not installed, but the lock pins skipproof-alpha==1.5; "
            f"{remedy}"
        ),
        (
            f"full does not match its lock: skipproof-beta is not installed, but the lock pins skipproof-beta==2.5; "
            f"{remedy}"
        ),
        f"full promises alpha, but module skipproof_alpha is missing; {remedy}",
        f"full promises beta, but distribution skipproof-beta is missing; {remedy}",
    ]


def test_broken_capability_does_not_hide_the_next_one(project: Project) -> None:
    """A broken capability does not hide problems of the others."""
    project.install_alpha("import skipproof_needed")
    _, first, second = disagreements(project.contract, "full")
    assert first.startswith("full promises alpha, but module skipproof_alpha is installed but broken (ModuleNotFound")
    assert second.startswith("full promises beta, but distribution skipproof-beta is missing")


def test_contamination_is_a_disagreement(project: Project) -> None:
    """An environment with more than its lock is contaminated."""
    project.install_alpha()
    remedy = "sync it with its lock: uv pip sync locks/bare.txt"
    assert disagreements(project.contract, "bare") == [
        f"bare does not match its lock: skipproof-alpha 1.5 is installed, but the lock does not pin it; {remedy}",
        (
            "contaminated: bare does not promise alpha, but module skipproof_alpha is here; "
            f"{remedy}, and remove what that leaves"
        ),
    ]


def test_source_that_is_not_there_is_named(project: Project) -> None:
    """A source that does not exist is named."""
    (project.root / "setup.py").unlink()
    assert disagreements(project.contract, "bare") == [
        f"{HEADING} sources names 'setup.py', which does not exist: correct it, or no receipt covers it"
    ]


def test_suite_that_no_receipt_covers_is_named(project: Project) -> None:
    """A suite that the sources do not cover is named."""
    assert disagreements(project.contract, "bare", ["tests/unit", "tests", "checks"]) == [
        f"{HEADING} sources covers no checks: add it, or a receipt survives a change to its own tests"
    ]


def test_named_run_asks_for_its_own_suites(project: Project) -> None:
    """A named run checks before its first test that the sources cover its suites."""
    project.write("pyproject.toml", PYPROJECT.replace('["tests", "pyproject.toml", "setup.py"]', '["pyproject.toml"]'))
    result = project.run("--skipproof", "bare", "tests/real")
    assert result.ret == ExitStatus.PREFLIGHT
    result.stderr.fnmatch_lines(["*sources covers no tests/real: add it*"])


def test_python_without_assertions_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python under -O, which removes assertions, is refused."""
    monkeypatch.setattr(detection, "sys", SimpleNamespace(flags=SimpleNamespace(optimize=1), modules={}))
    assert disagreements(project.contract, "bare") == [
        "Python was started with -O or PYTHONOPTIMIZE, which removes assertions: start it without"
    ]


@pytest.mark.parametrize("file", [None, "/elsewhere/skipproof_alpha.py"])
def test_module_from_elsewhere_is_no_capability(
    project: Project, monkeypatch: pytest.MonkeyPatch, file: str | None
) -> None:
    """A stub from a conftest.py, or a file in the project's root, does not count as the library."""
    project.install_alpha()
    project.install_beta()
    module = ModuleType("skipproof_alpha")
    module.__file__ = file
    where = file or "no file at all"
    monkeypatch.setitem(sys.modules, "skipproof_alpha", module)
    assert disagreements(project.contract, "full") == [
        (
            f"full promises alpha, but module skipproof_alpha comes from {where}, not from what is installed; "
            "remove what hides it"
        )
    ]


def test_stand_in_is_a_leftover(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub for a library that should not be here is found as a leftover."""
    monkeypatch.setitem(sys.modules, "skipproof_alpha", ModuleType("skipproof_alpha"))
    assert leftover_parts(Capability("x", "x", ("skipproof_alpha",))) == ["module skipproof_alpha"]


def test_a_processor_is_asked_for_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature of the processor is present exactly where the processor has it."""
    monkeypatch.setattr(machine, "features", lambda: ["avx2"])
    assert missing_parts(Capability("wide", "x", probe="cpu avx2")) == []
    assert missing_parts(Capability("wider", "x", probe="cpu avx512f")) == ["hardware cpu avx512f"]


def test_probe_that_fails_is_a_broken_install(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that fails is a broken install, not a machine without a GPU."""

    def fails() -> bool:
        message = "CUDA unknown"
        raise RuntimeError(message)

    monkeypatch.setattr(detection, "_has_cuda", fails)
    project.install_alpha()
    project.install_beta()
    assert disagreements(project.contract, "big") == [
        (
            "big promises gpu, but what the probe cuda asks is installed but broken (RuntimeError: CUDA unknown); "
            "install it again"
        )
    ]


def test_broken_library_of_a_probe_is_named_as_it_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a probe's library cannot be imported, the message names the library, not the probe."""

    def fails() -> bool:
        message = "module torch is installed but broken"
        raise BrokenInstallError(message)

    monkeypatch.setattr(detection, "_has_cuda", fails)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert disagreements(project.contract, "bare") == [
        "bare does not promise gpu, but module torch is installed but broken"
    ]


def test_versions_come_from_module_or_metadata(project: Project) -> None:
    """The header names each library's version, from the module or its metadata."""
    project.install_beta()
    project.install_alpha("__version__ = '1.5+cpu'")
    import_module("skipproof_alpha")
    modules = ("skipproof_alpha", "skipproof_beta", "skipproof_beta.part", "skipproof_none")
    named = Capability("x", "x", modules, ("skipproof-beta",))
    assert versions([named]) == [
        "skipproof_alpha 1.5+cpu",
        "skipproof_beta 2.5",
        "skipproof_beta.part 2.5",
        "skipproof_none of unknown version",
        "skipproof-beta 2.5",
    ]
