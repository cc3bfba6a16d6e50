"""Deceits by what a table may say besides capabilities: conditions, known failures and subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .sabotage_merges import leave, merged
from .sabotage_runs import ID, PASSES, UNIT, run
from .samples import PASSED, result

if TYPE_CHECKING:
    from .project import Project
    from .sabotage_runs import Ending, Plant

PROBES = "import pytest\n\ndef skips(): pytest.skip('none here')\n\ndef holds(): return True\n"


def say(project: Project, entry: str, promise: str = "", also: str = "") -> None:
    """Add a capability "new" to the table, and promise it in "full"."""
    text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
    added = f"new = {{ {entry} }}\n{also}\n[tool.skipproof.environments]"
    text = text.replace("[tool.skipproof.environments]", added)
    project.write("pyproject.toml", text.replace('full = ["alpha"', f'full = [{promise}"alpha"'))


def condition(entry: str, promise: str = "", also: str = "") -> Plant:
    """Add a capability to the table, then run; a module with probes lies beside the table."""

    def plant(project: Project) -> Ending:
        project.write("skipproof_probe.py", PROBES)
        say(project, entry, promise, also)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(project.root)
            return run(project)

    return plant


def nowhere(entry: str, *options: str) -> Plant:
    """Let a test need what no session had, then merge."""

    def plant(project: Project) -> Ending:
        say(project, entry)
        project.write(UNIT, f"{PASSES}\nimport pytest\n\n@pytest.mark.requires('new')\ndef test_b(): pass\n")
        tests = {ID: PASSED, f"{UNIT}::test_b": result("skipped", "new")}
        leave(project, "unit", tests=tests)
        leave(project, "other", "full", capabilities=["alpha", "beta"], tests=tests)
        return merged("unit", "other", options=options)

    return plant


def listed(code: str, more: str = "", name: str = ID) -> Plant:
    """List a test as a known failure, then run."""

    def plant(project: Project) -> Ending:
        text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
        entry = f'"{name}" = {{ reason = "no lists", issue = "#7"{more} }}'
        added = f"[tool.skipproof.known_failures]\n{entry}\n\n[tool.skipproof.environments]"
        project.write("pyproject.toml", text.replace("[tool.skipproof.environments]", added))
        project.write(UNIT, f"import pytest\n\n{code}\n")
        return run(project)

    return plant


def divided(project: Project, *subsets: str) -> None:
    """Give the table these subsets."""
    text = (project.root / "pyproject.toml").read_text(encoding="utf-8")
    added = "\n".join(("[tool.skipproof.subsets]", *subsets, "[tool.skipproof.environments]"))
    project.write("pyproject.toml", text.replace("[tool.skipproof.environments]", added))


def hidden(project: Project) -> Ending:
    """Deselect a test of the subset that the run is of."""
    divided(project, "quick = \"-m 'not slow'\"")
    return run(project, "-m", "not slow", "--deselect", ID)


def left_to_nobody(project: Project) -> Ending:
    """Let two sessions leave a test to a subset that no session runs, then merge."""
    divided(project, "quick = \"-m 'not slow'\"", 'slow = "-m slow"')
    tests = {ID: PASSED, f"{UNIT}::test_b": result("deselected")}
    for session, environment, had in (("unit", "bare", []), ("other", "full", ["alpha", "beta"])):
        leave(project, session, environment, capabilities=had, subset="quick", tests=tests)
    return merged("unit", "other")


PLANTS: dict[str, Plant] = {
    "An environment promises a condition": condition('python = ">=3.12"', '"new", '),
    "A condition that no Python meets": condition('python = ">=3.14,<3.12"'),
    "A condition is of one release only": condition('python = "==3.12"'),
    "A condition that excludes itself": condition(
        'all = ["alpha", "other"]', also='other = { absent = "skipproof_alpha" }'
    ),
    "Conditions that need each other": condition('any = ["other"]', also='other = { all = ["new"] }'),
    "A probe of the project's own is not there": condition('probe = "skipproof_none:has", install = "x"', '"new?", '),
    "A probe of the project's own skips": condition('probe = "skipproof_probe:skips", install = "x"', '"new?", '),
    "A probe of the project's own is in no receipt": condition(
        'probe = "skipproof_probe:holds", install = "x"', '"new?", '
    ),
    "A condition that no environment meets": nowhere('absent = "skipproof_beta"'),
    "A Python is required that no session ran on": nowhere('python = ">=3.99"', "--require", "new"),
    "A known failure passes": listed("@pytest.mark.xfail(strict=False)\ndef test_a(): pass"),
    "A known failure says that it fails, and does not": listed("def test_a(): pytest.xfail('bug 7')"),
    "A known failure never reaches its body": listed(
        "@pytest.fixture\ndef x(): raise OSError\n\ndef test_a(x): assert False"
    ),
    "A known failure hides a fixture that fails": listed(
        "@pytest.fixture\ndef x():\n    yield\n    raise OSError\n\ndef test_a(x): assert False"
    ),
    "A known failure hides another one": listed("def test_a(): {}['x']", ', raises = "AssertionError"'),
    "A known failure is listed for a test that is gone": listed("def test_b(): pass"),
    "A known failure without an issue": listed("def test_a(): assert False", "", f'{ID}" = {{ reason = "x" }}\n"x'),
    "A test is deselected behind a subset": hidden,
    "A test is in no session's subset": left_to_nobody,
}
