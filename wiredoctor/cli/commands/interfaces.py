"""wiredoctor interfaces: list capture interfaces and check permissions."""

from __future__ import annotations

from typing import Annotated

import typer

import wiredoctor
from wiredoctor.cli.exit_codes import Exit, UsageError, check_captures
from wiredoctor.cli.options import Color, Colors, TextOrJson
from wiredoctor.cli.outputs import stdout_paper
from wiredoctor.cli.pager import paged
from wiredoctor.report.terminal.terminal import TextOutput


def interfaces(
    format: Annotated[TextOrJson, typer.Option("--format", "-f", help="text or json.")] = TextOrJson.text,
    color: Colors = Color.auto,
) -> int:
    """List network interfaces with their addresses, and check whether and how this user may capture on them."""
    check_captures("interfaces")
    from wiredoctor import interfaces as machine
    from wiredoctor.report.terminal.interfaces import write, write_json

    try:
        found, permission = machine.interfaces(), machine.permission()
    except machine.UnsupportedSystemError as error:
        raise UsageError(str(error)) from None
    paper = stdout_paper(color)
    with paged() as page, TextOutput(page, paper) as out:
        if format == TextOrJson.json:
            write_json(found, permission, out, wiredoctor.__version__)
        else:
            write(found, permission, out, paper)
    return Exit.OK
