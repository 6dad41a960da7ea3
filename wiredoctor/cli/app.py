"""The commands and what they have in common."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

import wiredoctor
from wiredoctor.cli import analyze, connections, exchanges, explain, rules, schema
from wiredoctor.cli.conversion import without_pydantic
from wiredoctor.cli.exits import Exit, guarded

HELP = ["-h", "--help"]

app = typer.Typer(
    name="wiredoctor",
    help="Reads a packet capture, understands every HTTP exchange in it, and says what is wrong, with proof and remedy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP},
)

COMMANDS = {
    analyze.analyze: "Say what is wrong, with proof and remedy.",
    exchanges.exchanges: "Every HTTP exchange on a line.",
    connections.connections: "Every TCP connection on a line.",
    rules.rules: "All rules.",
    explain.explain: "The manual page of a rule.",
    schema.schema: "The JSON Schema of the reports.",
}

for command, summary in COMMANDS.items():
    app.command(short_help=summary)(guarded(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wiredoctor {wiredoctor.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Reads a packet capture, understands every HTTP exchange in it, and says what is wrong, with proof and remedy."""


def run() -> NoReturn:
    """Parses sys.argv and runs a command."""
    try:
        without_pydantic(typer.main.get_command(app), HELP)(prog_name="wiredoctor")
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    sys.exit(Exit.DONE)
