"""Give consent to a configuration file that nobody named, and withdraw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_backend.cli.printing import write
from llm_backend.llms.settings.config_file import trust_config_file, untrust_config_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["trust", "untrust"]


def trust(where: Path | None) -> None:
    """Store consent to a file as it is now, and print what it covers; raises as ``trust_config_file``."""
    file = trust_config_file(where)
    write(f"{file.path} is trusted until it changes.\n")
    for line in file.consents():
        write(f"  {line}\n")
    write("It may choose who answers, use your keys, and run a model's code. To withdraw: llm-backend config untrust\n")


def untrust(where: Path | None) -> None:
    """Withdraw consent to a file, and print whether there was any; raises as ``untrust_config_file``."""
    path, trusted = untrust_config_file(where)
    write(f"{path} is no longer trusted.\n" if trusted else f"{path} was not trusted.\n")
