"""What coverage leaves out of a file, and what of that counts."""

from __future__ import annotations

from skipproof.exclusions import left_out

# With a space before the colon, because coverage would exclude this text too.
SOURCE = '''"""A module."""
import typing
from typing import TYPE_CHECKING

if TYPE_CHECKING :
    import a

    class B:
        import c
if typing.TYPE_CHECKING :
    import d


def stub() -> None : (...)


@decorated
def real():
    """Say something."""
    # A comment.

    if (
        1
    ):
        return 2
    while True :
        pass
    if unknown:
        return 3


if TYPE_CHECKING :
    import e
else:
    import f

    def given(): return 4
try:
    import g
except ImportError:
    import h
'''


def lines(*texts: str) -> list[int]:
    """Return the numbers of the lines that begin with these texts."""
    return [number for number, line in enumerate(SOURCE.splitlines(), 1) if line.strip().startswith(texts)]


def test_only_statements_that_could_run_count() -> None:
    """Of an excluded file, comments, docstrings, stubs and imports for type checkers do not count."""
    excluded, _ = left_out(SOURCE, range(1, len(SOURCE.splitlines()) + 1), ())
    starts: tuple[str, ...] = (
        "import typing",
        "from",
        "@decorated",
        "if (",
        "return",
        "while",
        "pass",
        "if unknown",
        "import f",
    )
    starts = (*starts, "def given", "try", "import g", "import h")
    assert excluded == lines(*starts)


def test_a_constant_condition_is_no_branch() -> None:
    """A branch that cannot be taken is not one that is left out."""
    assert left_out(SOURCE, (), lines("while True", "if unknown")) == ([], lines("if unknown"))


def test_a_text_is_no_branch() -> None:
    """A pattern of coverage in the text of a statement without a branch leaves none out."""
    source = 'text = """\nwhile True:\n    pass\n"""\nif unknown: text = ""\n'
    assert left_out(source, (), (1, 5)) == ([], [5])


def test_what_is_not_python_counts_as_it_is() -> None:
    """Of a template, every line that its plugin excludes counts."""
    assert left_out("{% if x %}", (2, 1), (3,)) == ([1, 2], [3])
