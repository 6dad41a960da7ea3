"""Test comparing before and after: the findings and times of invented reports, and of real reports that were written to files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.report.examples import finding
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor import testing
from wiredoctor.compare import ComparedSide, NoReport, compare, from_json, from_report
from wiredoctor.compare.before_after.endpoints import place_of, replace_numbers
from wiredoctor.compare.before_after.from_report import TIMES
from wiredoctor.compare.before_after.result import Changes, FindingChange, Source
from wiredoctor.findings import Finding, fingerprint
from wiredoctor.report.comparison import before_after
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.data import json as report_json
from wiredoctor.report.terminal.document import Grid, Heading

MS = 1_000_000
SERVER = "10.0.0.2:80"


def one(rule: str = "slow-response", target: str = "/items/1", server: str = SERVER, **changes: Any) -> Finding:
    mark = fingerprint(rule, None, "server", server, "GET", target)
    return finding(rule=rule, kind=None, server=server, request=f"GET {target}", fingerprint=mark, **changes)


def seen(
    findings: list[Finding], exchanges: int | list[int] = 10, target: str = "/items/2", server: str = SERVER, **changes: Any
) -> ComparedSide:
    """A side with so many exchanges with GET /items/#, or with exchanges that took so many ms."""
    times = [10 + n % 3 for n in range(exchanges)] if isinstance(exchanges, int) else exchanges
    rows = pl.DataFrame([(server, "GET", target, t * MS, t * MS // 2, False) for t in times], schema=TIMES, orient="row")
    rules = frozenset({"slow-response", "idle-close", "connect-failed"})
    source = Source("a", "captures", ["a"], 3, len(times), len(findings), 0.0, None, None, times=True)
    return ComparedSide(source, findings, rows, {server: 3}, changes.get("judged", rules), changes.get("checked", rules))


def change(before: ComparedSide, after: ComparedSide, **how: Any) -> FindingChange:
    [told] = compare(before, after, "0", **how).findings
    return told


def test_the_headline_says_how_many_exchanges_are_too_few() -> None:
    few = compare(seen([one() for _ in range(9)]), seen([], 5), "0")
    times = "too few exchanges to compare times (an endpoint needs 8 in each capture; none has more than 5 in both)"
    assert before_after.headline(few) == f"1 problem fixed; {times}."
    two = [one("slow-response"), one("idle-close")]
    assert before_after.headline(compare(seen([]), seen(two), "0")).startswith("2 new problems; ")


def test_fixed_needs_as_many_chances() -> None:
    nine = [one() for _ in range(9)]
    assert change(seen(nine), seen([], 10)).status == "fixed"
    told = change(seen(nine), seen([], 1))
    assert told.status == "not-seen-again"
    assert told.why == "after has only 1 exchange with that endpoint, so the finding may be missing by chance"
    # one in ten, and none in ten, happens in every second case
    assert change(seen([one()]), seen([], 10)).status == "not-seen-again"
    assert change(seen([one()]), seen([], 1000)).status == "fixed"


def test_what_could_not_be_judged_is_not_fixed() -> None:
    nine = [one() for _ in range(9)]
    told = change(seen(nine), seen([], 50, judged=frozenset[str]()))
    assert (told.status, told.why) == ("not-seen-again", "after has nothing that this rule could judge")
    told = change(seen(nine), seen([], 50, checked=frozenset[str]()))
    assert (told.status, told.why) == ("not-seen-again", "after was not checked by this rule, or had nothing to check")
    told = change(seen(nine), seen([], 50, target="/elsewhere"))
    assert (told.status, told.why) == ("not-seen-again", "after has no exchange with that endpoint")


def test_a_rule_that_speaks_of_all_at_once() -> None:
    whole = one("idle-close")
    told = change(seen([whole], 30), seen([], 20), summaries={"idle-close"})
    assert told.status == "fixed"
    assert change(seen([whole], 30), seen([], 19), summaries={"idle-close"}).status == "not-seen-again"


@pytest.mark.parametrize("rule", ["connect-failed", "gateway-error"])
def test_a_failure_that_is_counted_once_may_be_missing_by_chance(rule: str) -> None:
    """Their findings count failed requests, although there is one per endpoint: 1 of 1, then 0 of 1."""
    once, often, rules = one(rule), one(rule, count=8), frozenset({rule})
    sides = {"judged": rules, "checked": rules}
    assert change(seen([once], 1, **sides), seen([], 1, **sides), summaries={rule}).status == "not-seen-again"
    assert change(seen([often], 8, **sides), seen([], 8, **sides), summaries={rule}).status == "fixed"


GET, GOOD = r"GET /a HTTP/1.1\r\nHost: a\r\n", r"200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = r"502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 2\r\n\r\nno"
ASK = GET + r"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
ASK += r"Sec-WebSocket-Version: 13\r\n"
SWITCHED = r"101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
SWITCHED += r"Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n"
MISSING = r"404 Not Found\r\nContent-Length: 2\r\n\r\nno"


def talks(*some: tuple[int, str, str]) -> bytes:
    """A capture of so many connections with this request and this response each, one every 10 s."""
    lines: list[str] = []
    for number, (asked, answered) in enumerate((asked, answered) for times, asked, answered in some for _ in range(times)):
        lines += [
            f"connection {number + 1}, start {10 * number}, client 10.0.0.1:{4000 + number}, server {SERVER}",
            "0.000 > S mss 1460", "0.001 < S. mss 1460", "0.001 > .", rf'0.002 > P. "{asked}\r\n"', "0.003 < .",
            f'0.009 < P. "HTTP/1.1 {answered}"', "0.009 > .", "0.011 > F.", "0.012 < F.", "0.012 > .",
        ]  # fmt: skip
    return testing.capture("\n".join(lines))


OUTAGE, WELL = [(30, GET, BAD)], [(30, GET, GOOD)]
UNSURE = "not-seen-again"
SHUT, OPEN = [(30, ASK, MISSING)], [(30, ASK, SWITCHED)]


@pytest.mark.parametrize("form", sweep(["capture", "full", "json"], "full".__eq__))
@pytest.mark.parametrize(
    ("rule", "bad", "good", "status", "hits", "reason"),
    [
        ("gateway-error", OUTAGE, WELL, "fixed", (30, 30), ""),
        ("gateway-error", [(1, GET, BAD), (29, GET, GOOD)], WELL, UNSURE, (1, 30), "only 30 exchanges"),
        ("websocket-failed", SHUT, OPEN, "fixed", (30, 30), ""),
        ("websocket-failed", [(1, ASK, MISSING), (29, ASK, SWITCHED)], OPEN, UNSURE, (1, 30), "only 30 WebSocket"),
        ("websocket-failed", SHUT, WELL, UNSURE, (30, 30), "has no WebSocket request to that server"),
    ],
)  # fmt: skip
def test_an_outage_in_one_finding(
    tmp_path: Path, rule: str, bad: list[Any], good: list[Any], status: str, hits: tuple[int, int], reason: str, form: str
) -> None:
    """One finding represents all failures of a server: what counts are the failures, not the finding."""
    sides: list[ComparedSide] = []
    for number, some in enumerate((bad, good)):
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(talks(*some))
        report = wiredoctor.analyze(str(path))
        out = io.BytesIO()
        report_json.write(report, out, full=form == "full")
        whole = from_report(report, "a", find_coverage(report).healthy)
        sides.append(whole if form == "capture" else of_bytes(out.getvalue()))
    rules = {"gateway-error", "websocket-failed"}
    [gone] = [one for one in compare(*sides, "0", summaries=rules).findings if one.rule == rule]
    assert (gone.before, gone.chances_before, gone.after) == (*hits, 0)
    if form != "json" or good is not WELL or rule != "websocket-failed":  # a report without exchanges has no WebSockets to count
        assert gone.status == status
    if form != "json":
        assert reason in gone.why
    [new] = [one for one in compare(*reversed(sides), "0", summaries=rules).findings if one.rule == rule]
    assert (new.status, new.after, new.chances_after) == ("new", *hits)
    assert not new.why or status != "fixed"


def test_new_and_whether_it_may_have_been_there() -> None:
    told = change(seen([]), seen([one() for _ in range(9)]))
    assert (told.status, told.why) == ("new", "")
    told = change(seen([], 1), seen([one()]))
    assert told.status == "new"
    assert told.why.startswith("before has only 1 exchange")


def test_stayed_and_how_often() -> None:
    few, many = [one() for _ in range(3)], [one(delay=0.4) for _ in range(60)]
    told = change(seen(few, 100), seen(many, 100))
    assert (told.status, told.frequency, told.before, told.after) == ("stayed", "more-often", 3, 60)
    assert change(seen(many, 100), seen(few, 100)).frequency == "less-often"
    # thirty in a hundred and six in twenty are as many
    assert change(seen(many[:30], 100), seen(many[:6], 20)).frequency == "same"


def test_digits_and_queries_are_one_endpoint() -> None:
    told = compare(seen([one(target="/items/17?a=1")]), seen([one(target="/items/4")]), "0")
    assert [f.status for f in told.findings] == ["stayed"]
    assert told.findings[0].request == "GET /items/#"
    assert [(e.method, e.path) for e in told.endpoints] == [("GET", "/items/#")]


def test_another_server() -> None:
    before, after = seen([one()] * 9), seen([one(server="10.9.9.9:8080")] * 9, server="10.9.9.9:8080")
    apart = compare(before, after, "0")
    assert {f.status for f in apart.findings} == {"new", "not-seen-again"}
    why = "before and after have no server in common, so requests cannot be compared"
    assert apart.notes == [f"{why}; --any-server would match 1 endpoint and 1 problem"]
    assert before_after.headline(apart).startswith(f"B{apart.notes[0][1:]}. 1 new problem, ")
    together = compare(before, after, "0", any_server=True)
    assert [(f.status, f.server) for f in together.findings] == [("stayed", None)]
    assert [(e.exchanges_before, e.exchanges_after) for e in together.endpoints] == [(10, 10)]


@pytest.mark.parametrize(
    ("after", "any_server", "why"),
    [
        (seen([], target="/other"), False, "before and after have no requests with the same method and path"),
        (
            seen([], target="/other", server="10.9.9.9:80"),
            False,
            "before and after have no requests with the same method and path",
        ),
        (
            seen([], target="/other", server="10.9.9.9:80"),
            True,
            "before and after have no requests with the same method and path",
        ),
        (seen([], 0), False, "after has no HTTP exchange"),
    ],
)
def test_any_server_is_offered_only_if_it_would_match(after: ComparedSide, any_server: bool, why: str) -> None:
    told = compare(seen([]), after, "0", any_server=any_server)
    assert told.notes == [f"{why}, so requests cannot be compared"]
    page = [*before_after.page(told)]
    assert [why[1:] in str(part) for part in page] == [True, *[False] * (len(page) - 1)]


def test_any_server_is_offered_for_some_of_the_requests() -> None:
    before = seen([])
    both = [seen([], 4, "/other"), seen([], 6, server="10.9.9.9:80")]
    rows = pl.concat([side.exchanges for side in both if side.exchanges is not None])
    after = replace(both[0], exchanges=rows)
    [note] = compare(before, after, "0").notes
    assert note.startswith("before and after have no requests to the same server with the same method and path")
    assert note.endswith("; --any-server would match 1 endpoint")


def test_any_server_is_offered_for_problems_without_requests() -> None:
    failed = [
        finding(
            rule="connect-failed",
            kind=None,
            server=name,
            request=None,
            exchange=None,
            fingerprint=fingerprint("connect-failed", None, "server", name, None, None),
        )
        for name in (SERVER, "10.9.9.9:80")
    ]
    told = compare(seen(failed[:1], 0), seen(failed[1:], 0), "0")
    assert told.notes == [
        "before and after have no HTTP exchange, so requests cannot be compared; --any-server would match 1 problem"
    ]


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ([60 + n % 5 for n in range(40)], "slower"),
        ([20 + n % 5 for n in range(40)], "same"),
        ([5] * 40, "faster"),
        ([99] * 7, "too-few"),
    ],
)
def test_times(after: list[int], verdict: str) -> None:
    told = compare(seen([], [20 + n % 5 for n in range(40)]), seen([], after), "0")
    assert [e.total.verdict for e in told.endpoints] == [verdict]
    assert before_after.got_worse(told, "slower") == (verdict == "slower")


def test_what_a_pipeline_fails_on() -> None:
    def worse(before: list[Finding], after: list[Finding]) -> set[str]:
        told = compare(seen(before, 100), seen(after, 100), "0")
        return {what for what in ("new", "more-often", "slower") if before_after.got_worse(told, what)}

    assert worse([], [one(severity="warning")]) == {"new"}
    assert worse([], [one(severity="note")]) == set()
    assert worse([], [one(severity="warning", family="capture")]) == set()
    assert worse([one()] * 3, [one()] * 60) == {"more-often"}
    assert worse([one()] * 60, [one()] * 3) == set()
    assert worse([one(delay=0.1)] * 20, [one(delay=0.4)] * 20) == {"more-often"}


# reports that were written


def written(full: bool, lines: bool = False) -> bytes:
    report = wiredoctor.analyze(str(find_recording("client-sees-head-body-split.pcapng")))
    out = io.BytesIO()
    if lines:
        report_json.write_lines(report, out)
    else:
        report_json.write(report, out, full=full)
    return out.getvalue()


def of_bytes(data: bytes) -> ComparedSide:
    def again() -> Iterator[bytes]:
        return iter(data.splitlines(keepends=True))

    return from_json("a", again)


def plain(told: Changes) -> Any:
    return told.findings, told.endpoints, told.rules


def test_a_written_report_that_is_incomplete_is_noted() -> None:
    report = json.loads(written(full=False))
    report["summary"]["incomplete"] = ["Only the first 2 GB of a.gz were read."]
    told = compare(of_bytes(json.dumps(report).encode()), of_bytes(written(full=True)), "0")
    assert "before: Only the first 2 GB of a.gz were read." in told.notes


def test_a_written_report_says_what_the_capture_does() -> None:
    report = wiredoctor.analyze(str(find_recording("client-sees-head-body-split.pcapng")))
    capture = from_report(report, "a", find_coverage(report).healthy)
    full = written(full=True)
    pretty = json.dumps(json.loads(full), indent=4).encode()
    squeezed = json.dumps(json.loads(full)).encode()
    assert plain(compare(capture, capture, "0")) == plain(compare(of_bytes(full), capture, "0"))
    for data in (full, pretty, squeezed):
        assert plain(compare(of_bytes(data), of_bytes(full), "0")) == plain(compare(capture, capture, "0"))
    for data in (written(full=False), written(full=False, lines=True)):
        told = compare(of_bytes(data), capture, "0")
        assert [f.status for f in told.findings] == ["stayed"]
        assert [f.chances_before for f in told.findings] == [10]
        assert "before is a report that does not list its exchanges" in told.notes[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"findings": 3}',
        b'{"summary": {}}',
        b'{"a": 1}\n{"b": 2}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_what_is_no_report(data: bytes) -> None:
    with pytest.raises(NoReport):
        of_bytes(data)


@SLOW
def test_a_report_with_something_wrong_in_it() -> None:
    report = json.loads(written(full=True))
    other = of_bytes(written(full=False))

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        entries = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
        for key, inner in entries:
            if key not in ("evidence", "measures", "references", "caused_by"):
                yield (*path, key)
                yield from places(inner, (*path, key))

    for path, wrong in zip(places(report), cycle([None, 3, "x", [], {}, True, -1e300, [{}]]), strict=False):
        spoiled = json.loads(json.dumps(report))
        inner = spoiled
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong
        try:
            told = compare(of_bytes(json.dumps(spoiled).encode()), other, "0")
        except NoReport:
            continue
        assert before_after.headline(told)


def test_a_side_counts_its_occurrences() -> None:
    side = Source("a.pcap", "captures", ["a.pcap"], 2, 3, 1_234, 0.0, None, None, times=True)
    assert (
        before_after.source_sentence("before", side)
        == "before: a.pcap (analyzed): 2 TCP connections, 3 HTTP exchanges, 1,234 occurrences"
    )


def test_versions_of_an_api_are_different_endpoints() -> None:
    shown = {replace_numbers(path) for path in ("/v1/items/7", "/v2/items/8", "/api/v1.2", "/v1", "/video/7", "/v12x/3")}
    assert shown == {"/v1/items/#", "/v2/items/#", "/api/v1.2", "/v1", "/video/#", "/v#x/#"}
    assert place_of("GET", "/v1/items/7")[1] != place_of("GET", "/v2/items/7")[1]


def test_a_narrow_table_keeps_the_methods() -> None:
    """One server stands in the heading; several follow the request, so that the middle is what is left out."""
    path = "/v1/a-long-name-of-something/prices"

    def cells(*servers: str) -> list[str]:
        sides = [seen([], 9, path, server).exchanges for server in servers]
        side = replace(seen([]), exchanges=pl.concat(one for one in sides if one is not None))
        parts = [*before_after.page(compare(side, side, "0"))]
        heading = next(p.text for p in parts if isinstance(p, Heading) and p.text.startswith("By endpoint"))
        return [heading.partition(":")[0], *(row[0] for p in parts if isinstance(p, Grid) for row in p.rows)]

    assert cells("a:80") == ["By endpoint of a", f"GET {path}"]
    assert cells("a:80", "b:80") == ["By endpoint", f"GET {path} (a:80)", f"GET {path} (b:80)"]
