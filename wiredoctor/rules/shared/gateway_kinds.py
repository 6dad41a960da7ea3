"""Why a gateway failed its client: from an exchange at its front and what it tried at its back to a kind of `gateway-error`.

What one clock shows is causal: what a gateway does, it does after what made it do so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wiredoctor.rules.shared.connection_close import ENDLESS

SLACK = 50_000
"""Nanoseconds by which what happens on two connections may be captured in the wrong order."""

LONE_SYN = 900_000_000
"""Nanoseconds after which a single SYN of a gateway that gave up counts as not answered: Linux repeats it after 1 s."""

LATE = 1 << 62
"""The time of what did not happen."""

Key = tuple[int, int]

COLUMNS = (
    *("connection", "exchange", "request_frame", "request_last_frame", "request_start", "request_end", "request_offset"),
    *("request_ack", "request_end_reason", "has_response", "upgraded", "previous_end", "previous_end_offset"),
    *("response_frame", "response_last_frame", "response_start", "response_end", "response_status", "response_end_reason"),
    *("response_framing", "response_head_bytes", "response_body_bytes", "response_content_type"),
    "response_endless",
    *("client_close_frame", "client_close_time", "client_close_rst", "server_close_frame", "server_close_time"),
    *("server_close_rst", "server_close_ack", "server_close_offset", "gap_before", "request_has_gap", "response_has_gap"),
    "handshake",
)
"""Of tables.CLOSES, of the exchange at the front and of those at the back."""

OF_CONNECTION = (
    *("client", "server", "syns", "syn_frame", "syn_time", "last_syn_frame", "last_syn_time", "first_answer_time"),
    *("refused_frame", "refused_time", "history", "client_unacknowledged", "server_bytes"),
)
"""Of tables.CONNECTIONS, likewise."""


class Exchange:
    """An exchange as those see it who wait for its answer. Times are LATE where a thing did not happen."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        """`values`: COLUMNS and OF_CONNECTION, each with `prefix` before its name."""
        v = {name: values[prefix + name] for name in (*COLUMNS, *OF_CONNECTION)}
        self.values = v
        self.key: Key = (v["connection"], v["exchange"])
        self.server, self.client = str(v["server"]), str(v["client"])
        final = bool(v["has_response"]) and (v["response_status"] is None or v["response_status"] >= 200 or v["upgraded"])
        self.began = v["response_start"] if final and v["response_start"] is not None else LATE
        self.status: int | None = v["response_status"] if final else None
        self.whole = final and v["response_end_reason"] == "complete"
        self.has_head = final and (self.whole or v["response_framing"] != "none")
        self.left = LATE if v["client_close_time"] is None else v["client_close_time"]
        self.dropped = LATE if v["server_close_time"] is None else v["server_close_time"]
        self.server_first = (self.dropped, v["server_close_frame"] or 0) < (self.left, v["client_close_frame"] or 0)
        before = max(v["request_ack"] or 0, v["previous_end_offset"] or 0)
        # what came behind all that was understood, and is no response
        self.garbage = (
            not final and max(v["server_close_offset"] or 0, (v["server_bytes"] or 0) if v["handshake"] else 0) > before
        )
        self.answered = self.began if self.began < LATE else min(self.left, self.dropped)
        self.asked = v["request_end"] if v["request_end"] is not None else v["request_start"]

    @property
    def begun(self) -> bool:
        """Something of a final response was seen."""
        return self.began < LATE

    @property
    def kept(self) -> bool:
        """The server behind announced a closed window, and did not take the whole request."""
        v = self.values
        return "w" in (v["history"] or "") and (bool(v["client_unacknowledged"]) or v["request_end_reason"] != "complete")

    @property
    def met_a_close(self) -> bool:
        """The server had closed before the request came: nobody there has seen it ("Who took a lost request", row 8)."""
        v = self.values
        if v["server_close_ack"] is None or self.begun or v["server_close_ack"] > v["request_offset"]:
            return False
        answered = v["first_answer_time"]
        return v["previous_end"] is not None or (answered is not None and self.dropped - answered >= 1_000_000_000)


class Attempt:
    """A connection that was begun for an exchange at the front and carried no request."""

    def __init__(self, values: Mapping[str, Any], prefix: str) -> None:
        """`values`: as for Exchange."""
        self.values = {name: values[prefix + name] for name in OF_CONNECTION} | {"connection": values[prefix + "connection"]}
        self.server, self.client = str(self.values["server"]), str(self.values["client"])
        self.refused = LATE if self.values["refused_time"] is None else self.values["refused_time"]


Try = Exchange | Attempt


@dataclass(frozen=True)
class Front:
    """An exchange at the front with what was tried for it. `certain`: these are its tries, in order; else it has one of them."""

    exchange: Exchange
    tries: tuple[Try, ...] = ()
    certain: bool = True


@dataclass(frozen=True)
class Failure:
    """Why the client got a failure: the kind, the try that says so, all tries, and the gateways that passed it on, from the
    outermost. `whole`: all of that was seen, and nothing is left to choice."""

    kind: str
    last: Try | None
    tries: tuple[Try, ...] = ()
    through: tuple[Exchange, ...] = ()
    whole: bool = True


def failures(fronts: Mapping[Key, Front]) -> dict[Key, Failure]:
    """Exchanges at fronts -> why they failed; those that did not, or of which the gateway passed the failure on, are not in it,
    unless that came from a gateway as well."""
    found: dict[Key, Failure | None] = {}

    def of(key: Key, outer: frozenset[Key]) -> Failure | None:
        def inner_of(inner: Key) -> Failure | None:
            return None if inner in outer else of(inner, outer | {inner})

        if key not in found:
            found[key] = _failure(fronts, key, inner_of)
        return found[key]

    return {key: failure for key in fronts if (failure := of(key, frozenset((key,)))) is not None}


def _failure(fronts: Mapping[Key, Front], key: Key, inner_of: Callable[[Key], Failure | None]) -> Failure | None:
    front = fronts[key]
    if not front.certain:
        return _alike(front)
    last = last_of(front.tries)
    kind = kind_of(front.exchange, front.tries)
    own = None if kind is None else Failure(kind, last, front.tries)
    if not isinstance(last, Exchange) or last.key not in fronts:
        return own
    inner = inner_of(last.key)
    if inner is not None and (kind in _HANDED_ON or (kind is None and _passed_on(front.exchange, last))):
        return replace(inner, through=(last, *inner.through))
    behind = fronts[last.key]
    if kind == "timed-out" and inner is None and behind.certain and behind.tries:
        deeper = kind_of(front.exchange, behind.tries)
        if deeper is not None:
            return Failure(deeper, last_of(behind.tries), behind.tries, (last,))
    return own


_HANDED_ON = ("closed", "truncated", "timed-out", "rejected-response")


def _passed_on(front: Exchange, last: Exchange) -> bool:
    return front.status is not None and front.status == last.status and last.began <= front.began + SLACK


def _alike(front: Front) -> Failure | None:
    """Nobody knows which of the tries it had, but all of them failed in the same way."""
    tries = tuple(one for one in front.tries if _may_be(front.exchange, one))
    kinds = {kind_of(front.exchange, [one]) for one in tries}  # none: it is not known whether there was one
    [kind, *others] = kinds or {None}
    return None if kind is None or others else Failure(kind, tries[0], tries, whole=False)


def _may_be(front: Exchange, one: Try) -> bool:
    """It was begun while this waited, and did not fail later: a gateway that has answered does not wait any more."""
    if isinstance(one, Attempt):
        return True
    begun = one.values["request_start"]
    late = not one.whole and one.server_first and one.dropped > front.answered + SLACK
    return front.asked - SLACK <= begun <= front.answered + SLACK and not late


def last_of(tries: Sequence[Try]) -> Try | None:
    """The try that decides. A port that refuses because the process behind it has just died of this request is none."""
    if not tries:
        return None
    last = tries[-1]
    if isinstance(last, Attempt) and last.refused < LATE:
        died = [one for one in tries if isinstance(one, Exchange) and one.server == last.server and _gone(one)]
        return died[-1] if died else last
    return last


def _gone(one: Exchange) -> bool:
    return not one.begun and not one.garbage and one.server_first


def kind_of(front: Exchange, tries: Sequence[Try]) -> str | None:
    """The kind of failure that this exchange is; None where it is none, or was passed on."""
    last = last_of(tries)
    if front.begun and (front.status or 0) < 500:
        return _broken_off(front, last)
    if front.garbage:
        return None
    if not front.begun:
        if not front.server_first and not _failed_before(last, front.left):
            return None
    elif front.left < front.began:
        return None
    if last is None:
        return "not-passed-on"
    if isinstance(last, Attempt):
        if front.met_a_close and not any(isinstance(one, Exchange) for one in tries):
            return None
        if last.refused < LATE:
            return "refused"
        # the gateway's answer proves that it gave up
        return "unreachable" if last.values["syns"] > 1 or front.answered - last.values["syn_time"] >= LONE_SYN else None
    return _of_exchange(front, last)


def _failed_before(last: Try | None, left: int) -> bool:
    """The last try had failed before the client left."""
    if last is None or left == LATE:
        return False
    if isinstance(last, Attempt):
        return last.refused < left - SLACK
    return not last.whole and min(last.dropped, last.left) < left - SLACK


def _broken_off(front: Exchange, last: Try | None) -> str | None:
    """The response began, and did not end: because the one behind broke off, and not because the client left."""
    if front.whole or not isinstance(last, Exchange) or front.values["upgraded"]:
        return None
    stream = front.values["response_content_type"] in ENDLESS or front.values["response_endless"]
    if stream or last.whole or last.status != front.status:
        return None
    broke = min(last.dropped, last.left)
    ended = min(front.dropped, front.left)
    if LATE in (broke, ended) or (not front.server_first and broke > front.left - SLACK):
        return None
    return "truncated"


def _of_exchange(front: Exchange, last: Exchange) -> str | None:
    until = front.answered + SLACK
    if last.begun and last.began <= until:
        if front.status is not None and last.status == front.status:
            return None
        if not last.has_head:
            return "rejected-response" if last.server_first and last.dropped <= until else "timed-out"
        return "rejected-response" if last.whole or front.begun else "truncated"
    if last.garbage:
        return "rejected-response"
    if last.server_first and last.dropped <= until:
        return "closed"
    return "unsent" if last.kept else "timed-out"


AT_ONCE = 25_000_000
"""Nanoseconds within which a gateway begins a connection for a request, and answers when that has come to nothing: measured were
21 ms at the most."""


def shared_out(fronts: Mapping[Key, Front], loose: Mapping[str, Sequence[Attempt]]) -> dict[Key, Front]:
    """The same with attempts of which nobody knows whose they are, where an exchange at that gateway may be theirs.

    Where fewer were made than may have been, the gateway answered some from memory: then each belongs to the one that was
    answered next, or, never refused, to the newest.
    """
    without = {key: front.exchange for key, front in fronts.items() if not front.tries}
    some = {key: _maybe_for(one, loose.get(one.server, ())) for key, one in without.items()}
    owners: dict[int, list[Key]] = {}
    attempts: dict[int, Attempt] = {}
    for key, maybe in some.items():
        for one in maybe:
            owners.setdefault(one.values["connection"], []).append(key)
            attempts[one.values["connection"]] = one
    taken: set[Key] = set()
    for number, one in sorted(attempts.items(), key=lambda item: item[1].values["syn_time"]):
        if free := [key for key in owners[number] if key not in taken]:
            taken.add(min(free, key=lambda key: _distance(fronts[key].exchange, one)))
    made = {**fronts}
    for key, maybe in some.items():
        rivals = {rival for one in maybe for rival in owners[one.values["connection"]]}
        if maybe and (len(maybe) >= len(rivals) or key in taken):
            made[key] = Front(fronts[key].exchange, maybe, certain=False)
        elif not maybe and _tried_later(fronts[key].exchange, loose.get(fronts[key].exchange.server, ())):
            made[key] = Front(fronts[key].exchange, (), certain=False)
    return made


def _distance(front: Exchange, one: Attempt) -> int:
    return front.answered - one.refused if one.refused < LATE else one.values["syn_time"] - front.asked


def _tried_later(front: Exchange, some: Sequence[Attempt]) -> bool:
    """It waited long, and in that time began what came to nothing: it may have waited for a connection first."""
    slow = front.answered - front.asked >= LONE_SYN
    return slow and any(front.asked <= one.values["syn_time"] <= front.answered - LONE_SYN for one in some)


def _maybe_for(front: Exchange, some: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Which of these attempts, of which nobody knows whose they are, may be those of an exchange that has none."""
    if front.begun and (front.status or 0) < 500:
        return ()
    made: list[Attempt] = []
    for one in some:
        begun = one.values["syn_time"]
        if not front.asked - SLACK <= begun <= front.answered + SLACK:
            continue
        soon = begun <= front.asked + AT_ONCE
        if one.refused < LATE:
            fits = one.refused <= front.answered + SLACK and (soon or one.refused >= front.answered - AT_ONCE)
        else:
            fits = soon and front.answered - begun >= LONE_SYN
        if fits:
            made.append(one)
    return tuple(made)
