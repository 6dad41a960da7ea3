"""Before and after: what becomes of findings and times, from reports that are made up and from real ones that were written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.compare.recordings import CAPTURES
from tests.report.examples import finding
from wiredoctor.compare import NoReport, Seen, compare, of_json, of_report
from wiredoctor.compare.before_after.from_report import TIMES
from wiredoctor.compare.before_after.result import Changes, FindingChange, Source
from wiredoctor.findings import Finding, fingerprint
from wiredoctor.report.comparison import before_after
from wiredoctor.report.coverage import reach
from wiredoctor.report.data import json as report_json

MS = 1_000_000
SERVER = "10.0.0.2:80"


def one(rule: str = "slow-response", target: str = "/items/1", server: str = SERVER, **changes: Any) -> Finding:
    mark = fingerprint(rule, None, "server", server, "GET", target)
    return finding(rule=rule, kind=None, server=server, request=f"GET {target}", fingerprint=mark, **changes)


def seen(
    findings: list[Finding], exchanges: int | list[int] = 10, target: str = "/items/2", server: str = SERVER, **changes: Any
) -> Seen:
    """A side with so many exchanges with GET /items/#, or with exchanges that took so many ms."""
    times = [10 + n % 3 for n in range(exchanges)] if isinstance(exchanges, int) else exchanges
    rows = pl.DataFrame([(server, "GET", target, t * MS, t * MS // 2) for t in times], schema=TIMES, orient="row")
    rules = frozenset({"slow-response", "idle-close", "connect-failed"})
    source = Source("a", "captures", ["a"], 3, len(times), len(findings), 0.0, None, None, times=True)
    return Seen(source, findings, rows, {server: 3}, changes.get("judged", rules), changes.get("checked", rules))


def change(before: Seen, after: Seen, **how: Any) -> FindingChange:
    [told] = compare(before, after, "0", **how).findings
    return told


def test_fixed_needs_as_many_chances() -> None:
    nine = [one() for _ in range(9)]
    assert change(seen(nine), seen([], 10)).status == "fixed"
    told = change(seen(nine), seen([], 1))
    assert told.status == "not-seen-again"
    assert told.why == "after has only 1 exchange with that endpoint, where the other side has 10"
    # one in ten, and none in ten, happens in every second case
    assert change(seen([one()]), seen([], 10)).status == "not-seen-again"
    assert change(seen([one()]), seen([], 1000)).status == "fixed"


def test_what_could_not_be_judged_is_not_fixed() -> None:
    nine = [one() for _ in range(9)]
    told = change(seen(nine), seen([], 50, judged=frozenset[str]()))
    assert (told.status, told.why) == ("not-seen-again", "after has nothing that could be judged by this rule")
    told = change(seen(nine), seen([], 50, checked=frozenset[str]()))
    assert (told.status, told.why) == ("not-seen-again", "after was not checked for it, or had nothing to check")
    told = change(seen(nine), seen([], 50, target="/elsewhere"))
    assert (told.status, told.why) == ("not-seen-again", "after has no exchange with that endpoint")


def test_a_rule_that_speaks_of_all_at_once() -> None:
    whole = one("idle-close")
    told = change(seen([whole], 30), seen([], 20), summaries={"idle-close"})
    assert told.status == "fixed"
    assert change(seen([whole], 30), seen([], 19), summaries={"idle-close"}).status == "not-seen-again"


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
    assert any("--any-server" in note for note in apart.notes)
    together = compare(before, after, "0", any_server=True)
    assert [(f.status, f.server) for f in together.findings] == [("stayed", None)]
    assert [(e.exchanges_before, e.exchanges_after) for e in together.endpoints] == [(10, 10)]


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
    assert before_after.reached(told, "slower") == (verdict == "slower")


def test_what_a_pipeline_fails_on() -> None:
    def worse(before: list[Finding], after: list[Finding]) -> set[str]:
        told = compare(seen(before, 100), seen(after, 100), "0")
        return {what for what in ("new", "more-often", "slower") if before_after.reached(told, what)}

    assert worse([], [one(severity="warning")]) == {"new"}
    assert worse([], [one(severity="note")]) == set()
    assert worse([], [one(severity="warning", family="capture")]) == set()
    assert worse([one()] * 3, [one()] * 60) == {"more-often"}
    assert worse([one()] * 60, [one()] * 3) == set()
    assert worse([one(delay=0.1)] * 20, [one(delay=0.4)] * 20) == {"more-often"}


# reports that were written


def written(full: bool, lines: bool = False) -> bytes:
    report = wiredoctor.analyze(str(CAPTURES / "client-sees-head-body-split.pcapng"))
    out = io.BytesIO()
    if lines:
        report_json.write_lines(report, out)
    else:
        report_json.write(report, out, full=full)
    return out.getvalue()


def of_bytes(data: bytes) -> Seen:
    def again() -> Iterator[bytes]:
        return iter(data.splitlines(keepends=True))

    return of_json("a", again)


def plain(told: Changes) -> Any:
    return told.findings, told.endpoints, told.rules


def test_a_written_report_that_is_incomplete_is_noted() -> None:
    report = json.loads(written(full=False))
    report["summary"]["incomplete"] = ["Only the first 2 GB of a.gz were read."]
    told = compare(of_bytes(json.dumps(report).encode()), of_bytes(written(full=True)), "0")
    assert "before: Only the first 2 GB of a.gz were read." in told.notes


def test_a_written_report_says_what_the_capture_does() -> None:
    report = wiredoctor.analyze(str(CAPTURES / "client-sees-head-body-split.pcapng"))
    capture = of_report(report, "a", reach(report).healthy)
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
        assert "before is a report without its exchanges" in told.notes[0]


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
