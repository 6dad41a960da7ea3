"""wiredoctor connections: the table."""

from __future__ import annotations

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
    MaxSpool,
    Merge,
    Ports,
    PrintedTable,
    Quiet,
    TableFormat,
    Verbose,
    size,
    wanted,
)
from wiredoctor.cli.tables import Asked, print_table


def connections(
    captures: Captures,
    format: PrintedTable = TableFormat.text,
    merge: Merge = False,
    max_spool: MaxSpool = None,
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
    """Print every TCP connection on a line: who spoke to whom, how much, how fast, and how it ended."""
    what = wanted(host, port, connection, begin, end)
    form = Format(format.value)
    most = size("--max-spool", max_spool)
    how = Asked(config=config, merge=merge, max_spool=most, quiet=quiet, verbose=verbose)
    return print_table("connections", captures, what, form, color, how)
