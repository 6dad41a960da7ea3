"""wiredoctor analyze: the diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.copies import check_copies
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import (
    Begin,
    Captures,
    Color,
    Colors,
    Confidence,
    Configurations,
    Connections,
    End,
    Failing,
    FailOn,
    Files,
    Format,
    Hosts,
    Ignores,
    Jobs,
    MaxSpool,
    Merge,
    MinConfidence,
    OnlyFindings,
    Outputs,
    Ports,
    Printed,
    Quiet,
    Secrets,
    Selects,
    TablesFormat,
    Verbose,
    size,
    wanted,
)
from wiredoctor.cli.outputs import outputs, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import requested, run
from wiredoctor.cli.writing import How, reads_again, write_files, write_report

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.report.terminal.terminal import Paper


def analyze(
    captures: Captures,
    output: Outputs = None,
    format: Annotated[Printed, typer.Option("--format", "-f", help="What to print on standard output.")] = Printed.text,
    full: Annotated[bool, typer.Option("--full", help="JSON with every connection and exchange.")] = False,
    everything: Annotated[bool, typer.Option("--all", help='Text without "N more".')] = False,
    bodies: Annotated[
        bool, typer.Option("--bodies", help="HAR with the bodies, as they were sent: nothing in them is masked.")
    ] = False,
    tables_format: TablesFormat = Files.parquet,
    merge: Merge = False,
    max_spool: MaxSpool = None,
    host: Hosts = None,
    port: Ports = None,
    connection: Connections = None,
    begin: Begin = None,
    end: End = None,
    select: Selects = None,
    ignore: Ignores = None,
    min_confidence: MinConfidence = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="FILE", help="Only what is not in this JSON report of before.", show_default=False),
    ] = None,
    fail_on: FailOn = None,
    only_findings: OnlyFindings = False,
    config: Configurations = None,
    jobs: Jobs = None,
    show_secrets: Secrets = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: Colors = Color.auto,
) -> int:
    """Read captures and say what is wrong in them: what happened, the proof, and what to change.

    Exit codes: 0 done; 1 --fail-on was reached; 2 the command line was wrong, or some capture could not be read or unpacked, or
    some output not be written; 3 a fault of wiredoctor.
    """
    files = outputs(output, captures)
    printed = Format(format.value)
    forms = [printed, *(file.format for file in files)]
    if full and Format.json not in forms:
        raise UsageError("--full is about JSON: add --format json, or -o FILE.json")
    if bodies and Format.har not in forms:
        raise UsageError("--bodies is about HAR: add -o FILE.har")
    check_copies(files, captures, merge=merge, only_findings=only_findings)
    rules = every_rule()
    read = configuration(config, rules)
    sure = min_confidence or Confidence(read.min_confidence or Confidence.low)
    what = wanted(host, port, connection, begin, end, sure)
    request = requested(rules, read, what, select, ignore, baseline)
    most = size("--max-spool", max_spool)
    unread: list[str] = []
    report, complete = run(
        captures, request, jobs=jobs, merge=merge, keep=reads_again(forms), max_spool=most, show_secrets=show_secrets,
        quiet=quiet, verbose=verbose, unread=unread,
    )  # fmt: skip
    least = fail_on or (Failing(read.fail_on) if read.fail_on else None)
    code = _exit(report, least, request.selected, complete=complete)
    how = How(
        full=full, everything=everything, quiet=quiet, shown=str(what), fail_on=least,
        selected=request.selected, unread=unread, code=code, bodies=bodies,
        tables_format=tables_format.value,
        only_findings=only_findings,
    )  # fmt: skip

    def write(form: Format, out: BinaryIO, paper: Paper) -> None:
        write_report(report, form, out, paper, how)

    if report.captures:
        complete = write_files(report, files, how)
        write_stdout(printed, write, color)
        code = code if complete else Exit.BAD_INPUT
    return code


def _exit(report: Report, fail_on: Failing | None, selected: Sequence[str], *, complete: bool) -> int:
    from wiredoctor.report.fail_on import reached

    if not complete:
        return Exit.BAD_INPUT
    return Exit.FAILED_ON if fail_on and reached(report, fail_on.value, selected) else Exit.DONE
