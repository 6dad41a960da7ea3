"""Options that several commands share, and their parsing."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.report.filter import Filter, Moment, address, host_name
from wiredoctor.report.formats import FORMATS
from wiredoctor.report.row_choice import parse_statuses
from wiredoctor.system import expand_patterns
from wiredoctor.text.durations import SECOND

_PRINTED = ["text", *(form.name for form in FORMATS.values() if form.printed and form.name != "text")]

if TYPE_CHECKING:
    Printed = str
else:
    Printed = StrEnum("Printed", [(name, name) for name in _PRINTED])
"""A format for standard output."""

PRINTED = ", ".join(_PRINTED)
"""The names of the formats for standard output, as a text for help messages."""

AS_TEXT = Printed("text")

SKEW = SECOND
"""The maximum difference in ns between the time given with --at and an event, because many logs have whole seconds only."""

_SUFFIXES = ", ".join(form.suffix for form in FORMATS.values() if form.suffix not in ("", "/"))


class Files(StrEnum):
    """Formats of table files."""

    parquet = "parquet"
    arrow = "arrow"


class TableFormat(StrEnum):
    """Formats of a table on standard output."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


class Color(StrEnum):
    """The values of --color."""

    auto = "auto"
    always = "always"
    never = "never"


class TextOrJson(StrEnum):
    """The formats of commands whose result is not a report or a table."""

    text = "text"
    json = "json"


class Failing(StrEnum):
    """The values of --fail-on: the lowest severity of a finding that makes the command fail."""

    error = "error"
    warning = "warning"
    note = "note"
    any = "any"


class Confidence(StrEnum):
    """The confidence of a finding."""

    high = "high"
    medium = "medium"
    low = "low"


def with_expanded_patterns(names: list[str]) -> list[str]:
    """Return the names of inputs, with the files that match a pattern in its place, if the shell passes patterns on."""
    return expand_patterns(names)


Captures = Annotated[
    list[str],
    typer.Argument(
        metavar="CAPTURE",
        callback=with_expanded_patterns,
        help='Capture files (pcap, pcapng or snoop, possibly compressed), folders, or "-" for standard input.',
        show_default=False,
    ),
]
Merge = Annotated[bool, typer.Option("--merge", help="Merge all files into one capture, in order of time, like mergecap.")]
MaxSpool = Annotated[
    str | None,
    typer.Option(
        "--max-spool",
        metavar="SIZE",
        help="Disk space for a compressed capture or standard input, such as 10GiB (default: 2GB, or half the free "
        "space if that is less).",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", metavar="N", min=1, help="Processes for a large capture (default: one per processor, at most 8)."),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host", metavar="HOST", help="Show only results for this IP address (or address:port), Host field or SNI (repeatable)."
    ),
]
Ports = Annotated[
    list[int] | None,
    typer.Option("--port", metavar="PORT", min=0, max=65535, help="Show only results for this port (repeatable)."),
]
CaptureFilter = Annotated[
    str | None, typer.Option("--filter", metavar="BPF", help="Capture only packets that match this BPF filter.")
]
CapturedPorts = Annotated[
    list[int] | None,
    typer.Option("--port", metavar="PORT", min=1, max=65535, help="Capture only this TCP port, and ICMP (repeatable)."),
]
Connections = Annotated[
    list[int] | None,
    typer.Option("--connection", min=0, metavar="ID", help="Show only this connection (tcp.stream; repeatable)."),
]
Begin = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Show only what happened after this time: 10:42:16, a time copied from a log, or seconds since the first packet.",
    ),
]
End = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Show only what happened before this time.")]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Show only what was active within a second of this time.")]
Utc = Annotated[bool, typer.Option("--utc", help="Show and read times of day in UTC instead of the local time zone (TZ).")]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help=f"Also write a report; the suffix names the format: {_SUFFIXES}; FOLDER/ gets all tables, with times in ns "
        "(repeatable).",
    ),
]
Top = Annotated[int | None, typer.Option("--top", min=1, metavar="N", help="Show only the first N lines.", show_default=False)]
PrintedTable = Annotated[
    TableFormat, typer.Option("--format", "-f", help="text, json, jsonl (one object per line), or csv; times are in seconds.")
]
TablesFormat = Annotated[
    Files,
    typer.Option(
        "--tables-format",
        help="File format of the tables in -o FOLDER/. Parquet files have the unit of each column in their metadata.",
        show_default=False,
    ),
]
Selects = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="RULE", help="Run only these rules or families (repeatable, or comma-separated)."),
]
Ignores = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="RULE",
        help="Do not report these rules or families; failures that they explain still count as explained.",
    ),
]
MinConfidence = Annotated[
    Confidence | None,
    typer.Option("--min-confidence", help="Report only findings with at least this confidence.", show_default=False),
]
OnlyFindings = Annotated[bool, typer.Option("--only-findings", help="In -o FILE.pcapng, keep only connections with findings.")]
FailOn = Annotated[
    Failing | None,
    typer.Option(
        "--fail-on",
        help="Exit with 1 if a finding has at least this severity. With the value 'any', dropped packets and failures without an "
        "explanation count, too.",
        show_default=False,
    ),
]
Configurations = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration file (default: the nearest wiredoctor.toml, or pyproject.toml with [tool.wiredoctor]).",
        show_default=False,
    ),
]
Colors = Annotated[Color, typer.Option("--color", help="When to use color; NO_COLOR turns auto off.")]
Secrets = Annotated[
    bool, typer.Option("--show-secrets", help="Mask nothing: show query strings, credentials in URLs, and payload as sent.")
]
Nice = Annotated[
    int,
    typer.Option(
        "--nice",
        metavar="N",
        min=0,
        max=19,
        help="Lower the priority of the analysis by this much, as nice(1) does; other processes keep theirs.",
    ),
]
_quiet = functools.partial(typer.Option, "--quiet", "-q")
_verbose = functools.partial(typer.Option, "--verbose", "-v")
Quiet = Annotated[bool, _quiet(help="Print only the result: no progress bar, no summary at the end.")]
ProblemsOnly = Annotated[
    bool, _quiet(help="Print only what is wrong or could not be judged, and nothing if all is well; no progress bar.")
]
Verbose = Annotated[bool, _verbose(help="Print how long the run took; show the traceback of internal errors.")]
LiveVerbose = Annotated[
    bool, _verbose(help="Print why the analysis runs as root, if it does; show the traceback of internal errors.")
]


def parse_filter(
    hosts: list[str] | None = None,
    ports: list[int] | None = None,
    connections: list[int] | None = None,
    begin: str | None = None,
    end: str | None = None,
    confidence: Confidence = Confidence.low,
    at: str | None = None,
) -> Filter:
    """Return the filter that the options describe; raise UsageError if an option is not valid."""
    if at is not None and (begin or end):
        raise UsageError("--at cannot be combined with --from and --to")
    if moment := _moment("--at", at):
        first, last = moment.around(SKEW)
    else:
        first, last = _moment("--from", begin), _moment("--to", end)
    if first and last and "midnight" != first.base == last.base and first.nanoseconds > last.nanoseconds:
        raise UsageError(f"--from {begin} is later than --to {end}")
    addresses = [_address(text) for text in hosts or ()]
    return Filter(
        hosts=tuple(one for one in addresses if one is not None),
        names=tuple(_host_name(text) for text in hosts or ()),  # an address may be the value of a Host field
        ports=tuple(ports or ()),
        connections=tuple(connections or ()),
        begin=first,
        end=last,
        confidence=confidence.value,
    )


def parse_confidence(option: Confidence | None, configured: str) -> Confidence:
    """Return the value of --min-confidence or, if the option is missing, the configured value.

    `configured`: "" if the configuration has no value; the result is then "low".
    """
    return option or Confidence(configured or Confidence.low)


def parse_level(option: Failing | None, configured: str) -> Failing | None:
    """Return the value of --fail-on or, if the option is missing, the configured value.

    `configured`: "" if the configuration has no value; the result is then None.
    """
    return option or (Failing(configured) if configured else None)


def _address(text: str) -> str | None:
    try:
        return address(text)
    except ValueError:
        return None


def _host_name(text: str) -> str:
    try:
        return host_name(text)
    except ValueError:
        raise UsageError(f"--host: {text!r} is neither an IP address nor a host name") from None


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def parse_size(option: str, text: str | None) -> int | None:
    """Convert a size such as "10GB", "1.5 GiB" or "100000" to bytes. None stays None.

    Raise UsageError, which names the option, if the text is not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise UsageError(f"{option}: {text!r} is not a size like 500MB, 10GiB or a number of bytes")
    from fractions import Fraction

    return int(Fraction(match[1]) * _UNITS[(match[2] or "").lower()])


_SECONDS = {"": 1, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_duration(option: str, text: str | None) -> int | None:
    """Convert a duration such as "500ms", "1.5 s", "2min" or "2" (seconds) to ns. None stays None.

    Raise UsageError, which names the option, if the text is not a duration.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]*)\s*", text, re.ASCII)
    if match is None or match[2] not in _SECONDS:
        raise UsageError(f"{option}: {text!r} is not a duration like 500ms, 30s, 2min or 1h")
    return round(float(match[1]) * _SECONDS[match[2]] * SECOND)


def parse_status(values: list[str] | None) -> tuple[str, ...]:
    """Check the values of --status, and return them in normalized form; raise UsageError if a value is not a status."""
    try:
        return parse_statuses(values or [])
    except ValueError as error:
        raise UsageError(
            f"--status: {error.args[0]!r} is not a status: give a code (502), a class (5xx), 'any' or 'none'"
        ) from None


def _moment(option: str, text: str | None) -> Moment | None:
    if text is None:
        return None
    try:
        return Moment.parse(text)
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is neither seconds since the first packet nor a time such as 10:42:16, "
            "2026-01-31T10:42:16Z or 31/Jan/2026:10:42:16 +0100"
        ) from None


def parse_rule_names(option: str, values: Iterable[str] | None, catalogue: Mapping[str, Any]) -> list[str]:
    """Return the names of rules and families given with --select or --ignore. Raise UsageError if a name is unknown.

    `values`: names, or comma-separated lists of names.
    """
    known = {*catalogue, *(module.family for module in catalogue.values())}
    values = [*(values or ())]
    given = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if values and not given:
        raise UsageError(f"{option}: names no rule or family (wiredoctor rules lists them)")
    for name in given:
        if name not in known:
            raise UsageError(f"{option}: no rule or family is called {name!r}{suggestion(name, known)}")
    return given


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the end of an error message: "; did you mean ...?" with a similar name, otherwise where to find the names."""
    from wiredoctor.text.suggestion import suggestion

    return suggestion(name, known, " (wiredoctor rules lists them)")


class TableOptions(NamedTuple):
    """The options that are common to all commands that print one table; `with_shared_options` adds them to a command."""

    captures: Captures
    format: PrintedTable = TableFormat.text
    merge: Merge = False
    max_spool: MaxSpool = None
    host: Hosts = None
    port: Ports = None
    connection: Connections = None
    begin: Begin = None
    end: End = None
    at: At = None
    utc: Utc = False
    config: Configurations = None
    quiet: Quiet = False
    verbose: Verbose = False
    color: Colors = Color.auto

    @property
    def filter(self) -> Filter:
        """The filter that the options describe. Raises UsageError if an option is not valid."""
        return parse_filter(self.host, self.port, self.connection, self.begin, self.end, at=self.at)


class LiveOptions(NamedTuple):
    """The options that `live` and `run` share; `with_shared_options` adds them to a command."""

    output: Outputs = None
    select: Selects = None
    ignore: Ignores = None
    min_confidence: MinConfidence = None
    fail_on: FailOn = None
    config: Configurations = None
    utc: Utc = False
    show_secrets: Secrets = False
    nice: Nice = 10
    quiet: ProblemsOnly = False
    verbose: LiveVerbose = False
    color: Colors = Color.auto


def with_shared_options(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command whose first parameter, such as a TableOptions, is replaced by one parameter for each of its fields."""
    first, *own = inspect.signature(command).parameters
    own_hints = get_type_hints(command, include_extras=True)
    group = own_hints[first]
    hints = get_type_hints(group, include_extras=True)
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[name],
            default=group._field_defaults.get(name, inspect.Parameter.empty),
        )
        for name in group._fields
    ]  # fmt: skip
    rest = [
        inspect.signature(command).parameters[name].replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[name])
        for name in own
    ]
    parameters = sorted([*rest, *shared], key=lambda one: one.default is not inspect.Parameter.empty)

    @functools.wraps(command)
    def run(**values: Any) -> int:
        options = group(**{one.name: values.pop(one.name) for one in shared if one.name in values})
        return command(**{first: options}, **values)

    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": int}
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    return run
