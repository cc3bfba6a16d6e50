"""Tests of what a newcomer copies: the snippets of README.md, and examples/tour.py."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys

from .sessions import ROOT


def test_snippets_of_the_readme_import_what_they_use() -> None:
    """Each snippet imports or defines every name in it, but the ``agent`` that the text has introduced."""
    snippets = re.findall(
        r"^```py(?:thon)?\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(snippets) > 1
    for snippet in snippets:
        tree = ast.parse(snippet)
        known = {"agent", *dir(builtins)}
        used: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name, ctx=ast.Load()):
                    used.add(name)
                case ast.Name(id=name) | ast.arg(arg=name) | ast.ClassDef(name=name):
                    known.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.alias(name=name):
                    known.add(name)
        assert used <= known, snippet


def test_tour_without_an_engine_says_how_to_call_it() -> None:
    """The tour, called with no engine, names the engines and shows no traceback."""
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "tour.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == "Which engine? python examples/tour.py huggingface, openai or langchain\n"
