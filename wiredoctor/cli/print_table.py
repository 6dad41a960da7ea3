"""Analyze captures and print one table, for `exchanges`, `connections` and `servers`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, BinaryIO

import typer

from wiredoctor import Report
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, print_message
from wiredoctor.cli.options import TableFormat, TableOptions, parse_size
from wiredoctor.cli.outputs import Write, spool, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import combine_request, run
from wiredoctor.report.fields import footer
from wiredoctor.report.filter import Filter
from wiredoctor.report.row_choice import Order, RowChoice, TableName
from wiredoctor.report.terminal.terminal import Terminal, TextOutput
from wiredoctor.settings import Settings
from wiredoctor.text.time_of_day import use_utc

Slow = Annotated[
    str | None,
    typer.Option("--slow", metavar="TIME", help="Show only what took at least this long: 500ms, 2s.", show_default=False),
]
OrderBy = Annotated[Order, typer.Option("--sort", help="Sort by start, or show the longest, worst or largest first (text only).")]
Relative = Annotated[bool, typer.Option("--relative", help="Begin each bar at the left edge, to compare durations (text only).")]


@dataclass(frozen=True)
class TableRequest:
    """A request to print the table of exchanges or of connections."""

    table: TableName
    options: TableOptions
    choice: RowChoice
    relative: bool = False
    show_secrets: bool = False
    request_id: str = ""


def print_table(asked: TableRequest) -> int:
    """Print the table to standard output; return the exit code."""
    from wiredoctor.report.chosen_rows import choose_rows
    from wiredoctor.report.exchange_times import count_waiting

    report, complete = analyze(asked.options, show_secrets=asked.show_secrets, request_id=asked.request_id)
    chosen = choose_rows(report, asked.table, asked.choice)
    number = chosen.exchange_count if asked.table == "exchanges" else chosen.connection_count
    wanted = asked.options.filter._replace(request_id=asked.request_id)
    left_out = 0
    if asked.choice.top is not None and asked.choice.order is Order.duration and asked.table == "exchanges":
        left_out = count_waiting(choose_rows(report, asked.table, asked.choice._replace(top=None))) - count_waiting(chosen)
    nothing = "" if number else why_empty(chosen, asked.table, wanted, asked.choice)
    if report.captures:
        print_rows(asked.options, partial(_write, chosen, asked, left_out), nothing)
    return Exit.OK if complete else Exit.BAD_INPUT


def print_rows(options: TableOptions, write: Write, nothing: str) -> None:
    """Print a table to standard output with `write`.

    `nothing`: the sentence that explains why the table has no rows, or "". In text output, this sentence replaces the table. In
    other formats, the sentence is printed to standard error.
    """

    def write_or_explain(form: str, out: BinaryIO, paper: Terminal) -> None:
        if nothing and form == "text":
            with TextOutput(out, paper) as stream:
                stream.write(footer([nothing], paper.width))
        else:
            write(form, out, paper)

    write_stdout(options.format, write_or_explain, options.color)
    if nothing and options.format != TableFormat.text and not options.quiet:
        print_message(nothing)


def analyze(options: TableOptions, *, show_secrets: bool = False, request_id: str = "") -> tuple[Report, bool]:
    """Analyze the captures of a command that prints a table; return the report, and whether all captures were read completely."""
    use_utc(options.utc)
    wanted, spool_size = options.filter._replace(request_id=request_id), parse_size("--max-spool", options.max_spool)
    rules = every_rule()
    settings = Settings(merge=options.merge, show_secrets=show_secrets, max_spool=spool_size, jobs=0)
    request = combine_request(rules, configuration(options.config, rules), settings, wanted)
    return run(options.captures, request, quiet=options.quiet, verbose=options.verbose)


def why_empty(report: Report, table: TableName, wanted: Filter, choice: RowChoice) -> str:
    """Return the sentence that explains why a table has no rows."""
    from wiredoctor.report.no_rows import explain_no_rows

    return explain_no_rows(report, table, wanted, choice)


def _write(
    report: Report, asked: TableRequest, waiting_left_out: int, form: str, out: BinaryIO, paper: Terminal
) -> None:  # fmt: skip
    from wiredoctor.report.data import csv_rows, json
    from wiredoctor.report.terminal import connections, exchanges

    if form == "json":
        json.write_one_table(report, out, asked.table, spool)
    elif form == "jsonl":
        json.write_table_lines(report, out, asked.table, spool)
    elif form == "csv":
        csv_rows.write(report, out, asked.table, spool)
    else:
        with TextOutput(out, paper) as stream:
            order, relative = asked.choice.order, asked.relative
            if asked.table == "connections":
                connections.write(report, stream, paper, spool=spool, relative=relative, order=order)
            else:
                exchanges.write(
                    report,
                    stream,
                    paper,
                    spool=spool,
                    relative=relative,
                    order=order,
                    waiting_left_out=waiting_left_out,
                    streams=asked.choice.streams,
                )
