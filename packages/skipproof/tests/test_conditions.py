"""Conditions: evaluated in each run, named in its receipt, and never promised."""

from __future__ import annotations

import platform
import sys
import sysconfig
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from skipproof import conditions, session_checks
from skipproof.contract import Capability, ContractError
from skipproof.detection import BrokenInstallError, disagreements, lacking, missing_parts, settled
from skipproof.exits import ExitStatus
from skipproof.session_checks import Session
from support.project import PYPROJECT
from support.readme import block
from support.runs import REAL, UNIT, violations
from support.samples import current, result

if TYPE_CHECKING:
    from support.project import Project

PASSES = "def test_a(): pass\n"
R = f"{REAL}::test_r"


def with_capability(project: Project, line: str, promise: str = "") -> None:
    """Add a capability to the project's table, and promise it in the environment "full"."""
    text = PYPROJECT.replace("gpu = {", f"{line}\ngpu = {{")
    project.write("pyproject.toml", text.replace('full = ["alpha",', f'full = [{promise}"alpha",'))
    project.write(UNIT, PASSES)


def needing(project: Project, *names: str, body: str = "pass") -> None:
    """Write a test that needs these capabilities."""
    project.write(REAL, f"import pytest\n\n@pytest.mark.requires{names!r}\ndef test_r(): {body}\n".replace(",)", ")"))


@pytest.mark.parametrize(
    ("version", "specifier", "fits"),
    [
        ((3, 14, 2, "final", 0), ">=3.14", True),
        ((3, 14, 2, "final", 0), "<3.14", False),
        ((3, 14, 2, "final", 0), "==3.14.*", True),
        ((3, 15, 0, "beta", 1), ">=3.15", True),
        ((3, 15, 0, "beta", 1), "<3.15", False),
        ((3, 15, 0, "candidate", 2), "!=3.15.0", False),
        ((3, 15, 1, "final", 0), "!=3.15.*", False),
        ((3, 15, 1, "final", 0), "<=3.15.1,>3.14.0", True),
    ],
)
def test_python_is_compared_as_its_release(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int, str, int], specifier: str, *, fits: bool
) -> None:
    """A specifier means what the same comparison with sys.version_info means, pre-releases included."""
    monkeypatch.setattr(sys, "version_info", version)
    assert missing_parts(Capability("new", "x", python=specifier)) == ([] if fits else [f"Python {specifier}"])


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (("linux",), True),
        (("win32", "darwin"), False),
        (("win32", "posix"), True),
        (("x86_64",), True),
        (("amd64",), True),
        (("arm64",), False),
        (("cpython",), True),
        (("pypy",), False),
        (("free-threaded",), False),
        (("not win32",), True),
        (("not win32", "not linux"), False),
        (("not amd64",), False),
        (("not free-threaded",), True),
    ],
)
def test_platform_is_system_family_processor_or_implementation(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], *, fits: bool
) -> None:
    """One of the names has to fit, or none of those with "not", whatever a machine calls its processor."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: 0)
    assert (missing_parts(Capability("here", "x", platforms=names)) == []) == fits


@pytest.mark.parametrize(
    ("system", "implementation", "gil", "name"),
    [
        ("freebsd14", "cpython", 0, "freebsd"),
        ("win32", "pypy", 0, "win32"),
        ("win32", "pypy", 0, "pypy"),
        ("linux", "cpython", 1, "free-threaded"),
    ],
)
def test_platforms_of_others_have_their_names(
    monkeypatch: pytest.MonkeyPatch, system: str, implementation: str, gil: int, name: str
) -> None:
    """A system's release number does not count, and PyPy and a build without the GIL are known."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name=implementation))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: gil)
    assert missing_parts(Capability("here", "x", platforms=(name,))) == []
    assert missing_parts(Capability("here", "x", platforms=(f"not {name}",))) == [f"platform not {name}"]


def test_pythons_are_those_of_the_package() -> None:
    """The Pythons that a condition may name are those that the package asks for."""
    package = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert package["project"]["requires-python"] == conditions.PYTHONS


@pytest.mark.parametrize(
    ("line", "environment", "reason"),
    [
        ('c = { python = "<3.12,>=3.11.99" }', "full", "needs c: Python <3.12,>=3.11.99"),
        ('c = { platform = ["wasi", "emscripten"] }', "full", "needs c: a platform that is wasi or emscripten"),
        ('c = { platform = "not posix" }', "full", "needs c: a platform that is not posix"),
        ('c = { absent = "skipproof_alpha" }', "full", "needs c: an environment without skipproof_alpha"),
        ('c = { all = ["alpha", "beta"] }', "bare", "needs c: pip install alpha and pip install beta"),
        ('c = { any = ["alpha", "gpu"] }', "bare", "needs c: pip install alpha or a machine with a GPU"),
        ('c = { any = ["alpha", "gpu"], install = "either" }', "bare", "needs c: either"),
    ],
)
def test_a_condition_that_does_not_hold_gives_its_own_reason(
    project: Project, line: str, environment: str, reason: str
) -> None:
    """A test whose condition does not hold skips with the reason that follows from it, and the receipt says so."""
    with_capability(project, line)
    needing(project, "c")
    project.install_alpha() if environment == "full" else None
    project.install_beta() if environment == "full" else None
    ran = project.run("--skipproof", environment)
    assert ran.ret == pytest.ExitCode.OK, ran.stderr.str()
    assert project.receipt(environment).tests[R].reason == reason
    assert "c" not in project.receipt(environment).capabilities
    project.run(REAL).assert_outcomes(skipped=1)


@pytest.mark.parametrize(
    ("line", "environment"),
    [
        ('c = { python = ">=3.11" }', "bare"),
        ('c = { platform = ["posix", "nt"] }', "bare"),
        ('c = { absent = ["skipproof_alpha", "skipproof_none.part"] }', "bare"),
        ('c = { all = ["alpha", "beta"] }', "full"),
        ('c = { any = ["alpha", "gpu"] }', "full"),
        ('c = { any = ["gpu", "d"] }\nd = { all = ["e"] }\ne = { absent = "skipproof_none" }', "bare"),
    ],
)
def test_a_test_runs_where_its_condition_holds(project: Project, line: str, environment: str) -> None:
    """A test whose condition holds has to run, and the receipt says that it held."""
    with_capability(project, line)
    needing(project, "c", body="pytest.skip('later')")
    project.install_alpha() if environment == "full" else None
    project.install_beta() if environment == "full" else None
    [violation] = violations(project.run("--skipproof", environment), project, environment)
    assert violation.startswith(f"{R}: skipped ('later') although the environment has all it needs")
    assert "c" in project.receipt(environment).capabilities
    needing(project, "c")
    assert project.run("--skipproof", environment).ret == pytest.ExitCode.OK
    project.run(REAL).assert_outcomes(passed=1)


def test_a_promise_with_a_condition_holds_where_the_condition_does(project: Project) -> None:
    """An environment has what it promises with a condition where that holds; elsewhere its parts may be there."""
    line = 'c = {{ modules = ["skipproof_alpha"], platform = "{}", install = "pip install c" }}'
    project.install_alpha()
    project.install_beta()
    needing(project, "c")
    with_capability(project, line.format("not posix"), '"c", ')
    assert project.run("--skipproof", "full").ret == pytest.ExitCode.OK
    assert project.receipt("full").capabilities == ["alpha", "beta"]
    assert project.receipt("full").tests[R].reason == "needs c: a platform that is not posix, pip install c"
    with_capability(project, line.format("posix"), '"c", ')
    assert project.run("--skipproof", "full").ret == pytest.ExitCode.OK
    assert project.receipt("full").capabilities == ["c", "alpha", "beta"]


def test_a_broken_promise_with_a_condition_that_holds_is_named(project: Project) -> None:
    """What is promised with a condition has to be here where the condition holds."""
    with_capability(project, 'c = { modules = ["skipproof_c"], platform = "posix", install = "c" }', '"c", ')
    project.install_alpha()
    project.install_beta()
    assert "full promises c, but module skipproof_c is missing" in "\n".join(
        disagreements(settled(project.contract, "full"), "full")
    )


def test_what_a_condition_rules_out_needs_no_other_part(project: Project) -> None:
    """Where its condition does not hold, a capability is missing for that reason alone, whatever is broken."""
    project.install_alpha("raise RuntimeError")
    with_capability(project, 'c = { modules = ["skipproof_alpha"], python = ">=4", install = "c" }', '"c", ')
    assert lacking(project.contract, "c") == ["Python >=4"]


def test_combinations_say_what_they_lack(project: Project) -> None:
    """A combination lacks the parts of "all" that are not here, and every alternative of "any"."""
    with_capability(project, 'c = { all = ["alpha", "d"] }\nd = { any = ["beta", "gpu"] }')
    assert lacking(project.contract, "c") == [
        "module skipproof_alpha",
        "distribution skipproof-beta or hardware cuda",
    ]
    project.install_beta()
    assert lacking(project.contract, "c") == ["module skipproof_alpha"]


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ('c = { python = "3.12" }', "c python is '3.12': write a version specifier, such as '>=3.12'"),
        ('c = { python = ">=3.15b1" }', "c python is '>=3.15b1': a pre-release counts as its release, so name that"),
        ('c = { python = ">=3.14,<3.12" }', "c python is '>=3.14,<3.12', which no Python meets that the plugin runs"),
        (
            'c = { python = "==3.12" }',
            "c python is '==3.12', where 3.12 is 3.12.0 and not every 3.12: compare with >= and",
        ),
        ('c = { python = ">=3.11,<=3.13" }', "where 3.13 is 3.13.0 and not every 3.13: compare with >= and <, or with"),
        (
            'c = { python = ">3.12" }',
            "where 3.12 is 3.12.0 and not every 3.12: compare with >= and <, or with '==3.12.*'",
        ),
        ('c = { python = "<3.10" }', "c python is '<3.10', which no Python meets that the plugin runs on (>=3.11)"),
        ("c = { python = 3.12 }", "c python is 3.12: write a string that is not empty"),
        ('c = { platform = "win64" }', "c platform: no platform is called 'win64' (did you mean 'win32'?); there are"),
        ('c = { platform = ["linux", "not pypy"] }', "c platform is ['linux', 'not pypy']: give only names, one of"),
        ("c = { platform = [] }", "c platform is []: name at least one"),
        ("c = { any = [] }", "c any is []: name at least one"),
        ('c = { absent = "a-b" }', "c absent is 'a-b': write a module's name as it is imported"),
        ('c = { all = ["alhpa"] }', "c: no capability is called 'alhpa' (did you mean 'alpha'?)"),
        ('c = { all = ["c"] }', "c needs itself (c -> c): remove one of these"),
        ('c = { any = ["d"] }\nd = { all = ["c"] }', "c needs itself (c -> d -> c): remove one of these"),
        ('c = { all = ["alpha"], any = ["beta"] }', "c has 'all' and 'any': make each a capability of its own"),
        ('c = { all = ["alpha"], trace = "x" }', "c has 'all' and 'trace': make each a capability of its own"),
        ('c = { absent = "x", python = ">=3.12" }', "c has 'absent' and 'python': make each a capability of its own"),
        ('c = { all = ["alpha", "d"] }\nd = { absent = "skipproof_alpha" }', "c needs module skipproof_alpha and its"),
        ('c = { python = ">=3.12", modules = ["x"] }', "c has no 'install': say how to get it"),
        ('c = { python = ">=3.12", modules = ["x"], install = "x" }', "c is promised by no environment"),
        ('c = { probe = "tests:", install = "x" }', "c: no probe is called 'tests:'; there are: cuda, cpu "),
    ],
)
def test_a_wrong_condition_is_named(project: Project, line: str, fact: str) -> None:
    """A condition that cannot be met, or goes in a circle, is refused with what to correct."""
    with_capability(project, line)
    with pytest.raises(ContractError) as caught:
        _ = project.contract
    assert fact in str(caught.value)


def test_the_conditions_of_the_readme_are_read(project: Project) -> None:
    """The README's conditions are valid, and its promises with a condition can be promised."""
    with_capability(project, block("capabilities"), '"uvloop", "openblas", ')
    colorama = (
        'colorama = { modules = ["colorama"], install = "x" }\n[tool.skipproof.environments]\nplain = ["colorama"]'
    )
    table = (project.root / "pyproject.toml").read_text(encoding="utf-8")
    project.write("pyproject.toml", table.replace("[tool.skipproof.environments]", colorama))
    assert project.contract.capabilities["colours"].any_of == ("unix", "colorama")


@pytest.mark.parametrize("promise", ["c", "c?"])
def test_a_condition_cannot_be_promised(project: Project, promise: str) -> None:
    """An environment that promises a condition is refused."""
    with_capability(project, 'c = { python = ">=3.12" }', f'"{promise}", ')
    with pytest.raises(ContractError, match="full promises 'c', a condition that each run evaluates: remove it there"):
        _ = project.contract


def test_a_probe_of_the_project_is_asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promised probe of the project's own decides, in a run and in its preflight."""
    monkeypatch.syspath_prepend(project.root)
    with_capability(project, 'c = { probe = "skipproof_probes:has_c", install = "a C" }', '"c?", ')
    needing(project, "c")
    project.install_alpha()
    project.install_beta()
    table = (project.root / "pyproject.toml").read_text(encoding="utf-8")
    project.write("pyproject.toml", table.replace('["tests",', '["skipproof_probes.py", "tests",'))
    for answer in (False, True):
        project.write("skipproof_probes.py", f"def has_c(): return {answer}\n")
        sys.modules.pop("skipproof_probes", None)
        assert project.run("--skipproof", "full").ret == pytest.ExitCode.OK
        assert ("c" in project.receipt("full").capabilities) == answer
    project.write("pyproject.toml", (project.root / "pyproject.toml").read_text(encoding="utf-8").replace("c?", "c"))
    project.write("skipproof_probes.py", "def has_c(): return False\n")
    sys.modules.pop("skipproof_probes", None)
    ran = project.run("--skipproof", "full")
    assert ran.ret == ExitStatus.PREFLIGHT
    assert "full promises c, but probe skipproof_probes:has_c is missing; what it takes: a C" in ran.stderr.str()


@pytest.mark.parametrize(
    ("code", "fact"),
    [
        ("def other(): pass", "raised AttributeError (module 'skipproof_probes' has no attribute 'has_c')"),
        ("def has_c(): 1 / 0", "raised ZeroDivisionError (division by zero): let it return False where something"),
        ("def has_c():\n    import pytest\n    pytest.skip('no')", "raised Skipped (no): let it return False where"),
        ("def has_c(): raise SystemExit(3)", "raised SystemExit (3): let it return False where something is missing"),
        ("def has_c(): return 'too old'", "returned 'too old': let it return True or False"),
        ("def has_c(): pass", "returned None: let it return True or False"),
        ("import skipproof_none", "cannot be asked, because there is no module skipproof_none: correct the table, or"),
        (None, "cannot be asked, because there is no module skipproof_probes: correct the table, or put the module's"),
    ],
)
def test_a_probe_that_cannot_answer_is_named(project: Project, code: str | None, fact: str) -> None:
    """A probe answers True or False; anything else is an error that names it, never a skip."""
    if code is not None:
        project.install("skipproof-probes", "1", {"skipproof_probes.py": code})
    with pytest.raises(BrokenInstallError) as caught:
        missing_parts(Capability("c", "x", probe="skipproof_probes:has_c"))
    assert f"probe skipproof_probes:has_c {fact}" in str(caught.value)


def test_a_probe_may_be_interrupted(project: Project) -> None:
    """Ctrl-C ends a probe, and the run."""
    project.install("skipproof-probes", "1", {"skipproof_probes.py": "def has_c(): raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        missing_parts(Capability("c", "x", probe="skipproof_probes:has_c"))


def test_an_installed_probe_need_not_be_a_source(project: Project) -> None:
    """A probe that the lock pins, or that lies outside the project, needs no entry in the sources."""
    with_capability(project, 'c = { probe = "json:loads", install = "x" }', '"c", ')
    assert not any("json:loads is in" in line for line in disagreements(project.contract, "bare"))


def refused(project: Project, *had: list[str], tests: tuple[str, ...] = ("c",)) -> list[str]:
    """Return what the merge refuses when a test that needs these capabilities skipped in every session."""
    receipts = [
        current(project, f"s{number}", environment, capabilities=names, tests={R: result("skipped", *tests)})
        for number, (environment, names) in enumerate(zip(("bare", "full"), had, strict=True))
    ]
    sessions = [Session(each.session, "proved", each) for each in receipts]
    return session_checks.refusals(project.contract, sessions)


@pytest.mark.parametrize(
    ("line", "proved"),
    [
        ('c = { python = ">=3.14" }', False),
        ('c = { platform = "win32" }', False),
        ('c = { any = ["gpu", "d"] }\nd = { python = ">=3.14" }', False),
        ('c = { all = ["alpha", "d"] }\nd = { python = ">=3.14" }', False),
        ('c = { absent = "skipproof_alpha" }', True),
        ('c = { all = ["alpha", "beta"] }', True),
        ('c = { any = ["alpha", "gpu"] }', True),
    ],
)
def test_what_no_python_here_meets_is_unproven(project: Project, line: str, *, proved: bool) -> None:
    """A test that no session's Python or platform could run is unproven; one that an environment could is red."""
    with_capability(project, line)
    problems = refused(project, [], [])
    assert any(f"1 test ran in no session ({R})" in problem for problem in problems) == proved
    receipts = [current(project, "s", "bare")]
    assert session_checks.lacking(project.contract, receipts, ["c"]) == [
        f"c is required, but no session had it: run one that has it, on {project.contract.capabilities['c'].install}"
    ]


def test_a_promise_with_a_condition_is_unproven_only_where_it_was_tried(project: Project) -> None:
    """What is installed under a condition is unproven if the environment ran without it, and red if it never ran."""
    line = 'c = { modules = ["skipproof_c"], python = ">=3.14", install = "x" }'
    with_capability(project, line, '"c", ')
    assert refused(project, [], ["alpha", "beta"]) == []
    receipts = [current(project, "bare", tests={R: result("skipped", "c")})]
    assert session_checks.absent_from_machines(project.contract, receipts) == {"gpu"}


@pytest.mark.parametrize("had", [["alpha", "beta"], ["alpha", "beta", "c"]], ids=str)
def test_a_receipt_may_differ_in_conditions(project: Project, had: list[str]) -> None:
    """A receipt is not stale because another Python met other conditions."""
    with_capability(project, 'c = { python = ">=3.14" }')
    receipt = current(project, "full", "full", capabilities=had)
    assert session_checks._staleness(project.contract, receipt, receipt.sources) == []  # noqa: SLF001


def test_the_mark_may_have_another_name(project: Project) -> None:
    """With "mark" in the table, tests, messages and pytest's list of marks use that name."""
    project.write("pyproject.toml", PYPROJECT.replace('state = ".matrix"', 'state = ".matrix"\nmark = "needs"'))
    project.write(REAL, "import pytest\n\n@pytest.mark.needs('alpha')\ndef test_r(): pass\n")
    project.write(UNIT, "import pytest\n\ndef test_a(): pytest.skip('later')\n")
    [violation] = violations(project.run("--skipproof", "bare", "--strict-markers"), project, "bare")
    assert violation.endswith("make it run, or say what it needs with @pytest.mark.needs")
    assert project.receipt("bare").tests[R].requires == ["alpha"]
    project.write(REAL, "import pytest\n\n@pytest.mark.needs()\ndef test_r(): pass\n")
    assert f"{R}: @pytest.mark.needs takes capabilities, not () {{}}" in project.run().stderr.str()


@pytest.mark.parametrize("name", ["skipif", "untraced", "a mark", ""])
def test_the_mark_may_not_have_every_name(project: Project, name: str) -> None:
    """A name that pytest has a mark of, or that no mark can have, is refused."""
    project.write("pyproject.toml", PYPROJECT.replace('state = ".matrix"', f'state = ".matrix"\nmark = "{name}"'))
    with pytest.raises(ContractError, match=rf"mark is '{name}': write a (name that pytest.mark can have|string)"):
        _ = project.contract
