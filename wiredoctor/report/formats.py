"""The formats of reports, each with the module that writes it. A module is imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from wiredoctor.findings import Report
from wiredoctor.report.terminal.terminal import Terminal

if TYPE_CHECKING:
    from wiredoctor.report.row_order import Spool


class Format(NamedTuple):
    """A format of reports.

    `suffix`: the suffix of an -o file that selects this format; "/" for a folder, "" if no suffix does. `writer`: the module in
    wiredoctor.report and the function in this module that writes the format. The function takes a report, a binary file and
    Options. `printed`: whether the format may be written to standard output. `packets`: "needed" if the format can be written
    only while the capture can be read again; "wanted" if it contains more in this case.
    """

    name: str
    suffix: str
    writer: str = ""
    printed: bool = True
    packets: Literal["", "wanted", "needed"] = ""


FORMATS = {
    one.name: one
    for one in (
        Format("json", ".json", "data.json:write_as"),
        Format("jsonl", ".jsonl", "data.json:write_lines_as"),
        Format("markdown", ".md", "terminal.markdown:write_as"),
        Format("text", ".txt", "terminal.text:write_as"),
        Format("concise", "", "terminal.concise:write_as"),
        Format("github", "", "data.github:write_as"),
        Format("statistics", "", "terminal.statistics:write_as"),
        Format("sarif", ".sarif", "data.sarif:write_as"),
        Format("junit", ".xml", "data.junit:write_as"),
        Format("csv", ".csv", "data.csv:write_as"),
        Format("html", ".html", "html.page:write_as", printed=False, packets="wanted"),
        Format("har", ".har", "data.har:write_as", printed=False, packets="wanted"),
        Format("pcapng", ".pcapng", "packets.pcapng:write_as", printed=False, packets="needed"),
        Format("tables", "/", printed=False, packets="wanted"),
    )
}


class Options(NamedTuple):
    """The options of a command that affect its reports.

    `full`: whether JSON contains the tables. `everything`: whether all lists are complete. `quiet`: whether only the result is
    written. `shown`: a description of the report's filter. `fail_on` and `selected`: the severity and the rules that determine
    whether the exit code is 1. `unread`: a line for each input that could not be read. `code`: the exit code of the command.
    `bodies`: whether HAR contains bodies. `tables_format`: the format of the table files. `only_findings`: whether pcapng
    contains only packets of connections with findings. `rules`: all rules by name. `note`: prints a message to the user.
    `paper`: the properties of the terminal to which text is written (its width, colors and characters). `spool`: makes a
    temporary file; if it is None, rows are sorted in memory.
    """

    full: bool = False
    everything: bool = False
    quiet: bool = False
    shown: str = ""
    fail_on: str | None = None
    selected: Sequence[str] = ()
    unread: Sequence[str] = ()
    code: int | None = None
    bodies: bool = False
    tables_format: str = "parquet"
    only_findings: bool = False
    rules: Mapping[str, Any] = {}
    note: Callable[[str], None] = print
    paper: Terminal = Terminal()
    spool: Spool | None = None


class NotWritable(ValueError):
    """The report cannot be written in the requested format; the message says why."""


def write(report: Report, name: str, out: BinaryIO, options: Options) -> None:
    """Write a report in the named format; raise NotWritable if that is impossible."""
    module, _, function = FORMATS[name].writer.partition(":")
    import polars as pl

    from wiredoctor import limits

    # for few rows, the streaming engine takes more time to start than the queries take
    few = report.connection_count + report.exchange_count <= limits.SUMMARIES_TOGETHER.value
    with pl.Config(engine_affinity="in-memory") if few else nullcontext():
        getattr(import_module(f"wiredoctor.report.{module}"), function)(report, out, options)


def wants_packets(names: Iterable[str]) -> bool:
    """Return whether any of the formats in `names` reads the capture again."""
    return any(FORMATS[name].packets for name in names)


def needs_packets(names: Iterable[str]) -> bool:
    """Return whether any of the formats in `names` cannot be written without the packets."""
    return any(FORMATS[name].packets == "needed" for name in names)
