"""The commands and what they have in common."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

import wiredoctor
from wiredoctor.cli.completion import VARIABLE
from wiredoctor.cli.completion import words as completed_words
from wiredoctor.cli.conversion import without_pydantic
from wiredoctor.cli.exit_codes import Exit, exit_code, guarded, open_streams

HELP = ["-h", "--help"]

COMMANDS = {
    "analyze": "Say what is wrong, with proof and remedy.",
    "live": "Say what is wrong while it happens.",
    "show": "A finding or a connection, packet by packet.",
    "exchanges": "Every HTTP exchange on a line.",
    "connections": "Every TCP connection on a line.",
    "extract": "The smallest capture that still shows a finding.",
    "compare": "Before and after; or both sides of a wire or a proxy.",
    "interfaces": "What there is to capture on, and whether you may.",
    "rules": "All rules.",
    "explain": "The manual page of a rule.",
    "mcp": "Captures for a language model (MCP).",
    "schema": "The JSON Schema of the reports.",
}
"""Module of a command, and of the function in it -> its line in the help."""


def application(words: Sequence[str] = ()) -> typer.Typer:
    """All commands; or the one that the command line `words` begins with, as making the others takes longer than to run it."""
    single = bool(words) and words[0] in COMMANDS
    app = typer.Typer(
        name="wiredoctor",
        help="Reads a packet capture, understands every HTTP exchange in it, and says what is wrong, with proof and remedy.",
        no_args_is_help=True,
        # making these options takes as long as making a command
        add_completion=VARIABLE in os.environ or not single,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": HELP},
    )
    app.callback()(common)
    for name in words[:1] if single else COMMANDS:
        command = getattr(import_module(f"wiredoctor.cli.commands.{name}"), name)
        app.command(short_help=COMMANDS[name])(guarded(command))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from wiredoctor import core

        how = f"interpreted ({core.reason})" if core.reason else "compiled"
        typer.echo(f"wiredoctor {wiredoctor.__version__}, core {how}")
        raise typer.Exit


def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Reads a packet capture, understands every HTTP exchange in it, and says what is wrong, with proof and remedy."""


def with_plain_arguments(command: Any) -> Any:
    """The command, whose help says CAPTURE..., as other programs do, where Typer says {CAPTURE}... and <list[str]>."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            _write_plainly(parameter)
    for subcommand in getattr(command, "commands", {}).values():
        with_plain_arguments(subcommand)
    return command


def _write_plainly(argument: Any) -> None:
    name = argument.display_name_raw + ("..." if argument.nargs != 1 else "")
    shown = name if argument.required else f"[{name}]"

    def without_type(ctx: Any) -> str:
        del ctx
        return ""

    argument._rich_display_name = argument._usage_display_name = lambda: shown
    argument.display_type_rich = without_type


def run() -> NoReturn:
    """Parses sys.argv and runs a command."""
    open_streams()
    asked = sys.argv[1:]
    if VARIABLE in os.environ:
        asked = completed_words()
        os.environ["COLUMNS"] = "1000"  # a meaning that Typer breaks at 80 columns would propose its last words
    command = with_plain_arguments(typer.main.get_command(application(asked)))

    def parse() -> int:
        without_pydantic(command, HELP)(prog_name="wiredoctor")
        return Exit.DONE

    try:
        sys.exit(exit_code(parse))
    finally:
        gc.freeze()  # the interpreter would look through every object once more before it ends
