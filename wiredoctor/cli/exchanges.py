"""wiredoctor exchanges: the table."""

from __future__ import annotations

from typing import Annotated

import typer

from wiredoctor.cli.options import (
    Begin,
    Captures,
    Color,
    Colors,
    Configurations,
    Connections,
    End,
    Format,
    Hosts,
    Merge,
    Ports,
    Quiet,
    TableFormat,
    Verbose,
    wanted,
)
from wiredoctor.cli.tables import print_table


def exchanges(
    captures: Captures,
    format: Annotated[
        TableFormat, typer.Option("--format", "-f", help="text, json, or jsonl (one object a line).")
    ] = TableFormat.text,
    merge: Merge = False,
    host: Hosts = None,
    port: Ports = None,
    connection: Connections = None,
    begin: Begin = None,
    end: End = None,
    config: Configurations = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: Colors = Color.auto,
) -> int:
    """Print every HTTP exchange on a line, with a bar that shows request, server and response time."""
    what = wanted(host, port, connection, begin, end)
    form = Format(format.value)
    return print_table("exchanges", captures, what, form, color, config=config, merge=merge, quiet=quiet, verbose=verbose)
