"""Write the words and the evidence about a failure of a gateway (gateways.kinds.Failure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wiredoctor.gateways.kinds import LONG_HEAD, Failure, is_cut_short, is_discarded, is_lost, silence, with_last_data
from wiredoctor.gateways.known import LATE, SLACK
from wiredoctor.rules.shared.words import Packet, fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.exchange import STALLED, Attempt, Exchange, Try

BROKEN_OFF = ("truncated", "stream-timed-out")
"""The kinds of `gateway-error` in which the client got only a part of the response."""


def time_waited(front: Exchange, last: Try) -> int:
    """Return how long (ns) the gateway waited in its last try.

    The wait begins with the SYN if the gateway only tried to connect. Otherwise it begins with the end of the gateway's request,
    or with its first byte if the gateway never completed the request. The wait ends when the gateway closes the connection of
    that try, or when it answers its client.
    """
    if isinstance(last, Attempt):
        return max(front.answered - last.started, 0)
    end = min(front.answered, last.left)
    return max(end - (last.asked if last.asked <= end else last.values.request_start), 0)


def client_result(front: Exchange) -> tuple[str, str]:
    """Return two texts about what the client received: one for the message, one for the title."""
    gateway = f"the gateway {front.server}"
    if front.is_error:
        return f"got {front.status} from {gateway}", f"The gateway answered {front.status}"
    left = ", which closed the connection" if front.server_first else ", and the client left"
    if front.begun and (front.whole or front.invalid):
        return f"got only part of the {front.status} from {gateway}, which ended it", f"The gateway ended its {front.status}"
    if front.begun:
        ended = "broke off" if front.server_first else "did not finish"
        return f"got only part of the {front.status} from {gateway}{left}", f"The gateway {ended} its {front.status}"
    return f"got no response from {gateway}{left}", "The gateway sent no response"


_NOT_SHOWN = (
    "the capture shows no request of the gateway to a server. The gateway sent none, or it asked a server that this capture does "
    "not show, for example on another port, on a Unix socket or behind TLS"
)


class Lost(NamedTuple):
    """A server that a gateway could not reach shortly before a request: the frame and time (ns) of its unanswered SYN."""

    server: str
    frame: int
    time: int


def message_reason(front: Exchange, failure: Failure, lost: Lost | None, no_neighbor: bool, *, hidden: bool) -> str:
    """Return the text that states the reason in the message.

    `lost`: the server that the gateway could not reach shortly before, if any. `no_neighbor`: the gateway answered after about
    the time of one to four ARP timeouts. `hidden`: the gateway may have asked a server that the capture does not show.
    """
    last, kind = failure.last, failure.kind
    # of several gateways in a row, the text names the one nearest to the server
    who = f"the gateway {failure.through[-1].server}" if failure.through else "the gateway"
    if last is None:
        no_try = _NOT_SHOWN if hidden else f"{who} sent the request to no server"
        return no_try + _no_try_reason(front, lost, no_neighbor)
    gave_up, waited = f"{who} gave up", duration_text(time_waited(front, last))
    one = len({tried.server for tried in failure.tries}) == 1
    behind = f"the server behind it ({last.server})" if failure.whole or one else "a server behind it"
    if isinstance(last, Attempt):
        if kind == "refused":
            return f"{behind} refused the connection"
        if last.rejected <= front.answered + SLACK:
            return f"{who} could not connect to {behind}: an ICMP error answered its SYN"
        syns = last.ends.syns
        return f"{behind} did not answer" + (f" (SYN sent {syns} times)" if syns > 1 else "")
    foreign = is_cut_by_device(failure)
    closer = f"a device on the path, not {behind}," if foreign else behind
    if kind == "closed" and last.asked_in_part:
        after = duration_text(max(last.dropped - last.values.request_start, 0))
        return (
            f"{closer} closed the connection ({_close(last, 'server')}) in the middle of the request, {after} after its start, "
            "without a response"
        )
    if kind == "closed":
        after = duration_text(max(last.dropped - last.asked, 0))
        return f"{closer} closed the connection ({_close(last, 'server')}) {after} after the request, without a response"
    if is_starved(front, failure):
        return f"the client had sent only part of its request, so {behind} could not answer it, and {gave_up}"
    if kind == "timed-out" and is_lost(front, last):
        missing = "the beginning of the" if last.headless else "part of the" if last.holed else "the"
        return f"{missing} response of {behind} did not arrive (it was never acknowledged), and {gave_up} after {waited}"
    if kind == "timed-out":
        part = "had sent only part of the response head" if last.begun and not _is_late(last) else "had not answered"
        return f"{behind} {part} after {waited}, and {gave_up}"
    if kind == "unsent":
        sending = duration_text(max(min(front.answered, last.left) - last.values.request_start, 0))
        return f"{behind} read the request too slowly: it had received only part of the request after {sending}, and {gave_up}"
    if is_refused_early(front, failure):
        closed = _close(last, "server")
        return (
            f"{behind} sent {fault_text(last)} and closed the connection ({closed}) before it had received the complete request, "
            f"and {who} did not forward that response"
        )
    if kind == "rejected-response" and is_discarded(front, last):
        return f"{behind} sent {fault_text(last)}, and {who} closed both connections without passing it on"
    if kind == "rejected-response":
        return f"{behind} sent {fault_text(last)}, and {who} rejected it"
    if foreign:
        return f"a device on the path broke off the response of {behind} ({_close(last, 'server')} in its name)"
    if last.server_first:
        hung = 0 if front.server_first else front.left - last.dropped
        rest = f", and {who} did not end its own response in the {duration_text(hung)} after that" if hung >= SECOND else ""
        return f"{behind} broke off its response ({_close(last, 'server')}){rest}"
    stalled = time_stalled(front, failure)
    if last.holed:
        after = "" if stalled is None else f" after {duration_text(stalled)} without more"
        return f"part of the response of {behind} did not arrive (it was never acknowledged), and {gave_up}{after}"
    nothing = "" if stalled is None else f", and then nothing for {duration_text(stalled)}"
    return f"only part of the response of {behind} had come{nothing}, and {gave_up}"


def unread_reason(failure: Failure, closed: int) -> str:
    """Return the text that states the reason if the server's window had been `closed` (ns) when the gateway gave up."""
    who = f"the gateway {failure.through[-1].server}" if failure.through else "the gateway"
    behind = "" if failure.last is None else failure.last.server
    return (
        f"the server behind it ({behind}) did not read the request: its window had been closed for {duration_text(closed)} when "
        f"{who} gave up"
    )


def is_cut_by_device(failure: Failure) -> bool:
    """Return whether a device on the path ended the last try in the name of the server behind the gateway."""
    last = failure.last
    if failure.kind not in ("closed", "truncated", "rejected-response") or not isinstance(last, Exchange):
        return False
    return _closer(last) == "server" and last.close_of("server").origin == "between"


def is_close_doubtful(front: Exchange, failure: Failure) -> bool:
    """Return whether it is possible but not proved that a device on the path ended the last try or the client's exchange."""
    closes = [(one, _closer(one)) for one in (failure.last, front) if isinstance(one, Exchange)]
    return any(who is not None and one.close_of(who).origin == "doubtful" for one, who in closes)


def is_refused_early(front: Exchange, failure: Failure) -> bool:
    """Return whether the gateway failed because the server answered and closed before it had received the complete request."""
    return failure.kind == "rejected-response" and is_cut_short(front, failure.last)


def closer_text(failure: Failure) -> str:
    """Return the text for the title about who closed the connection to the server behind the gateway."""
    return "a device on the path to the server behind it" if is_cut_by_device(failure) else "the server behind it"


def is_starved(front: Exchange, failure: Failure) -> bool:
    """Return whether the server could not answer in time because the client had not sent its complete request."""
    last = failure.last
    in_part = front.asked_in_part or front.asked > front.answered
    return failure.kind == "timed-out" and isinstance(last, Exchange) and in_part and last.asked_in_part


def time_stalled(front: Exchange, failure: Failure) -> int | None:
    """Return how long (ns) the server had sent nothing when the gateway gave up the server's incomplete response.

    Return None if the gateway did not give up, if the time is too short for a timeout, or if the gateway may have closed its
    receive window.
    """
    last = failure.last
    if failure.kind not in BROKEN_OFF or not isinstance(last, Exchange) or (stalled := silence(front, last)) is None:
        return None
    return stalled if stalled >= STALLED and blocked_until(front, failure) is None else None


def broken_text(front: Exchange, failure: Failure) -> str:
    """Return the text for the title about a response that broke off: who ended it."""
    last = failure.last
    if is_cut_by_device(failure):
        return "a device on the path broke off the response of the server behind it"
    if not isinstance(last, Exchange) or last.server_first:
        return "the response of the server behind it broke off"
    if last.holed:
        return "part of the response of the server behind it did not arrive"
    if time_stalled(front, failure) is not None:
        return "the response of the server behind it stopped in the middle"
    return "it gave up the response of the server behind it"


def blocked_until(front: Exchange, failure: Failure) -> int | None:
    """Return when (ns) the gateway gave up a response after it had closed its own receive window; otherwise None.

    A gateway closes that window if it cannot send to its own client.
    """
    last = failure.last
    if failure.kind != "truncated" or not front.begun or not isinstance(last, Exchange) or last.server_first:
        return None
    return last.left if "W" in (last.ends.history or "") else None


def fault_text(last: Exchange) -> str:
    """Return the text about the fault in a response that the gateway rejected."""
    if last.garbage:
        return "a response that is not HTTP"
    head = last.values.response_head_bytes
    if last.has_head:
        of = f" with a head of {head:,} bytes" if (head or 0) >= SHORT_LIMIT else ""
        return f"{'a' if last.whole else 'an invalid' if last.invalid else 'an incomplete'} {last.status}{of}"
    if last.server_first:
        return "a response that broke off inside its head"
    if (head or 0) >= LONG_HEAD:
        return f"a response whose head has more than {head:,} bytes"
    return "a response whose head the gateway did not read to its end"


def _no_try_reason(front: Exchange, lost: Lost | None, no_neighbor: bool) -> str:
    if no_neighbor:
        return "; it waited about as long as a host that sends ARP requests to a neighbor which does not answer"
    if lost is not None:
        before = duration_text(max(front.values.request_start - lost.time, 0))
        return f"; it could not reach {lost.server} {before} earlier"
    head = front.values.request_head_bytes or 0
    return f"; the head of the request has {head:,} bytes, which may exceed the gateway's limit" if head >= LONG_HEAD else ""


def tries_text(failure: Failure) -> str:
    """Return sentences about the gateway's other tries, gateways in between, and doubts about which try belongs to which
    request.
    """
    said: list[str] = []
    if failure.whole and len(failure.tries) > 1:
        said.append(_other_tries_text(failure))
    if failure.through:
        said.append(f"On its way there, the request passed through {list_servers([one.server for one in failure.through])}")
    if failure.guessed:
        whose = "other requests" if failure.last is None else "this request"
        said.append(f"Several requests waited at that time, and the failed attempts probably belonged to {whose}")
    elif not failure.whole:
        said.append("It is unknown which of several attempts of the gateway led to this failure; all failed in the same way")
    return "".join(f" {one}." for one in said)


def _other_tries_text(failure: Failure) -> str:
    count = len(failure.tries)
    others = [one.server for one in failure.tries if one is not failure.last]
    elsewhere = [server for server in others if failure.last is None or server != failure.last.server]
    if not elsewhere:
        return f"The gateway tried this server {count} times"
    rest = "the other" if len(others) == 1 else "the others" if len(elsewhere) == len(others) else "others"
    return f"This was one of {count} attempts; {rest} went to {list_servers(elsewhere)}"


def list_servers(servers: list[str]) -> str:
    """Return a text that lists the different servers, at most _SHOWN of them."""
    different = [*dict.fromkeys(servers)]
    shown, more = different[:_SHOWN], len(different) - _SHOWN
    last = f"{more} more" if more > 0 else shown.pop()
    return " and ".join(one for one in (", ".join(shown), last) if one)


SHORT_LIMIT = 1_000
"""The minimum size in bytes of a head that a gateway may reject as too long: some gateways are configured for 1k."""

_SHOWN = 4
"""The maximum number of servers in a sentence; twice as many tries are in the evidence."""


def failure_evidence(front: Exchange, failure: Failure, lost: Lost | None) -> list[Packet]:
    """Return the packets of the evidence: the client's request, the tries, and how both sides ended, in this order."""
    v = front.values
    # a gateway may forward a request before it has all of it
    forwarded = [one.values.request_start for one in failure.tries if isinstance(one, Exchange)]
    early = bool(forwarded) and min(forwarded) < front.asked - SLACK
    given: list[_Given] = [
        (v.request_frame, v.request_start, "the client's request begins")
        if early
        else (v.request_last_frame, v.request_end, "the client's request")
    ]
    if lost is not None:
        given.append((lost.frame, lost.time, f"the SYN to {lost.server}, which the gateway could not reach"))
    for one in [*failure.through, *(failure.tries if failure.whole else ())][: 2 * _SHOWN]:
        given += _try_evidence(one, one in failure.through, front.answered + SLACK)
        if one is failure.last and isinstance(one, Exchange) and is_refused_early(front, failure):
            frame, time, *_ = one.close_of("server")
            given.append((frame, time, f"the server's {_close(one, 'server')}, before it had the complete request"))
    given += _end_evidence(front, "the gateway's", "the client's")
    if isinstance(failure.last, Exchange) and time_stalled(front, failure) is not None:
        one = with_last_data(front, failure.last)
        whose, v = "gateway's" if one is front else "server's", one.values
        if v.response_last_frame != v.response_frame:
            given.append((v.response_last_frame, v.response_end, f"the last data of the {whose} response"))
    return packets(*given)


_Given = tuple[int | None, int | None, str]
"""The frame, the time (ns) and the note of a packet; without a frame, there is no packet."""


def failure_origin(front: Exchange, failure: Failure) -> str | None:
    """Return who sent the FIN or RST that decides a failure: "endpoint" or "between".

    The close of the last try decides; if it has none, the close of the client's exchange decides. Return None if the evidence
    names no close, or if its sender is uncertain.
    """
    for one in (failure.last, front):
        if isinstance(one, Exchange) and (who := _closer(one)) is not None:
            return sender_of_close(one.close_of(who).origin)
    return None


def _closer(one: Exchange) -> str | None:
    """Return the side whose close the evidence names: server or client; None if it names no close."""
    who = "client" if _is_late(one) or not one.server_first else "server"
    named = _is_late(one) or not (one.whole or one.end_is_unknown)
    return who if named and one.close_of(who).frame is not None else None


def _try_evidence(one: Try, passed_on: bool, until: int) -> Iterator[_Given]:
    """Yield the evidence of a try.

    `passed_on`: the try went to another gateway, whose failure was forwarded. An ICMP error is left out if it came after the time
    `until` (ns), because the gateway did not wait for it.
    """
    if isinstance(one, Attempt):
        v, rejected = one.ends, one.rejected <= until
        yield v.syn_frame, v.syn_time, f"the gateway's SYN to {one.server}"
        if v.last_syn_frame != v.syn_frame and one.refused == LATE and not rejected:
            yield v.last_syn_frame, v.last_syn_time, f"the last of {v.syns} SYNs, never answered"
        yield v.refused_frame, v.refused_time, "an RST refuses the connection"
        if rejected:
            yield v.syn_error_frame, v.syn_error_time, "an ICMP error rejects the connection"
        return
    said = f"the request is forwarded to {one.server}" if passed_on else f"the gateway's request to {one.server}"
    yield one.values.request_frame, one.values.request_start, said
    if _is_late(one) and not passed_on:
        frame, time, *_ = one.close_of("client")
        yield frame, time, f"the gateway's {_close(one, 'client')}, without having received a response"
    else:
        yield from _end_evidence(one, f"{one.server}'s" if passed_on else "the server's", "the gateway's")


def _is_late(one: Exchange) -> bool:
    """Return whether the gateway had closed before the response began."""
    return one.begun and one.left < one.began


def _end_evidence(one: Exchange, server: str, client: str) -> Iterator[_Given]:
    """Yield evidence for how an exchange ended: its response, and the first close if the response is missing or incomplete.

    `server`, `client`: names of the two sides in the possessive case, for the notes.
    """
    if one.begun:
        yield one.values.response_frame, one.values.response_start, f"{server} response: {one.status}"
    if one.whole or one.end_is_unknown:
        return
    who, whose = ("server", server) if one.server_first else ("client", client)
    nothing = ", after a response that is not HTTP" if one.garbage else ", without a response"
    waited = nothing if one.server_first else ", without having received a response"
    before = ", before the response was complete" if one.begun else waited
    close, named = one.close_of(who), _close(one, who)
    by_device = f"the {named} that a device on the path sent in {whose} name"
    said = by_device if close.origin == "between" else f"{whose} {named}"
    yield close.frame, close.time, with_doubt(close.origin, f"{said}{before}")


def _close(one: Exchange, side: str) -> str:
    return fin_or_rst(one.close_of(side).rst)


def failure_filter(front: Exchange, failure: Failure) -> str:
    """Return the display filter for the connections of a failure."""
    behind = [one.ends.connection for one in [*failure.through, *(failure.tries if failure.whole else ())]]
    some = [*dict.fromkeys([front.ends.connection, *behind])][: 2 * _SHOWN]
    return f"tcp.stream == {some[0]}" if len(some) == 1 else f"tcp.stream in {{{', '.join(map(str, some))}}}"


HAPROXY_PAGES = {502: (107, 108), 503: (107, 108), 504: (92, 93)}
"""The lengths in bytes of haproxy's own error pages, built in and in Debian's files. haproxy sends these pages without a Server
field."""

LIGHTTPD_PAGE = 361
"""The length in bytes of lighttpd's own page for 503. It names lighttpd in Server, but passes on that field of other servers."""


def gateway_software(
    server: str | None, reason: str | None, status: int | None, content_type: str | None, body_bytes: int | None
) -> str:  # fmt: skip
    """Return the software that created an error page, from fields that only the gateway can have sent; "" if unknown."""
    server, reason = server or "", reason or ""
    if server.startswith("nginx"):
        return "nginx"
    if reason == "Proxy Error" or (server.startswith("Apache") and reason):
        return "httpd"
    for name, begins in (
        ("Caddy", "Caddy"),
        ("Varnish", "Varnish"),
        ("Squid", "squid"),
        ("Envoy", "envoy"),
        ("Traffic Server", "ATS"),
        ("Cloudflare", "cloudflare"),
        ("AWS ALB", "awselb/"),
        ("lighttpd", "lighttpd"),
    ):
        if server.startswith(begins):
            return name
    pages = HAPROXY_PAGES.get(status or 0, ())
    of_haproxy = content_type == "text/html" and body_bytes in pages
    return "haproxy" if not server and (reason == "Gateway Time-out" or of_haproxy) else ""
