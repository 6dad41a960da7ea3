"""What `exchanges` and `connections` have in common: analyse, then print one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit
from wiredoctor.cli.options import Color, Format
from wiredoctor.cli.outputs import Text, spool, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import requested, run

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.report.filter import Wanted
    from wiredoctor.report.terminal.terminal import Paper


class Asked(NamedTuple):
    """Options of the command that print_table knows nothing more of."""

    config: str | None = None
    merge: bool = False
    max_spool: int | None = None
    show_secrets: bool = False
    quiet: bool = False
    verbose: bool = False


def print_table(
    table: Literal["connections", "exchanges"], captures: list[str], wanted: Wanted, output: Format, color: Color, how: Asked
) -> int:
    """The table on standard output; says the exit code."""
    rules = every_rule()
    request = requested(rules, configuration(how.config, rules), wanted)
    report, complete = run(
        captures, request, merge=how.merge, max_spool=how.max_spool, show_secrets=how.show_secrets, quiet=how.quiet,
        verbose=how.verbose,
    )  # fmt: skip

    def write(form: Format, out: BinaryIO, paper: Paper) -> None:
        _write(report, table, form, out, paper)

    if report.captures:
        write_stdout(output, write, color)
    return Exit.DONE if complete else Exit.BAD_INPUT


def _write(report: Report, table: Literal["connections", "exchanges"], form: Format, out: BinaryIO, paper: Paper) -> None:
    from wiredoctor.report.data import csv, json
    from wiredoctor.report.terminal import connections, exchanges

    if form == Format.json:
        json.write_one_table(report, out, table, spool)
    elif form == Format.jsonl:
        json.write_table_lines(report, out, table, spool)
    elif form == Format.csv:
        csv.write_table(report, out, table, spool)
    else:
        with Text(out, paper) as stream:
            (exchanges if table == "exchanges" else connections).write(report, stream, paper, spool=spool)
