"""Find out why a client ended an exchange early (left_early.py), from its requests and closes on other connections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.left_early import AT_ONCE, NOT_AWAITED, TIMEOUT_NEAR, TIMEOUT_SHARE, timeout_near
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.clients import FAILED, WINDOW, Clients, Close, Request
from wiredoctor.world.reading_pace import PLAYERS

TOGETHER = Threshold("50 ms", "the maximum time between closes of one host that count as the end of one program")
SEVERAL = Threshold(
    "3 connections",
    "the minimum number of connections, closed at the same moment after different waits, that show the end of a program; "
    "timeouts would expire at different moments",
)
PAIR = Threshold(
    "2 connections",
    "the minimum number of connections, closed at the same moment, that show the end of a program if the client then requests "
    "nothing more from that server",
)
NO_TIMEOUT = Threshold(
    "20 ms",
    "if a client closes several connections at the same moment, each within this time after its request, the program has ended: "
    "timeouts are longer",
)
ONE_BY_ONE = Threshold(
    "4 ms",
    "the minimum time between the first and the last close if each connection had a timeout of its own; a program that ends "
    "closes all of its connections faster",
)
REPLACED = Threshold("50 ms", "the maximum time (plus two round trips) within which a program replaces a request with another")
OWN_TIMER = Threshold(
    "3 waits",
    "the minimum number of waits within 5 s that show a timeout if all of them are about as long; people do not type in such a "
    "rhythm",
)
ALIKE = Threshold("5 %", "the maximum difference of such waits, as a share of the current wait; timers expire a little late")
TYPED = Threshold("300 ms", "the minimum length of such waits, because programs that type for tests wait for less")
MOVED = Threshold(
    "500 ms",
    "the maximum time (plus two round trips) within which a browser requests the next page and cancels the previous page's "
    "requests",
)
SHORT = Threshold("4 s", "the maximum wait of a user who leaves a loading page; a longer wait is more likely a timeout")
TIMER = Threshold("20 ms", "the tolerance for timeouts of whole seconds; timers seldom expire later")
RETRIED = Threshold(
    "900 ms",
    "the minimum time from the first SYN to the request if the SYN was retransmitted; most systems retransmit it after 1 s",
)
SHARED_LIMIT = Threshold(
    "10 s",
    "the maximum wait for which any multiple of 0.5 s counts as a time limit for several requests together, if the client then "
    "contacts the server again; a longer wait must match a usual timeout, because one wait in twelve is near a multiple by "
    "chance",
)
CROSSED = Threshold(
    "125 %",
    "the maximum wait of a client that closed while the response was on its way, as a share of the round trip (more than "
    "100 %, because round trips vary)",
)
LONGER = Threshold(
    "110 %",
    "the minimum length of an earlier wait for a similar response, as a share of the current wait, to show that the client's "
    "timeout is longer than the current wait",
)


UNREAD = Threshold(
    "3 aborts",
    "the minimum number of times within 5 s that a client aborts the same request right after the head of the response, to show "
    "a habit; then a close that comes longer after the head also counts, because the path may have delayed that close",
)


class Ended(NamedTuple):
    """Why a client ended an exchange early.

    `kind`: a kind of client-abort, "half-closed", or None for an unfinished upload without a known reason.
    `other`: the request that replaced this one, or the request for the page that the user left.
    `closed`: `other` loads a page that the user closed.
    `others`: the connections that the same client closed at that moment.
    `silent`: the finding about one of `others` covers this exchange.
    `longest`: the client's longest earlier wait (ns) for a similar response.
    `not_awaited`: the client closed together with the end of its request, so it did not wait for a response.
    `hedged`: `other` is a copy of this request, and got its response.
    `plays`: the client is a media player that was receiving data.
    `too_soon`: the round trip (ns), if the client closed before a response could have come.
    `crosses`: the client closed while the response was on its way.
    `from_syn`: the timeout (s), if it is measured from a SYN that was retransmitted.
    `beside`: the number of idle connections to the same server that the client closed with this one, if a timeout fits.
    """

    kind: str | None
    other: Request | None = None
    closed: bool = False
    others: tuple[Close, ...] = ()
    silent: bool = False
    longest: int = 0
    not_awaited: bool = False
    hedged: bool = False
    plays: bool = False
    too_soon: int = 0
    crosses: bool = False
    from_syn: int | None = None
    beside: int = 0


def decide(row: Mapping[str, Any], clients: Clients) -> Ended:
    """Return why the client ended one exchange early (see `Reasons.decide`)."""
    return Reasons(clients).decide(row)


class Reasons:
    """The reasons why clients ended exchanges early. The thresholds are read once for all exchanges."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._alike = ALIKE.value
        self._at_once = AT_ONCE.value
        self._crossed = CROSSED.value
        self._longer = LONGER.value
        self._moved = MOVED.value
        self._not_awaited = NOT_AWAITED.value
        self._no_timeout = NO_TIMEOUT.value
        self._spread = ONE_BY_ONE.value
        self._own_timer = OWN_TIMER.value
        self._pair = PAIR.value
        self._replaced = REPLACED.value
        self._retried = RETRIED.value
        self._several = SEVERAL.value
        self._shared_limit = SHARED_LIMIT.value
        self._short = SHORT.value
        self._timeout_near = TIMEOUT_NEAR.value
        self._timeout_share = TIMEOUT_SHARE.value
        self._tolerance = TIMER.value
        self._together = TOGETHER.value
        self._typed = TYPED.value
        self._unread = UNREAD.value
        self._timeouts: dict[int, bool] = {}
        self._programs: dict[tuple[int, int, int | None], tuple[Close, ...]] = {}

    def decide(self, row: Mapping[str, Any]) -> Ended:
        """Return why the client ended an exchange early: the first kind of client-abort that applies to `row`.

        `row` has the columns FACTS (left_early.py).
        """
        own = self._clients.request(row["connection"], row["exchange"])
        # a connection may also be opened long before its first request: a preconnect, or a pool
        first_syn = self._clients.repeated_syn(row["connection"]) if row["opens"] else None
        connecting = 0 if first_syn is None else row["ended_at"] - first_syn
        # a load test may also end right after a request, but its earlier requests got their responses
        not_awaited = row["at_end"] and not row["half_closed"]
        if not_awaited and (own is None or not self._clients.longest_wait(own, row["ended_at"])):
            return Ended("unread", not_awaited=True)
        group = self._closed_by_program(row["connection"], row["ended_at"], row["timeout"])
        if row["half_closed"] and all((close.waited or 0) <= self._not_awaited for close in group):
            group = ()  # a client that half-closes sends a FIN with each request
        if own is not None and row["partial"] and (other := self._complete_beside(own, group)) is not None:
            return Ended("seek", other)
        if group:
            first = self._first(group)
            silent = (
                first is not None
                and first.connection != row["connection"]
                and bool(self._closed_by_program(first.connection, first.time, None))
            )
            return Ended("stopped", others=group, silent=silent)
        player = own is not None and own.method == "GET" and re.search(PLAYERS, self._clients.user_agent(own)) is not None
        plays = row["media"] or player
        if row["head_only"]:
            return Ended(self._kind_of_unread(own, row, plays=plays))
        if own is not None and (ended := self._decided_by_others(own, row, connecting)) is not None:
            return ended
        if row["uploading"]:
            return Ended(None)
        may_seek = own is not None and row["partial"] and not row["stood_still"] and not self._resumes(own, row)
        if own is not None and may_seek and (other := self._other_part(own, row)) is not None:
            return Ended("seek", other)
        if row["in_pieces"] and not row["unknown"]:
            return Ended("stream")
        if plays and row["received"] and not row["stood_still"]:
            return Ended("left", plays=True)
        if row["timeout"] is not None and not row["at_end"]:
            return Ended("timeout", beside=self._idle_beside(row["connection"], row["ended_at"]))
        if not row["at_end"] and connecting - row["waited"] >= self._retried and (seconds := self._timer(connecting)) is not None:
            return Ended("timeout", from_syn=seconds)
        longest = row["round_trip"] * (self._crossed if row["crosses"] else 100)
        if 100 * row["since_end"] < longest and not row["half_closed"]:
            return Ended("left", too_soon=row["round_trip"], crosses=row["crosses"])
        if row["flowing"] and own is not None and self._count_unread(own, row) == self._unread:
            return Ended(self._kind_of_unread(own, row, plays=plays))
        return Ended("half-closed" if row["half_closed"] else "gave-up")

    def _decided_by_others(self, own: Request, row: Mapping[str, Any], connecting: int) -> Ended | None:
        """Return the reason that the client's other requests show; None if they show none.

        `connecting`: the time (ns) from the first of several SYNs of this connection to the client's close; 0 if there was only
        one SYN.
        """
        if (other := self._replacing_request(own, row)) is not None:
            return Ended("superseded", other)
        if (other := self._answered_copy(own, row)) is not None:
            return Ended("superseded", other, hedged=True)
        if (other := self._next_page(own, row)) is not None:
            return Ended("left", other)
        if (page := self._closed_page(own, row)) is not None:
            return Ended("left", page, closed=True)
        if not row["received"] and (group := self._interrupted(row["connection"], row["ended_at"], row["to_client"])):
            first = next((close for close in group if close.awaits), None)
            silent = (
                first is not None
                and first.connection != row["connection"]
                and bool(self._interrupted(first.connection, first.time, row["to_client"]))
            )
            return Ended("stopped", others=group, silent=silent)
        longest = self._longest_wait(own, row)
        if 100 * longest >= self._longer * max(row["waited"], connecting) > 0:
            return Ended("left", longest=longest)
        return None

    def _kind_of_unread(self, own: Request | None, row: Mapping[str, Any], *, plays: bool) -> str:
        """Return the kind for a client that closed after the head of the response. `own`: its request; None if unknown.

        A client that requests the same range several times wants that range, unlike a check that needs only the status.
        """
        if own is None or own.range_start is None or plays:
            return "unread"
        return "repeated" if self._count_unread(own, row) >= self._unread - 1 else "unread"

    def _count_unread(self, own: Request, row: Mapping[str, Any]) -> int:
        """Return the number of other responses to the same request whose bodies the client rejected, but at most UNREAD.

        Rejections at most WINDOW before or after the client closed the connection of `own` count. Only packets of that time are
        used, so the result does not depend on the other candidates of the batch.
        """
        since, until = row["ended_at"] - WINDOW, row["ended_at"] + WINDOW
        own_close = self._clients.close_of(row["connection"])
        server = None if own_close is None or not since <= own_close.time <= until else own_close.server
        soon = max(self._at_once, 4 * row["round_trip"])
        found = 0
        for other in self._clients.same_requests(own, since, until):
            close = self._clients.close_of(other.connection)
            if (
                close is not None
                and since <= close.time <= until
                and close.had_head
                and close.server == server
                and (other.range_start, other.body_due) == (own.range_start, own.body_due)
                and other == self._clients.newest_request(other.connection)
                and other.answered is not None
                and close.time - other.answered <= soon
            ):
                found += 1
                if found == self._unread:
                    break
        return found

    def _longest_wait(self, own: Request, row: Mapping[str, Any]) -> int:
        """Return the client's longest earlier wait (ns) for a similar response; 0 if no earlier wait counts.

        If the present wait is as long as a usual timeout, waits of another program on the same host do not count. A server may
        begin the response to a long poll at once and end it when there is news, so such a wait lasts until the end of the
        response. Waits for the end of other responses do not count, because a timeout between two segments starts again with
        each segment.
        """
        if row["uploading"] or (row["begun"] and (not row["unsized"] or row["timeout"] is not None)):
            return 0
        return self._clients.longest_wait(own, row["ended_at"], whole=row["begun"], same_program=row["timeout"] is not None)

    def _closed_by_program(self, connection: int, moment: int, timeout: int | None) -> tuple[Close, ...]:
        """Return the closes by a client program that ended at about `moment` (ns); empty if nothing shows that it ended.

        `timeout`: the usual timeout (s) that the client's wait on `connection` matches; None if it matches none.
        """
        key = connection, moment, timeout  # several exchanges ask about the first close of their group
        if key not in self._programs:
            near = self._clients.closes(connection, moment - self._together, moment + self._together)
            self._programs[key] = self._ended_program(connection, moment, timeout, near)
        return self._programs[key]

    def _ended_program(self, connection: int, moment: int, timeout: int | None, near: Sequence[Close]) -> tuple[Close, ...]:
        """Return those closes in `near` that the end of a program explains (see `_closed_by_program`)."""
        waits = [close.waited for close in near if close.waited is not None]
        if self._are_one_by_one(near, [close.age for close in near if close.age is not None]):
            return ()
        undue = [wait for wait in waits if not self._is_timeout(wait)]
        if len(undue) >= self._pair and len(waits) >= self._several and self._share_a_deadline(connection, near, moment):
            return ()
        if len(undue) >= self._several and max(undue) - min(undue) > max(undue) // 10 + 20 * MILLISECOND:
            return tuple(near)
        if timeout is not None or len(undue) < len(waits):
            return ()
        server = next((close.server for close in near if close.connection == connection), None)
        # another program's connection that was not waiting ends by itself at any time
        same = [
            close
            for close in near
            if close.server == server and (close.waited is not None or self._clients.may_be_same(connection, close.connection))
        ]
        due = [close for close in same if close.waited is not None]
        if (
            len(same) < self._pair
            or self._share_a_timer(same)
            or self._are_one_by_one(same, [close.waited or 0 for close in due])
        ):
            return ()
        at_once = all((close.waited or 0) < self._no_timeout and close.awaits for close in due)
        if not at_once and self._clients.went_on(connection, moment + 1, moment + WINDOW):
            return ()
        return tuple(same)

    def _idle_beside(self, connection: int, moment: int) -> int:
        """Return how many idle connections to the same server the client closed when it closed this one at `moment` (ns)."""
        near = self._clients.closes(connection, moment - MILLISECOND, moment + MILLISECOND)
        server = next((close.server for close in near if close.connection == connection), None)
        return sum(
            close.server == server and close.waited is None and self._clients.may_be_same(connection, close.connection)
            for close in near
            if close.connection != connection
        )

    def _interrupted(self, connection: int, moment: int, to_client: int) -> tuple[Close, ...]:
        """Return the closes of a client that the user interrupted (as with Ctrl-C); empty if there is no evidence of that.

        Unlike a program that has ended (`_closed_by_program`), the client may send requests again later. The evidence: the client
        closed several connections to one server while it was waiting for responses, although it had waited as long for similar
        responses before. So no timeout had expired.
        `to_client`: the round trip (ns) between capture point and client; a wait may exceed earlier waits by this time.
        """
        near = self._clients.closes(connection, moment - self._together, moment + self._together)
        server = next((close.server for close in near if close.connection == connection), None)
        waiting = [close for close in near if close.server == server and close.waited is not None]
        if len(waiting) < self._several:
            return ()
        for close in waiting:
            if close.waited is None or self._is_timeout(close.waited):
                return ()
            own = self._clients.newest_request(close.connection)
            if own is None:
                return ()
            longest = self._clients.longest_wait(own, close.time)
            if not longest or longest + to_client < close.waited:
                return ()
        return tuple(waiting)

    def _timer(self, wait: int, tolerance: int | None = None) -> int | None:
        """Return the whole number of seconds near this wait (ns), which is then probably a timeout; None if none is near.

        `tolerance` (ns): the maximum difference; TIMER if it is None.
        """
        seconds = (wait + SECOND // 2) // SECOND
        near = abs(wait - seconds * SECOND) <= (self._tolerance if tolerance is None else tolerance)
        return seconds if near else None

    def _share_a_timer(self, closes: Sequence[Close]) -> bool:
        """Return whether all these connections were closed after the same whole number of seconds without a response.

        If so, the client probably sent their requests together, and its timeout expired on every connection.
        """
        waits = {None if close.waited is None else self._timer(close.waited) for close in closes}
        return len(waits) == 1 and waits.isdisjoint({None, 0})

    def _share_a_deadline(self, connection: int, near: Sequence[Close], moment: int) -> bool:
        """Return whether a time limit for several requests together expired at about `moment` (ns).

        The client's wait for the oldest request shows the limit. The client must then have contacted the server again, unlike a
        program that has ended. `connection`: a connection of the client. `near`: the closes by its host at that time.
        """
        mine = [close for close in near if self._clients.may_be_same(connection, close.connection)]
        oldest = max((close.waited or 0 for close in mine), default=0)
        at_half = oldest <= self._shared_limit and bool(self._timer(2 * oldest, 2 * self._tolerance))
        if not at_half and not self._is_timeout(oldest):
            return False
        return any(self._clients.went_on(close.connection, moment + 1, moment + WINDOW) for close in mine)

    def _are_one_by_one(self, closes: Sequence[Close], waits: Sequence[int]) -> bool:
        """Return whether the intervals between these closes equal those between the requests, or those between the first SYNs.

        Then each request had a timeout of its own, which need not be a whole number of seconds. A program that ends closes all
        connections at the same time, however long it has waited on each. `closes`: in time order. `waits`: the times (ns) since
        the client sent the request, or opened the connection, of those connections on which it was waiting.
        """
        if len(waits) < max(len(closes), self._pair):
            return False
        spread = closes[-1].time - closes[0].time
        return spread >= self._spread and 4 * (max(waits) - min(waits)) <= spread

    def _is_timeout(self, wait: int) -> bool:
        if wait not in self._timeouts:
            self._timeouts[wait] = timeout_near(wait, self._timeout_share, self._timeout_near) is not None
        return self._timeouts[wait]

    def _first(self, group: tuple[Close, ...]) -> Close | None:
        """Return the close that the finding about the complete group describes.

        It is the first close at which the client was waiting for a response; None if there is none.
        """
        return next((close for close in group if close.waited is not None and not self._is_not_awaited(close)), None)

    def _is_not_awaited(self, close: Close) -> bool:
        """Return whether a client closed so soon after its request that it cannot have been waiting for a response.

        `decide` reports such a close by itself, without the other closes at that moment.
        """
        if close.waited is None or close.waited > self._not_awaited:
            return False
        own = self._clients.newest_request(close.connection)
        return own is not None and not self._clients.longest_wait(own, close.time)

    def _replacing_request(self, own: Request, row: Mapping[str, Any]) -> Request | None:
        """Return the request that replaced `own`: the same path with another query; None if there is none.

        After a wait as long as a usual timeout, or as the client's other waits, the result is None: the client then repeats its
        request, perhaps with another query (a time stamp, a new signature), or asks for the next thing on its list.
        """
        if row["timeout"] is not None or own.method not in ("GET", "HEAD"):
            return None
        until = row["ended_at"] + self._replaced + 2 * row["round_trip"]
        since = max(row["ended_at"] - self._replaced, own.start + 1)
        others = (other for other in self._clients.other_requests(own, since, until) if other.target != own.target)
        place = (own.method, own.host, own.path)
        found = next((other for other in others if (other.method, other.host, other.path) == place), None)
        return None if found is None or self._is_own_timeout(row) else found

    def _is_own_timeout(self, row: Mapping[str, Any]) -> bool:
        """Return whether all waits that the client ended within WINDOW of this one were about as long as this one."""
        near = self._clients.closes(row["connection"], row["ended_at"] - WINDOW, row["ended_at"] + WINDOW)
        server = next((close.server for close in near if close.connection == row["connection"]), None)
        waits = [
            close.waited
            for close in near
            if close.waited is not None
            and close.server == server
            and self._clients.may_be_same(row["connection"], close.connection)
        ]
        if len(waits) < self._own_timer or row["waited"] < self._typed:
            return False
        return 100 * (max(waits) - min(waits)) <= self._alike * row["waited"]

    def _answered_copy(self, own: Request, row: Mapping[str, Any]) -> Request | None:
        """Return the copy of `own` on another connection that was answered just before the client closed the connection of `own`.

        Return None if there is no such copy, or if several copies were answered during the wait of `own`: a client that repeats a
        request all the time often gets a response to some copy.
        """
        moment = row["ended_at"]
        if row["received"] or row["timeout"] is not None:
            return None
        copies = self._clients.answered_copies(own, own.start - self._replaced, moment)
        got = [*islice((other for other in copies if own.start - WINDOW <= other.start <= moment), 2)]
        if len(got) != 1:
            return None
        [other] = got
        had = other.answered if other.completed is None or other.completed > moment else other.completed
        soon = had is not None and moment - had <= self._replaced + 2 * row["round_trip"]
        return other if soon and other.status is not None and other.status < FAILED else None

    def _next_page(self, own: Request, row: Mapping[str, Any]) -> Request | None:
        """Return the request for the page that the user opened instead of waiting for the response to `own`; None if unknown.

        A script may open another page after a timeout. So after a wait as long as a usual timeout, the page must have been
        requested before the close.
        """
        if row["waited"] >= self._short or own.navigation:
            return None
        moment, slack = row["ended_at"], self._moved + 2 * row["round_trip"]
        latest = moment + slack if row["timeout"] is None else moment
        for other in self._clients.pages(own, own.start + 1, latest):
            begun = other.answered is not None and moment - slack <= other.answered <= moment
            if other.start >= moment - slack or begun:
                return other
        return None

    def _closed_page(self, own: Request, row: Mapping[str, Any]) -> Request | None:
        """Return the request for the page that the user closed while it was loading; None if there is none."""
        if row["waited"] >= self._short or own.navigation or row["timeout"] is not None:
            return None
        page = next(self._clients.pages(own, own.start - self._short, own.start), None)
        after = row["ended_at"] + 1
        if (
            page is None
            or self._clients.went_on(row["connection"], after, after + WINDOW)
            or any(self._clients.other_requests(own, after, after + WINDOW))
        ):
            return None
        return page

    def _complete_beside(self, own: Request, group: Sequence[Close]) -> Request | None:
        """Return the request for another part of the resource, or for all of it, whose complete response came on a connection in
        `group`; None if there is none.

        A download manager that requests a resource in parts cancels a part that another connection has delivered.
        """
        newest = (self._clients.newest_request(close.connection) for close in group if close.waited is None)
        others = (other for other in newest if other is not None and other.asks_the_same(own))
        return next((other for other in others if other.range_start != own.range_start), None)

    def _resumes(self, own: Request, row: Mapping[str, Any]) -> bool:
        """Return whether the client resumed a download, which had stopped, at exactly the byte where it had stopped."""
        if row["stalled_at"] is None:
            return False
        later = self._clients.same_requests(own, row["ended_at"], row["ended_at"] + WINDOW)
        return any(other.range_start == row["stalled_at"] for other in later)

    def _other_part(self, own: Request, row: Mapping[str, Any]) -> Request | None:
        """Return the client's request for another part of the same resource; None if there is none.

        A request for the complete resource counts only if it was sent after `own`. If it was sent before, `own` only continues a
        download that broke off.
        """
        since, until = min(own.start, row["ended_at"] - WINDOW), row["ended_at"] + WINDOW
        parts = (
            other
            for other in self._clients.same_requests(own, since, until)
            if other.range_start is not None or other.start > own.start
        )
        return next((other for other in parts if other.range_start != own.range_start), None)
