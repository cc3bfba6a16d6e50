"""Traces of real inference: heard as audit events, kept in the receipt, and required where a capability says so."""

from __future__ import annotations

import hashlib
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from skipproof import trace
from skipproof.trace import UNKNOWN, Generation, Listener, weights_digest

if TYPE_CHECKING:
    from pathlib import Path

    from support.project import Project

EVENT = "skipproof_alpha.generate"
WEIGHTS = hashlib.sha256(b"weights").hexdigest()
REAL = "tests/real/test_real.py"
GENERATES = f"""
    import sys

    import pytest

    pytestmark = pytest.mark.requires("alpha")


    def test_alpha():
        sys.audit({EVENT!r}, "model", 3, 0.0)
        sys.audit({EVENT!r}, "model", 4, 0.0)
"""
FAKE = """
    import pytest

    pytestmark = pytest.mark.requires("alpha")


    def test_alpha():
        assert "Paris".startswith("P")
"""


def demand_traces(project: Project) -> None:
    """Make capability alpha demand traces of one model."""
    settings = project.root / "pyproject.toml"
    proof = 'modules = ["skipproof_alpha"]'
    settings.write_text(settings.read_text().replace(proof, f'{proof}, trace = "{EVENT}", digest = "{WEIGHTS}"'))


@pytest.fixture
def traced(project: Project) -> Project:
    """A project whose environment "full" has a capability that demands traces of one model."""
    demand_traces(project)
    project.install_alpha()
    project.install_beta()
    project.write("model/model.safetensors", "weights")
    return project


def test_digest_of_one_file_and_of_several(tmp_path: Path) -> None:
    """Different weights have different digests, in one file or in several."""
    assert weights_digest(str(tmp_path / "none")) == UNKNOWN
    assert weights_digest(str(tmp_path)) == UNKNOWN
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.gguf").write_bytes(b"weights")
    assert weights_digest(str(tmp_path)) == WEIGHTS
    (tmp_path / "b.safetensors").write_bytes(b"more")
    both = weights_digest(str(tmp_path))
    (tmp_path / "b.safetensors").write_bytes(b"other")
    assert len({WEIGHTS, both, weights_digest(str(tmp_path))}) == 3


def test_generation_belongs_to_the_test_it_began_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation counts for the test that it began in, and for no other."""
    clock = iter([10.0, 11.0, 12.0, 20.0, 21.0, 22.0])
    monkeypatch.setattr(trace, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    listener, model = Listener([EVENT]), str(tmp_path)
    listener.begin("a")
    listener.note(EVENT, model, 1, 5.0)  # began before the first test
    listener.note(EVENT, model, 2, 1.5)
    listener.begin("b")
    listener.note(EVENT, model, 4, 8.0)  # began in the first test
    listener.note(EVENT, model, 8, 1.0)
    assert listener.by_test() == {
        "": [Generation(EVENT, UNKNOWN, 1, 5.0)],
        "a": [Generation(EVENT, UNKNOWN, 6, 9.5)],
        "b": [Generation(EVENT, UNKNOWN, 8, 1.0)],
    }


def test_hook_passes_on_what_is_listened_for(tmp_path: Path) -> None:
    """The hook passes on the events that are listened for, and no others."""
    listener = Listener([EVENT])
    listener.listen()
    listener.begin("a")
    trace._hear("open", ("file", "r", 0))  # noqa: SLF001
    trace._hear(EVENT, (str(tmp_path), 3, 0.0))  # noqa: SLF001
    sys.audit(EVENT, str(tmp_path), 4, 0.0)
    listener.stop()
    sys.audit(EVENT, str(tmp_path), 5, 0.0)
    assert listener.by_test() == {"a": [Generation(EVENT, UNKNOWN, 7, 0.0)]}


def test_traces_are_kept_in_the_receipt(traced: Project) -> None:
    """The receipt keeps what was really computed, in every run of a process."""
    traced.write(REAL, GENERATES)
    for session in ("first", "second"):
        result = traced.run("--skipproof", "full", "--skipproof-session", session)
        assert result.ret == pytest.ExitCode.OK
        [left] = traced.receipt(session).tests[f"{REAL}::test_alpha"].traces
        assert (left.model, left.tokens, left.seconds) == (WEIGHTS, 7, 0.0)


def test_fake_engine_is_red(traced: Project) -> None:
    """A test of real inference that calls a fake engine is red."""
    traced.write(REAL, FAKE)
    traced.run("--skipproof", "full")
    assert traced.receipt("full").violations == [
        (
            f"{REAL}::test_alpha: left no trace of real inference ({EVENT}), which alpha demands; "
            'call the real engine, or say why none is needed with @pytest.mark.untraced("...")'
        )
    ]


def test_generation_without_tokens_is_red(traced: Project) -> None:
    """An engine that generated no token left no trace."""
    traced.write(REAL, GENERATES.replace('"model", 3', '"model", 0').replace('"model", 4', '"model", 0'))
    traced.run("--skipproof", "full")
    assert "left no trace of real inference" in traced.receipt("full").violations[0]


def test_other_weights_are_red(traced: Project) -> None:
    """Inference with other weights than the table's is red."""
    traced.write(REAL, GENERATES)
    traced.write("model/model.safetensors", "other weights")
    other = hashlib.sha256(b"other weights").hexdigest()
    traced.run("--skipproof", "full")
    assert traced.receipt("full").violations == [
        (
            f"{REAL}::test_alpha: left a trace of {other} only, where alpha is {WEIGHTS}; "
            'use that model, or say why another will do with @pytest.mark.untraced("...")'
        )
    ]


def test_any_weights_will_do_where_none_are_named(traced: Project) -> None:
    """A capability without a digest accepts any model."""
    settings = traced.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace(f', digest = "{WEIGHTS}"', ""))
    traced.write(REAL, GENERATES)
    assert traced.run("--skipproof", "full").ret == pytest.ExitCode.OK


def test_reason_for_no_trace_is_kept(traced: Project) -> None:
    """A test that says why it needs no real inference is green, and the receipt keeps the reason."""
    traced.write(REAL, FAKE.replace("def", '@pytest.mark.untraced("only loads")\n    def'))
    assert traced.run("--skipproof", "full").ret == pytest.ExitCode.OK
    assert traced.receipt("full").tests[f"{REAL}::test_alpha"].untraced == "only loads"


def test_skipped_test_owes_no_trace(project: Project) -> None:
    """A test that skips as it must need not leave a trace."""
    demand_traces(project)
    project.write(REAL, FAKE)
    assert project.run("--skipproof", "bare").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("mark", "fact"),
    [
        ("untraced", "@pytest.mark.untraced takes one reason, not () {}; say why"),
        ('untraced(" ")', "@pytest.mark.untraced takes one reason, not (' ',) {}; say why"),
        ('untraced(reason="x")', "@pytest.mark.untraced takes one reason, not () {'reason': 'x'}; say why"),
        ('untraced("x", "y")', "@pytest.mark.untraced takes one reason, not ('x', 'y') {}; say why"),
        ('untraced("x", y=1)', "@pytest.mark.untraced takes one reason, not ('x',) {'y': 1}; say why"),
    ],
)
def test_untraced_without_a_reason_is_a_usage_error(traced: Project, mark: str, fact: str) -> None:
    """An untraced mark without a reason is a usage error."""
    traced.write(REAL, FAKE.replace("def", f"@pytest.mark.{mark}\n    def"))
    result = traced.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{REAL}::test_alpha: {fact} the test needs no real inference" in result.stderr.str()


def test_untraced_where_nothing_is_traced_is_a_usage_error(traced: Project) -> None:
    """An untraced mark that excuses nothing is a usage error."""
    traced.write("tests/unit/test_a.py", "import pytest\n\n@pytest.mark.untraced('x')\ndef test_a(): pass\n")
    result = traced.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "@pytest.mark.untraced('x') excuses nothing, because no capability" in result.stderr.str()
