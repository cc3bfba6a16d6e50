"""The accepted list as a file: what it says, and what is refused in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skipproof.accepted import Accepted, AcceptedError, Excluded, Place, function_of, read_list, write_list
from support.listed import NAME, listed

if TYPE_CHECKING:
    from support.project import Project

ODD = [
    "tests/a b.py::test é",
    "tests/a.py::test = bare",
    "tests/a.py::test\nb",
    "tests/a.py::\r\u2028\x1b\u202e\\n",
    "# tests/a.py::test",
    "[tests]",
    "<<<<<<< a",
    "=======",
    ' tests/"a".py::test ',
]


@pytest.mark.parametrize(
    ("test", "function"),
    [
        ("tests/a.py::test_a", "tests/a.py::test_a"),
        ("tests/a.py::T::test_a[x::y[1]]", "tests/a.py::T::test_a"),
        ("tests/[x]/a.py::test_a[1]", "tests/[x]/a.py::test_a"),
        ("tests/a.txt", "tests/a.txt"),
    ],
)
def test_a_function_is_an_id_without_parameters(test: str, function: str) -> None:
    """The parameters of a test are no part of its function; brackets of a folder are."""
    assert function_of(test) == function


def test_a_list_is_read_as_it_was_written(project: Project) -> None:
    """Whatever a test is called, the list has one line for it, which is read as it was written."""
    places = {Place("bare"): 1, Place("full"): 12, Place("full", ("avx", "gpu")): 3, Place(""): 2, Place("b-"): 1}
    written = Accepted(dict.fromkeys(ODD, places), {"src/a = b.py": Excluded(3, 1), "b.py": Excluded(branches=2)})
    write_list(project.contract, NAME, written)
    text = (project.root / NAME).read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(text.split("\n")) - 1 == 5 + len(ODD) + 2
    assert {each for each in text if not each.isprintable()} == {"\n"}
    assert read_list(project.contract, NAME) == written


def test_a_list_is_in_order_and_short(project: Project) -> None:
    """Lines are in order, so that a test has one place for its line, and say no more than they must."""
    tests = {f"tests/a.py::test_{name}": {Place("full"): 1, Place("bare"): 12} for name in "ba"}
    write_list(project.contract, NAME, Accepted(tests | {"tests/b.py::test": {Place(""): 1}}, {"b.py": Excluded(3)}))
    assert (project.root / NAME).read_text(encoding="utf-8").splitlines()[1:] == [
        "",
        "[tests]",
        "tests/a.py::test_a = bare 12, full",
        "tests/a.py::test_b = bare 12, full",
        "tests/b.py::test = -",
        "",
        "[excluded from coverage]",
        "b.py = lines 3",
    ]


def test_line_ends_of_another_system_are_read(project: Project) -> None:
    """A checkout that changes line ends changes nothing else."""
    write_list(project.contract, NAME, Accepted({"tests/a.py::test": {Place("bare"): 1}}))
    path = project.root / NAME
    path.write_bytes(path.read_bytes().replace(b"\n", b" \r\n"))
    assert read_list(project.contract, NAME).tests == {"tests/a.py::test": {Place("bare"): 1}}


TEST = "[tests]\ntests/a.py::test = bare\n"


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (
            b"",
            "accepted.txt has no heading [tests]: bring the list back from git, or delete it and run skipproof accept",
        ),
        (b"\xff", "accepted.txt cannot be read as a list ('utf-8' codec can't decode"),
        (b"tests/a.py::test = bare\n", "accepted.txt line 1 is 'tests/a.py::test = bare', which no list has there: "),
        (f"{TEST}tests/b.py".encode(), "accepted.txt line 3 is 'tests/b.py', which no list has there: bring the line "),
        (f"{TEST}x = bare, ".encode(), "accepted.txt line 3 is 'x = bare,', which no list has there"),
        (f"{TEST}x = bare 0".encode(), "accepted.txt line 3 is 'x = bare 0', which no list has there"),
        (f"{TEST}x = bare, bare".encode(), "accepted.txt line 3 is 'x = bare, bare', which no list has there"),
        (f"{TEST}x = bare {'9' * 5000}".encode(), "accepted.txt line 3 is 'x = bare 9"),
        (f"{TEST} = bare".encode(), "accepted.txt line 3 is ' = bare', which no list has there"),
        (f'{TEST}x" = bare'.encode(), "accepted.txt line 3 is 'x\" = bare', which no list has there"),
        (b"[excluded from coverage]\na.py = 3\n", "accepted.txt line 2 is 'a.py = 3', which no list has there"),
        (b"[excluded from coverage]\na.py = lines 3, lines 1\n", "accepted.txt line 2 is 'a.py = lines 3, lines 1', "),
        (f"{TEST}{TEST}".encode(), "accepted.txt line 4 is of 'tests/a.py::test', as line 2 is: keep one of them"),
        (
            f"[tests]\n<<<<<<< HEAD\na = bare\n=======\nb = bare\n>>>>>>> x\n{TEST}".encode(),
            "accepted.txt line 2 is a mark of a merge conflict: keep the lines of both sides, and delete the marks",
        ),
        (f"{TEST}=======\n".encode(), "accepted.txt line 3 is a mark of a merge conflict"),
    ],
)
def test_what_is_no_list_is_refused_by_line(project: Project, content: bytes, fact: str) -> None:
    """A list that is garbled, in conflict, or of two minds is refused, with the line and what to do."""
    (project.root / NAME).write_bytes(content)
    with pytest.raises(AcceptedError) as caught:
        read_list(project.contract, NAME)
    assert str(caught.value).startswith(fact)


def test_a_folder_is_no_list(project: Project) -> None:
    """A folder in the list's place is named, not a traceback."""
    (project.root / NAME).mkdir()
    with pytest.raises(AcceptedError, match=r"^accepted\.txt cannot be read as a list \(.*Is a directory"):
        read_list(project.contract, NAME)


def test_a_list_that_is_not_there_is_asked_for(project: Project) -> None:
    """A list that the table names has to be there: deleting it would lift the gate."""
    with pytest.raises(
        AcceptedError, match=r"^accepted\.txt is not there, where pyproject\.toml: \[tool\.skipproof\] "
    ):
        read_list(listed(project).contract, NAME)


def test_a_draft_does_not_stay(project: Project) -> None:
    """A list that cannot be replaced stays as it was, and nothing is left beside it."""
    (project.root / NAME / "x").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_list(project.contract, NAME, Accepted())
    assert not [path.name for path in project.root.iterdir() if path.name.endswith(".draft")]
