"""The table in pyproject.toml, and the skip reasons derived from it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from skipproof.contract import ContractError, Lock
from skipproof.table import read_contract
from skipproof.table_files import is_configured
from support.project import PYPROJECT, Project

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "0123456789abcdef" * 4


def test_table_is_read_whole(project: Project) -> None:
    """Every promise, path and install command in the table is read."""
    contract = project.contract
    assert contract.promised("bare") == ()
    assert contract.promised("full") == ("alpha", "beta")
    assert contract.locks["full"] == Lock("locks/full.txt")
    assert contract.capabilities["alpha"].modules == ("skipproof_alpha",)
    assert contract.capabilities["beta"].distributions == ("skipproof-beta",)
    assert [name for name, capability in contract.capabilities.items() if capability.depends_on_machine] == ["gpu"]
    assert (contract.sources, contract.state) == (("tests", "pyproject.toml", "setup.py"), ".matrix")


def test_program_and_trace_are_read(project: Project) -> None:
    """A capability's programs and trace are read."""
    proofs = f'programs = ["skipproof", "x"], trace = "project.inference", digest = "{DIGEST}"'
    project.write("pyproject.toml", PYPROJECT.replace('probe = "cuda"', proofs))
    gpu = project.contract.capabilities["gpu"]
    assert (gpu.programs, gpu.trace, gpu.digest) == (("skipproof", "x"), "project.inference", DIGEST)
    assert gpu.depends_on_machine


def test_tool_that_is_no_table_is_named(tmp_path: Path) -> None:
    """A pyproject.toml whose [tool] is a number is refused with a message."""
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    with pytest.raises(
        ContractError, match=r"has no table \[tool.skipproof\] in pyproject.toml, nor \[skipproof\] in .*: add one"
    ):
        read_contract(tmp_path)


def test_reason_depends_only_on_the_set(project: Project) -> None:
    """The same missing capabilities give the same reason in any order."""
    reasons = {project.contract.reason(names) for names in itertools.permutations(["gpu", "alpha", "beta"])}
    assert reasons == {"needs alpha, beta, gpu: pip install alpha; pip install beta; a machine with a GPU"}


def test_reason_names_one_installation_once(project: Project) -> None:
    """An install command that two capabilities share is named once."""
    project.write("pyproject.toml", PYPROJECT.replace("pip install beta", "pip install alpha"))
    assert project.contract.reason(["beta", "alpha"]) == "needs alpha, beta: pip install alpha"


@pytest.mark.parametrize(
    ("text", "configured"),
    [
        ("[tool.skipproof]\n", True),
        ("[tool]\nskipproof.state = 'x'\n", True),
        ("[tool.skipproof\n", True),
        ("[tool.other\n", False),
        ("tool = 1\n", False),
        ("[tool.other]\n", False),
        (None, False),
    ],
)
def test_a_project_is_configured_by_its_table(tmp_path: Path, text: str | None, *, configured: bool) -> None:
    """A project is configured if its pyproject.toml has the table, or names it but cannot be read."""
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert is_configured(tmp_path) == configured


def test_unknown_environment_names_the_known_ones(project: Project) -> None:
    """An unknown environment is refused, with a suggestion and the known ones."""
    with pytest.raises(ContractError, match=r"^no environment is called 'ful' \(did you mean 'full'\?\); .*bare, full"):
        project.contract.promised("ful")


def test_unknown_capability_says_where_it_was_asked_for(project: Project) -> None:
    """A mark with an unknown capability is refused, with the test that it is on."""
    with pytest.raises(ContractError, match=r"^test_x: no capability is called 'zzz'; there are: alpha, beta, gpu$"):
        project.contract.check_capabilities(["alpha", "zzz"], "test_x")


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ("[tool.skipproof]", "[tool.skipproof", "is not TOML"),
        (
            "tool.skipproof",
            "tool.other",
            "has no table [tool.skipproof] in pyproject.toml, nor [skipproof] in another file",
        ),
        ('locks = "locks"', "", "[tool.skipproof] has no 'locks': add it"),
        ('locks = "locks"', 'locks = "locks"\nlokcs = 1', "no key is called 'lokcs' (did you mean 'locks'?)"),
        ('locks = "locks"', "locks = 3", "[tool.skipproof] locks is 3: write a string"),
        ('["tests", "pyproject.toml", "setup.py"]', '"tests"', "sources is 'tests': write a list of strings"),
        ('["tests", "pyproject.toml", "setup.py"]', '[""]', "sources is '': write a string that is not empty"),
        ('full = ["alpha", "beta"]', 'full = ["alhpa"]', "environments] full: no capability is called 'alhpa' (did"),
        ('big = ["alpha", "beta", "gpu"]', "", "capabilities] gpu is promised by no environment"),
        ('{ probe = "cuda", install', '{ probe = "cud", install', "no probe is called 'cud' (did you mean 'cuda'?)"),
        ('{ probe = "cuda", install', "{ install", "capabilities] gpu has nothing to look for: add 'modules'"),
        (', install = "a machine with a GPU"', "", "capabilities] gpu has no 'install': say how to get it"),
        ('{ probe = "cuda",', '{ prbe = "cuda",', "capabilities] gpu: no key is called 'prbe' (did you mean 'probe'?)"),
        (
            '{ probe = "cuda", install = "a machine with a GPU" }',
            '"cuda"',
            "capabilities] gpu is 'cuda': write a table",
        ),
        ('modules = ["skipproof_alpha"]', "modules = [7]", "alpha modules is 7: write a string"),
        ('modules = ["skipproof_alpha"]', "modules = []", "capabilities] alpha has nothing to look for: add"),
        ('modules = ["skipproof_alpha"]', 'modules = [".alpha"]', "alpha modules is '.alpha': write a module's name"),
        ('probe = "cuda"', "probe = []", "gpu probe is []: write a string"),
        ('probe = "cuda"', "programs = 7", "gpu programs is 7: write a list of strings"),
        ('probe = "cuda"', 'programs = ["x", "x"]', "gpu programs names 'x' more than once: name it once"),
        (
            'probe = "cuda"',
            'trace = "x"',
            "look for: add 'modules', 'distributions', 'programs', 'paths', 'variable', 'probe' or a condition",
        ),
        ('probe = "cuda"', 'probe = "cuda", trace = 1', "gpu trace is 1: write a string"),
        ('probe = "cuda"', f'probe = "cuda", digest = "{DIGEST}"', "gpu has a 'digest' but no 'trace': name the audit"),
        (
            'probe = "cuda"',
            f'probe = "cuda", trace = "x", digest = "{DIGEST[1:]}"',
            f"gpu digest is '{DIGEST[1:]}': write the SHA-256 of the weights, 64 digits",
        ),
        ('full = ["alpha", "beta"]', 'full = ["beta", "beta"]', "full names 'beta' more than once: name it once"),
        ('full = ["alpha", "beta"]', '"a/b" = ["alpha"]', "environments] names 'a/b', but files are named after it"),
        ("alpha = {", '"al pha" = {', "capabilities] names 'al pha', but files are named after it: use letters"),
        (
            '["tests", "pyproject.toml", "setup.py"]',
            "[]",
            "sources is []: name the folders of the project's code and tests",
        ),
        (
            '["tests", "pyproject.toml", "setup.py"]',
            '["../x"]',
            "sources is '../x': write a path below the project's folder",
        ),
        (
            'locks = "locks"',
            'locks = "/locks"',
            "locks is '/locks': write a path below the project's folder, without '..'",
        ),
        ('state = ".matrix"', "state = 'C:\\x'", "state is 'C:\\\\x': write a path below the project's folder"),
        ('state = ".matrix"', "state = '~/x'", "state is '~/x': write a path below the project's folder"),
        ('state = ".matrix"', "state = '..'", "state is '..': write a path below the project's folder"),
        ('state = ".matrix"', "state = './'", "state is '.', but 'tests' is a source, and what a run leaves would"),
        ('state = ".matrix"', "state = 'tests/'", "state is 'tests', but 'tests' is a source, and what a run leaves"),
        ('state = ".matrix"', "state = 'tests/left'", "state is 'tests/left', but 'tests' is a source, and what a run"),
    ],
)
def test_wrong_table_is_named(project: Project, old: str, new: str, fact: str) -> None:
    """A wrong table is refused with what to correct."""
    assert old in PYPROJECT
    project.write("pyproject.toml", PYPROJECT.replace(old, new))
    with pytest.raises(ContractError) as caught:
        read_contract(project.root)
    assert fact in str(caught.value)


def test_empty_table_is_refused(project: Project) -> None:
    """A table without any environment is refused."""
    head, _, tail = PYPROJECT.partition("[tool.skipproof.environments]")
    rest = tail[tail.index("[tool.pytest") :]
    project.write("pyproject.toml", f"{head}[tool.skipproof.environments]\n{rest}")
    with pytest.raises(ContractError, match=r"\[tool.skipproof.environments\] is \{\}: .* at least one entry"):
        read_contract(project.root)


def test_a_project_may_have_no_capability(project: Project) -> None:
    """A project in which nothing is optional has an empty list of capabilities."""
    head, _, tail = PYPROJECT.partition("alpha = {")
    rest = tail[tail.index("\n[tool.skipproof.environments]") :].partition("full = ")[0]
    project.write("pyproject.toml", head + rest)
    assert not read_contract(project.root).capabilities


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A folder without any settings file is not a project, and the message says where the table would be."""
    with pytest.raises(ContractError, match=r"has no table .*, or run in the project's folder$"):
        read_contract(tmp_path)


def test_paths_are_kept_as_ids_begin(project: Project) -> None:
    """Paths in the table mean the same with "./", with a slash at the end, and with two."""
    text = PYPROJECT.replace('["tests", "pyproject.toml", "setup.py"]', '["./tests/", "src//mine", "."]')
    project.write("pyproject.toml", text.replace('".matrix"', '"./.matrix/"').replace('"locks"', '"./locks/"'))
    found = project.contract
    assert (found.sources, found.state) == (("tests", "src/mine", "."), ".matrix")
    assert found.locks["bare"].file == "locks/bare.txt"


def test_what_runs_leave_may_lie_in_a_hidden_folder_of_the_sources(project: Project) -> None:
    """A project that is one source keeps its receipts in a hidden folder, where nothing is a source."""
    project.write("pyproject.toml", PYPROJECT.replace('["tests", "pyproject.toml", "setup.py"]', '["."]'))
    assert project.contract.state == ".matrix"
