"""Run the command as ``python -m llm_backend``."""

from __future__ import annotations

from llm_backend.cli import main

if __name__ == "__main__":
    main()
