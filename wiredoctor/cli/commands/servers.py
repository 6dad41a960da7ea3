"""wiredoctor servers: list servers, hosts, paths or clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from wiredoctor import Report
from wiredoctor.cli.exit_codes import Exit
from wiredoctor.cli.options import Secrets, TableOptions, Top, with_shared_options
from wiredoctor.cli.print_table import analyze, print_rows, why_empty
from wiredoctor.report.row_choice import Grouping, RowChoice, ServerOrder, TableName
from wiredoctor.report.terminal.terminal import Terminal, TextOutput

if TYPE_CHECKING:
    from wiredoctor.report.server_statistics import ServerStatistics

Orders = Annotated[ServerOrder, typer.Option("--sort", help="Show the largest first, or sort by name.")]
Groupings = Annotated[Grouping, typer.Option("--by", help="One line per server, host (the Host field), path or client.")]

_SUBJECTS: Mapping[Grouping, TableName] = {Grouping.host: "exchanges", Grouping.path: "exchanges"}


@with_shared_options
def servers(
    table: TableOptions,
    by: Groupings = Grouping.server,
    sort: Orders = ServerOrder.failed,
    top: Top = None,
    show_secrets: Secrets = False,
) -> int:
    """Print servers, one per line: requests, failures, response times, and the lost time by cause.

    Example: wiredoctor servers trace.pcap --by path --top 10
    """
    from wiredoctor.report.server_statistics import server_statistics, sort_servers

    report, complete = analyze(table, show_secrets=show_secrets)
    if report.captures:
        statistics = sort_servers(server_statistics(report, by), sort)
        nothing = "" if statistics else why_empty(report, _SUBJECTS.get(by, "connections"), table.filter, RowChoice())
        print_rows(table, partial(_write, report, statistics, by=by, top=top, order=sort), nothing)
    return Exit.OK if complete else Exit.BAD_INPUT


def _write(
    report: Report, statistics: Sequence[ServerStatistics], form: str, out: BinaryIO, paper: Terminal,
    *, by: Grouping, top: int | None, order: ServerOrder,
) -> None:  # fmt: skip
    from wiredoctor.report.data import servers_json
    from wiredoctor.report.terminal import servers

    if form == "json":
        servers_json.write(report, statistics[:top], out, by)
    elif form == "jsonl":
        servers_json.write_lines(statistics[:top], out, by)
    elif form == "csv":
        servers_json.write_csv(statistics[:top], out, by)
    else:
        with TextOutput(out, paper) as stream:
            servers.write(report, statistics, stream, paper, by=by, top=top, order=order)
