"""Options that several commands share, and what their words mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from wiredoctor.cli.completion import rules
from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.report.filter import Moment, Wanted, address


class Format(StrEnum):
    """A form of the report; standard output takes those of `Printed`."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    markdown = "markdown"
    sarif = "sarif"
    junit = "junit"
    csv = "csv"
    html = "html"
    har = "har"
    tables = "tables"
    pcapng = "pcapng"


SUFFIXES = {
    ".json": Format.json,
    ".jsonl": Format.jsonl,
    ".md": Format.markdown,
    ".txt": Format.text,
    ".sarif": Format.sarif,
    ".xml": Format.junit,
    ".csv": Format.csv,
    ".html": Format.html,
    ".har": Format.har,
    ".pcapng": Format.pcapng,
}
"""Suffix of a file of -o -> the format that it names."""


class Printed(StrEnum):
    """What goes to standard output."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    markdown = "markdown"
    sarif = "sarif"
    junit = "junit"
    csv = "csv"


class Files(StrEnum):
    """What the files of tables are."""

    parquet = "parquet"
    arrow = "arrow"


class TableFormat(StrEnum):
    """What goes to standard output, of a table."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


class Color(StrEnum):
    """When to use colour."""

    auto = "auto"
    always = "always"
    never = "never"


class Severity(StrEnum):
    """How bad a finding is."""

    error = "error"
    warning = "warning"
    note = "note"


class Failing(StrEnum):
    """From where on a report is bad enough."""

    error = "error"
    warning = "warning"
    note = "note"
    any = "any"


class Confidence(StrEnum):
    """How sure a finding is."""

    high = "high"
    medium = "medium"
    low = "low"


Captures = Annotated[
    list[str],
    typer.Argument(
        metavar="CAPTURE",
        help='Capture files (pcap, pcapng or snoop, plain or compressed), folders of them, "-" for standard input.',
        show_default=False,
    ),
]
Merge = Annotated[bool, typer.Option("--merge", help="Read all files as one capture, in order of time, as mergecap does.")]
MaxSpool = Annotated[
    str | None,
    typer.Option(
        "--max-spool",
        metavar="SIZE",
        help="Disk space for unpacking captures and for standard input (500MB, 10GiB; default: 2GB or half of what is free).",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", metavar="N", min=1, help="Processes for a large capture (default: one per processor, at most 8)."),
]
Hosts = Annotated[
    list[str] | None, typer.Option("--host", metavar="ADDRESS", help="Show only what concerns this address (repeatable).")
]
Ports = Annotated[
    list[int] | None,
    typer.Option("--port", metavar="PORT", min=0, max=65535, help="Show only what concerns this port (repeatable)."),
]
Connections = Annotated[
    list[int] | None, typer.Option("--connection", min=0, metavar="ID", help="Show only this tcp.stream (repeatable).")
]
Begin = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Show from here on: seconds since the first packet, or RFC 3339."),
]
End = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Show up to here.")]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help=f"Also write a report; the suffix names the format: {', '.join(SUFFIXES)}; FOLDER/ gets all tables (repeatable).",
    ),
]
PrintedTable = Annotated[TableFormat, typer.Option("--format", "-f", help="text, json, jsonl (one object a line), or csv.")]
TablesFormat = Annotated[
    Files, typer.Option("--tables-format", help="What the files in the folder of -o FOLDER/ are.", show_default=False)
]
Selects = Annotated[
    list[str] | None,
    typer.Option(
        "--select", metavar="RULE", help="Only these rules or families (repeatable, or a comma list).", autocompletion=rules
    ),
]
Ignores = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="RULE", help="All but these rules or families.", autocompletion=rules)
]
MinConfidence = Annotated[
    Confidence | None, typer.Option("--min-confidence", help="Only findings at least this sure.", show_default=False)
]
OnlyFindings = Annotated[
    bool, typer.Option("--only-findings", help="Of FILE.pcapng: only the packets of the connections with findings.")
]
FailOn = Annotated[
    Failing | None,
    typer.Option(
        "--fail-on",
        help="Exit with 1 when a finding is this bad or worse; any: also for what no finding explains.",
        show_default=False,
    ),
]
Configurations = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration; else wiredoctor.toml, or pyproject.toml with [tool.wiredoctor], here or above.",
        show_default=False,
    ),
]
Colors = Annotated[Color, typer.Option("--color", help="When to use colour; NO_COLOR turns auto off.")]
Secrets = Annotated[
    bool, typer.Option("--show-secrets", help="Mask nothing: queries, user information, payload in proofs are shown as sent.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="The result and nothing else: no progress, no closing part.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say how long it took; show the traceback of internal errors.")]


def wanted(
    hosts: list[str] | None,
    ports: list[int] | None,
    connections: list[int] | None,
    begin: str | None,
    end: str | None,
    confidence: Confidence = Confidence.low,
) -> Wanted:
    """Return the filter that the options describe; raises UsageError."""
    first, last = _moment("--from", begin), _moment("--to", end)
    if first and last and first.absolute == last.absolute and first.nanoseconds > last.nanoseconds:
        raise UsageError(f"--from {begin} is later than --to {end}")
    return Wanted(
        hosts=tuple(_address(h) for h in hosts or ()),
        ports=tuple(ports or ()),
        connections=tuple(connections or ()),
        begin=first,
        end=last,
        confidence=confidence.value,
    )


def _address(text: str) -> str:
    try:
        return address(text)
    except ValueError:
        raise UsageError(f"--host: {text!r} is not an IP address (names are not resolved)") from None


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def size(option: str, text: str | None) -> int | None:
    """Bytes of "10GB", "1.5 GiB" or "100000"; raises UsageError."""
    if text is None:
        return None
    from fractions import Fraction

    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise UsageError(f"{option}: {text!r} is not a size like 500MB, 10GiB or a number of bytes")
    return int(Fraction(match[1]) * _UNITS[(match[2] or "").lower()])


def _moment(option: str, text: str | None) -> Moment | None:
    if text is None:
        return None
    try:
        return Moment.parse(text)
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is neither seconds since the first packet nor a time like 2026-01-31T12:00:00Z"
        ) from None


def names(option: str, values: Iterable[str] | None, catalogue: Mapping[str, Any]) -> list[str]:
    """The rules or families that --select or --ignore names, also as comma lists; raises UsageError on an unknown one."""
    known = {*catalogue, *(module.family for module in catalogue.values())}
    given = [name.strip() for value in values or () for name in value.split(",") if name.strip()]
    for name in given:
        if name not in known:
            raise UsageError(f"{option}: no rule or family is called {name!r}{suggestion(name, known)}")
    return given


def suggestion(name: str, known: Collection[str]) -> str:
    """ "; did you mean ...?" or where to look."""
    import difflib

    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else " (wiredoctor rules lists them)"
