"""A report in the format that is asked for; what writes it is loaded then.

A format is a member of `Format`, an entry of WRITERS, and of SUFFIXES or of `Printed` (options.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from wiredoctor.cli.copies import write_pcapng
from wiredoctor.cli.exports import write_csv, write_har, write_junit, write_sarif
from wiredoctor.cli.options import Failing, Format
from wiredoctor.cli.outputs import DIRECT, FileAccess, Output, Text, spool, write_each, write_file

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.report.terminal.terminal import Paper


class How(NamedTuple):
    """What the options of a command say of its reports.

    `full`: JSON with tables. `everything`: nothing is left out for its length. `quiet`: the result and nothing else. `shown`:
    in words, what the report was narrowed to. `fail_on`, with the rules that were `selected`: what the command fails for.
    `unread`: a line for each input that could not be read. `code`: what the command exits with. `bodies`: HAR with what was
    sent in them. `tables_format`: what the files of tables are.
    `only_findings`: only packets of connections with findings are copied.
    """

    full: bool = False
    everything: bool = False
    quiet: bool = False
    shown: str = ""
    fail_on: Failing | None = None
    selected: Sequence[str] = ()
    unread: Sequence[str] = ()
    code: int | None = None
    bodies: bool = False
    tables_format: str = "parquet"
    only_findings: bool = False


def write_report(report: Report, form: Format, out: BinaryIO, paper: Paper, how: How) -> None:
    """Writes it."""
    WRITERS[form](report, out, paper, how)


def write_files(report: Report, files: Iterable[Output], how: How, access: FileAccess = DIRECT) -> bool:
    """Write the files of -o and report those that cannot be written. Return whether all were."""

    def write(form: Format, out: BinaryIO, paper: Paper) -> None:
        write_report(report, form, out, paper, how)

    def write_one(file: Output) -> None:
        if file.format == Format.tables:
            from wiredoctor.cli.folders import tell, write_tables

            tell(write_tables(report, file.path, how.tables_format, access))
        else:
            write_file(file, write, access)

    return write_each(files, write_one)


def reads_again(forms: Iterable[Format]) -> bool:
    """Whether one of these formats shows or copies packets, so that the captures are to be kept."""
    return any(form in _AGAIN | _PACKETS for form in forms)


def needs_packets(forms: Iterable[Format]) -> bool:
    """Whether one of these formats is nothing without the packets."""
    return any(form in _PACKETS for form in forms)


def _text(report: Report, out: BinaryIO, paper: Paper, how: How) -> None:
    from wiredoctor.report.terminal import text

    with Text(out, paper) as stream:
        text.write(report, stream, paper, everything=how.everything, quiet=how.quiet, shown=how.shown)


def _markdown(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    from wiredoctor.report.terminal import markdown

    markdown.write(report, out, quiet=how.quiet, shown=how.shown)


def _json(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    from wiredoctor.report.data import json

    json.write(report, out, full=how.full, spool=spool)


def _jsonl(report: Report, out: BinaryIO, _paper: Paper, _how: How) -> None:
    from wiredoctor.report.data import json

    json.write_lines(report, out)


def _html(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    from wiredoctor.report import html

    html.write(report, out, quiet=how.quiet, shown=how.shown)


WRITERS: Mapping[Format, Callable[[Report, BinaryIO, Paper, How], None]] = {
    Format.text: _text,
    Format.json: _json,
    Format.jsonl: _jsonl,
    Format.markdown: _markdown,
    Format.sarif: write_sarif,
    Format.junit: write_junit,
    Format.csv: write_csv,
    Format.html: _html,
    Format.har: write_har,
    Format.pcapng: write_pcapng,
}

_AGAIN: frozenset[Format] = frozenset((Format.html, Format.har, Format.tables))
"""Formats that say more when they can read the captures again."""

_PACKETS: frozenset[Format] = frozenset({Format.pcapng})
"""Formats that cannot be written without."""
