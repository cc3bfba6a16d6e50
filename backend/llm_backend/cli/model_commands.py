"""List, fetch, check and remove models."""

from __future__ import annotations

import asyncio

import typer

from llm_backend.cli.printing import harmless, print_json, print_table, write
from llm_backend.cli.running import progress_bar, run
from llm_backend.llms.models.cache import find_cached, list_cached, remove_cached, uncompared_cached, verify_cached
from llm_backend.llms.models.store import ResolvedModel, resolve_model

__all__ = ["pull", "remove", "show_models", "verify"]


def show_models(*, as_json: bool) -> None:
    """Print every model on this machine."""
    models = list_cached()
    if as_json:
        print_json(models)
        return
    rows = [[model.name, model.kind, f"{model.size / 1e6:,.0f} MB", model.note] for model in models]
    print_table(["name", "kind", "size", "note"], rows)


def pull(name: str | None, revision: str | None) -> None:
    """Fetch and convert a model, with a bar on a terminal, and print its directory; raises as resolve_model does."""

    async def fetch() -> ResolvedModel:
        with progress_bar() as progress:
            return await asyncio.to_thread(resolve_model, name, revision=revision, progress=progress)

    write(f"{run(fetch()).directory}\n")


def verify(name: str) -> bool:
    """Print what differs from what was stored, and return whether everything matches.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    damaged = verify_cached(name)
    for line in damaged:
        write(f"{name}: {line}\n")
    uncompared = uncompared_cached(name)
    if uncompared and not damaged:
        write(f"{name}: every file is complete, but {len(uncompared)} came without a digest to compare with\n")
    elif not damaged:
        write(f"{name}: every file is as it was stored\n")
    return not damaged


def remove(name: str, *, ask: bool) -> None:
    """Remove a model from the caches.

    Raises:
        ModelNotFoundError: the caches hold nothing of that name.
    """
    megabytes = find_cached(name).size / 1e6
    if ask and input(f"Remove {harmless(name)} ({megabytes:,.0f} MB) from the caches? [y/N] ").strip().lower() != "y":
        raise typer.Abort
    remove_cached(name)
    write(f"removed {name}: {megabytes:,.0f} MB\n")
