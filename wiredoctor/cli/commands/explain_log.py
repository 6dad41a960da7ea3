"""wiredoctor explain-log: find what happened on the wire for the lines of an access log."""

from __future__ import annotations

import contextlib
import sys
import zlib
from collections.abc import Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

from wiredoctor import Report
from wiredoctor.cli import options
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, UsageError, reason
from wiredoctor.cli.outputs import write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import combine_request, run
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter, TextOutput
from wiredoctor.settings import Settings
from wiredoctor.text.durations import SECOND
from wiredoctor.text.redact import showing_secrets
from wiredoctor.text.time_of_day import use_utc

if TYPE_CHECKING:
    from wiredoctor.report.explained_log import ExplainedLog


LONGEST_LINE = 1 << 20
"""The maximum number of bytes of a log line that are kept in memory; the rest of a longer line is dropped."""

_ROLES = ("time", "request", "method", "target", "status", "duration", "client")


Slow = Annotated[str, typer.Option("--slow", metavar="TIME", help="Also explain requests that took at least this long.")]
Key = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="ROLE=NAME", help=f"For JSON lines: NAME is the key that holds ROLE ({', '.join(_ROLES)}; repeatable)."
    ),
]


def explain_log(
    log: Annotated[
        str, typer.Argument(metavar="LOG", help='The access log, possibly compressed with gzip, or "-" for standard input.')
    ],
    captures: options.Captures,
    slow: Slow = "1s",
    key: Key = None,
    format: Annotated[options.TextOrJson, typer.Option("--format", "-f", help="What to print.")] = options.TextOrJson.text,
    everything: Annotated[bool, typer.Option("--all", help="Show all lines, not only the first 50.")] = False,
    merge: options.Merge = False,
    max_spool: options.MaxSpool = None,
    select: options.Selects = None,
    ignore: options.Ignores = None,
    config: options.Configurations = None,
    utc: options.Utc = False,
    show_secrets: options.Secrets = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    color: options.Colors = options.Color.auto,
) -> int:
    """Explain the failed (5xx) and slow requests of an access log: show the exchange and the finding of each.

    Reads the combined format of nginx and Apache (with durations if $request_time or %D is its last field), haproxy's HTTP
    log, the default formats of Envoy, Istio and AWS ALB, and JSON lines. Times without a zone are local, or UTC with --utc.
    """
    use_utc(utc)
    seconds, keys = (options.parse_duration("--slow", slow) or 0) / SECOND, _parse_keys(key or [])
    if log == "-" and "-" in captures:
        raise UsageError("standard input cannot be both the log and a capture")
    rules = every_rule()
    settings = Settings(merge=merge, show_secrets=show_secrets, max_spool=options.parse_size("--max-spool", max_spool), jobs=0)
    with _open_log(log) as lines:
        request = combine_request(
            rules, configuration(config, rules)._replace(entries=(), baseline=""), settings,
            options.parse_filter(), select, ignore,
        )  # fmt: skip
        report, complete = run(captures, request, quiet=quiet, verbose=verbose)
        if not report.captures:
            return Exit.BAD_INPUT
        from wiredoctor.report.explained_log import explain_log

        with showing_secrets(show_secrets):
            try:
                result = explain_log(report, log, lines, seconds, keys)
            except OSError as error:
                raise UsageError(f"{log}: {reason(error, log)}") from None
            except (EOFError, zlib.error) as error:
                raise UsageError(f"{log}: {'ends too early' if isinstance(error, EOFError) else 'is damaged'}") from None
            if result.log.unknown and result.log.unknown == result.log.total:
                raise UsageError(_unreadable(result))
            write_stdout(format, partial(_write, result, report, seconds, everything), color)
    return Exit.OK if complete else Exit.BAD_INPUT


def _write(
    result: ExplainedLog, report: Report, slow: float, everything: bool, form: str, out: BinaryIO, paper: Terminal
) -> None:  # fmt: skip
    """Write the explanations of log lines as text or JSON. `slow`: the minimum duration in seconds of a slow request."""
    if form == "json":
        from wiredoctor.report.data import log_json

        log_json.write(result, report, out)
        return
    from wiredoctor.report.terminal import log_text

    with TextOutput(out, paper) as stream:
        log_text.write(result, report, TerminalWriter(stream, paper), slow=slow, everything=everything)


def _unreadable(result: ExplainedLog) -> str:
    """Return the error message for a log in which no line has a known format."""
    log = result.log
    lines = f"{log.total:,} lines; the first is line {log.first_unknown}" if log.total > 1 else f"line {log.first_unknown}"
    return (
        f"{result.name}: no line has a known format ({lines}); --help lists the formats, and --key names the keys of JSON lines"
    )


def _parse_keys(values: Iterable[str]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for value in values:
        role, _, name = value.partition("=")
        if role not in _ROLES or not name:
            raise UsageError(f"--key: {value!r} is not ROLE=NAME with one of the roles {', '.join(_ROLES)}")
        keys[role] = name
    return keys


@contextlib.contextmanager
def _open_log(path: str) -> Generator[Iterable[bytes]]:
    """Open a log, and yield an iterable of its lines.

    The log is opened before the captures are read, so a wrong file name is reported at once.
    """
    if path == "-":
        yield _lines(sys.stdin.buffer)
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
            is_compressed = file.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise UsageError(f"{path}: {reason(error, path)}") from None
        if is_compressed:
            import gzip

            yield _lines(cast("BinaryIO", stack.enter_context(gzip.open(file))))
        else:
            yield _lines(file)


def _lines(file: BinaryIO) -> Iterable[bytes]:
    """Yield the lines of a file. A line is cut off after LONGEST_LINE bytes."""
    while piece := file.readline(LONGEST_LINE):
        yield piece
        while len(piece) == LONGEST_LINE and not piece.endswith(b"\n") and (piece := file.readline(LONGEST_LINE)):
            pass
