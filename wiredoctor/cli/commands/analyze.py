"""wiredoctor analyze: diagnose captures."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from wiredoctor.cli import options, signals
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.copies import check_copies
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.outputs import outputs, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import combine_request, report_exit, run
from wiredoctor.cli.writing import write_files, write_report
from wiredoctor.report.formats import Options, wants_packets
from wiredoctor.settings import Settings
from wiredoctor.text.time_of_day import use_utc

PrintedFormat = Annotated[
    options.Printed,
    options.ProblemsOnly,
    typer.Option("--format", "-f", metavar="FORMAT", help=f"What to print on standard output: {options.PRINTED}."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Show all problems in full, all files and all rules (text and Markdown).")
]
Bodies = Annotated[bool, typer.Option("--bodies", help="Include bodies as they were sent, without masking (HAR only).")]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="FILE", help="Report only findings that are not in this earlier JSON report.", show_default=False
    ),
]


def analyze(
    captures: options.Captures,
    output: options.Outputs = None,
    format: PrintedFormat = options.AS_TEXT,
    full: Annotated[bool, typer.Option("--full", help="Include every connection and exchange (JSON only).")] = False,
    everything: Everything = False,
    bodies: Bodies = False,
    tables_format: options.TablesFormat = options.Files.parquet,
    merge: options.Merge = False,
    max_spool: options.MaxSpool = None,
    host: options.Hosts = None,
    port: options.Ports = None,
    connection: options.Connections = None,
    begin: options.Begin = None,
    end: options.End = None,
    utc: options.Utc = False,
    select: options.Selects = None,
    ignore: options.Ignores = None,
    min_confidence: options.MinConfidence = None,
    baseline: Baseline = None,
    fail_on: options.FailOn = None,
    only_findings: options.OnlyFindings = False,
    config: options.Configurations = None,
    jobs: options.Jobs = None,
    show_secrets: options.Secrets = False,
    quiet: options.ProblemsOnly = False,
    verbose: options.Verbose = False,
    color: options.Colors = options.Color.auto,
) -> int:
    """Read captures and report what is wrong: what happened, the evidence, and what to change.

    Ctrl-C stops reading and prints the report on the packets read so far; a second Ctrl-C exits at once. Exit codes: 0 success; 1
    --fail-on matched; 2 usage error, or an input could not be read or unpacked, or an output could not be written; 3 internal
    error; 130 Ctrl-C; 141 standard output was closed.
    """
    use_utc(utc)
    files = outputs(output, captures)
    forms = [format, *(file.format for file in files)]
    if full and "json" not in forms:
        raise UsageError("--full applies to JSON only: add --format json or -o FILE.json")
    if bodies and "har" not in forms:
        raise UsageError("--bodies applies to HAR only: add -o FILE.har")
    check_copies(files, captures, merge=merge, only_findings=only_findings)
    rules = every_rule()
    read = configuration(config, rules)
    sure = options.parse_confidence(min_confidence, read.min_confidence)
    what = options.parse_filter(host, port, connection, begin, end, sure)
    settings = Settings(
        merge=merge,
        keep=wants_packets(forms),
        show_secrets=show_secrets,
        max_spool=options.parse_size("--max-spool", max_spool),
        jobs=jobs or 0,
    )
    request = combine_request(rules, read, settings, what, select, ignore, baseline)
    unread: list[str] = []
    report, complete = run(captures, request, quiet=quiet, verbose=verbose, unread=unread, can_stop=True)
    least = options.parse_level(fail_on, read.fail_on)
    selected = request.settings.select
    code = Exit.INTERRUPTED if signals.stopped_reading() else report_exit(report, least, selected, complete=complete)
    write_options = Options(
        full=full, everything=everything, quiet=quiet, shown=str(what), fail_on=least and least.value,
        selected=selected, unread=unread, code=code, bodies=bodies,
        tables_format=tables_format.value,
        only_findings=only_findings, rules=rules,
    )  # fmt: skip

    if report.captures:
        complete = write_files(report, files, write_options)
        write_stdout(format, partial(write_report, report, options=write_options), color)
        code = code if complete or signals.stopped_reading() else Exit.BAD_INPUT
    return code
