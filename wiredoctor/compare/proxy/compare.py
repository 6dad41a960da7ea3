"""Compare captures made on both sides of a proxy: what the proxy did with each exchange, and how long that took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wiredoctor.compare.proxy.changes import MAX_HEADS, Ends, Row, changes
from wiredoctor.compare.proxy.nesting import Nested, match_nested, sides
from wiredoctor.compare.proxy.plausibility import find_contradictions
from wiredoctor.compare.proxy.result import Fate, OwnAnswer, Passed, Proxied, Side
from wiredoctor.compare.two_points.compare import spread
from wiredoctor.compare.two_points.packet_columns import apart
from wiredoctor.compare.two_points.result import Delays
from wiredoctor.findings import printable
from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.compare.input import ProxySide

HELD = SECOND // 20
"""The minimum time in ns from the first to the last byte of a message that counts as collected (see `Passed`)."""

MAX_LISTED = 1_000


def compare_proxy(front: ProxySide, back: ProxySide | None, version: str) -> Proxied | None:
    """Compare the two sides of a proxy. `back` is None if one capture has both sides.

    Return None if no exchange was captured on both sides, or if the captured times contradict most matches.
    """
    sides = _Sides(front, back)
    if not sides.found.front.size or (sides.found.front < 0).all() or sides.contradicted:
        return None
    pairs = [_passed_on(sides, *rows) for rows in sides.pairs()]
    answers = [*sides.answers()]
    matched = np.unique(sides.found.front[sides.found.front >= 0])
    counts = np.bincount(sides.found.front[sides.found.front >= 0])
    served = sides.back.filter(pl.Series(sides.found.front >= 0))["server_time"].drop_nulls().to_numpy()
    return Proxied(
        version=version,
        front=sides.side("front"),
        back=sides.side("back"),
        offset=None if back is None else sides.found.ahead / SECOND,
        matched=len(matched),
        retried=int((counts > 1).sum()),
        own=sides.front.height - len(matched),
        unasked=int((sides.found.front < 0).sum()),
        reused=len({(one.front_connection, one.front_exchange) for one in pairs if one.reused}),
        request_lag=_spread([one.request_lag for one in pairs]),
        response_lag=_spread([one.response_lag for one in pairs]),
        in_proxy=_spread([one.in_proxy for one in pairs]),
        connect=_spread(sides.connects()),
        server_time=spread(served),
        requests_collected=sum(one.request_collected for one in pairs),
        responses_collected=sum(one.response_collected for one in pairs),
        changes=changes(sides.pairs, sides.recorded, sides.ends),
        answers=answers[:MAX_LISTED],
        findings=sides.findings(),
        exchanges=pairs[:MAX_LISTED],
        notes=sides.notes(answers),
    )


def _spread(values: list[float | None]) -> Delays | None:
    return spread(np.array([value for value in values if value is not None], np.float64) * SECOND)


class _Sides:
    """The exchanges of both sides, and their matches.

    `found.front`: for each exchange at the back, the index of the matching exchange at the front, or -1.
    """

    def __init__(self, front: ProxySide, back: ProxySide | None) -> None:
        self.recorded = (front, back or front)
        self.one = back is None
        self.ends = _ends(front), _ends(back or front)
        if back is None:
            parts = sides(front.exchanges, {number: ends[1] for number, ends in self.ends[0].items()}, front.gateways)
            self.front, self.back = front.exchanges[parts.front], front.exchanges[parts.back]
            self.apart, self.found, self.contradicted = 0, Nested(parts.owner, 0.0), False
        else:
            self.front, self.back = front.exchanges, back.exchanges
            self.apart = apart(front.first_time, back.first_time)
            self.found = match_nested(self.front, self.back, (front.connections, back.connections), self.apart)
            wrong = find_contradictions(self.front, self.back, self.found.front, self.apart - self.found.ahead)
            self.contradicted = len(wrong) * 2 > int((self.found.front >= 0).sum())
            self.found.front[wrong] = -1

    def pairs(self) -> Iterator[tuple[Row, Row]]:
        """Yield the matched exchanges as (row of the front, row of the back), in the order of the back."""
        rows = np.flatnonzero(self.found.front >= 0)
        here, there = self.front[self.found.front[rows]], self.back[rows]
        yield from zip(here.iter_rows(named=True), there.iter_rows(named=True), strict=True)

    def at_front(self, time: int | None) -> float | None:
        """Convert a time in the back capture (ns) to the clock of the front capture."""
        return None if time is None else time + self.apart - self.found.ahead

    def connects(self) -> list[float | None]:
        """Return the times (s) from SYN to SYN-ACK of connections that the proxy opened for requests that had already arrived."""
        shaken = self.recorded[1].connections.select("connection", "syn_time", "newest_answer_time")
        times = {number: (syn, answer) for number, syn, answer in shaken.iter_rows()}
        made: list[float | None] = []
        for here, there in self.pairs():
            syn, answer = times.get(there["connection"], (None, None))
            begun = self.at_front(syn)
            if there["exchange"] == 0 and begun is not None and answer is not None and begun >= (here["request_start"] or 0):
                made.append(_lag(syn, answer))
        return made

    def side(self, point: str) -> Side:
        number = int(point == "back")
        rows = (self.front, self.back)[number]
        ids = rows["connection"].unique(maintain_order=True).to_list()
        servers = dict.fromkeys(self.ends[number][one][1] for one in ids if one in self.ends[number])
        return Side(self.recorded[number].name, "back" if number else "front", len(ids), rows.height, list(servers)[:20])

    def answers(self) -> Iterator[OwnAnswer]:
        """Yield the exchanges in which the client did not get the server's response.

        In these exchanges, the client got an error (no response, or a status of 500 or above) that the server did not send in
        this form, or a response with a status other than the server's.
        """
        owner = self.found.front
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(self.front.height))
        ends = np.searchsorted(owner[order], np.arange(self.front.height), side="right")
        for number, row in enumerate(self.front.iter_rows(named=True)):
            tries = order[starts[number] : ends[number]]
            status = row["response_status"]
            error = status is None or status >= 500 or not row["has_response"]
            if not len(tries):
                if status is not None and status >= 500:
                    yield self._own(row, "never-passed-on", "no request to a server was captured", None)
                continue
            last = self.back.row(int(tries[-1]), named=True)
            if (answer := self._fate(row, last)) and (error or answer[0] == "other-answer"):
                fate, words = answer
                again = f", the last of {len(tries)} attempts" if len(tries) > 1 else ""
                yield self._own(row, fate, words + again, last)

    def _fate(self, row: Row, last: Row) -> tuple[Fate, str] | None:
        """Return how the server's response differs from the response at the front, as a Fate and a text; None if both are equal.

        `row`: the exchange at the front. `last`: the last exchange at the back that matches it.
        """
        if not last["has_response"] or last["response_status"] is None:
            return "no-answer", f"the server did not answer{_close_text(last)}"
        status = last["response_status"]
        ended, began = row["response_start"], self.at_front(last["response_start"])
        if ended is not None and began is not None and began > ended and status != row["response_status"]:
            late = (began - ended) / SECOND
            return "late-answer", f"the server answered {status}, {late:.3g} s later than the proxy"
        if status != row["response_status"]:
            return "other-answer", f"the server answered {status}"
        if last["response_end_reason"] in ("fin", "rst", "error") and row["response_end_reason"] != "complete":
            return "unfinished-answer", f"the response of the server ended early ({last['response_end_reason']})"
        return None

    def _own(self, row: Row, fate: Fate, words: str, last: Row | None) -> OwnAnswer:
        return OwnAnswer(
            row["connection"], row["exchange"], (row["request_start"] or 0) / SECOND, _request(row), row["response_status"],
            fate, words, last["connection"] if last else None, last["exchange"] if last else None,
        )  # fmt: skip

    def findings(self) -> list[Any]:
        """Return (side, rule, number of occurrences) for each rule with findings on a side.

        If one capture contains both sides, each finding counts for the side of its connection.
        """
        made: Counter[tuple[str, str]] = Counter()
        for number, rows in enumerate((self.front, self.back)):
            own = set(rows["connection"].to_list())
            for finding in self.recorded[number].findings:
                if finding.connection in own or (not self.one and finding.connection is None):
                    made["back" if number else "front", finding.rule] += finding.count
        return [(side, rule, count) for (side, rule), count in made.items()]

    def notes(self, answers: list[OwnAnswer]) -> list[str]:
        notes: list[str] = []
        if int((self.found.front >= 0).sum()) > MAX_HEADS:
            notes.append(f"field names are compared for the first {MAX_HEADS:,} exchanges only")
        if len(answers) > MAX_LISTED:
            notes.append(f"{len(answers):,} responses were not the server's; {MAX_LISTED:,} of them are listed")
        return notes


def _ends(recorded: ProxySide) -> Ends:
    rows = recorded.connections.select("connection", "client", "server", "client_direction").iter_rows()
    return {number: ends for number, *ends in rows}


def _close_text(row: Row) -> str:
    if row["server_close_time"] is None:
        return ""
    return " and reset the connection" if row["server_close_rst"] else " and closed the connection"


def _request(row: Row) -> str:
    return printable(f"{row['request_method']} {row['request_target']}")


def _passed_on(sides: _Sides, here: Row, there: Row) -> Passed:
    begun, answered = sides.at_front(there["request_start"]), sides.at_front(there["response_start"])
    over = sides.at_front(there["response_end"])
    request_lag = _lag(here["request_start"], begun)
    # a different status means a different response, not a forwarded one
    passed_on = here["response_status"] == there["response_status"]
    response_lag = _lag(answered, here["response_start"]) if passed_on else None
    in_proxy = None if request_lag is None or response_lag is None else round(request_lag + response_lag, 9)
    request_took, response_took = _lag(here["request_start"], here["request_end"]), _lag(answered, over)
    return Passed(
        _request(here), here["response_status"], here["connection"], here["exchange"], there["connection"], there["exchange"],
        request_lag, response_lag, in_proxy,
        bool(request_took is not None and request_took * SECOND >= HELD and begun is not None and begun >= here["request_end"]),
        bool(
            response_took is not None and response_took * SECOND >= HELD and over is not None
            and here["response_start"] is not None and here["response_start"] >= over - SECOND // 1000
        ),
        there["exchange"] > 0,
    )  # fmt: skip


def _lag(begin: float | None, end: float | None) -> float | None:
    """Return the time in seconds between two times in ns, or None if one is missing."""
    return None if begin is None or end is None else round((end - begin) / SECOND, 9)
