"""Test that the headline, the page and JSON state the same number of failed requests."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import polars as pl
import pytest

from tests.captures.papers import EACH_RULE, ONE_EACH, PATHS
from tests.captures.reports import report_of
from tests.support.sweeps import FORMS, WHOLE, sweep
from wiredoctor.report.data import json as report_json
from wiredoctor.report.failed_requests import failed_exchanges
from wiredoctor.report.html import tiles

if TYPE_CHECKING:
    from pathlib import Path

PLACE = ("capture", "connection", "exchange")


def _failed_in_headline(text: str) -> int:
    """The number in "3 of 33 requests failed"; 0 where a headline speaks of something else."""
    if "The only request failed" in text:
        return 1
    number = re.search(r"([0-9,]+) of [0-9,]+ requests failed", text)
    return int(number[1].replace(",", "")) if number else 0


DIFFERED = {
    "acknowledgements-lost-client.pcap", "answer-gone-middle.pcap", "behind-nginx-race.pcap", "black-hole-download-middle.pcap",
    "gives-up-rtt-20-client.pcap", "handshake-closed-rtt-20-client.pcap", "one-sided-requests.pcap", "stale-pool.pcap",
}  # fmt: skip
"""What the findings say differs from what was captured of the response, or a gateway forwarded the request that failed."""

_ONE_EACH = frozenset(ONE_EACH)
JUDGED = [path for path in PATHS if path in _ONE_EACH or path.name in DIFFERED]


@WHOLE
@FORMS
@pytest.mark.parametrize(
    "path", sweep(JUDGED, lambda path: path in EACH_RULE or path.name in DIFFERED), ids=lambda path: path.stem
)
def test_the_headline_the_page_and_json_agree_on_what_failed(path: Path) -> None:
    report = report_of(path)
    out = io.BytesIO()
    report_json.write(report, out)
    parsed = json.loads(out.getvalue())
    expected = _failed_in_headline(parsed["summary"]["headline"])
    shown = tiles.find_tiles(report, [])
    assert (int(shown.failed.replace(",", "")) if shown else 0) == expected
    failed = failed_exchanges(report).keys()
    tries = [(capture, row) for capture, known in report.gateways.items() for row in known.tries.iter_rows(named=True)]
    behind = {
        (capture, row["connection"], row["exchange"]): (capture, row["front_connection"], row["front_exchange"])
        for capture, row in tries
        if row["certain"] and row["exchange"] is not None
    }
    complete = (pl.col("response_end_reason") == "complete") & (pl.col("response_status") >= 200)
    answered = report.scan_exchanges().filter(complete).select(PLACE)
    whole = {*answered.collect().iter_rows()}
    # a gateway behind a gateway answers completely, with an error of its own
    own_error = {
        *report.scan_exchanges().filter(complete & (pl.col("response_status") >= 500)).select(PLACE).collect().iter_rows()
    }
    own_error &= {*behind.values()}
    back = [
        place
        for place, front in behind.items()
        if place in failed or (front in failed and (place not in whole or place in own_error))
    ]
    assert sum(one["failed"] for one in parsed["servers"]) == expected + len(back)
