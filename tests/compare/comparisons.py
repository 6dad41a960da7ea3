"""A report held against itself in every way, and all that can be written of that."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from wiredoctor.compare import collect_capture, collect_proxy_side, compare, compare_proxy, from_json, from_report, two_points
from wiredoctor.findings import Report
from wiredoctor.report.comparison import before_after
from wiredoctor.report.comparison import json as comparison_json
from wiredoctor.report.comparison import proxy as proxied_page
from wiredoctor.report.comparison import two_points as two_points_page
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.data import json as report_json
from wiredoctor.report.terminal import document
from wiredoctor.report.terminal.document import Part
from wiredoctor.report.terminal.terminal import Terminal

Page = Callable[..., Iterator[Part]]


def compared(report: Report) -> Iterator[tuple[str, Any, Page]]:
    """Kind, comparison and page: before and after always, the others where it is a report on one capture that was kept."""
    side = from_report(report, "a", find_coverage(report).healthy)
    out = io.BytesIO()
    report_json.write(report, out, full=True)
    written = from_json("b", lambda: iter(out.getvalue().splitlines(keepends=True)))
    told = compare(side, written, "0")
    assert {f.status for f in told.findings} <= {"stayed"}
    yield "before-after", told, before_after.page
    if len(report.captures) == 1 and report.captures[0].file in report.packets:
        yield "two-points", two_points(collect_capture(report), collect_capture(report), "0"), two_points_page.page
        if (both := compare_proxy(collect_proxy_side(report), collect_proxy_side(report), "0")) is not None:
            yield "proxy", both, proxied_page.page


def forms(kind: str, told: Any, page: Page) -> dict[str, str]:
    """All that can be written of a comparison; the JSON is ASCII and can be read."""
    made: dict[str, str] = {}
    for everything, width in ((False, 80), (True, 160)):
        out = io.StringIO()
        document.write_text(page(told, everything=everything), out, Terminal(width, unicode=True))
        made[f"{kind} text {width} {everything}"] = out.getvalue()
        sink = io.BytesIO()
        document.write_markdown(page(told, everything=everything), sink)
        made[f"{kind} markdown {everything}"] = sink.getvalue().decode()
    sink = io.BytesIO()
    comparison_json.write(told, kind, sink)
    made[f"{kind} json"] = sink.getvalue().decode("ascii")
    assert json.loads(made[f"{kind} json"], parse_constant=_no_number)["comparison"] == kind
    return made


def all_forms(report: Report) -> dict[str, str]:
    """Of all comparisons of a report with itself."""
    return {name: text for one in compared(report) for name, text in forms(*one).items()}


def _no_number(name: str) -> None:
    raise AssertionError(name)
