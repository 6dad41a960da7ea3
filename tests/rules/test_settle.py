"""Settling on candidates made by hand: one cause one finding, delays counted once, texts filled and made safe."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.rules.frames import MS, S, answered, connection, rows
from wiredoctor import limits
from wiredoctor.findings import Advice, Finding, Rule, RuleTotal
from wiredoctor.limits import LimitsReached
from wiredoctor.rule_engine import RuleModule, resolve
from wiredoctor.rules.shared.words import Packet
from wiredoctor.tables import TABLES
from wiredoctor.world.numbers import DURATION

FIRST_TIME = 1_700_000_000_000_000_000

EVIDENCE = pl.List(pl.Struct({"frame": pl.Int64, "time": pl.Int64, "note": pl.String}))


def module(name: str, family: str = "test", **changes: Any) -> RuleModule:
    texts = {
        "title": "{name} by the {side}",
        "message": "{name}",
        "remedy": "mend it",
        "display_filter": "tcp.stream == {connection}",
    }
    rule = Rule(**{"severity": "warning"} | texts | changes)  # pyright: ignore[reportArgumentType]
    module = RuleModule(name, family, rule, "", {}, lambda segments: segments, ("segments",))
    return module._replace(facts=tuple, fact_names=("evidence",), words=evidence_of)


def evidence_of(facts: tuple[list[dict[str, Any]]]) -> dict[str, Any]:
    """The words of these rules, whose candidates have their evidence as a fact."""
    return {"evidence": [Packet(**packet) for packet in facts[0] or ()]}


def candidate(**changes: Any) -> dict[str, Any]:
    row = {
        "connection": 0,
        "exchange": 0,
        "kind": None,
        "side": "server",
        "confidence": "high",
        "frame": 5,
        "start": 10 * MS,
        "end": 20 * MS,
        "delay": None,
        "evidence": [{"frame": 5, "time": 10 * MS, "note": "here"}],
        "name": "it",
    }
    return row | changes


def candidates(*given: dict[str, Any], **dtypes: pl.DataType) -> pl.DataFrame:
    schema = {"connection": pl.Int64, "exchange": pl.Int32, "kind": pl.String, "side": pl.String, "confidence": pl.String}
    schema |= {"frame": pl.Int64, "start": pl.Int64, "end": pl.Int64, "delay": pl.Int64, "evidence": EVIDENCE, "name": pl.String}
    return pl.DataFrame(given, schema=schema | dtypes)


def settled(modules: list[RuleModule], found: dict[str, pl.DataFrame], **changes: Any) -> list[Finding]:
    connections = rows("connections", connection(), connection(connection=1, client="10.0.0.1:1235"))
    exchanges = rows("exchanges", answered(), answered(exchange=1, request_target="/b", response_server="nginx/1.22.1"))
    given = {"connections": connections.lazy(), "exchanges": exchanges.lazy(), "file": "x.pcap", "first_time": FIRST_TIME}
    return resolve({m.name: m for m in modules}, found, **given | changes)


def test_a_finding_stands_on_its_own() -> None:
    rule = module("a", message="{name} took {wait} of {bytes} bytes, {request}: {status}")
    given = candidate(delay=8 * MS, wait=44_100_000, bytes=7)
    [finding] = settled([rule], {"a": candidates(given, wait=DURATION, bytes=pl.Int64())})
    assert finding.message == "it took 44.1 ms of 7 bytes, GET /a?token=(masked): 200"
    assert finding.measures == {"wait": 0.0441, "bytes": 7, "status": 200}
    assert (finding.client, finding.server, finding.request, finding.status) == (
        "10.0.0.1:1234",
        "10.0.0.2:80",
        "GET /a?token=(masked)",
        200,
    )
    assert (finding.time, finding.elapsed, finding.delay) == ("2023-11-14T22:13:20.010000000Z", 0.01, 0.008)
    assert (finding.rule, finding.family, finding.severity, finding.capture) == ("a", "test", "warning", "x.pcap")
    assert [(e.frame, e.elapsed, e.note) for e in finding.evidence] == [(5, 0.01, "here")]
    assert finding.display_filter == "tcp.stream == 0"


def test_frames_are_in_order_and_each_is_said_once() -> None:
    noted = [(6, 12, "its head"), (9, 20, "the rest"), (6, 12, "its first burst"), (5, 10, "asked")]
    evidence = [{"frame": frame, "time": time * MS, "note": note} for frame, time, note in noted]
    rule = module("a", display_filter="frame.number in {{{frames}}}")
    [finding] = settled([rule], {"a": candidates(candidate(evidence=evidence))})
    assert [(e.frame, e.elapsed, e.note) for e in finding.evidence] == [
        (5, 0.01, "asked"),
        (6, 0.012, "its head; its first burst"),
        (9, 0.02, "the rest"),
    ]
    assert finding.display_filter == "frame.number in {5, 6, 9}"
    assert finding.elapsed == 0.01


def test_texts_by_kind() -> None:
    rule = module("a", severity={"x": "error", "y": "note"}, title={"x": "ex {name}", "y": "why"}, remedy={"x": "1", "y": "2"})
    first, second = settled([rule], {"a": candidates(candidate(kind="y"), candidate(kind="x", frame=6))})
    assert (first.kind, first.severity, first.title, first.remedy) == ("x", "error", "ex it", "1")
    assert (second.kind, second.severity, second.title, second.remedy) == ("y", "note", "why", "2")


def test_text_from_packets_is_made_safe() -> None:
    hostile = "\x1b[31m<b>\u00e9\n"
    evidence = [{"frame": 5, "time": 0, "note": hostile}]
    [finding] = settled([module("a")], {"a": candidates(candidate(name=hostile, evidence=evidence))})
    safe = r"\x1b[31m<b>\xe9\x0a"
    assert (finding.message, finding.evidence[0].note) == (safe, safe)


def test_braces_in_packet_text_are_only_text() -> None:
    [finding] = settled([module("a")], {"a": candidates(candidate(name="{client.__class__} %s {0}"))})
    assert finding.message == "{client.__class__} %s {0}"


def test_the_side_can_be_a_direction() -> None:
    rule = module("a", message="{side} {peer}")
    sides = [settled([rule], {"a": candidates(candidate(side=None, direction=d), direction=pl.Int8())})[0] for d in (0, 1)]
    assert [(f.side, f.message) for f in sides] == [("client", "client server"), ("server", "server client")]
    [unknown] = settled([rule], {"a": candidates(candidate(side=None))})
    assert (unknown.side, unknown.message) == (None, "sender receiver")


def test_advice_fits_the_software_of_the_side() -> None:
    advice = (
        Advice("server", "NGINX", "N."),
        Advice("server", "^$", "U."),
        Advice("client", "", "C."),
        Advice("server", "", "S."),
    )
    first, second = settled([module("a", advice=advice)], {"a": candidates(candidate(), candidate(exchange=1, frame=6))})
    assert (first.remedy, second.remedy) == ("mend it U. S.", "mend it N. S.")
    [client] = settled([module("a", advice=advice)], {"a": candidates(candidate(side="client"))})
    assert client.remedy == "mend it C."


def test_a_finding_about_the_capture() -> None:
    row = candidate(connection=None, exchange=None, side=None, evidence=[], frame=0)
    [finding] = settled([module("a")], {"a": candidates(row)})
    assert (finding.connection, finding.client, finding.server, finding.request, finding.status) == (None, None, None, None, None)
    assert finding.elapsed == 0.01


def test_a_finding_about_an_endpoint_names_it_itself() -> None:
    row = candidate(connection=None, exchange=None, server="10.0.0.2:80", client="10.0.0.1")
    [finding] = settled([module("a")], {"a": candidates(row, server=pl.String(), client=pl.String())})
    assert (finding.client, finding.server) == ("10.0.0.1", "10.0.0.2:80")


def test_order_is_severity_then_delay_then_frame() -> None:
    rules = [module("a", severity="note"), module("b", severity="error"), module("c")]
    late, soon = candidate(frame=9, evidence=[{"frame": 9, "time": 0, "note": ""}]), candidate()
    found = {
        "a": candidates(candidate(delay=1 * S)),
        "b": candidates(candidate()),
        "c": candidates(late, soon, candidate(connection=1, delay=5 * MS)),
    }
    assert [(f.rule, f.delay, f.evidence[0].frame) for f in settled(rules, found)] == [
        ("b", None, 5),
        ("c", 0.005, 5),
        ("c", None, 5),
        ("c", None, 9),
        ("a", 0.01, 5),
    ]


def test_nothing_found() -> None:
    assert settled([module("a")], {}) == []
    assert settled([module("a")], {"a": candidates()}) == []


def test_rows_of_unknown_connections_and_exchanges_are_told_all_the_same() -> None:
    [finding] = settled([module("a")], {"a": candidates(candidate(connection=9, exchange=3))})
    assert (finding.connection, finding.exchange, finding.client, finding.request) == (9, 3, None, None)
    nothing = {"connections": TABLES["connections"].empty().lazy(), "exchanges": TABLES["exchanges"].empty().lazy()}
    assert len(settled([module("a")], {"a": candidates(candidate())}, **nothing)) == 1


# One cause, one finding


def told(scope: str, mine: dict[str, Any], cause: dict[str, Any]) -> list[str]:
    rules = [module("effect", explained_by=(("cause", scope),)), module("cause")]
    return [f.rule for f in settled(rules, {"effect": candidates(mine), "cause": candidates(cause)})]


def test_scope_exchange() -> None:
    assert told("exchange", candidate(), candidate()) == ["cause"]
    assert told("exchange", candidate(), candidate(exchange=1)) == ["cause", "effect"]
    assert told("exchange", candidate(), candidate(connection=1)) == ["cause", "effect"]
    nowhere = candidate(exchange=None, start=100 * S, end=101 * S)
    assert told("exchange", nowhere, nowhere) == ["cause", "effect"]


def test_a_stall_belongs_to_the_exchange_that_waited_for_it() -> None:
    def place(start: int, end: int, tables: tuple[str, ...] = ("segments",), **changes: Any) -> int | None:
        rule = module("a")._replace(tables=tables)
        row = candidate(exchange=None, start=start * MS, end=end * MS, **changes)
        spans = [(0, 20, 40), (1, 60, 80), (2, 62, 90), (3, 200, None)]
        exchanges = rows(
            "exchanges",
            *(
                answered(exchange=n, request_start=begin * MS, response_end=over and over * MS)
                | ({} if over else {"response_end_reason": "capture-end"})
                for n, begin, over in spans
            ),
        )
        [finding] = settled([rule], {"a": candidates(row)}, exchanges=exchanges.lazy())
        return finding.exchange

    assert place(25, 35) == 0
    assert place(40, 50) == 0  # its last byte was lost behind the capture point
    assert place(41, 60) == 1  # its request was lost before the capture point
    assert place(61, 75) == 2  # it was pipelined in that time
    assert place(63, 75) == 1
    assert place(85, 89) == 2
    assert place(100, 150) is None
    assert place(250, 350) == 3
    assert place(25, 35, tables=("exchanges",)) is None
    assert place(25, 35, connection=1) is None


def test_a_stall_belongs_to_no_exchange_that_may_have_ended() -> None:
    missing: dict[str, Any] = {"response_start": None, "response_end": None, "response_status": None, "has_response": False}
    spans: list[tuple[int, int, dict[str, Any]]] = [
        *((0, 20, missing), (1, 40, {})),
        *((2, 60, {"response_end_reason": "hole"}), (3, 80, {"response_end_reason": "error"})),
    ]
    given = [
        answered(exchange=n, request_start=begin * MS, response_start=(begin + 5) * MS, response_end=(begin + 10) * MS) | changes
        for n, begin, changes in spans
    ]

    def place(start: int) -> int | None:
        row = candidate(exchange=None, start=start * MS, end=(start + 1) * MS)
        [finding] = settled([module("a")], {"a": candidates(row)}, exchanges=rows("exchanges", *given).lazy())
        return finding.exchange

    assert [place(start) for start in (25, 45, 55, 61, 70, 75, 90, 95)] == [0, 1, None, 2, 2, None, 3, None]


def test_scope_connection() -> None:
    assert told("connection", candidate(), candidate(exchange=1)) == ["cause"]
    assert told("connection", candidate(), candidate(connection=1)) == ["cause", "effect"]


def test_scope_endpoint() -> None:
    assert told("endpoint", candidate(), candidate(connection=1)) == ["cause"]
    assert told("endpoint", candidate(), candidate(connection=9)) == ["cause", "effect"]


def test_scope_time() -> None:
    def at(start: int, end: int, **changes: Any) -> dict[str, Any]:
        return candidate(start=start * MS, end=end * MS, **changes)

    assert told("time", candidate(), at(15, 30)) == ["cause"]
    assert told("time", candidate(), at(0, 11)) == ["cause"]
    assert told("time", candidate(), at(0, 100)) == ["cause"]
    assert told("time", candidate(), at(12, 13)) == ["cause"]
    assert told("time", candidate(), at(20, 30)) == ["cause", "effect"]
    assert told("time", candidate(), at(0, 10)) == ["cause", "effect"]
    assert told("time", candidate(), at(15, 30, connection=1)) == ["cause", "effect"]


def test_scope_time_sees_a_long_cause_behind_a_short_one() -> None:
    rules = [module("effect", explained_by=(("cause", "time"),)), module("cause")]
    causes = candidates(candidate(start=0, end=15 * MS, frame=1), candidate(start=1, end=2, frame=2))
    assert [f.rule for f in settled(rules, {"effect": candidates(candidate()), "cause": causes})] == ["cause", "cause"]


def test_scope_time_is_not_that_of_another_connection() -> None:
    """The cause of this connection ends before the effect begins, and that of the other one goes on."""
    rules = [module("effect", explained_by=(("cause", "time"),)), module("cause")]
    short = candidate(frame=1, start=2 * MS, end=3 * MS)
    long = candidate(frame=2, start=MS, end=30 * MS, connection=1)
    found = settled(rules, {"effect": candidates(candidate()), "cause": candidates(short, long)})
    assert [finding.rule for finding in found] == ["cause", "cause", "effect"]


def test_a_family_explains_and_a_rule_never_itself() -> None:
    rules = [module("effect", "stalls", explained_by=(("stalls", "time"), ("not-there-yet", "time"))), module("cause", "stalls")]
    alone = {"effect": candidates(candidate(), candidate(frame=6))}
    assert [f.rule for f in settled(rules, alone)] == ["effect", "effect"]
    assert [f.rule for f in settled(rules, alone | {"cause": candidates(candidate())})] == ["cause"]


def test_what_gave_way_still_explains() -> None:
    chain = [module("c", explained_by=(("b", "exchange"),)), module("b", explained_by=(("a", "connection"),)), module("a")]
    found = {"c": candidates(candidate()), "b": candidates(candidate()), "a": candidates(candidate(exchange=1))}
    assert [f.rule for f in settled(chain, found)] == ["a"]


def test_what_is_not_reported_still_explains() -> None:
    rules = [module("effect", explained_by=(("cause", "exchange"),)), module("cause")]
    found = {"effect": candidates(candidate(), candidate(exchange=1, frame=6)), "cause": candidates(candidate())}
    assert [(f.rule, f.exchange) for f in settled(rules, found, only=["effect"])] == [("effect", 1)]


def test_candidates_with_one_key_are_one_and_the_first_that_stays_is_said() -> None:
    rules = [module("effect", explained_by=(("cause", "time"),)), module("cause")]
    pauses = candidates(
        candidate(name="1"), candidate(name="2", start=30 * MS, end=40 * MS), candidate(name="3", start=50 * MS, end=60 * MS)
    )
    assert [f.message for f in settled(rules, {"effect": pauses})] == ["1"]
    assert [f.message for f in settled(rules, {"effect": pauses, "cause": candidates(candidate())})] == ["it", "2"]


# Causes that are reported beside what they cause


def in_order(scope: str, mine: dict[str, Any], cause: dict[str, Any], **changes: Any) -> list[tuple[str, list[tuple[str, int]]]]:
    rules = [module("effect", severity="error", caused_by=(("cause", scope),)), module("cause", severity="note")]
    found = settled(rules, {"effect": candidates(mine), "cause": candidates(cause)}, **changes)
    return [(f.rule, [tuple(c)[:2] for c in f.caused_by]) for f in found]


def test_a_cause_comes_before_what_it_causes_and_is_named() -> None:
    linked = [("cause", []), ("effect", [("cause", 5)])]
    alone = [("effect", []), ("cause", [])]
    assert in_order("exchange", candidate(), candidate()) == linked
    assert in_order("exchange", candidate(), candidate(exchange=1)) == alone
    assert in_order("connection", candidate(), candidate(exchange=1)) == linked
    assert in_order("connection", candidate(), candidate(connection=1)) == alone
    assert in_order("endpoint", candidate(), candidate(connection=1)) == linked
    assert in_order("endpoint", candidate(), candidate(), only=["effect"]) == [("effect", [])]


@pytest.mark.parametrize(
    ("name", "kind", "linked"),
    [("cause/slow", "slow", True), ("cause/slow", "other", False), ("cause/slow", None, False), ("cause/", "slow", False),
     ("cause/", None, True), ("cause", "slow", True)],
)  # fmt: skip
def test_a_cause_may_have_to_be_of_one_kind(name: str, kind: str | None, *, linked: bool) -> None:
    rules = [module("effect", severity="error", caused_by=((name, "exchange"),)), module("cause", severity="note")]
    found = settled(rules, {"effect": candidates(candidate()), "cause": candidates(candidate(kind=kind))})
    causes = next(f.caused_by for f in found if f.rule == "effect")
    assert [cause.rule for cause in causes] == (["cause"] if linked else [])


def test_the_first_of_several_causes_is_named_and_others_stay_where_they_are() -> None:
    rules = [
        module("effect", severity="error", caused_by=(("cause", "connection"), ("test", "connection"))),
        module("other", severity="error"),
        module("cause"),
    ]
    at = {frame: candidate(frame=frame, evidence=[{"frame": frame, "time": 0, "note": ""}]) for frame in (3, 5, 7, 9)}
    found = settled(rules, {"effect": candidates(at[9]), "cause": candidates(at[7], at[5]), "other": candidates(at[3])})
    assert [(f.rule, f.evidence[0].frame) for f in found] == [("other", 3), ("cause", 5), ("effect", 9), ("cause", 7)]
    assert [tuple(c)[:2] for c in found[2].caused_by] == [("cause", 5), ("other", 3)]


def test_rules_that_name_each_other_are_both_told() -> None:
    rules = [module("a", caused_by=(("b", "connection"),)), module("b", caused_by=(("a", "connection"),))]
    assert [f.rule for f in settled(rules, {"a": candidates(candidate()), "b": candidates(candidate())})] == ["b", "a"]


# Delays


def delays(*given: dict[str, Any], **changes: Any) -> list[float | None]:
    by_frame = sorted(settled([module("a")], {"a": candidates(*given)}, **changes), key=lambda f: f.message)
    return [f.delay for f in by_frame]


def span(name: str, start: int, end: int, delay: int | None, **changes: Any) -> dict[str, Any]:
    times = {"start": start * MS, "end": end * MS, "delay": None if delay is None else delay * MS}
    return candidate(name=name, frame=ord(name), **times | changes)


def test_time_that_two_candidates_cover_goes_to_the_first() -> None:
    assert delays(span("a", 0, 100, 100), span("b", 50, 120, 70)) == [0.1, 0.02]
    assert delays(span("a", 0, 100, 100), span("b", 20, 80, 60)) == [0.1, 0.0]
    assert delays(span("a", 0, 100, 40), span("b", 100, 200, 90)) == [0.04, 0.09]
    assert delays(span("a", 0, 100, 100), span("b", 10, 20, 10), span("c", 50, 120, 70)) == [0.1, 0.0, 0.02]


def test_a_candidate_without_delay_takes_no_time_from_others() -> None:
    assert delays(span("a", 0, 100, None), span("b", 50, 120, 70)) == [None, 0.07]


def test_connections_have_their_own_time() -> None:
    assert delays(span("a", 0, 100, 100), span("b", 50, 120, 70, connection=1)) == [0.1, 0.07]


def test_a_delay_is_never_longer_than_its_time() -> None:
    assert delays(span("a", 0, 100, 300)) == [0.1]


# Baselines


def test_the_fingerprint_forgets_time_and_numbers() -> None:
    first, second = settled([module("a")], {"a": candidates(candidate(), candidate(frame=6, start=9, end=10, connection=1))})
    other = settled([module("a")], {"a": candidates(candidate(exchange=1))})[0]
    assert first.server == second.server
    assert len({first.fingerprint, other.fingerprint}) == 2
    assert len(first.fingerprint) == 16


def test_findings_that_are_too_many_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each rule as many: a flood of one does not push out the other; those with the longest delays stay."""
    monkeypatch.setattr(limits.FINDINGS, "value", 4)
    flood = [candidate(frame=frame, start=frame * MS, end=frame * MS + frame, delay=frame) for frame in range(1, 11)]
    found = {"a": candidates(*flood), "b": candidates(candidate(frame=50), candidate(frame=60))}
    met = LimitsReached()
    totals: dict[str, RuleTotal] = {}
    told = settled([module("a"), module("b")], found, met=met, totals=totals)
    assert totals == {"a": RuleTotal(10, sum(range(1, 11)) / 1e9), "b": RuleTotal(2, 0.0)}
    assert sorted((f.rule, f.delay) for f in told if f.delay) == [("a", 9e-9), ("a", 1e-8)]
    assert [f.rule for f in told if not f.delay] == ["b", "b"]
    assert met.counts == {"findings": 8}
    [sentence] = met.messages()
    assert (
        sentence
        == "4 findings of a capture are reported, an equal share per rule, the longest delays first; 8 more were left out"
    )
