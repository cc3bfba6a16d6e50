"""List, fetch, check and remove models."""

from __future__ import annotations

import logging

import typer
from rich.console import Console

from backend.cli.printing import print_json, print_table, write
from backend.llms.model_cache import list_cached, remove_cached, verify_cached
from backend.llms.model_store import resolve_model

__all__ = ["pull", "remove", "show_models", "verify"]


def show_models(*, as_json: bool) -> None:
    """Print every model that is here."""
    models = list_cached()
    if as_json:
        print_json(models)
        return
    rows = [[model.name, model.kind, f"{model.size / 1e6:,.0f} MB", model.note] for model in models]
    print_table(["name", "kind", "size", "note"], rows)


def pull(name: str, revision: str | None) -> None:
    """Fetch and convert a model, with bars on a terminal, and print its directory; raises as resolve_model does."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with Console(stderr=True).status(f"Fetching {name}"):
        model = resolve_model(name, revision=revision)
    write(f"{model.directory}\n")


def verify(name: str) -> bool:
    """Print what differs from what was stored, and return whether nothing does.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    damaged = verify_cached(name)
    for line in damaged:
        write(f"{name}: {line}\n")
    if not damaged:
        write(f"{name}: every file is as it was stored\n")
    return not damaged


def remove(name: str, *, ask: bool) -> None:
    """Remove a model from the caches.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    if ask:
        typer.confirm(f"Remove {name} from the caches?", abort=True)
    write(f"removed {name}: {remove_cached(name) / 1e6:,.0f} MB\n")
