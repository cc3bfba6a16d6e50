"""The matrix as one self-contained HTML page: no server, no network, no other file.

Its HTML, CSS and JavaScript are in ``page_assets``. The matrix goes in as JSON, which the page's script turns into
text, never markup; the page's content security policy lets nothing else run or load.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from . import records

if TYPE_CHECKING:
    from .matrix import Matrix

__all__ = ["render"]

_ASSETS = Path(__file__).with_name("page_assets")
# Joined into one script in this order: each part uses those before it.
_SCRIPTS = ("parts.js", "sections.js", "details.js", "grid.js", "keys.js", "page.js")
# In JSON these occur only in strings, where an escape means the same; HTML would see a tag or a comment.
_ESCAPES = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}


def render(matrix: Matrix) -> str:
    """Return a matrix as a whole HTML document, to be written as UTF-8."""
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    verdict = "not proved" if matrix.problems else "proved"
    parts = {
        "policy": _policy(style, script),
        "title": html.escape(f"{matrix.project}: {verdict}"),
        "style": style,
        "script": script,
        "data": _embedded(matrix),
    }
    # In one pass: inserted text is not searched again, whatever it contains.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def _policy(style: str, script: str) -> str:
    """Return a content security policy that allows only this style and this script, and no request."""
    sources = [f"{kind}-src 'sha256-{_digest(text)}'" for kind, text in (("style", style), ("script", script))]
    return "; ".join(["default-src 'none'", *sources, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(matrix: Matrix) -> str:
    text = json.dumps(records.document(matrix, brief=True), ensure_ascii=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: _ESCAPES[found[0]], text)


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
