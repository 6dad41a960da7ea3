"""wiredoctor interfaces: what there is to capture on, and whether one may."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import Color, Colors
from wiredoctor.cli.outputs import Text, stdout_paper


class InterfaceFormat(StrEnum):
    """What goes to standard output, of the interfaces."""

    text = "text"
    json = "json"


def interfaces(
    format: Annotated[InterfaceFormat, typer.Option("--format", "-f", help="text or json.")] = InterfaceFormat.text,
    color: Colors = Color.auto,
) -> int:
    """List the network interfaces with their addresses, and say whether this user may capture on them, and by what."""
    import wiredoctor
    from wiredoctor import interfaces as machine
    from wiredoctor.report.terminal.interfaces import write, write_json

    try:
        found, permission = machine.interfaces(), machine.permission()
    except machine.UnsupportedSystemError as error:
        raise UsageError(str(error)) from None
    paper = stdout_paper(color)
    with Text(sys.stdout.buffer, paper) as out:
        if format == InterfaceFormat.json:
            write_json(found, permission, out, wiredoctor.__version__)
        else:
            write(found, permission, out, paper)
    return Exit.DONE
