"""Find out why a client ended an exchange early (left_early.py), from its requests and closes on other connections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.left_early import AT_ONCE, NOT_AWAITED, TIMEOUT_NEAR, TIMEOUT_SHARE, timeout_near
from wiredoctor.rules.shared.reading_pace import PLAYERS
from wiredoctor.rules.shared.same_client import FAILED, WINDOW, Clients, Close, Request
from wiredoctor.tables import MILLISECOND, SECOND

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
    """Return why the client ended an exchange early: the first kind of client-abort that applies to `row`.

    `row` has the columns FACTS (left_early.py).
    """
    own = clients.request(row["connection"], row["exchange"])
    # a connection may also be opened long before its first request: a preconnect, or a pool
    first_syn = clients.repeated_syn(row["connection"]) if row["opens"] else None
    connecting = 0 if first_syn is None else row["ended_at"] - first_syn
    # a load test may also end right after a request, but its earlier requests got their responses
    not_awaited = row["at_end"] and not row["half_closed"]
    if not_awaited and (own is None or not clients.longest_wait(own, row["ended_at"])):
        return Ended("unread", not_awaited=True)
    group = _closed_by_program(row["connection"], row["ended_at"], row["timeout"], clients)
    if row["half_closed"] and all((close.waited or 0) <= NOT_AWAITED.value for close in group):
        group = ()  # a client that half-closes sends a FIN with each request
    if own is not None and row["partial"] and (other := _complete_beside(own, group, clients)) is not None:
        return Ended("seek", other)
    if group:
        first = _first(group, clients)
        silent = (
            first is not None
            and first.connection != row["connection"]
            and bool(_closed_by_program(first.connection, first.time, None, clients))
        )
        return Ended("stopped", others=group, silent=silent)
    player = own is not None and own.method == "GET" and re.search(PLAYERS, clients.user_agent(own)) is not None
    plays = row["media"] or player
    if row["head_only"]:
        return Ended(_kind_of_unread(own, row, clients, plays=plays))
    if own is not None and (ended := _decided_by_others(own, row, connecting, clients)) is not None:
        return ended
    if row["uploading"]:
        return Ended(None)
    may_seek = own is not None and row["partial"] and not row["stood_still"] and not _resumes(own, row, clients)
    if own is not None and may_seek and (other := _other_part(own, row, clients)) is not None:
        return Ended("seek", other)
    if row["in_pieces"] and not row["unknown"]:
        return Ended("stream")
    if plays and row["received"] and not row["stood_still"]:
        return Ended("left", plays=True)
    if row["timeout"] is not None and not row["at_end"]:
        return Ended("timeout", beside=_idle_beside(row["connection"], row["ended_at"], clients))
    if not row["at_end"] and connecting - row["waited"] >= RETRIED.value and (seconds := _timer(connecting)) is not None:
        return Ended("timeout", from_syn=seconds)
    longest = row["round_trip"] * (CROSSED.value if row["crosses"] else 100)
    if 100 * row["since_end"] < longest and not row["half_closed"]:
        return Ended("left", too_soon=row["round_trip"], crosses=row["crosses"])
    if row["flowing"] and own is not None and _count_unread(own, row, clients) == UNREAD.value:
        return Ended(_kind_of_unread(own, row, clients, plays=plays))
    return Ended("half-closed" if row["half_closed"] else "gave-up")


def _decided_by_others(own: Request, row: Mapping[str, Any], connecting: int, clients: Clients) -> Ended | None:
    """Return the reason that the client's other requests show; None if they show none.

    `connecting`: the time (ns) from the first of several SYNs of this connection to the client's close; 0 if there was only one
    SYN.
    """
    if (other := _replacing_request(own, row, clients)) is not None:
        return Ended("superseded", other)
    if (other := _answered_copy(own, row, clients)) is not None:
        return Ended("superseded", other, hedged=True)
    if (other := _next_page(own, row, clients)) is not None:
        return Ended("left", other)
    if (page := _closed_page(own, row, clients)) is not None:
        return Ended("left", page, closed=True)
    if not row["received"] and (group := _interrupted(row["connection"], row["ended_at"], row["to_client"], clients)):
        first = next((close for close in group if _awaits(close, clients)), None)
        silent = (
            first is not None
            and first.connection != row["connection"]
            and bool(_interrupted(first.connection, first.time, row["to_client"], clients))
        )
        return Ended("stopped", others=group, silent=silent)
    longest = _longest_wait(own, row, clients)
    if 100 * longest >= LONGER.value * max(row["waited"], connecting) > 0:
        return Ended("left", longest=longest)
    return None


def _kind_of_unread(own: Request | None, row: Mapping[str, Any], clients: Clients, *, plays: bool) -> str:
    """Return the kind for a client that closed after the head of the response. `own`: its request; None if unknown.

    A client that requests the same range several times wants that range, unlike a check that needs only the status.
    """
    if own is None or own.range_start is None or plays:
        return "unread"
    return "repeated" if _count_unread(own, row, clients) >= UNREAD.value - 1 else "unread"


def _count_unread(own: Request, row: Mapping[str, Any], clients: Clients) -> int:
    """Return the number of other responses to the same request whose bodies the client rejected, but at most UNREAD.

    Rejections at most WINDOW before or after the client closed the connection of `own` count. Only packets of that time are
    used, so the result does not depend on the other candidates of the batch.
    """
    since, until = row["ended_at"] - WINDOW, row["ended_at"] + WINDOW
    own_close = clients.close_of(row["connection"])
    server = None if own_close is None or not since <= own_close.time <= until else own_close.server
    soon = max(AT_ONCE.value, 4 * row["round_trip"])
    found = 0
    for other in clients.same_requests(own, since, until):
        close = clients.close_of(other.connection)
        if (
            close is not None
            and since <= close.time <= until
            and close.had_head
            and close.server == server
            and (other.range_start, other.body_due) == (own.range_start, own.body_due)
            and other == clients.newest_request(other.connection)
            and other.answered is not None
            and close.time - other.answered <= soon
        ):
            found += 1
            if found == UNREAD.value:
                break
    return found


def _longest_wait(own: Request, row: Mapping[str, Any], clients: Clients) -> int:
    """Return the client's longest earlier wait (ns) for a similar response; 0 if no earlier wait counts.

    If the present wait is as long as a usual timeout, waits of another program on the same host do not count. A server may begin
    the response to a long poll at once and end it when there is news, so such a wait lasts until the end of the response. Waits
    for the end of other responses do not count, because a timeout between two segments starts again with each segment.
    """
    if row["uploading"] or (row["begun"] and (not row["unsized"] or row["timeout"] is not None)):
        return 0
    return clients.longest_wait(own, row["ended_at"], whole=row["begun"], same_program=row["timeout"] is not None)


def _closed_by_program(connection: int, moment: int, timeout: int | None, clients: Clients) -> tuple[Close, ...]:
    """Return the closes by a client program that ended at about `moment` (ns); empty if nothing shows that it ended.

    `timeout`: the usual timeout (s) that the client's wait on `connection` matches; None if it matches none.
    """
    near = clients.closes(connection, moment - TOGETHER.value, moment + TOGETHER.value)
    waits = [close.waited for close in near if close.waited is not None]
    if _one_by_one([(close, _since_opening(close, clients)) for close in near]):
        return ()
    undue = [wait for wait in waits if not _is_timeout(wait)]
    mine = [close for close in near if clients.may_be_same(connection, close.connection)]
    if len(undue) >= PAIR.value and len(waits) >= SEVERAL.value and _share_a_deadline(mine, moment, clients):
        return ()
    if len(undue) >= SEVERAL.value and max(undue) - min(undue) > max(undue) // 10 + 20 * MILLISECOND:
        return tuple(near)
    server = next((close.server for close in near if close.connection == connection), None)
    # another program's connection that was not waiting ends by itself at any time
    same = [
        close
        for close in near
        if close.server == server and (close.waited is not None or clients.may_be_same(connection, close.connection))
    ]
    fits = timeout is not None or any(_is_timeout(wait) for wait in waits) or _share_a_timer(same)
    fits = fits or _one_by_one([(close, close.waited) for close in same])
    if len(same) < PAIR.value or fits:
        return ()
    due = [close for close in same if close.waited is not None]
    at_once = all((close.waited or 0) < NO_TIMEOUT.value and _awaits(close, clients) for close in due)
    if not at_once and clients.went_on(connection, moment + 1, moment + WINDOW):
        return ()
    return tuple(same)


def _idle_beside(connection: int, moment: int, clients: Clients) -> int:
    """Return how many idle connections to the same server the client closed when it closed this connection at `moment` (ns)."""
    near = clients.closes(connection, moment - MILLISECOND, moment + MILLISECOND)
    server = next((close.server for close in near if close.connection == connection), None)
    return sum(
        close.server == server and close.waited is None and clients.may_be_same(connection, close.connection)
        for close in near
        if close.connection != connection
    )


def _interrupted(connection: int, moment: int, to_client: int, clients: Clients) -> tuple[Close, ...]:
    """Return the closes of a client that the user interrupted (as with Ctrl-C); empty if there is no evidence of that.

    Unlike a program that has ended (`_closed_by_program`), the client may send requests again later. The evidence: the client
    closed several connections to one server while it was waiting for responses, although it had waited as long for similar
    responses before. So no timeout had expired.
    `to_client`: the round trip (ns) between capture point and client; a wait may exceed earlier waits by this time.
    """
    near = clients.closes(connection, moment - TOGETHER.value, moment + TOGETHER.value)
    server = next((close.server for close in near if close.connection == connection), None)
    waiting = [close for close in near if close.server == server and close.waited is not None]
    if len(waiting) < SEVERAL.value:
        return ()
    for close in waiting:
        own = clients.newest_request(close.connection)
        if own is None or close.waited is None or _is_timeout(close.waited):
            return ()
        longest = clients.longest_wait(own, close.time)
        if not longest or longest + to_client < close.waited:
            return ()
    return tuple(waiting)


def _awaits(close: Close, clients: Clients) -> bool:
    """Return True if the client closed before the response to its newest request on the connection began."""
    own = clients.newest_request(close.connection)
    return own is not None and (own.answered is None or own.answered > close.time)


def _timer(wait: int, tolerance: int | None = None) -> int | None:
    """Return the whole number of seconds near this wait (ns), which is then probably a timeout; None if none is near.

    `tolerance` (ns): the maximum difference; TIMER if it is None.
    """
    seconds = (wait + SECOND // 2) // SECOND
    near = abs(wait - seconds * SECOND) <= (TIMER.value if tolerance is None else tolerance)
    return seconds if near else None


def _share_a_timer(closes: Sequence[Close]) -> bool:
    """Return whether all these connections were closed after the same whole number of seconds without a response.

    If so, the client probably sent their requests together, and its timeout expired on every connection.
    """
    waits = {None if close.waited is None else _timer(close.waited) for close in closes}
    return len(waits) == 1 and waits.isdisjoint({None, 0})


def _share_a_deadline(closes: Sequence[Close], moment: int, clients: Clients) -> bool:
    """Return whether a time limit for several requests together expired at about `moment` (ns), when these connections closed.

    The wait for the oldest request shows the limit. The client must then have contacted the server again, unlike a program that
    has ended.
    """
    oldest = max(close.waited or 0 for close in closes)
    at_half = oldest <= SHARED_LIMIT.value and bool(_timer(2 * oldest, 2 * TIMER.value))
    goes_on = any(clients.went_on(close.connection, moment + 1, moment + WINDOW) for close in closes)
    return goes_on and (at_half or _is_timeout(oldest))


def _one_by_one(closes: Sequence[tuple[Close, int | None]]) -> bool:
    """Return whether the intervals between these closes equal those between the requests, or those between the first SYNs.

    Then each request had a timeout of its own, which need not be a whole number of seconds. A program that ends closes all
    connections at the same time, however long it has waited on each. `closes`: each close with the time (ns) since the client
    sent the request, or opened the connection; None if it was not waiting.
    """
    waits = [waited for _, waited in closes if waited is not None]
    if len(waits) < max(len(closes), PAIR.value):
        return False
    spread = max(close.time for close, _ in closes) - min(close.time for close, _ in closes)
    return spread >= ONE_BY_ONE.value and 4 * (max(waits) - min(waits)) <= spread


def _since_opening(close: Close, clients: Clients) -> int | None:
    """Return the age (ns) of a connection at its close; None unless the client was waiting for its first response there."""
    own = clients.newest_request(close.connection)
    first = own is not None and own.exchange == 0 and close.waited is not None
    return close.time - clients.opened(close.connection) if first else None


def _is_timeout(wait: int) -> bool:
    return timeout_near(wait, TIMEOUT_SHARE.value, TIMEOUT_NEAR.value) is not None


def _first(group: tuple[Close, ...], clients: Clients) -> Close | None:
    """Return the close that the finding about the complete group describes.

    It is the first close at which the client was waiting for a response; None if there is none.
    """
    return next((close for close in group if close.waited is not None and not _is_not_awaited(close, clients)), None)


def _is_not_awaited(close: Close, clients: Clients) -> bool:
    """Return whether a client closed so soon after its request that it cannot have been waiting for a response.

    `decide` reports such a close by itself, without the other closes at that moment.
    """
    own = clients.newest_request(close.connection)
    soon = close.waited is not None and close.waited <= NOT_AWAITED.value
    return soon and own is not None and not clients.longest_wait(own, close.time)


def _replacing_request(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the request that replaced `own`: the same path with another query; None if there is none.

    After a wait as long as a usual timeout, or as the client's other waits, the result is None: the client then repeats its
    request, perhaps with another query (a time stamp, a new signature), or asks for the next thing on its list.
    """
    if row["timeout"] is not None or own.method not in ("GET", "HEAD"):
        return None
    until = row["ended_at"] + REPLACED.value + 2 * row["round_trip"]
    since = max(row["ended_at"] - REPLACED.value, own.start + 1)
    others = (other for other in clients.other_requests(own, since, until) if other.target != own.target)
    place = (own.method, own.host, own.path)
    found = next((other for other in others if (other.method, other.host, other.path) == place), None)
    return None if found is None or _is_own_timeout(row, clients) else found


def _is_own_timeout(row: Mapping[str, Any], clients: Clients) -> bool:
    """Return whether all waits that the client ended within WINDOW of this one were about as long as this one."""
    near = clients.closes(row["connection"], row["ended_at"] - WINDOW, row["ended_at"] + WINDOW)
    server = next((close.server for close in near if close.connection == row["connection"]), None)
    waits = [
        close.waited
        for close in near
        if close.waited is not None and close.server == server and clients.may_be_same(row["connection"], close.connection)
    ]
    if len(waits) < OWN_TIMER.value or row["waited"] < TYPED.value:
        return False
    return 100 * (max(waits) - min(waits)) <= ALIKE.value * row["waited"]


def _answered_copy(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the copy of `own` on another connection that was answered just before the client closed the connection of `own`.

    Return None if there is no such copy, or if several copies were answered during the wait of `own`: a client that repeats a
    request all the time often gets a response to some copy.
    """
    moment = row["ended_at"]
    if row["received"] or row["timeout"] is not None:
        return None
    copies = clients.answered_copies(own, own.start - REPLACED.value, moment)
    got = [*islice((other for other in copies if own.start - WINDOW <= other.start <= moment), 2)]
    if len(got) != 1:
        return None
    [other] = got
    had = other.answered if other.completed is None or other.completed > moment else other.completed
    soon = had is not None and moment - had <= REPLACED.value + 2 * row["round_trip"]
    return other if soon and other.status is not None and other.status < FAILED else None


def _next_page(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the request for the page that the user opened instead of waiting for the response to `own`; None if unknown.

    A script may open another page after a timeout. So after a wait as long as a usual timeout, the page must have been requested
    before the close.
    """
    if row["waited"] >= SHORT.value or own.navigation:
        return None
    moment, slack = row["ended_at"], MOVED.value + 2 * row["round_trip"]
    latest = moment + slack if row["timeout"] is None else moment
    for other in clients.pages(own, own.start + 1, latest):
        begun = other.answered is not None and moment - slack <= other.answered <= moment
        if other.start >= moment - slack or begun:
            return other
    return None


def _closed_page(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the request for the page that the user closed while it was loading; None if there is none."""
    if row["waited"] >= SHORT.value or own.navigation or row["timeout"] is not None:
        return None
    page = next(clients.pages(own, own.start - SHORT.value, own.start), None)
    after = row["ended_at"] + 1
    if (
        page is None
        or clients.went_on(row["connection"], after, after + WINDOW)
        or any(clients.other_requests(own, after, after + WINDOW))
    ):
        return None
    return page


def _complete_beside(own: Request, group: Sequence[Close], clients: Clients) -> Request | None:
    """Return the request for another part of the resource, or for all of it, whose complete response came on a connection in
    `group`; None if there is none.

    A download manager that requests a resource in parts cancels a part that another connection has delivered.
    """
    newest = (clients.newest_request(close.connection) for close in group if close.waited is None)
    others = (other for other in newest if other is not None and other.asks_the_same(own))
    return next((other for other in others if other.range_start != own.range_start), None)


def _resumes(own: Request, row: Mapping[str, Any], clients: Clients) -> bool:
    """Return whether the client resumed a download, which had stopped, at exactly the byte where it had stopped."""
    if row["stalled_at"] is None:
        return False
    later = clients.same_requests(own, row["ended_at"], row["ended_at"] + WINDOW)
    return any(other.range_start == row["stalled_at"] for other in later)


def _other_part(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the client's request for another part of the same resource; None if there is none.

    A request for the complete resource counts only if it was sent after `own`. If it was sent before, `own` only continues a
    download that broke off.
    """
    since, until = min(own.start, row["ended_at"] - WINDOW), row["ended_at"] + WINDOW
    parts = (
        other for other in clients.same_requests(own, since, until) if other.range_start is not None or other.start > own.start
    )
    return next((other for other in parts if other.range_start != own.range_start), None)
