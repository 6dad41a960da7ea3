"""wiredoctor exchanges: the table."""

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
    Secrets,
    TableFormat,
    Verbose,
    size,
    wanted,
)
from wiredoctor.cli.tables import Asked, print_table


def exchanges(
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
    show_secrets: Secrets = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: Colors = Color.auto,
) -> int:
    """Print every HTTP exchange on a line, with a bar that shows request, server and response time."""
    what = wanted(host, port, connection, begin, end)
    form = Format(format.value)
    most = size("--max-spool", max_spool)
    how = Asked(config=config, merge=merge, max_spool=most, show_secrets=show_secrets, quiet=quiet, verbose=verbose)
    return print_table("exchanges", captures, what, form, color, how)
