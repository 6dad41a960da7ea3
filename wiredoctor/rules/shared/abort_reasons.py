"""Find out why a client ended an exchange early (left_early.py), from its requests and closes on other connections."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from wiredoctor import limits
from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.left_early import AT_ONCE, NOT_AWAITED, TIMEOUT_NEAR, TIMEOUT_SHARE, EarlyClose, timeout_near
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world import World
from wiredoctor.world.aborts import Aborts, Answer
from wiredoctor.world.client_rows import WINDOW
from wiredoctor.world.clients import ClientClose, Clients, Request
from wiredoctor.world.exchange import SERVER_ERROR
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


_SHOWN = 3
"""The maximum number of other connections, closed at the same moment, that are shown as evidence."""


class Ended(NamedTuple):
    """Why a client ended an exchange early.

    `kind`: a kind of client-abort, "half-closed", or None for an unfinished upload, or a request whose head is cut off, without a
    known reason.
    `how`: the condition of that kind that applies. For unread: "not-awaited" (the client closed together with the end of its
    request, so it did not wait for a response). For superseded: "copy" (`other` is a copy of this request, and got its response)
    or "elsewhere" (another server answered).
    For timeout: "equal-waits" (the client always gives up after `span`).
    For left: "page" or "closed-page" (`other` loads a page, which the user opened instead or closed), "media" (the client is a
    media player that was receiving data), "longer" (see `span`), "too-soon" or "crossing" (the response was on its way).
    `other`: the request that replaced this one, or the request for the page that the user left.
    `closed`: the number of connections that the same client closed at that moment. `waiting`: on how many of these it was waiting
    for a response. `waits`: the shortest and the longest of these waits (ns). `shown`: the times (ns), connections and frames of
    some of the other closes.
    `silent`: the finding about another one of these connections covers this exchange.
    `span`: the client's longest earlier wait (ns) for a similar response; for "too-soon" and "crossing", the round trip (ns).
    `from_syn`: the timeout (s), if it is measured from a SYN that was retransmitted.
    `beside`: the number of idle connections to the same server that the client closed with this one, if a timeout fits.
    `elsewhere`: for "elsewhere", the answer of another server, for which the client closes its connections (`closed` of them).
    """

    kind: str | None
    how: str | None = None
    other: Request | None = None
    closed: int = 0
    waiting: int = 0
    waits: Sequence[int] = ()
    shown: Sequence[tuple[int, int, int]] = ()
    silent: bool = False
    span: int | None = None
    from_syn: int | None = None
    beside: int = 0
    elsewhere: Answer | None = None


ASKS = (Clients, Aborts)


def decide(row: Mapping[str, Any], world: World) -> Ended:
    """Return why the client ended an exchange early: the first kind of client-abort that applies.

    `row` has the columns of EarlyClose (left_early.py).
    """
    x = EarlyClose._make(map(row.__getitem__, EarlyClose._fields))
    found = _Reasons(x, world.of(Clients)).find()
    if found.kind not in ("stopped", "superseded", "left", "timeout", "gave-up", "half-closed"):
        return found
    aborts, until = world.of(Aborts), world.until(x.ended_at + WINDOW)
    limit = None if x.received or x.crosses or found.kind == "timeout" else aborts.limit(x.connection, x.waited, until)
    # programs that type for tests replace their requests after equal times
    if limit is not None and not (found.kind == "superseded" and limit < TYPED.value):
        return Ended("timeout", "equal-waits", span=limit)
    other = aborts.elsewhere(x.connection, x.exchange, x.ended_at - x.waited, until)
    if other is None or (found.kind == "timeout" and found.how == "equal-waits"):
        # the missing fields may show a user who left the page, or a request that others replace
        return Ended(None) if x.cut and found.kind == "gave-up" else found
    if other.answer is None:
        return Ended("superseded", "elsewhere", silent=True)
    # one finding about each client and server is enough
    told = world.memory.setdefault("answered-elsewhere", dict[tuple[str, str], tuple[int, int]]())
    silent = told.setdefault(other.place, (x.connection, x.exchange)) != (x.connection, x.exchange)
    if len(told) > limits.SUSPECTS.value:
        del told[next(iter(told))]
    return Ended("superseded", "elsewhere", elsewhere=other.answer, closed=other.closes, silent=silent)


class _Reasons:
    """The search for the reason why a client ended one exchange early (`x`)."""

    def __init__(self, x: EarlyClose, clients: Clients) -> None:
        self._x = x
        self._clients = clients
        self._own = clients.request(x.connection, x.exchange)
        # a connection may also be opened long before its first request: a preconnect, or a pool
        first_syn = clients.repeated_syn(x.connection) if x.opens else None
        self._connecting = 0 if first_syn is None else x.ended_at - first_syn

    def find(self) -> Ended:
        """Return the first reason that applies."""
        return (
            self._not_awaited()
            or self._stopped()
            or (Ended(self._kind_of_unread()) if self._x.head_only else None)
            or (self._decided_by_others(self._own) if self._own is not None else None)
            or (Ended(None) if self._x.uploading else self._decided_by_response())
            or self._decided_by_wait()
            or Ended("half-closed" if self._x.half_closed else None if self._x.sending else "gave-up")
        )

    def _not_awaited(self) -> Ended | None:
        """Return kind unread if the client did not wait for the response."""
        if not self._x.at_end or self._x.half_closed:
            return None
        # a load test may also end right after a request, but its earlier requests got their responses
        waited = self._own is not None and self._clients.longest_wait(self._own, self._x.ended_at)
        return None if waited else Ended("unread", "not-awaited")

    def _stopped(self) -> Ended | None:
        """Return kind stopped if the client's program ended, or kind seek if it canceled one of several parts of a resource."""
        x = self._x
        group = self._closed_by_program(x.connection, x.ended_at, x.timeout)
        if x.half_closed and all((close.waited or 0) <= NOT_AWAITED.value for close in group):
            group = ()  # a client that half-closes sends a FIN with each request
        if self._own is not None and x.partial and (other := self._complete_beside(self._own, group)):
            return Ended("seek", other=other)
        first = self._first(group)
        return self._of_group(group, first, lambda one: self._closed_by_program(one.connection, one.time, None))

    def _of_group(
        self,
        group: tuple[ClientClose, ...],
        first: ClientClose | None,
        group_of: Callable[[ClientClose], tuple[ClientClose, ...]],
    ) -> Ended | None:
        """Return kind stopped if `group` has any closes. The finding about `first` covers the others if it has a group, too."""
        silent = first is not None and first.connection != self._x.connection and bool(group_of(first))
        waits = sorted(close.waited for close in group if close.waited is not None)
        ends = waits if len(waits) < 2 else [waits[0], waits[-1]]
        shown = [(one.time, one.connection, one.frame) for one in group if one.connection != self._x.connection][:_SHOWN]
        stopped = Ended("stopped", None, None, len(group), len(waits), ends, shown, silent)
        return stopped if group else None

    def _decided_by_others(self, own: Request) -> Ended | None:
        """Return the reason that the client's other requests show; None if they show none."""
        x = self._x
        if other := self._replacing_request(own):
            return Ended("superseded", other=other)
        if other := self._answered_copy(own):
            return Ended("superseded", "copy", other)
        if other := self._next_page(own):
            return Ended("left", "page", other)
        if other := self._closed_page(own):
            return Ended("left", "closed-page", other)
        if not x.received and (group := self._interrupted(x.connection, x.ended_at)):
            first = next((close for close in group if close.awaits), None)
            return self._of_group(group, first, lambda one: self._interrupted(one.connection, one.time))
        longest = self._longest_wait(own)
        longer = 100 * longest >= LONGER.value * max(x.waited, self._connecting) > 0
        return Ended("left", "longer", span=longest) if longer else None

    def _decided_by_response(self) -> Ended | None:
        """Return the reason that the response shows; None if it shows none."""
        x, own = self._x, self._own
        may_seek = x.partial and not x.stood_still
        if own is not None and may_seek and not self._resumes(own) and (other := self._other_part(own)):
            return Ended("seek", other=other)
        if x.in_pieces and not x.unknown:
            return Ended("stream")
        return Ended("left", "media") if self._plays() and x.received and not x.stood_still else None

    def _decided_by_wait(self) -> Ended | None:
        """Return the reason that the client's wait shows; None if it shows none."""
        x, connecting = self._x, self._connecting
        if x.timeout is not None and not x.at_end:
            return Ended("timeout", beside=self._idle_beside(x.connection, x.ended_at))
        if not x.at_end and connecting - x.waited >= RETRIED.value and (seconds := _timer(connecting, TIMER.value)) is not None:
            return Ended("timeout", from_syn=seconds)
        longest = x.round_trip * (CROSSED.value if x.crosses else 100)
        if 100 * x.since_end < longest and not x.half_closed:
            return Ended("left", "crossing" if x.crosses else "too-soon", span=x.round_trip)
        if x.flowing and self._own is not None and self._count_unread(self._own) == UNREAD.value:
            return Ended(self._kind_of_unread())
        return None

    def _plays(self) -> bool:
        """Return whether the client plays audio or video."""
        own = self._own
        player = own is not None and own.method == "GET" and re.search(PLAYERS, self._clients.user_agent(own))
        return self._x.media or bool(player)

    def _kind_of_unread(self) -> str:
        """Return the kind for a client that closed after the head of the response.

        A client that requests the same range several times wants that range, unlike a check that needs only the status.
        """
        if self._own is None or self._own.range_start is None or self._plays():
            return "unread"
        return "repeated" if self._count_unread(self._own) >= UNREAD.value - 1 else "unread"

    def _count_unread(self, own: Request) -> int:
        """Return the number of other responses to the same request whose bodies the client rejected, but at most UNREAD.

        Rejections at most WINDOW before or after the client closed the connection of `own` count. Only packets of that time are
        used, so the result does not depend on the other candidates of the batch.
        """
        since, until = self._x.ended_at - WINDOW, self._x.ended_at + WINDOW
        own_close = self._clients.close_of(self._x.connection)
        server = None if own_close is None or not since <= own_close.time <= until else own_close.server
        soon = max(AT_ONCE.value, 4 * self._x.round_trip)
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
                if found == UNREAD.value:
                    break
        return found

    def _longest_wait(self, own: Request) -> int:
        """Return the client's longest earlier wait (ns) for a similar response; 0 if no earlier wait counts.

        If the present wait is as long as a usual timeout, waits of another program on the same host do not count. A server may
        begin the response to a long poll at once and end it when there is news, so such a wait lasts until the end of the
        response. Waits for the end of other responses do not count, because a timeout between two segments starts again with
        each segment.
        """
        if self._x.uploading or (self._x.begun and (not self._x.unsized or self._x.timeout is not None)):
            return 0
        return self._clients.longest_wait(own, self._x.ended_at, whole=self._x.begun, same_program=self._x.timeout is not None)

    def _closed_by_program(self, connection: int, moment: int, timeout: int | None) -> tuple[ClientClose, ...]:
        """Return the closes by a client program that ended at about `moment` (ns); empty if nothing shows that it ended.

        `timeout`: the usual timeout (s) that the client's wait on `connection` matches; None if it matches none.
        """
        known = self._clients.ended_programs
        key = connection, moment, timeout  # several exchanges ask about the first close of their group
        if key not in known:
            near = self._clients.closes(connection, moment - TOGETHER.value, moment + TOGETHER.value)
            known[key] = self._ended_program(connection, moment, timeout, near)
        return known[key]

    def _ended_program(
        self, connection: int, moment: int, timeout: int | None, near: Sequence[ClientClose]
    ) -> tuple[ClientClose, ...]:
        """Return those closes in `near` that the end of a program explains (see `_closed_by_program`)."""
        waits = [close.waited for close in near if close.waited is not None]
        if self._are_one_by_one(near, [close.age for close in near if close.age is not None]):
            return ()
        share, most = TIMEOUT_SHARE.value, TIMEOUT_NEAR.value
        undue = [wait for wait in waits if timeout_near(wait, share, most) is None]
        if len(undue) >= PAIR.value and len(waits) >= SEVERAL.value and self._share_a_deadline(connection, near, moment):
            return ()
        longest, shortest = max(undue, default=0), min(undue, default=0)
        if len(undue) >= SEVERAL.value and longest - shortest > longest // 10 + 20 * MILLISECOND:
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
            len(same) < PAIR.value
            or self._share_a_timer(same)
            or self._are_one_by_one(same, [close.waited or 0 for close in due])
        ):
            return ()
        longest = max((close.waited or 0 for close in due), default=0)
        at_once = longest < NO_TIMEOUT.value and all(close.awaits for close in due)
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

    def _interrupted(self, connection: int, moment: int) -> tuple[ClientClose, ...]:
        """Return the closes of a client that the user interrupted (as with Ctrl-C); empty if there is no evidence of that.

        Unlike a program that has ended (`_closed_by_program`), the client may send requests again later. The evidence: the client
        closed several connections to one server while it was waiting for responses, although it had waited as long for similar
        responses before. So no timeout had expired. As seen at the capture point, a wait may exceed earlier waits by the round
        trip between this point and the client.
        """
        near = self._clients.closes(connection, moment - TOGETHER.value, moment + TOGETHER.value)
        server = next((close.server for close in near if close.connection == connection), None)
        waiting = [close for close in near if close.server == server and close.waited is not None]
        if len(waiting) < SEVERAL.value:
            return ()
        for close in waiting:
            if close.waited is None or _is_timeout(close.waited):
                return ()
            own = self._clients.newest_request(close.connection)
            if own is None:
                return ()
            longest = self._clients.longest_wait(own, close.time)
            if not longest or longest + self._x.to_client < close.waited:
                return ()
        return tuple(waiting)

    def _share_a_timer(self, closes: Sequence[ClientClose]) -> bool:
        """Return whether all these connections were closed after the same whole number of seconds without a response.

        If so, the client probably sent their requests together, and its timeout expired on every connection.
        """
        waits = {None if close.waited is None else _timer(close.waited, TIMER.value) for close in closes}
        return len(waits) == 1 and waits.isdisjoint({None, 0})

    def _share_a_deadline(self, connection: int, near: Sequence[ClientClose], moment: int) -> bool:
        """Return whether a time limit for several requests together expired at about `moment` (ns).

        The client's wait for the oldest request shows the limit. The client must then have contacted the server again, unlike a
        program that has ended. `connection`: a connection of the client. `near`: the closes by its host at that time.
        """
        mine = [close for close in near if self._clients.may_be_same(connection, close.connection)]
        oldest = max((close.waited or 0 for close in mine), default=0)
        at_half = oldest <= SHARED_LIMIT.value and bool(_timer(2 * oldest, 2 * TIMER.value))
        if not at_half and not _is_timeout(oldest):
            return False
        return any(self._clients.went_on(close.connection, moment + 1, moment + WINDOW) for close in mine)

    def _are_one_by_one(self, closes: Sequence[ClientClose], waits: Sequence[int]) -> bool:
        """Return whether the intervals between these closes equal those between the requests, or those between the first SYNs.

        Then each request had a timeout of its own, which need not be a whole number of seconds. A program that ends closes all
        connections at the same time, however long it has waited on each. `closes`: in time order. `waits`: the times (ns) since
        the client sent the request, or opened the connection, of those connections on which it was waiting.
        """
        if len(waits) < max(len(closes), PAIR.value):
            return False
        spread = closes[-1].time - closes[0].time
        return spread >= ONE_BY_ONE.value and 4 * (max(waits) - min(waits)) <= spread

    def _first(self, group: tuple[ClientClose, ...]) -> ClientClose | None:
        """Return the close that the finding about the complete group describes.

        It is the first close at which the client was waiting for a response; None if there is none.
        """
        return next((close for close in group if close.waited is not None and not self._is_not_awaited(close)), None)

    def _is_not_awaited(self, close: ClientClose) -> bool:
        """Return whether a client closed so soon after its request that it cannot have been waiting for a response.

        `decide` reports such a close by itself, without the other closes at that moment.
        """
        if close.waited is None or close.waited > NOT_AWAITED.value:
            return False
        own = self._clients.newest_request(close.connection)
        return own is not None and not self._clients.longest_wait(own, close.time)

    def _replacing_request(self, own: Request) -> Request | None:
        """Return the request that replaced `own`: the same path with another query; None if there is none.

        After a wait as long as a usual timeout, or as the client's other waits, the result is None: the client then repeats its
        request, perhaps with another query (a time stamp, a new signature), or asks for the next thing on its list.
        """
        if self._x.timeout is not None or own.method not in ("GET", "HEAD"):
            return None
        until = self._x.ended_at + REPLACED.value + 2 * self._x.round_trip
        since = max(self._x.ended_at - REPLACED.value, own.start + 1)
        others = (other for other in self._clients.other_requests(own, since, until) if other.target != own.target)
        place = (own.method, own.host, own.path)
        found = next((other for other in others if (other.method, other.host, other.path) == place), None)
        return None if found is None or self._is_own_timeout() else found

    def _is_own_timeout(self) -> bool:
        """Return whether all waits that the client ended within WINDOW of this one were about as long as this one."""
        near = self._clients.closes(self._x.connection, self._x.ended_at - WINDOW, self._x.ended_at + WINDOW)
        server = next((close.server for close in near if close.connection == self._x.connection), None)
        waits = [
            close.waited
            for close in near
            if close.waited is not None
            and close.server == server
            and self._clients.may_be_same(self._x.connection, close.connection)
        ]
        if len(waits) < OWN_TIMER.value or self._x.waited < TYPED.value:
            return False
        return 100 * (max(waits) - min(waits)) <= ALIKE.value * self._x.waited

    def _answered_copy(self, own: Request) -> Request | None:
        """Return the copy of `own` on another connection that was answered just before the client closed the connection of `own`.

        Return None if there is no such copy, or if several copies were answered during the wait of `own`: a client that repeats a
        request all the time often gets a response to some copy.
        """
        moment = self._x.ended_at
        if self._x.received or self._x.timeout is not None:
            return None
        copies = self._clients.answered_copies(own, own.start - REPLACED.value, moment)
        got = [*islice((other for other in copies if own.start - WINDOW <= other.start <= moment), 2)]
        if len(got) != 1:
            return None
        [other] = got
        had = other.answered if other.completed is None or other.completed > moment else other.completed
        soon = had is not None and moment - had <= REPLACED.value + 2 * self._x.round_trip
        return other if soon and other.status is not None and other.status < SERVER_ERROR else None

    def _next_page(self, own: Request) -> Request | None:
        """Return the request for the page that the user opened instead of waiting for the response to `own`; None if unknown.

        A script may open another page after a timeout. So after a wait as long as a usual timeout, the page must have been
        requested before the close.
        """
        if self._x.waited >= SHORT.value or own.navigation:
            return None
        moment, slack = self._x.ended_at, MOVED.value + 2 * self._x.round_trip
        latest = moment + slack if self._x.timeout is None else moment
        for other in self._clients.pages(own, own.start + 1, latest):
            begun = other.answered is not None and moment - slack <= other.answered <= moment
            if other.start >= moment - slack or begun:
                return other
        return None

    def _closed_page(self, own: Request) -> Request | None:
        """Return the request for the page that the user closed while it was loading; None if there is none."""
        if self._x.waited >= SHORT.value or own.navigation or self._x.timeout is not None:
            return None
        page = next(self._clients.pages(own, own.start - SHORT.value, own.start), None)
        after = self._x.ended_at + 1
        if (
            page is None
            or self._clients.went_on(self._x.connection, after, after + WINDOW)
            or any(self._clients.other_requests(own, after, after + WINDOW))
        ):
            return None
        return page

    def _complete_beside(self, own: Request, group: Sequence[ClientClose]) -> Request | None:
        """Return the request for another part of the resource, or for all of it, whose complete response came on a connection in
        `group`; None if there is none.

        A download manager that requests a resource in parts cancels a part that another connection has delivered.
        """
        newest = (self._clients.newest_request(close.connection) for close in group if close.waited is None)
        others = (other for other in newest if other is not None and other.asks_the_same(own))
        return next((other for other in others if other.range_start != own.range_start), None)

    def _resumes(self, own: Request) -> bool:
        """Return whether the client resumed a download, which had stopped, at exactly the byte where it had stopped."""
        if self._x.stalled_at is None:
            return False
        later = self._clients.same_requests(own, self._x.ended_at, self._x.ended_at + WINDOW)
        return any(other.range_start == self._x.stalled_at for other in later)

    def _other_part(self, own: Request) -> Request | None:
        """Return the client's request for another part of the same resource; None if there is none.

        A request for the complete resource counts only if it was sent after `own`. If it was sent before, `own` only continues a
        download that broke off.
        """
        since, until = min(own.start, self._x.ended_at - WINDOW), self._x.ended_at + WINDOW
        parts = (
            other
            for other in self._clients.same_requests(own, since, until)
            if other.range_start is not None or other.start > own.start
        )
        return next((other for other in parts if other.range_start != own.range_start), None)


def _timer(wait: int, tolerance: int) -> int | None:
    """Return the whole number of seconds near this wait (ns), which is then probably a timeout; None if none is near.

    `tolerance` (ns): the maximum difference; timers seldom expire later.
    """
    seconds = (wait + SECOND // 2) // SECOND
    return seconds if abs(wait - seconds * SECOND) <= tolerance else None


def _is_timeout(wait: int) -> bool:
    return timeout_near(wait, TIMEOUT_SHARE.value, TIMEOUT_NEAR.value) is not None
