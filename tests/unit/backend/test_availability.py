"""A missing library and a broken one are different errors."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING

import pytest

from llm_backend.errors import BrokenExtraError, MissingExtraError
from llm_backend.llms import availability
from llm_backend.llms.availability import import_library, is_installed, require_libraries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory whose modules can be imported, for one test."""
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_first_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the first library that is missing."""
    monkeypatch.setattr(availability, "find_spec", lambda name: name != "transformers" or None)
    with pytest.raises(MissingExtraError, match=r"^This test needs transformers, which"):
        require_libraries(["torch", "transformers"], "extra", "This test")


def test_nothing_is_missing() -> None:
    """An extra that is installed lacks nothing."""
    require_libraries(["json", "wave"], "extra", "This test")
    assert "wave" in sys.modules


@pytest.mark.usefixtures("libraries")
def test_looking_does_not_import(libraries: Path) -> None:
    """Looking for a library does not import it."""
    (libraries / "h3_loud.py").write_text("raise SystemExit", encoding="utf-8")
    assert is_installed("h3_loud")
    assert not is_installed("h3_absent")


def test_a_library_that_is_not_there_is_missing() -> None:
    """A missing library raises MissingExtraError, from its cause."""
    with pytest.raises(MissingExtraError) as caught:
        import_library("h3_absent", "some-extra", "This test")
    assert str(caught.value) == (
        "This test needs h3_absent, which is not installed."
        " Install it with: pip install '.[some-extra]', in a checkout of llm-backend."
    )
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import h3_absent_dependency", "ModuleNotFoundError: No module named 'h3_absent_dependency'"),
        ("from json import no_such_name", "ImportError: cannot import name 'no_such_name' from 'json'"),
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "OSError: libcudart.so.13: cannot open"),
        ("raise RuntimeError('numpy was compiled for another ABI')", "RuntimeError: numpy was compiled for another"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("class PanicException(BaseException): ...\nraise PanicException('in Rust')", "PanicException: in Rust"),
    ],
)
def test_a_library_that_fails_to_import_is_broken(libraries: Path, source: str, cause: str) -> None:
    """A library that does not import raises BrokenExtraError, from its cause."""
    (libraries / "h3_broken.py").write_text(source, encoding="utf-8")
    with pytest.raises(BrokenExtraError) as caught:
        import_library("h3_broken", "some-extra", "This test")
    message = str(caught.value)
    assert message.startswith(f"This test needs h3_broken, which is installed but does not import ({cause}")
    assert message.endswith(
        " Install it again with: pip install --force-reinstall '.[some-extra]', in a checkout of llm-backend."
    )
    assert caught.value.name == "h3_broken"
    assert type(caught.value.__cause__).__name__ == cause.partition(":")[0]


def test_a_broken_library_of_an_extra_is_found(libraries: Path) -> None:
    """Checking an extra finds a library that is installed but does not import."""
    (libraries / "h3_broken.py").write_text("raise OSError", encoding="utf-8")
    with pytest.raises(BrokenExtraError, match="This test needs h3_broken"):
        require_libraries(["json", "h3_broken"], "extra", "This test")


def test_an_interrupt_while_importing_is_no_broken_library(libraries: Path) -> None:
    """Ctrl-C during an import stays an interrupt."""
    (libraries / "h3_interrupted.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        import_library("h3_interrupted", "some-extra", "This test")


@pytest.mark.parametrize("module", ["h3_absent.part", "json.h3_absent"])
def test_a_submodule_that_is_not_there_is_missing(module: str) -> None:
    """A library inside a package can be missing with its package, or alone."""
    with pytest.raises(MissingExtraError, match=rf"^This test needs {module}, which is not installed"):
        require_libraries([module], "some-extra", "This test")


def test_a_library_that_imports_is_returned() -> None:
    """The caller gets the imported module."""
    assert import_library("json", "extra", "This test") is sys.modules["json"]


def test_a_checkout_runs_without_being_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that is not installed still has a version to show."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    assert availability.own_version()[0].isdigit()
    monkeypatch.setattr(availability, "version", missing)
    assert availability.own_version() == "(a checkout that is not installed)"
