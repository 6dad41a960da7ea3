"""The HTML report: the same as the others say, in one file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json as standard_json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.report.examples import (
    MS,
    capture,
    capture_loss,
    connection,
    exchange,
    finding,
    report,
    without_request,
    without_response,
)
from tests.report.pages import Page, check_data, page_data, page_of
from tests.support.recordings import find_recording
from tests.support.sweeps import WHOLE
from wiredoctor.findings import Report
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.data import json
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.html import data, graphs, proof_pictures, row_limits, sequence_lines, tiles
from wiredoctor.report.server_statistics import FEWEST, server_statistics
from wiredoctor.report.terminal.sentences import change, example, rule_and_confidence
from wiredoctor.report.words import clean
from wiredoctor.text.time_of_day import use_utc

TOLD = [
    *("server-head-body-split.pcap", "lazy-server-snapped-client.pcap", "chunked-stream.pcap", "lost-request-middle.pcap"),
    *("urllib-asks-to-close.pcap", "refused.pcap", "cut-off.pcap", "encrypted.pcap"),
]


@pytest.fixture(scope="module")
def real() -> Report:
    """Several captures with several kinds of findings, kept to be read again."""
    return wiredoctor.analyze(*(str(find_recording(name)) for name in TOLD), keep=True)


@pytest.fixture(scope="module")
def page(real: Report) -> str:
    return page_of(real)


def as_json(one: Report) -> dict[str, Any]:
    out = io.BytesIO()
    json.write(one, out, full=True)
    return standard_json.loads(out.getvalue())


def test_an_incomplete_report_begins_with_the_reasons() -> None:
    page = page_of(report([finding()], incomplete=["Only the first <b>2 GB</b> were read.", "Cut."], secrets=True))
    first, second, secrets = page.split('<p class="alert"><strong>')[1:]
    assert first.startswith("Only the first &lt;b&gt;2 GB&lt;/b&gt; were read.</strong></p>")
    assert second.startswith("Cut.</strong></p>")
    assert secrets.startswith("This report contains secrets")
    assert page.index("Cut.</strong>") < page.index("<h1")


def test_the_page_asks_for_nothing(page: str) -> None:
    check_requests(Page(page))


def check_requests(read: Page) -> None:
    """The page is whole, and none of its elements loads, runs or sends anything."""
    assert not read.unbalanced
    assert not read.open
    for tag, attributes in read.elements:
        assert "style" not in attributes
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "link":
            assert attributes == {"rel": "icon", "href": "data:,"}
        if "href" in attributes and tag == "a":
            assert re.match(r"#|https?://", attributes["href"] or "")
    assert not {tag for tag, _ in read.elements} & {"iframe", "object", "embed", "img", "base", "form", "audio", "video"}
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(page: str) -> None:
    check_policy(Page(page))


def check_policy(read: Page) -> None:
    """The policy permits the page's own style and script, by their hashes."""
    [policy] = [
        a["content"] or "" for tag, a in read.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    blocks = [text for about, text in read.raw if "type" not in about]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in blocks]
    assert [rules["style-src"], rules["script-src"]] == hashes
    assert rules.keys() <= {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    assert rules["img-src"] == "data:"


def test_it_says_what_the_text_says(real: Report, page: str) -> None:
    said = Page(page).text
    groups = group_findings(real.findings)
    assert len(groups) > 4
    assert clean(headline(real, groups, find_coverage(real))) in said
    assert str(counts(real, groups)) in said
    places = []
    for group in groups:
        worst = group.worst
        for text in (
            group.title,
            worst.message,
            worst.remedy,
            rule_and_confidence(group),
            example(group, when=False),
            change(worst),
        ):
            assert " ".join(clean(text).split()) in said
        places.append(page.index(f'id="title-{len(places) + 1}"'))
    titles = re.findall(r'<h2 id="title-\d+">(.*?)</h2>', page)
    assert [Page(title).text for title in titles] == [clean(group.title) for group in groups]


OTHER = {"kind": None, "rule": "premature-close", "server": "10.0.0.3:8080", "request": "POST /orders", "severity": "error"}


def rows_of(page: str) -> list[list[str]]:
    """The cells of the table of problems."""
    table = page.partition('<div class="problems">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr data-finding.*?</tr>", table)
    return [[Page(cell).text for cell in re.findall(r"<t[dh][^>]*>.*?</t[dh]>", row)] for row in rows]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In January one hour ahead of UTC."""
    if not hasattr(time, "tzset"):
        pytest.skip("the zone of a process cannot be changed here")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_each_problem_has_a_row_that_leads_to_its_card(berlin: None) -> None:
    """The first of two stalls of 200 ms began at 12:00:00 UTC, the second at 12:00:05; an error comes before both."""
    later = finding(number=2, elapsed=5.0, time="2026-01-31T12:00:05.000000000Z", request="GET /other", delay=0.3)
    lost = finding(number=3, elapsed=7.0, time="2026-01-31T12:00:07.000000000Z", delay=None, **OTHER)
    page = page_of(report([finding(number=1), later, lost]))
    assert rows_of(page) == [
        ["error", "premature-close", lost.title, "10.0.0.3:8080 /orders", "1", "", "2026-01-31 13:00:07"],
        ["warning", "nagle-delayed-ack", later.title, "10.0.0.2:80 /other +1 path", "2", "500 ms", "2026-01-31 13:00:00"],
    ]
    for number, rule in ((1, "premature-close"), (2, "nagle-delayed-ack")):
        assert f'<a href="#finding-{number}">{rule}</a>' in page
        assert f'id="finding-{number}" aria-labelledby="title-{number}" data-severity' in page
        assert f'data-rule="{rule}"' in page.partition(f'id="finding-{number}"')[2].partition(">")[0]


def test_a_single_problem_needs_no_table() -> None:
    assert rows_of(page_of(report([finding(), finding(elapsed=1.0)]))) == []


def test_rules_of_problems_that_do_not_fit_are_named_with_their_occurrences() -> None:
    """23 problems, one per server, of which the worst three occurred twice: the notes do not fit, nor one of the warnings."""
    many = [finding(server=f"10.0.1.{n}:80", delay=1.0 + n) for n in range(21)]
    many += [finding(**{**OTHER, "severity": "note", "rule": "idle-close", "server": f"10.0.2.{n}:80"}) for n in (1, 1, 2)]
    page = page_of(report(many))
    assert [row[3] for row in rows_of(page)] == [f"10.0.1.{n}:80 /items" for n in range(20, 0, -1)]
    [others] = re.findall(r'<p class="others-by-rule".*?</p>', page)
    assert Page(others).text == (
        "3 more problems (1 warning and 2 notes), by rule with occurrences: idle-close 3, nagle-delayed-ack 1."
    )
    assert re.findall(r'href="(.*?)"', others) == ["#diagnosis?rule=idle-close", "#diagnosis?rule=nagle-delayed-ack"]


def test_a_card_ends_with_the_next_commands() -> None:
    page = page_of(report([finding(number=7)]))
    last = page.partition('<article class="finding')[2].partition("</article>")[0].rpartition("<dt>")[2]
    assert re.findall(r'<code class="copy" tabindex="0">(.*?)</code>', last) == [
        "wiredoctor show trace.pcap --finding 7", "wiredoctor explain nagle-delayed-ack",
    ]  # fmt: skip
    live = page_of(report([finding(capture="live: eth0")], captures=[capture(file="live: eth0")]))
    assert "wiredoctor show" not in live
    assert "wiredoctor explain nagle-delayed-ack" in live


@pytest.mark.parametrize("number", [1, 2])
def test_the_head_names_the_zone_and_the_times_of_all_captures(berlin: None, number: int) -> None:
    earlier = {"first_time": "2026-01-30T23:30:00.000000000Z", "last_time": "2026-01-30T23:31:00.500000000Z"}
    page = page_of(report([], [], [], [capture(), capture(file="b.pcap", **earlier)][:number]))
    said = Page(page.partition("<h1")[2].partition("</section>")[0]).text
    first = ["2026-01-31 13:00:00.000", "2026-01-31 00:30:00.000"][number - 1]
    packets = ["1,234", "2,468"][number - 1]
    assert f"{packets} packets from {first} to 2026-01-31 13:00:12.500" in said
    assert "Times are CET (UTC+01:00) ." in said


def test_utc_is_the_zone_of_a_report_in_utc(berlin: None) -> None:
    use_utc(True)
    try:
        page = page_of(report([finding()]))
    finally:
        use_utc(False)
    assert page.startswith('<!doctype html>\n<html lang="en" data-zone="utc">')
    assert '<span id="zone">UTC</span>' in page
    assert '<time datetime="2026-01-31T12:00:00.022000000Z">2026-01-31 12:00:00.022</time>' in page
    assert 'data-zone="' not in page_of(report([finding()]))


def test_times_that_count_from_zero_are_no_times_of_day() -> None:
    first, last = "1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:12.500000000Z"
    page = page_of(report([finding(time="1970-01-01T00:00:00.022000000Z")], captures=[capture(first_time=first, last_time=last)]))
    assert not re.search("1970|Times are|Time of day", Page(page).text)
    assert page_data(page)["data-report"]["begun"] == [None]
    assert "<time" not in page


def test_evidence_has_the_time_of_day(berlin: None) -> None:
    """The evidence at 0.232123456 s is 210.123456 ms after the finding began."""
    page = page_of(report([finding()]))
    assert '<time datetime="2026-01-31T12:00:00.232123Z" class="short">2026-01-31 13:00:00.232</time>' in page


def test_what_was_checked_is_healthy_only_without_doubts() -> None:
    healthy = page_of(report([], [connection(1)], [exchange(1)]))
    assert "<h2>Checked and healthy</h2>" in healthy
    assert "Checked and healthy" not in page_of(report([], [connection(1)], [exchange(1, response_status=503)]))
    assert "Checked and healthy" not in page_of(report([finding()], [connection(3)], [exchange(3, 2)]))


def test_the_cause_that_the_headline_names_is_linked() -> None:
    """A stall of two seconds is the costliest error; what failed is another problem."""
    stall = finding(severity="error", delay=2.0)
    failed = finding(rule="no-response", kind=None, family="lifetime", severity="error", delay=None, connection=4, exchange=0,
                     title="The server closed the connection without an answer", status=None)  # fmt: skip
    rows = ([connection(3), connection(4)], [exchange(3, 2), exchange(4, **without_response())])
    page = page_of(report([stall, failed], *rows))
    assert '<a href="#finding-2">The headline is about finding 2.</a>' in page
    assert "The headline is about finding" not in page_of(report([failed], *rows))


def test_every_finding_has_the_picture_of_its_proof(real: Report, page: str) -> None:
    pictured = set(re.findall(r'<title id="ladder-(\d+)-title">', page))
    with_packets = {str(place) for place, f in enumerate(real.findings) if f.connection is not None and f.evidence}
    assert with_packets <= pictured
    for place, f in enumerate(real.findings):
        if str(place) not in with_packets:
            continue
        picture = page[page.index(f'<title id="ladder-{place}-title">') :].partition("</svg>")[0]
        for e in f.evidence:
            assert f">{e.frame}</text>" in picture


def test_its_data_are_those_of_json(real: Report, page: str) -> None:
    check_data(page_data(page)["data-report"], as_json(real))


def test_bursts_are_those_of_the_table(real: Report, page: str) -> None:
    told = page_data(page)["data-report"]
    place = next(at for at, name in enumerate(told["captures"]) if name.endswith("chunked-stream.pcap"))
    bursts = {(one[1], one[2]): one[3:] for one in told["bursts"] if one[0] == place}
    access = real.packets[real.captures[place].file]
    rows = access.tables(["bursts", "messages"])
    responses = rows["messages"].filter(pl.col("role") == 1)["message"].to_list()
    whole = rows["bursts"].filter(pl.col("message").is_in(responses)).sort("start")
    for (ident, index), parts in bursts.items():
        own = whole.filter(pl.col("connection") == ident, pl.col("exchange") == index)
        lasts = own.select(pl.col("end") - pl.col("start")).to_series()
        assert parts == [n for one in zip(own["start"], lasts, own["bytes"], strict=True) for n in one]
    assert bursts


def test_graphs_hold_every_segment(real: Report, page: str) -> None:
    told = page_data(page)
    captures = told["data-report"]["captures"]
    assert len(told["data-report"]["graphs"]) == len(told) - 1
    for number, (capture_at, ident) in enumerate(told["data-report"]["graphs"]):
        graph = told[f"data-graph-{number}"]
        segments = real.packets[captures[capture_at]].tables(["segments"], [ident])["segments"]
        carrying = segments.filter((pl.col("length") > 0) | ((pl.col("flags") & 0x07) != 0))
        assert sum(lane["segments"] for lane in graph["lanes"]) == carrying.height
        assert sum(sum(lane["packets"]) for lane in graph["lanes"]) == carrying.height
        assert sum(lane["kind"].count(sequence_lines.RESENT) for lane in graph["lanes"]) == segments["retransmission"].sum()
        assert sum(lane["acks"] for lane in graph["lanes"]) == segments["ack"].drop_nulls().len()
    stalled = [f for f in real.findings if f.delay and f.connection is not None]
    assert sum(len(told[f"data-graph-{n}"]["stalls"]) for n in range(len(told) - 1)) == len(stalled)


def test_a_lane_of_many_segments_is_thinned_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_lines, "MAX_RUNS", 50)
    lane = sequence_lines.Lane()
    n = 1_000
    rows = pl.DataFrame({
        "time": [i * 1_000_000 for i in range(n)], "flags": [16] * n, "offset": [i * 1_000 for i in range(n)],
        "length": [1_000] * n, "retransmission": [i % 100 == 7 for i in range(n)], "fills_gap": [False] * n,
        "keep_alive_probe": [False] * n,
    })  # fmt: skip
    columns: dict[str, Any] = {name: rows[name].to_numpy() for name in rows.columns}
    lane.add_segments({name: column[: n // 2] for name, column in columns.items()})
    lane.add_segments({name: column[n // 2 :] for name, column in columns.items()})
    lane.add_acks(columns["time"], columns["offset"], columns["offset"] + 5)
    told = lane.as_json()
    assert told["kind"].count(sequence_lines.RESENT) == 10
    assert told["kind"].count(sequence_lines.PLAIN) <= 50
    assert sum(told["packets"]) == n == told["segments"] == told["acks"]
    assert len(told["ack"]) <= 50
    assert sum(told["ack"]) == 999_000
    assert told["run_bin"] > 0
    assert sum(told["low"][:1]) == 0
    ends = [low + size for low, size in zip(itertools.accumulate(told["low"]), told["size"], strict=True)]
    assert max(ends) == 1_000_000


def test_more_than_a_page_holds_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_limits, "MAX_EXCHANGES", 10)
    connections = [connection(n) for n in range(40)]
    exchanges = [exchange(n, response_end=n * 100 * MS + (n + 40) * MS) for n in range(40)]
    one = report([finding(connection=3, exchange=0)], connections, exchanges)
    rows = row_limits.exchanges(one, 10)
    assert (rows.rows.height, rows.of) == (10, 40)
    # what a finding speaks of, and the slowest
    assert rows.rows["connection"].to_list() == [3, *range(31, 40)]
    some = row_limits.connections(one, 5)
    assert 3 in some.rows["connection"].to_list()
    monkeypatch.setattr(row_limits.exchanges, "__defaults__", (10,))
    monkeypatch.setattr(row_limits.connections, "__defaults__", (10,))
    said = Page(page_of(one)).text
    assert (
        "10 of 40 exchanges: those with findings, of status 5xx or without a response, and the slowest; the chart counts all."
        in said
    )
    assert "10 of 40 connections: those with findings, and the largest." in said


def test_failures_stay_on_a_page_that_cannot_hold_all() -> None:
    """The chart counts every exchange, failed or not, where it began."""
    exchanges = [exchange(n, response_end=n * 100 * MS + (n + 40) * MS) for n in range(40)]
    exchanges[4] |= {"response_status": 503}
    exchanges[6] |= {"has_response": False, "response_status": None, "response_start": None, "response_end": None}
    one = report([finding(connection=3, exchange=0)], [connection(n) for n in range(40)], exchanges)
    assert row_limits.exchanges(one, 5).rows["connection"].to_list() == [3, 4, 6, 38, 39]
    told = row_limits.exchanges_over_time(one)
    (span,) = [
        (datetime.fromisoformat(c.last_time or "") - datetime.fromisoformat(c.first_time or "")).total_seconds()
        for c in one.captures
    ]
    assert row_limits.MAX_BARS * told["step"] == pytest.approx(span * 1e9, abs=row_limits.MAX_BARS)
    last = row_limits.MAX_BARS - 1
    # each begins 100 ms after the one before it; those after the end of the capture count in the last step
    bars = [min(n * 100 * MS // told["step"], last) for n in range(40)]
    assert [place for place, number in enumerate(told["sent"]) for _ in range(number)] == bars
    assert [place for place, number in enumerate(told["failed"]) if number] == [bars[4]]


@pytest.mark.parametrize(("answered", "connect"), [(100 * MS, 0), (110 * MS, 10 * MS), (100 * MS - 1, None), (None, None)])
@WHOLE
def test_a_connection_may_be_answered_within_one_tick_of_the_clock(answered: int | None, connect: int | None) -> None:
    """A coarse clock gives both one time. A SYN-ACK with an earlier time answered another SYN."""
    opened = connection(1, syn_time=100 * MS, newest_answer_time=answered)
    one = report([], [opened], [exchange(1)])
    columns = data.exchange_columns(row_limits.exchanges(one), row_limits.connections(one).rows)
    assert (columns["connect"], columns["connect_at"]) == ([connect], [None if connect is None else 0])


def test_a_capture_that_was_not_kept_is_said() -> None:
    one = report([finding(), capture_loss()], [connection(3)], [exchange(3, 2)])
    said = Page(page_of(one)).text
    assert "The packets of trace.pcap were not kept for a second pass." in said
    assert "No picture: " in said
    assert "the head of the response leaves alone, 38 bytes" in said


@pytest.mark.parametrize(
    "one",
    [
        report([], [], [], []),
        report([], [], [], [capture(packets=0, first_time=None, last_time=None)]),
        report([capture_loss()], [], [], [capture(damage="cut off", duplicates=3)]),
        report([], [connection(1)], [exchange(1, **without_response()), exchange(1, 1, **without_request())]),
        report([finding(capture="b.pcap"), finding()], [connection(3), connection(3, capture="b.pcap")], [exchange(3, 2)],
               [capture(), capture(file="b.pcap")]),
    ],
    ids=["nothing", "empty", "capture", "halves", "two"],
)  # fmt: skip
def test_reports_of_any_kind(one: Report) -> None:
    made = page_of(one)
    assert not Page(made).unbalanced
    assert page_data(made)["data-report"]["of"]["exchanges"] == one.exchange_count
    assert "Input and coverage" in made
    assert "Input and coverage" not in page_of(one, quiet=True)


def test_pictures_are_bounded_and_fairly_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_pictures, "MAX_PICTURES", 4)
    drawn: list[int] = []
    monkeypatch.setattr(proof_pictures, "_draw", lambda _, told: drawn.extend(one.place for one in told))
    many = [finding(number=n + 1) for n in range(300)] + [capture_loss(number=301)]
    made = proof_pictures.sections(report(many), group_findings(many))
    assert len(drawn) == 4
    assert 300 in drawn
    assert [len(section.others) for section in made] == [proof_pictures.MAX_LISTED, 0]
    assert made[0].not_listed == 299 - proof_pictures.MAX_LISTED


def test_texts_have_room_together() -> None:
    names = [f"/{'x' * 3_000}{n}" for n in range(30)]
    rows = [exchange(n, request_target=name) for n, name in enumerate(names)]
    columns = data.exchange_columns(row_limits.exchanges(report([], [], rows)), row_limits.connections(report([], [], rows)).rows)
    assert max(map(len, columns["request_target"]["words"])) <= 500


def test_bursts_of_an_endless_body_are_joined_at_the_shortest_pauses() -> None:
    parts = [(n * 1_000 + (500 if n >= 70 else 0), 10, 1) for n in range(100)]
    fewer = graphs._fewer(parts)
    assert len(fewer) == graphs.MAX_BURSTS
    assert sum(size for _, _, size in fewer) == 100
    assert 70_500 in [start for start, _, _ in fewer]


@pytest.mark.parametrize(
    ("times", "names"),
    [
        ([20], ["1 response"]),
        ([20, 40], ["fastest", "slowest"]),
        ([20, 40, 30], ["p50", "slowest"]),
        ([*range(20, 40)], ["p50", "p95", "slowest"]),
        ([*range(20, 120)], ["p50", "p95", "p99", "slowest"]),
    ],
)
def test_the_page_says_only_the_percentiles_that_so_many_times_have(times: list[int], names: list[str]) -> None:
    rows = [exchange(number, server_time=time * MS) for number, time in enumerate(times)]
    made = report([], [connection(number) for number in range(len(times))], rows)
    shown = tiles.find_tiles(made, [])
    assert shown is not None
    assert [name for name, _ in shown.times] == names
    assert shown.times[-1][1] == f"{max(times)} ms"
    servers = tiles.find_servers(made, server_statistics(made))
    assert servers is not None
    assert [name for name in servers.headings if name in FEWEST] == [name for name in names if name in FEWEST]
