"""A report in the format that is asked for; what writes it is loaded then."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from wiredoctor.cli.options import Format
from wiredoctor.cli.outputs import Text, spool

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.report.paper import Paper


def write_report(
    report: Report,
    form: Format,
    out: BinaryIO,
    paper: Paper,
    *,
    full: bool = False,
    everything: bool = False,
    quiet: bool = False,
    shown: str = "",
) -> None:
    """Writes it; the words are those of `analyze`."""
    if form == Format.text:
        from wiredoctor.report import text

        with Text(out, paper) as stream:
            text.write(report, stream, paper, everything=everything, quiet=quiet, shown=shown)
        return
    if form == Format.markdown:
        from wiredoctor.report import markdown

        markdown.write(report, out, quiet=quiet, shown=shown)
        return
    from wiredoctor.report import json

    if form == Format.json:
        json.write(report, out, full=full, spool=spool)
    else:
        json.write_lines(report, out)
