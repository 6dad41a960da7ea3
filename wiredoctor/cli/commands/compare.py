"""wiredoctor compare: before and after a change, or two points of one wire, or both sides of a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from wiredoctor.cli.comparands import Asked, kept, seen
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import Color, Colors, Configurations, Format, Jobs, MaxSpool, Quiet, Secrets, Verbose, size, wanted
from wiredoctor.cli.outputs import Output, Text, outputs, write_each, write_file, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import requested

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.compare.input import Recorded
    from wiredoctor.pipeline import Catalogue
    from wiredoctor.report.terminal.document import Part
    from wiredoctor.report.terminal.terminal import Paper


class ComparisonFormat(StrEnum):
    """What goes to standard output, of a comparison."""

    text = "text"
    json = "json"
    markdown = "markdown"


class Worse(StrEnum):
    """What --fail-on can name."""

    new = "new"
    more_often = "more-often"
    slower = "slower"


class Told(NamedTuple):
    """A comparison that has been made: for machines, as the parts of a page, and whether something got worse."""

    json: Callable[[BinaryIO], None]
    page: Callable[[], Iterator[Part]]
    worse: Callable[[str], bool]


def compare(
    recordings: Annotated[
        list[str],
        typer.Argument(
            metavar="BEFORE AFTER",
            help="Captures, folders of them, or JSON reports (written with --full to have the times in them).",
            show_default=False,
        ),
    ],
    both_sides: Annotated[
        bool,
        typer.Option(
            "--both-sides", help="The two captures are of the same traffic: CLIENT and SERVER, at two points of a wire."
        ),
    ] = False,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="With --both-sides: FRONT and BACK of a proxy, or one capture of both.")
    ] = False,
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", metavar="FILE", help="Also write it: .json, .md or .txt (repeatable).")
    ] = None,
    format: Annotated[
        ComparisonFormat, typer.Option("--format", "-f", help="What to print on standard output.")
    ] = ComparisonFormat.text,
    everything: Annotated[bool, typer.Option("--all", help='Text and Markdown without "N more".')] = False,
    any_server: Annotated[
        bool, typer.Option("--any-server", help="Match by method and path, whatever address and port the server has.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="PERCENT", min=0, help="Ignore differences in time below this.")
    ] = 10.0,
    fail_on: Annotated[
        list[Worse] | None,
        typer.Option("--fail-on", help="Exit with 1 when this is found (repeatable).", show_default=False),
    ] = None,
    config: Configurations = None,
    max_spool: MaxSpool = None,
    jobs: Jobs = None,
    show_secrets: Secrets = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: Colors = Color.auto,
) -> int:
    """Hold two recordings against each other.

    What was fixed, what is new, what got slower; or, with --both-sides, on which side of the network, or of a proxy, time and
    packets were lost.

    Exit codes: 0 done; 1 --fail-on was reached; 2 the command line was wrong, or something could not be read, unpacked or
    written; 3 a fault of wiredoctor.
    """
    from wiredoctor.pipeline import Budget

    files = outputs(output, recordings, [Format(form.value) for form in ComparisonFormat])
    _check(recordings, both_sides=both_sides, proxy=proxy, fail_on=fail_on or [])
    rules = every_rule()
    request = requested(rules, configuration(config, rules), wanted(None, None, None, None, None))
    asked = Asked(request, jobs, Budget(size("--max-spool", max_spool)), show_secrets, quiet, verbose)
    if both_sides:
        told = _both_sides(recordings, asked, proxy=proxy, everything=everything)
    else:
        told = _before_after(recordings, asked, rules, any_server=any_server, tolerance=tolerance / 100, everything=everything)
    if told is None:
        return Exit.BAD_INPUT

    def write(form: Format, out: BinaryIO, paper: Paper) -> None:
        _write(told, form, out, paper)

    def write_one(file: Output) -> None:
        write_file(file, write)

    complete = write_each(files, write_one)
    write_stdout(Format(format.value), write, color)
    if not complete:
        return Exit.BAD_INPUT
    return Exit.FAILED_ON if any(told.worse(one.value) for one in fail_on or ()) else Exit.DONE


def _check(recordings: list[str], *, both_sides: bool, proxy: bool, fail_on: list[Worse]) -> None:
    """Whether the words make sense together; raises UsageError."""
    if proxy and not both_sides:
        raise UsageError("--proxy goes with --both-sides")
    if fail_on and both_sides:
        raise UsageError("--fail-on is about before and after; --both-sides has neither")
    if len(recordings) != 2 and not (proxy and len(recordings) == 1):
        many = "FRONT and BACK, or one capture of both" if proxy else "CLIENT and SERVER" if both_sides else "BEFORE and AFTER"
        raise UsageError(f"compare takes {many}; {len(recordings)} given")
    if recordings.count("-") > 1:
        raise UsageError("standard input can be one of the two only")


def _before_after(
    recordings: list[str], asked: Asked, rules: Catalogue, *, any_server: bool, tolerance: float, everything: bool
) -> Told | None:
    """None where something could not be read, which has been said."""
    from wiredoctor import __version__
    from wiredoctor.compare import compare as hold
    from wiredoctor.report.comparison import before_after
    from wiredoctor.report.comparison import json as comparison_json

    sides = [side for name in recordings if (side := seen(name, asked)) is not None]
    if len(sides) < 2:
        return None
    summaries = {name for name, module in rules.items() if module.rule.summary}
    changes = hold(sides[0], sides[1], __version__, any_server=any_server, tolerance=tolerance, summaries=summaries)
    return Told(
        partial(comparison_json.write, changes, "before-after"),
        partial(before_after.page, changes, everything=everything, quiet=asked.quiet),
        partial(before_after.reached, changes),
    )


def _both_sides(recordings: list[str], asked: Asked, *, proxy: bool, everything: bool) -> Told | None:
    """None where something could not be read, which has been said."""
    from wiredoctor import __version__
    from wiredoctor.compare import material, two_points
    from wiredoctor.report.comparison import json as comparison_json
    from wiredoctor.report.comparison import two_points as telling

    reports = [report for name in recordings if (report := kept(name, asked)) is not None]
    if len(reports) < len(recordings):
        return None
    if proxy:
        told = _proxied(reports, asked, everything=everything)
        if told is None:
            raise UsageError(
                "no exchange is on both sides of a proxy: no request at the front has one like it at the back, in its time"
            )
        return told
    points = two_points(material(reports[0]), material(reports[1]), __version__)
    if not points.connections and (told := _proxied(reports, asked, everything=everything, surely=True)) is not None:
        return told
    return Told(
        partial(comparison_json.write, points, "two-points"),
        partial(telling.page, points, everything=everything, quiet=asked.quiet),
        _never,
    )


def _proxied(reports: list[Report], asked: Asked, *, everything: bool, surely: bool = False) -> Told | None:
    """None where no exchange is on both sides; or, with `surely`, where chance may have made it look so."""
    from wiredoctor import __version__
    from wiredoctor.compare import beyond_chance, proxied, recorded
    from wiredoctor.report.comparison import json as comparison_json
    from wiredoctor.report.comparison import proxy as telling

    front, back = recorded(reports[0]), recorded(reports[1]) if len(reports) > 1 else None
    if back is not None and not surely:
        front, back = _parted(reports, front, back)
    told = proxied(front, back, __version__)
    if told is None or (surely and back is not None and not beyond_chance(told, front, back)):
        return None
    return Told(
        partial(comparison_json.write, told, "proxy"),
        partial(telling.page, told, everything=everything, quiet=asked.quiet),
        _never,
    )


def _parted(reports: list[Report], front: Recorded, back: Recorded) -> tuple[Recorded, Recorded]:
    """Without the connections that both recordings have."""
    from wiredoctor.compare import material, parted

    sides = parted(front, back, *(material(report).point for report in reports))
    if sides is None:
        raise UsageError(
            "both captures have the same connections, so that they are two points of one wire and not two sides of a proxy: "
            "--both-sides without --proxy compares these"
        )
    return sides


def _never(what: str) -> bool:
    del what
    return False


def _write(told: Told, form: Format, out: BinaryIO, paper: Paper) -> None:
    from wiredoctor.report.terminal import document

    if form == Format.json:
        told.json(out)
    elif form == Format.markdown:
        document.write_markdown(told.page(), out)
    else:
        with Text(out, paper) as stream:
            document.write_text(told.page(), stream, paper)
