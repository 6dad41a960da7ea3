"""Write the texts and the evidence about a failure of a gateway (gateway_kinds.Failure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wiredoctor.rules.shared.gateway_kinds import LATE, LONG_HEAD, SLACK, Attempt, Exchange, Failure
from wiredoctor.text.durations import duration_text

USUAL_LIMITS = (
    "nginx proxy_read_timeout, haproxy timeout server, httpd ProxyTimeout, Caddy response_header_timeout, "
    "Go ResponseHeaderTimeout"
)


SETTINGS = {
    "nginx": "nginx: proxy_read_timeout, 60 s by default",
    "haproxy": "haproxy: timeout server",
    "httpd": "httpd: ProxyTimeout, or timeout of ProxyPass",
    "Caddy": "Caddy: response_header_timeout",
}


def gave_up_at(front: Exchange, failure: Failure) -> int:
    """Return the time (ns) at which the gateway closed its last try or answered its client, whichever came first."""
    last = failure.last
    return min(front.answered, last.left) if isinstance(last, Exchange) else front.answered


def client_result(front: Exchange) -> tuple[str, str]:
    """Return what the client received, for the message and for the title."""
    gateway = f"the gateway {front.server}"
    if front.begun and (front.status or 0) >= 500:
        return f"got {front.status} from {gateway}", f"The gateway answered {front.status}"
    gone = not front.server_first
    if front.begun:
        left = ", and the client left" if gone else ", which closed the connection"
        return f"got only part of the {front.status} from {gateway}{left}", f"The gateway broke off its {front.status}"
    left = ", and the client left" if gone else ", which closed the connection"
    return f"got no response from {gateway}{left}", "The gateway sent no response"


def reason_texts(front: Exchange, failure: Failure, lost: Mapping[str, Any] | None, no_neighbor: bool) -> tuple[str, str, str]:
    """Return the reason for the message, the reason for the title, and what was wrong with the server's response."""
    last = failure.last
    if last is None:
        return (*_not_passed_on(front, lost, no_neighbor), "")
    one = len({tried.server for tried in failure.tries}) == 1
    behind = f"the server behind it ({last.server})" if failure.whole or one else "a server behind it"
    if isinstance(last, Attempt):
        if failure.kind == "refused":
            return f"{behind} refused the connection", "the server behind it refused the connection", ""
        if last.rejected <= front.answered + SLACK:
            said = "an ICMP error answered its SYN"
            return f"the gateway could not connect to {behind}: {said}", f"{said} to the server behind it", ""
        syns = last.values["syns"]
        times = f" (SYN sent {syns} times)" if syns > 1 else ""
        return f"{behind} did not answer{times}", "the server behind it did not answer the SYN", ""
    close = "RST" if last.values["server_close_rst"] == 1 else "FIN"
    if failure.kind == "closed":
        after = duration_text(max(last.dropped - last.asked, 0))
        why = f"{behind} closed the connection ({close}) {after} after the request, without a response"
        return why, "the server behind it closed the connection without a response", ""
    if failure.kind == "timed-out":
        part = "had sent only part of a head" if last.begun and not _is_late(last) else "had not answered"
        after = duration_text(max(gave_up_at(front, failure) - last.asked, 0))
        return f"{behind} {part} after {after}, and the gateway gave up", "the server behind it did not answer in time", ""
    if failure.kind == "unsent":
        why = f"{behind} did not read the request: its window stayed closed until the gateway gave up"
        return why, "the server behind it did not read the request", ""
    if failure.kind == "rejected-response":
        what = _fault_text(last)
        return f"{behind} sent {what}, and the gateway rejected it", "it rejected the response of the server behind it", what
    if last.server_first:
        why = f"{behind} broke off its response ({close})"
    else:
        why = f"{behind} had sent only part of its response, and the gateway gave up"
    return why, "the response of the server behind it broke off", ""


def _fault_text(last: Exchange) -> str:
    """Return the text about the fault in a response that the gateway rejected."""
    if last.garbage:
        return "a response that is not HTTP"
    head = last.values["response_head_bytes"]
    if not last.has_head:
        if last.server_first:
            return "a response that broke off inside its head"
        return (
            f"a response whose head has more than {head:,} bytes"
            if (head or 0) >= LONG_HEAD
            else ("a response whose head the gateway did not read to its end")
        )
    of = "" if head is None else f" with a head of {head:,} bytes"
    fault = "a" if last.whole else "an invalid" if last.invalid else "an incomplete"
    return f"{fault} {last.status}{of}"


def _not_passed_on(front: Exchange, lost: Mapping[str, Any] | None, no_neighbor: bool) -> tuple[str, str]:
    reason = "it sent the request to no server"
    if no_neighbor:
        times = "for that long, a host sends ARP requests instead of a SYN to a neighbor that does not answer"
        return f"the gateway sent the request to no server; {times}", reason
    if lost is not None:
        before = duration_text(max(front.values["request_start"] - lost["lost_time"], 0))
        return f"the gateway sent the request to no server; it could not reach {lost['lost_server']} {before} earlier", reason
    return "the gateway sent the request to no server", reason


def tries_text(failure: Failure) -> str:
    """Return sentences about the gateway's other tries, gateways in between, and doubts about which try belongs to which
    request.
    """
    said: list[str] = []
    if failure.whole and len(failure.tries) > 1:
        others = [one.server for one in failure.tries if one is not failure.last]
        rest = "the other" if len(others) == 1 else "the others"
        said.append(f"It was one of {len(failure.tries)} tries; {rest} went to {list_servers(others)}")
    if failure.through:
        said.append(f"The request was forwarded by {list_servers([one.server for one in failure.through])}")
    if failure.guessed:
        whose = "other requests" if failure.last is None else "this request"
        said.append(f"Several requests waited at that time, and the failed tries probably belonged to {whose}")
    elif not failure.whole:
        said.append(
            "Several requests waited at that time, and it is unknown which try belongs to which of them; all tries "
            "failed like this"
        )
    return "".join(f" {one}." for one in said)


def list_servers(servers: list[str]) -> str:
    different = [*dict.fromkeys(servers)]
    return ", ".join(different[:_SHOWN]) + (f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else "")


_SHOWN = 4
"""The maximum number of servers in a sentence, and of tries in the evidence."""


def failure_evidence(front: Exchange, failure: Failure, lost: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    yield from _frames(front.values, ("request_last_frame", "request_end", "the client's request"))
    if lost is not None:
        yield packet(
            lost["lost_frame"], lost["lost_time"], f"the SYN to {lost['lost_server']}, which the gateway could not reach"
        )
    for one in [*failure.through, *(failure.tries if failure.whole else ())][: 2 * _SHOWN]:
        yield from _try_evidence(one, one in failure.through, front.answered + SLACK)
    yield from _end_evidence(front, "the gateway's", "the client's")


def _try_evidence(one: Attempt | Exchange, passed_on: bool, until: int) -> Iterator[dict[str, Any]]:
    """Yield the evidence of a try. An ICMP error is left out if it came after the time `until` (ns), because the gateway did not
    wait for it.
    """
    v = one.values
    if isinstance(one, Attempt):
        rejected = one.rejected <= until
        yield from _frames(v, ("syn_frame", "syn_time", f"the gateway's SYN to {one.server}"))
        if v["last_syn_frame"] != v["syn_frame"] and one.refused == LATE and not rejected:
            yield from _frames(v, ("last_syn_frame", "last_syn_time", f"the last of {v['syns']} SYNs, never answered"))
        yield from _frames(v, ("refused_frame", "refused_time", "an RST refuses it"))
        if rejected:
            yield from _frames(v, ("syn_error_frame", "syn_error_time", "an ICMP error rejects it"))
        return
    if passed_on:
        yield from _frames(v, ("request_frame", "request_start", f"the request is forwarded to {one.server}"))
        yield from _end_evidence(one, f"{one.server}'s", "the gateway's")
        return
    yield from _frames(v, ("request_frame", "request_start", f"the gateway's request to {one.server}"))
    if _is_late(one):
        close = "RST" if v["client_close_rst"] == 1 else "FIN"
        yield from _frames(
            v, ("client_close_frame", "client_close_time", f"the gateway's {close}, without having received a response")
        )
        return
    yield from _end_evidence(one, "the server's", "the gateway's")


def _is_late(one: Exchange) -> bool:
    """Return whether the gateway had closed before the response began."""
    return one.begun and one.left < one.began


def _end_evidence(one: Exchange, server: str, client: str) -> Iterator[dict[str, Any]]:
    """Yield evidence for how an exchange ended: its response, and the first close if the response is missing or incomplete."""
    v = one.values
    if one.begun:
        yield from _frames(v, ("response_frame", "response_start", f"{server} response: {one.status}"))
    if one.whole or one.end_is_unknown:
        return
    who, whose = ("server", server) if one.server_first else ("client", client)
    close = "RST" if v[f"{who}_close_rst"] == 1 else "FIN"
    waited = ", without a response" if one.server_first else ", without having received a response"
    before = ", before the response was complete" if one.begun else waited
    yield from _frames(v, (f"{who}_close_frame", f"{who}_close_time", f"{whose} {close}{before}"))


def _frames(values: Mapping[str, Any], *packets: tuple[str, str, str]) -> Iterator[dict[str, Any]]:
    for frame, time, note in packets:
        if values[frame] is not None:
            yield packet(values[frame], values[time], note)


def packet(frame: int, time: int, note: str) -> dict[str, Any]:
    return {"frame": frame, "time": time, "note": note}


def failure_filter(front: Exchange, failure: Failure) -> str:
    behind = [one.values["connection"] for one in [*failure.through, *(failure.tries if failure.whole else ())]]
    some = [*dict.fromkeys([front.key[0], *behind])][: 2 * _SHOWN]
    return f"tcp.stream == {some[0]}" if len(some) == 1 else f"tcp.stream in {{{', '.join(map(str, some))}}}"


def gateway_software(row: Mapping[str, Any]) -> str:
    """Return the software that created the error page, from fields that only the gateway can have sent; "" if unknown."""
    server, reason = row["response_server"] or "", row["response_reason"] or ""
    if row["response_frame"] is None:
        return ""
    if server.startswith("nginx"):
        return "nginx"
    if reason == "Proxy Error" or (server.startswith("Apache") and reason):
        return "httpd"
    for name in ("Caddy", "Varnish", "squid"):
        if server.startswith(name):
            return name.capitalize()
    return "haproxy" if not server and reason == "Gateway Time-out" else ""
