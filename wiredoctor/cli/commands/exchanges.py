"""wiredoctor exchanges: list exchanges."""

from __future__ import annotations

from typing import Annotated

import typer

from wiredoctor.cli.options import Secrets, TableOptions, Top, parse_duration, parse_status, with_shared_options
from wiredoctor.cli.print_table import OrderBy, Relative, Slow, TableRequest, print_table
from wiredoctor.report.row_choice import Order, RowChoice

Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Show only responses with this status: 502, 5xx, 'any', or 'none' for requests without a response (repeatable).",
    ),
]


@with_shared_options
def exchanges(
    table: TableOptions,
    status: Statuses = None,
    slow: Slow = None,
    sort: OrderBy = Order.time,
    top: Top = None,
    relative: Relative = False,
    request_id: Annotated[
        str | None, typer.Option("--request-id", metavar="TEXT", help="Show only requests whose id contains this text.")
    ] = None,
    streams: Annotated[
        bool, typer.Option("--streams", help="Show only event streams, with the times of their events and how they ended.")
    ] = False,
    show_secrets: Secrets = False,
) -> int:
    """Print HTTP exchanges, one per line, with a bar for request, server and response time on a common time axis.

    Example: wiredoctor exchanges trace.pcap --host shop.example --sort duration --top 5
    """
    choice = RowChoice(parse_status(status), parse_duration("--slow", slow), top, sort, streams)
    return print_table(
        TableRequest("exchanges", table, choice, relative=relative, show_secrets=show_secrets, request_id=request_id or "")
    )
