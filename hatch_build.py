"""Turns README.md into the package's description: on an index, links into this repository lead nowhere.

With ``Source`` in ``[project.urls]``, such links and pictures get its address; without it, they become plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<path>[^)\s]+)\)")


class Description(MetadataHookInterface):
    """Sets the field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the table ``[project]``."""
        source = metadata.get("urls", {}).get("Source", "").rstrip("/")

        def absolute(link: re.Match[str]) -> str:
            if not source:
                return link["text"]
            kind = "raw" if link["picture"] else "blob"
            return f"{link['picture']}[{link['text']}]({source}/{kind}/HEAD/{link['path']})"

        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": RELATIVE.sub(absolute, text)}
