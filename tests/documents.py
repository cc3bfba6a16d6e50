"""The blocks of code in README.md and docs/: what a reader would copy."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    ".github/CONTRIBUTING.md",
    "packages/skipproof/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)


@dataclass(frozen=True)
class Block:
    """One block of code: its page, the line before its first one, the word after its fence, and itself."""

    page: str
    line: int
    kind: str
    text: str


def blocks(page: str, *kinds: str) -> list[Block]:
    """The blocks of a page, in their order, or those of them that are of one of these kinds."""
    tokens = MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8"))
    code = [token for token in tokens if token.type in {"fence", "code_block"}]
    found = [Block(page, (token.map or [0])[0] + 1, token.info, token.content) for token in code]
    return [block for block in found if not kinds or block.kind in kinds]


def infers(page: str) -> bool:
    """Whether the Python on a page asks a model."""
    return any("await " in block.text or "async " in block.text for block in blocks(page, "python"))


def pages(kind: str) -> list[str]:
    """The pages that have a block of a kind."""
    return [page for page in PAGES if blocks(page, kind)]


def printed_by(text: str) -> str:
    """A pattern for what a block prints: the comments behind its prints, in their order; … stands for anything."""
    said = re.findall(r"^ *print\(.*\)  # (.*)$", text, re.MULTILINE)
    return "(?s:.*?)".join(re.escape(each).replace("…", ".*") for each in said)


async def run_python(block: Block, names: dict[str, object]) -> None:
    """Run a block as in an async function that has ``names``; one that starts an event loop, in a thread of its own."""
    source = "\n" * block.line + block.text  # so that a traceback shows the page's line
    code = compile(source, str(ROOT / block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if "asyncio.run(" in block.text:
        with ThreadPoolExecutor() as thread:
            thread.submit(exec, code, {"__name__": "__main__"}).result()
    elif inspect.iscoroutine(running := eval(code, names)):  # noqa: S307  (a block of our own)
        await running


def commands(block: Block) -> list[list[str]]:
    """The commands behind the prompts of a block, each as its words, without what is set for it and where it reads."""
    found = []
    for line in block.text.splitlines():
        words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        words.whitespace_split = True
        parts = groupby(words if line.startswith("$ ") else (), key=lambda word: set(word) <= set("&|;<>()"))
        for is_sign, part in parts:
            command = [word for word in part if not re.match(r"[A-Z_]+=", word)]
            found += [command] if command and not is_sign else []
    return found
