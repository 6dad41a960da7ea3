"""Write a report in the requested format (report/formats.py), to standard output or a file of -o."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import BinaryIO

from wiredoctor import Report
from wiredoctor.cli.exit_codes import UsageError, print_message
from wiredoctor.cli.outputs import DIRECT, FileAccess, Output, spool, write_each, write_file
from wiredoctor.report import formats
from wiredoctor.report.formats import Options
from wiredoctor.report.terminal.terminal import Terminal


def write_report(report: Report, form: str, out: BinaryIO, paper: Terminal, options: Options) -> None:
    """Write the report in the format `form`; raise UsageError if the format cannot represent this report."""
    try:
        formats.write(report, form, out, options._replace(paper=paper, spool=spool, note=print_message))
    except formats.NotWritable as error:
        raise UsageError(str(error)) from None


def write_files(report: Report, files: Iterable[Output], options: Options, access: FileAccess = DIRECT) -> bool:
    """Write the outputs given with -o; print a line for each that cannot be written. Return whether all were written."""

    def write_one(file: Output) -> None:
        if file.format == "tables":
            from wiredoctor.cli.folders import report_missing, write_tables

            report_missing(write_tables(report, file.path, options.tables_format, access))
        else:
            write_file(file, partial(write_report, report, options=options), access)

    return write_each(files, write_one)
