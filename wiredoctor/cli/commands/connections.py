"""wiredoctor connections: list connections."""

from __future__ import annotations

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.options import TableOptions, Top, parse_duration, with_shared_options
from wiredoctor.cli.print_table import OrderBy, Relative, Slow, TableRequest, print_table
from wiredoctor.report.row_choice import Order, RowChoice


@with_shared_options
def connections(
    table: TableOptions, slow: Slow = None, sort: OrderBy = Order.time, top: Top = None, relative: Relative = False
) -> int:
    """Print TCP connections, one per line: endpoints, bytes, round-trip times, how each ended, and when it was used.

    Example: wiredoctor connections trace.pcap --sort duration --top 10
    """
    if sort is Order.status:
        raise UsageError("--sort status: connections have no status; use time, duration or size")
    choice = RowChoice((), parse_duration("--slow", slow), top, sort)
    return print_table(TableRequest("connections", table, choice, relative=relative))
