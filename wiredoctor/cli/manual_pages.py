"""Write the files that a wheel installs under share/: man pages with the texts of --help, and shell completions.

    python -m wiredoctor.cli.manual_pages FOLDER

The build runs this module (wiredoctor/core/build.py), which needs no package except typer. No command loads this module.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer._completion_shared import get_completion_script  # the script that typer itself installs

import wiredoctor
from wiredoctor.cli.app import COMMANDS, HELP, application, with_plain_arguments
from wiredoctor.cli.completion import VARIABLE
from wiredoctor.cli.help_texts import EXAMPLES, FIRST_STEPS, TASKS
from wiredoctor.report.addresses import DOCUMENTATION

SHELLS = {
    "bash": "bash-completion/completions/wiredoctor",
    "zsh": "zsh/site-functions/_wiredoctor",
    "fish": "fish/vendor_completions.d/wiredoctor.fish",
}
"""The file below share/ in which each shell looks for completion scripts."""


def shared_files() -> Iterator[tuple[str, str]]:
    """Yield the path below share/ and the text of each man page and completion script."""
    program = with_plain_arguments(typer.main.get_command(application()))
    yield "man/man1/wiredoctor.1", _program_page(program)
    for name, command in program.commands.items():
        yield f"man/man1/wiredoctor-{name}.1", _command_page(name, command)
    for shell, path in SHELLS.items():
        script = get_completion_script(prog_name="wiredoctor", complete_var=VARIABLE, shell=shell)
        if shell == "zsh":  # for the first completion, zsh runs the file, not the function in it
            script += '\n_wiredoctor_completion "$@"'
        yield path, f"{script}\n"


def _program_page(program: Any) -> str:
    lines = _title("wiredoctor", "diagnose HTTP and TCP in packet captures")
    lines += _synopsis("wiredoctor", ["[OPTIONS] COMMAND [ARGS]...", "CAPTURE..."])
    lines += [".SH DESCRIPTION", _roff(program.help)]
    for task, names in TASKS.items():
        lines.append(f".SH {_roff(task.upper())}")
        for name in names:
            lines += [".TP", f".BR wiredoctor\\-{_roff(name)} (1)", _roff(COMMANDS[name])]
    return _end(lines, program, FIRST_STEPS, [f"wiredoctor-{name}" for name in COMMANDS])


def _command_page(name: str, command: Any) -> str:
    lines = _title(f"wiredoctor-{name}", COMMANDS[name][:1].lower() + COMMANDS[name][1:].rstrip("."))
    with _context(command) as context:
        lines += _synopsis(f"wiredoctor {name}", [" ".join(command.collect_usage_pieces(context))])
    lines += [".SH DESCRIPTION", "\n.PP\n".join(_roff(" ".join(part.split())) for part in _paragraphs(command.help))]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    if arguments:
        lines += [".SH ARGUMENTS", *_described(command, arguments)]
    return _end(lines, command, EXAMPLES.get(name, ()), ["wiredoctor"])


def _title(name: str, summary: str) -> list[str]:
    version = f"wiredoctor {wiredoctor.__version__}"
    left = (".nh", ".ad l")  # no hyphenation, no justification: readers copy options and file names
    return [f'.TH {_roff(name.upper())} 1 "" "{_roff(version)}"', *left, ".SH NAME", f"{_roff(name)} \\- {_roff(summary)}"]


def _synopsis(name: str, usages: Iterable[str]) -> list[str]:
    lines = [".SH SYNOPSIS"]
    for number, usage in enumerate(usages):
        lines += [*([".br"] if number else []), f".B {_roff(name)}", _roff(usage)]
    return lines


def _context(command: Any) -> typer.Context:
    return typer.Context(command, help_option_names=HELP)


def _paragraphs(text: str | None) -> list[str]:
    return inspect.cleandoc(text or "").split("\n\n")


def _end(lines: list[str], command: Any, examples: Iterable[tuple[str, str]], others: Iterable[str]) -> str:
    """Return the man page that consists of `lines`, options, examples, the documentation and `others` (under SEE ALSO)."""
    with _context(command) as context:
        options = [one for one in command.get_params(context) if one.param_type_name == "option"]
    lines += [".SH OPTIONS", *_described(command, options), ".SH EXAMPLES"]
    for line, meaning in examples:
        lines += [".TP", _roff(f"{meaning}:"), ".nf", f".B {_roff(line)}", ".fi"]
    lines += [".SH DOCUMENTATION", _roff(DOCUMENTATION), ".SH SEE ALSO"]
    lines.append(",\n".join(f".BR {_roff(other)} (1)" for other in others).replace(",\n", " ,\n"))
    return "\n".join(lines) + "\n"


def _described(command: Any, parameters: Iterable[Any]) -> Iterator[str]:
    with _context(command) as context:
        for one in parameters:
            if record := one.get_help_record(context):
                names, meaning = record
                yield from (".TP", f".B {_roff(names)}", _roff(" ".join(meaning.split())))


def _roff(text: str) -> str:
    """Escape a text, so roff prints it unchanged."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def write(folder: Path) -> None:
    """Write all man pages and completion scripts below a folder."""
    for name, text in shared_files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
