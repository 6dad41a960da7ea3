"""The list of commands, and code that all commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import wiredoctor
from wiredoctor.cli import pager
from wiredoctor.cli.conversion import without_pydantic
from wiredoctor.cli.exit_codes import Exit, exit_code, exit_on_broken_pipe, open_streams, run_command

HELP = ["-h", "--help"]

VERSION = "--version"

OPTIONS = {*HELP, VERSION, pager.OPTION, "--install-completion", "--show-completion"}
"""The options that belong to the program itself, not to a command."""

MAX_COLUMNS = 200
"""The maximum width of help texts, because longer lines are hard to read."""

COMMANDS = {
    "analyze": "Diagnose captures, with evidence and remedies.",
    "live": "Diagnose while capturing.",
    "run": "Diagnose the connections of a program while it runs.",
    "show": "Show a finding or a connection, packet by packet.",
    "exchanges": "List HTTP exchanges, one per line.",
    "connections": "List TCP connections, one per line.",
    "servers": "List servers with failures and response times.",
    "extract": "Extract the smallest capture that shows a finding.",
    "compare": "Compare before and after a change, or two points of a path.",
    "interfaces": "List capture interfaces and check permissions.",
    "rules": "List all rules.",
    "explain": "Show the manual page of a rule.",
    "explain-log": "Explain the errors and slow requests of an access log.",
    "mcp": "Serve captures to a language model (MCP).",
    "schema": "Print the JSON Schema of the reports.",
}
"""The one-line help text of each command, by command name."""

_MODULES = {"run": "run_program"}
"""Module names by command name, for commands whose module has another name."""

_IN_PATHS = (".", "/", os.sep)


class _CloseSuggestions:
    """Limits the suggestions in the error for an unknown option to options with similar names.

    By default, click suggests all options, because all of them begin with "--".
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc]
        except Exception as error:
            if found := getattr(error, "possibilities", None):
                from difflib import get_close_matches

                names = {option.lstrip("-"): option for option in found}
                name = str(getattr(error, "option_name", "")).lstrip("-")
                similar = get_close_matches(name, names, cutoff=0.7)
                error.possibilities = [names[one] for one in names if one in similar or one.startswith(name)]  # type: ignore[attr-defined]
            raise


class Commands(_CloseSuggestions, TyperGroup):
    """The group of all commands. If standard output is closed, even during help, the program exits with the code of SIGPIPE."""

    def make_context(self, *words: Any, **options: Any) -> Any:
        return exit_on_broken_pipe(lambda: super(Commands, self).make_context(*words, **options))

    def invoke(self, ctx: Any) -> Any:
        return exit_on_broken_pipe(lambda: super(Commands, self).invoke(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        from wiredoctor.cli.help_texts import write_commands

        write_commands(COMMANDS, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        del ctx
        from wiredoctor.cli.help_texts import FIRST_STEPS, write_examples

        write_examples(FIRST_STEPS, formatter)


class Command(_CloseSuggestions, TyperCommand):
    """A command whose help ends with examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        del ctx
        from wiredoctor.cli.help_texts import EXAMPLES, write_examples

        write_examples(EXAMPLES.get(str(self.name), ()), formatter)


def application(words: Sequence[str] = ()) -> typer.Typer:
    """Create the app with all commands or, if `words` begins with the name of a command, with only that command.

    Creating all commands takes longer than running one of them.
    """
    single = bool(words) and words[0] in COMMANDS
    app = typer.Typer(
        name="wiredoctor",
        cls=Commands,
        help="Reads a packet capture, understands every HTTP exchange, and reports what is wrong, with evidence and remedies.",
        no_args_is_help=True,
        # creating these options takes as long as creating a command
        add_completion=not single,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": HELP, "max_content_width": MAX_COLUMNS},
    )
    app.callback()(common)
    for name in words[:1] if single else COMMANDS:
        function = name.replace("-", "_")
        command = getattr(import_module(f"wiredoctor.cli.commands.{_MODULES.get(name, function)}"), function)
        # options after the name of the program belong to that program
        context = {"allow_interspersed_args": False} if name == "run" else None
        app.command(name, short_help=COMMANDS[name], cls=Command, context_settings=context)(run_command(command))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from wiredoctor import core

        how = f"interpreted ({core.reason})" if core.reason else "compiled"
        typer.echo(f"wiredoctor {wiredoctor.__version__}, core {how}")
        raise typer.Exit


def _turn_pager_off(wanted: bool) -> None:
    if wanted:
        pager.turn_off()


def common(
    version: Annotated[
        bool, typer.Option(VERSION, callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    no_pager: Annotated[
        bool, typer.Option(pager.OPTION, callback=_turn_pager_off, is_eager=True, help="Do not show long output in a pager.")
    ] = False,
) -> None:
    """Reads a packet capture, understands every HTTP exchange, and reports what is wrong, with evidence and remedies."""


def with_plain_arguments(command: Any) -> Any:
    """Make the help of a command show an argument as CAPTURE..., without the braces and the type <list[str]> that Typer adds."""
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


def with_command(words: list[str]) -> list[str]:
    """Return the arguments with the command first. If they name a capture but no command, insert `analyze`.

    --help or --version is returned alone if it comes first, or if there is neither a command nor a capture. Other options may
    come before the command or the capture; --no-pager may come anywhere. The arguments after `--` and those of `run` belong to
    another program, so they stay unchanged.
    """
    own = words[: words.index("--")] if "--" in words else words
    if pager.OPTION in own and "run" not in own:
        words = [pager.OPTION, *(one for place, one in enumerate(words) if place >= len(own) or one != pager.OPTION)]
    first = int(words[:1] == [pager.OPTION])
    rest = words[first:]
    if rest and rest[0] in (*HELP, VERSION):
        rest = rest[:1]
    elif rest and rest[0].startswith("-") and rest[0] != "-" and rest[0].partition("=")[0] not in OPTIONS:
        rest = _options_last(rest)
    elif rest and _is_capture(rest[0]):
        rest = ["analyze", *rest]
    return [*words[:first], *rest]


def _is_capture(word: str) -> bool:
    """Return whether a word names a capture: it is "-", an existing file or folder, or a name with a dot or a slash.

    Names of commands contain neither a dot nor a slash.
    """
    return word not in COMMANDS and (word == "-" or any(mark in word for mark in _IN_PATHS) or os.path.exists(word))


def _options_last(words: list[str]) -> list[str]:
    """Move the command to the front of arguments that begin with an option.

    If the arguments contain a capture or an option of `analyze`, but no command, insert `analyze`. --help or --version is
    returned alone if there is neither a command nor a capture. Other arguments are returned unchanged.
    """
    group: Any = typer.main.get_command(application(["analyze"]))
    analyze = group.commands["analyze"]
    context = typer.Context(analyze, resilient_parsing=True, ignore_unknown_options=True, help_option_names=[])
    values, *_ = analyze.make_parser(context).parse_args([*words])
    given = values.pop("captures", None) or ()
    plain = [word for word in given if word == "-" or not word.startswith("-")]
    # after an option that `analyze` does not know, a word may be the value of that option, such as an output file
    known = len(plain) == len(given)
    named = next((word for word in plain if word in COMMANDS or (known and _is_capture(word))), None)
    named = named or next(filter(_is_capture, plain), None)
    own = next((word for word in given if word in (*HELP, VERSION)), None)
    if own and not named:
        return [own]
    if named in COMMANDS:
        place = words.index(named)
        return [named, *words[:place], *words[place + 1 :]]
    if known and plain and named != plain[0]:
        return [plain[0], *words]  # an unknown command: the error will suggest a similar name
    return ["analyze", *words] if values or named else words


def run() -> NoReturn:
    """Parse sys.argv, run the command, and exit with its exit code."""
    open_streams()
    asked = with_command(sys.argv[1:])
    if "_WIREDOCTOR_COMPLETE" in os.environ:  # set by the completion script that Typer prints or installs
        os.environ["COLUMNS"] = "1000"  # if a line were wrapped, the shell would propose its parts
    command = with_plain_arguments(typer.main.get_command(application(asked)))

    def parse() -> int:
        without_pydantic(command, HELP)(asked, prog_name="wiredoctor")
        return Exit.OK

    sys.exit(exit_code(parse))
