"""wiredoctor compare: compare captures from before and after a change, two points of a path, or both sides of a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from wiredoctor import Report, __version__
from wiredoctor.cli import options
from wiredoctor.cli.compare_inputs import CompareInput, open_capture, read_side
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.outputs import outputs, write_each, write_file, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import combine_request
from wiredoctor.report.terminal.terminal import Terminal, TextOutput
from wiredoctor.settings import Settings

if TYPE_CHECKING:
    from wiredoctor.compare.before_after.result import Changes
    from wiredoctor.compare.input import ProxySide
    from wiredoctor.pipeline import Catalogue
    from wiredoctor.report.terminal.document import Part


class ComparisonFormat(StrEnum):
    """Formats of a comparison on standard output."""

    text = "text"
    json = "json"
    markdown = "markdown"


SUFFIXES = ("text", "json", "markdown", "html")
"""The names of the formats that -o can write."""


class Worse(StrEnum):
    """The values of --fail-on: the ways in which the second capture may be worse than the first."""

    new = "new"
    more_often = "more-often"
    slower = "slower"


class Comparison(NamedTuple):
    """A finished comparison, as functions that write it.

    `json` and `html` write it to a stream. `page` yields it as parts of a text. `worse` takes a value of --fail-on,
    and returns whether something got worse in this way.
    """

    json: Callable[[BinaryIO], None]
    html: Callable[[BinaryIO], None]
    page: Callable[[], Iterator[Part]]
    worse: Callable[[str], bool] = lambda _: False


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="BEFORE AFTER",
        callback=options.with_expanded_patterns,
        help="Captures, folders of captures, or JSON reports (written with --full, so they include times).",
        show_default=False,
    ),
]
BothSides = Annotated[
    bool,
    typer.Option("--both-sides", help="Compare CLIENT and SERVER, two captures of the same traffic at two points of its path."),
]
Proxy = Annotated[
    bool, typer.Option("--proxy", help="With --both-sides: compare FRONT and BACK of a proxy, which may be in one capture.")
]
OutputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Also write the result; the suffix names the format: .json, .md, .txt or .html (repeatable).",
    ),
]
PrintedFormat = Annotated[ComparisonFormat, typer.Option("--format", "-f", help="What to print on standard output.")]
AnyServer = Annotated[
    bool, typer.Option("--any-server", help="Match by method and path only, ignoring the server's address and port.")
]
Tolerance = Annotated[
    float, typer.Option("--tolerance", metavar="PERCENT", min=0, help="Ignore differences in time that are smaller than this.")
]
FailOn = Annotated[
    list[Worse] | None,
    typer.Option(
        "--fail-on",
        metavar="new|more-often|slower",
        help="Exit with 1 if a finding is new or more frequent, or an endpoint is slower (repeatable).",
        show_default=False,
    ),
]


def compare(
    inputs: Inputs,
    both_sides: BothSides = False,
    proxy: Proxy = False,
    output: OutputOption = None,
    format: PrintedFormat = ComparisonFormat.text,
    everything: Annotated[bool, typer.Option("--all", help='Show everything instead of "N more" (text and Markdown).')] = False,
    any_server: AnyServer = False,
    tolerance: Tolerance = 10.0,
    fail_on: FailOn = None,
    config: options.Configurations = None,
    max_spool: options.MaxSpool = None,
    jobs: options.Jobs = None,
    show_secrets: options.Secrets = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    color: options.Colors = options.Color.auto,
) -> int:
    """Compare two captures.

    Reports what was fixed, what is new, and what got slower. With --both-sides, reports where time and packets were lost: on
    which part of the path, or on which side of a proxy.

    Exit codes: 0 success; 1 --fail-on matched; 2 usage error, or something could not be read, unpacked or written; 3 internal
    error.
    """
    from wiredoctor.pipeline import Budget

    files = outputs(output, inputs, SUFFIXES)
    _check(inputs, both_sides=both_sides, proxy=proxy, fail_on=fail_on or [])
    rules = every_rule()
    settings = Settings(show_secrets=show_secrets, jobs=jobs or 0)
    request = combine_request(rules, configuration(config, rules), settings, options.parse_filter())
    asked = CompareInput(request, Budget(options.parse_size("--max-spool", max_spool)), quiet, verbose)
    if both_sides:
        comparison = _both_sides(inputs, asked, proxy=proxy, everything=everything)
    else:
        comparison = _before_after(inputs, asked, rules, any_server=any_server, tolerance=tolerance / 100, everything=everything)
    if comparison is None:
        return Exit.BAD_INPUT
    write = partial(_write, comparison)
    complete = write_each(files, lambda file: write_file(file, write))
    write_stdout(format, write, color)
    if not complete:
        return Exit.BAD_INPUT
    return Exit.FINDINGS if any(comparison.worse(one.value) for one in fail_on or ()) else Exit.OK


def _check(inputs: list[str], *, both_sides: bool, proxy: bool, fail_on: list[Worse]) -> None:
    """Raise UsageError if the options and inputs do not form a valid combination."""
    if proxy and not both_sides:
        raise UsageError("--proxy needs --both-sides")
    if fail_on and both_sides:
        raise UsageError("--fail-on cannot be combined with --both-sides")
    if len(inputs) != 2 and not (proxy and len(inputs) == 1):
        many = "FRONT and BACK, or one capture with both" if proxy else "CLIENT and SERVER" if both_sides else "BEFORE and AFTER"
        raise UsageError(f"compare takes {many}; {len(inputs)} given")
    if inputs.count("-") > 1:
        raise UsageError("only one of the inputs can be standard input")


def _before_after(
    inputs: list[str], asked: CompareInput, rules: Catalogue, *, any_server: bool, tolerance: float, everything: bool
) -> Comparison | None:
    """Compare captures or reports from before and after a change.

    Return None, after printing an error message, if an input cannot be read.
    """
    from wiredoctor.compare import compare as hold
    from wiredoctor.report.comparison import before_after
    from wiredoctor.report.comparison import json as comparison_json

    sides = [side for name in inputs if (side := read_side(name, asked)) is not None]
    if len(sides) < 2:
        return None
    summaries = {name for name, module in rules.items() if module.rule.summary}
    changes = hold(sides[0], sides[1], __version__, any_server=any_server, tolerance=tolerance, summaries=summaries)
    return Comparison(
        partial(comparison_json.write, changes, "before-after"),
        partial(_write_page, changes, asked.quiet),
        partial(before_after.page, changes, everything=everything, quiet=asked.quiet),
        partial(before_after.got_worse, changes),
    )


def _both_sides(inputs: list[str], asked: CompareInput, *, proxy: bool, everything: bool) -> Comparison | None:
    """Compare two points of a path, or the two sides of a proxy.

    Return None, after printing an error message, if a capture cannot be read completely.
    """
    from wiredoctor.compare import collect_capture, two_points
    from wiredoctor.report.comparison import json as comparison_json
    from wiredoctor.report.comparison import two_points as telling

    reports = [report for name in inputs if (report := open_capture(name, asked)) is not None]
    if len(reports) < len(inputs):
        return None
    if proxy:
        comparison = _compare_proxy(reports, asked, everything=everything)
        if comparison is None:
            raise UsageError(
                "no exchange was captured on both sides of a proxy: no request at the front matches a request at the back"
            )
        return comparison
    points = two_points(collect_capture(reports[0]), collect_capture(reports[1]), __version__)
    if not points.connections and (comparison := _compare_proxy(reports, asked, everything=everything, surely=True)) is not None:
        return comparison
    page = partial(telling.page, points, everything=everything, quiet=asked.quiet)
    return Comparison(
        partial(comparison_json.write, points, "two-points"), partial(_write_parts, page, " and ".join(inputs)), page
    )


def _compare_proxy(reports: list[Report], asked: CompareInput, *, everything: bool, surely: bool = False) -> Comparison | None:
    """Compare the two sides of a proxy. Return None if no exchange was captured on both.

    `surely`: also return None if the exchanges may match by chance.
    """
    from wiredoctor.compare import collect_proxy_side, compare_proxy, is_significant
    from wiredoctor.report.comparison import json as comparison_json
    from wiredoctor.report.comparison import proxy as telling

    front, back = collect_proxy_side(reports[0]), collect_proxy_side(reports[1]) if len(reports) > 1 else None
    if back is not None and not surely:
        front, back = _without_shared(reports, front, back)
    comparison = compare_proxy(front, back, __version__)
    if comparison is None or (surely and back is not None and not is_significant(comparison, front, back)):
        return None
    page = partial(telling.page, comparison, everything=everything, quiet=asked.quiet)
    return Comparison(
        partial(comparison_json.write, comparison, "proxy"),
        partial(_write_parts, page, f"{comparison.front.name} and {comparison.back.name}"),
        page,
    )


def _write_page(changes: Changes, quiet: bool, out: BinaryIO) -> None:
    from wiredoctor.report.html import compare_page

    compare_page.write(changes, out, quiet=quiet)


def _write_parts(page: Callable[[], Iterator[Part]], title: str, out: BinaryIO) -> None:
    from wiredoctor.report.html import compare_page

    compare_page.write_parts(page(), out, __version__, title)


def _without_shared(reports: list[Report], front: ProxySide, back: ProxySide) -> tuple[ProxySide, ProxySide]:
    """Return both sides without the connections that are in both captures. Raise UsageError if no other connections are left."""
    from wiredoctor.compare import collect_capture, without_shared_connections

    sides = without_shared_connections(front, back, *(collect_capture(report).point for report in reports))
    if sides is None:
        raise UsageError(
            "both captures have the same connections, so they are two points of one path, not two sides of a proxy: "
            "use --both-sides without --proxy"
        )
    return sides


def _write(comparison: Comparison, form: str, out: BinaryIO, paper: Terminal) -> None:
    from wiredoctor.report.terminal import document

    if form == "json":
        comparison.json(out)
    elif form == "html":
        comparison.html(out)
    elif form == "markdown":
        document.write_markdown(comparison.page(), out)
    else:
        with TextOutput(out, paper) as stream:
            document.write_text(comparison.page(), stream, paper)
