"""Write the words about failed connection attempts and the events after them, for `connect-failed`."""

from __future__ import annotations

from typing import Any, NamedTuple

from wiredoctor.findings import host
from wiredoctor.rules.shared import icmp
from wiredoctor.rules.shared.damage_words import CHECKSUMS, find_damage
from wiredoctor.rules.shared.words import Packet, packets
from wiredoctor.text.durations import duration_text
from wiredoctor.world import attempts


class Facts(NamedTuple):
    """What is known of failed attempts: the columns of connect_failed about the first of them, and of attempt_groups about all.

    `connection`: null if there are several attempts. `first_server`: the server of the first attempt. Times and durations are in
    ns. `challenge_frame`: an ACK of an earlier connection answered a SYN. `damaged`: which checksum is wrong in all SYNs; 0 if
    none is. `older_frame`: the last packet of a connection on the same ports that was not closed by both sides; `port_alone`: it
    alone explains the failure. `between_frame`: the server accepts another connection between the SYNs. `by_flags`: only SYNs
    with ECN or data failed; `other_clients`: only other clients got connections. `retry`: a gateway then connected to another
    server (gateways.tries.RETRY).
    """

    connection: int | None
    kind: str
    frame: int
    start: int
    number: int
    failed_as: int
    alone: bool
    failures: int
    servers: int
    server_hosts: int
    clients: int
    outages: int
    waited_for: int | None
    first_server: str
    client_host: str
    client_port: int
    syns: int
    last_syn_frame: int | None
    last_syn_time: int
    answer_frame: int | None
    answer_time: int | None
    error: int | None
    router: str | None
    answered_in: int | None
    round_trip: int | None
    reset_ttl: int | None
    accepted_ttl: int | None
    busy: bool | None
    ended_time: int | None
    next_server: str | None
    then_frame: int | None
    then_time: int | None
    before_frame: int | None
    before_time: int | None
    other_frame: int | None
    other_time: int | None
    challenge_frame: int | None
    challenge_time: int | None
    damaged: int
    older_frame: int | None
    older_time: int | None
    port_alone: bool | None
    between_frame: int | None
    between_time: int | None
    by_flags: bool
    other_clients: bool | None
    retry: dict[str, Any] | None


def attempt_evidence(x: Facts) -> list[Packet]:
    """Return the packets of the first attempt, and those before and after it that explain it."""
    then = "the server accepts a connection" if x.next_server is None else f"the SYN-ACK of {x.next_server} to the same client"
    return packets(
        (x.before_frame, x.before_time, "the server had accepted connections"),
        (x.older_frame, x.older_time, "the last packet of an earlier connection on the same ports, which was not closed"),
        (x.other_frame, x.other_time, f"{_other_address(x)} had refused the same client"),
        (x.frame, x.start, "the first SYN" if x.syns > 1 else "the SYN"),
        (x.answer_frame, x.answer_time, _answer(x)),
        (x.challenge_frame, x.challenge_time, "an ACK that does not acknowledge the SYN: it belongs to an earlier connection"),
        (x.between_frame, x.between_time, "the server accepts another connection"),
        (x.last_syn_frame, x.last_syn_time, f"the last of {x.syns} SYNs"),
        (x.then_frame, x.then_time, then),
    )


def _answer(x: Facts) -> str:
    """Return the note about the packet that ended the attempt."""
    if x.failed_as == attempts.CLOSED_AT_ONCE:
        return "the server's RST, before it sent any data"
    if x.failed_as == attempts.GIVEN_UP:
        return "the client's RST in response to the SYN-ACK"
    refusal = "an RST that acknowledges the SYN"
    if x.answered_in is not None:
        return f"{refusal}, {duration_text(x.answered_in)} after it"
    if x.reset_ttl is not None:
        return f"{refusal}, with a time to live of {x.reset_ttl}"
    return refusal if x.error is None else f"{x.router} sends {_icmp_error(x)}, and quotes the SYN"


def _icmp_error(x: Facts) -> str:
    return icmp.name_error(x.router or "", *divmod((x.error or 0) & 0xFFFF, 256))


def _other_address(x: Facts) -> str:
    """Return the endpoint with the other address of localhost: ::1 in place of 127.0.0.1, or the reverse."""
    if x.first_server.startswith("["):
        return x.first_server.replace("[::1]", "127.0.0.1", 1)
    return x.first_server.replace("127.0.0.1", "[::1]", 1)


def other_refusal(x: Facts) -> str:
    """Return the sentence about the other address of localhost, which had refused the client, too; "" if it had not."""
    return "" if x.other_frame is None else f" {_other_address(x)} had refused the same client just before."


def _of_refusal(x: Facts) -> dict[str, Any]:
    if x.by_flags:
        return _of_flags(x) | {"tries": "", "because": _BY_FLAGS, "before": _flags_or_address(x), "sender": ""}
    accepted = _accepted_before(x)
    remedy = _CHECK_LISTENER if x.reset_ttl is None else _FIND_SENDER
    return {
        "tries": f", {x.syns} times" if x.alone and x.syns > 1 else "",
        "because": _BUSY if x.busy else _NOT_LISTENING,
        "before": "" if x.busy or accepted is None else _HAS_ENDED.format(accepted),
        "sender": _sender(x),
        "refused_remedy": _CHECK_QUEUE if x.busy else remedy,
    }


def _of_flags(x: Facts) -> dict[str, Any]:
    remedy = _CHECK_FLAGS + (_CHECK_ADDRESS if x.other_clients else "")
    return {"title": f"Connections with ECN or early data fail: {x.first_server}", "refused_remedy": remedy}


def _flags_or_address(x: Facts) -> str:
    return _OTHER_CLIENTS if x.other_clients else ""


_BY_FLAGS = (
    ": all SYNs that failed request ECN (flags ECE and CWR) or carry data, and none of those that the server accepted does"
)
_OTHER_CLIENTS = " But only other clients were accepted, so the client's address may be the reason instead."
_CHECK_FLAGS = (
    "Find the device or rule that rejects these SYNs: an old firewall or intrusion prevention system may take the ECN flags for "
    "an attack. To test it, turn ECN and TCP Fast Open off at the client (on Linux the sysctls net.ipv4.tcp_ecn and "
    "net.ipv4.tcp_fastopen). "
)
_CHECK_ADDRESS = "Check also which rules concern the address of this client. "


def _accepted_before(x: Facts) -> str | None:
    """Return how long before the first SYN the server had accepted a connection; None if that is not known of one server."""
    return None if x.before_time is None or x.servers > 1 else duration_text(x.start - x.before_time)


def _sender(x: Facts) -> str:
    """Return the sentences about an RST that another host than the server sent; "" if the server may have sent it."""
    return "" if x.reset_ttl is None else _BY_OTHER.format(x.reset_ttl, x.accepted_ttl)


_BY_OTHER = (
    " The RST has a time to live of {}, but the server's SYN-ACKs to this client have {}: the host that accepts connections did "
    "not send this RST. Either a device on the path rejects or limits connections, or the server only forwards the port (to a "
    "container, or to servers behind a balancer), and nothing listened there."
)
_FIND_SENDER = (
    "Find out who sent the RSTs. Each attempt raises the counter of a rule that rejects with a TCP reset (iptables -nvL, nft "
    "list ruleset; limits are connlimit, hashlimit, ct count). If the server forwards the port, look at the container or the "
    "servers behind it, and have the new container or server listen before the old one stops."
)
_NOT_LISTENING = ": nothing listens there, or a firewall rejects the connection"
_BUSY = (
    ", but accepted another connection between two refusals less than a second apart: its listen queue is full, or a limit "
    "rejects some connections"
)
_CHECK_LISTENER = (
    "Check whether the service runs and listens on this address and port (ss -ltn on the server; a service that "
    "listens only on 127.0.0.1 refuses other hosts). Check whether the client uses the right port, and whether a firewall "
    "rejects the connection (an RST whose TTL differs from that of the server's packets did not come from the server)."
)
_CHECK_QUEUE = (
    "Check whether the program accepts connections fast enough, and enlarge its listen queue (the backlog argument of listen): "
    "Windows answers with an RST if that queue is full. Check whether a firewall or balancer limits the rate or number of "
    "connections (iptables connlimit or hashlimit with REJECT --reject-with tcp-reset). Have the client reuse connections, or "
    "open fewer at once."
)
_HAS_ENDED = (
    " The server had accepted a connection {} earlier: its process has ended or stopped listening since, or a connection "
    "limit was reached."
)


def _of_prohibited(x: Facts) -> dict[str, Any]:
    """Return the words about a device that rejected the SYN, by an ICMP error or by an RST that came too early for the server."""
    if x.router is not None:
        return _of_icmp(x) | {"answerer": x.router, "forbids": _FORBIDS, "prohibited_remedy": _FIND_RULE.format(x.router)}
    early, least = duration_text(x.answered_in or 0), duration_text(x.round_trip or 0)
    return _of_icmp(x) | {
        "answerer": f"A device nearer to the client than {host(x.first_server)}",
        "said": f"an RST after {early}, but that server's SYN-ACKs take at least {least}",
        "forbids": _LIMITS,
        "prohibited_remedy": _FIND_DEVICE,
    }


def _of_icmp(x: Facts) -> dict[str, Any]:
    """Return the words about an ICMP error: what it said and why, and the error that Linux programs then report (`errno`).

    The kernel's table icmp_err_convert maps ICMP errors to errno.
    """
    forwards = x.router == host(x.first_server) and x.error in _NOT_REACHED
    return {
        "said": _icmp_error(x),
        "reason": _FORWARDED if forwards else _REASONS.get(x.error, ""),
        "errno": '"Connection refused"' if x.error is None else _ERRNO.get(x.error, '"No route to host"'),
        "again": f" The SYN was sent {x.syns} times." if x.alone and x.syns > 1 else "",
    }


def _texts_of_errors(texts: dict[str, tuple[tuple[int, int, int], ...]]) -> dict[int | None, str]:
    return {icmp.number(*one): text for text, errors in texts.items() for one in errors}


_FORBIDS = "forbids the connection"
_LIMITS = "forbids the connection, or limits the number or rate of connections"
_FIND_RULE = (
    "Find the rule on {}: each attempt raises the counter of a REJECT rule in iptables -nvL or nft list ruleset "
    "(iptables -j REJECT and nft reject send port unreachable unless the rule names another answer; firewalld sends "
    "administratively prohibited). A prohibit route in ip route has the same effect. If that host does not run Linux, look "
    "for an access list. Allow this client and port there, or have the client use another path. In Kubernetes, kube-proxy "
    "rejects connections in this way if a Service has no ready endpoints (kubectl get endpointslices). Security groups "
    "of a cloud are not the cause: they do not answer at all."
)
_FIND_DEVICE = (
    "Find the rule on the firewalls and routers of the client's network, and on the client itself: each attempt raises the "
    "counter of a rule that rejects with a TCP reset (iptables -nvL, nft list ruleset), often behind a limit (connlimit, "
    "hashlimit, ct count). Balancers and proxies also answer like this if no server behind them is available. Raise the limit "
    "there, or have the client reuse connections."
)
_NOT_REACHED = [icmp.number(*one) for one in ((4, 3, 0), (4, 3, 1), (4, 3, 6), (4, 3, 7), (6, 1, 0), (6, 1, 3))]
_FORWARDED = (
    ": it probably forwards connections to that port (DNAT, a published port of a container, kube-proxy) to another host, which "
    "does not answer or to which it has no route"
)
"""The reason if the ICMP error comes from the address to which the client tried to connect."""
_REASONS = _texts_of_errors(
    {
        ": it has no route to that address, or a route of type unreachable": ((4, 3, 0), (4, 3, 6), (6, 1, 0)),
        ": no host answers for that address there (ARP, neighbor discovery), or the route to it is of type unreachable": (
            *((4, 3, 1), (4, 3, 7)),
            (6, 1, 3),
        ),
        ": the packet passed too many routers, usually because of a routing loop": icmp.TIME_EXCEEDED,
    }
)
_ERRNO = _texts_of_errors(
    {
        '"Connection refused"': ((4, 3, 3), (6, 1, 4)),
        '"Network is unreachable"': ((4, 3, 0), (4, 3, 6), (4, 3, 9), (4, 3, 11), (6, 1, 0)),
        '"Permission denied"': ((6, 1, 1), (6, 1, 5), (6, 1, 6)),
    }
)


def _of_timed_out(x: Facts) -> dict[str, Any]:
    sent = f", which was sent {x.syns} times within {duration_text(x.last_syn_time - x.start)}" if x.syns > 1 else ""
    once = x.alone and x.syns == 1 and x.number == attempts.TIMED_OUT
    accepted = _accepted_before(x)
    return {
        "sent": ", which gave up before its TCP repeated the SYN" if once else sent,
        "did_not": "answer" if x.challenge_frame is None else "accept",
        **_suspects(x, accepted),
    }


def _suspects(x: Facts, accepted: str | None) -> dict[str, Any]:
    """Return the title, what probably happened to the SYNs, and what to check. `accepted`: see _accepted_before."""
    if x.next_server is not None:
        return {"assumed": _ELSEWHERE.format(x.next_server), "timed_out_remedy": _TRANSLATE_BOTH_WAYS}
    if x.damaged:
        title = f"SYNs to {x.first_server} arrived damaged, so the connection was never established"
        assumed = _DAMAGED.format(CHECKSUMS[x.damaged])
        return {"title": title, "assumed": assumed, "timed_out_remedy": find_damage("client", "server", x.damaged) + " "}
    if x.by_flags:
        words = _of_flags(x)
        return {"title": words["title"], "assumed": _BY_FLAGS[2:], "timed_out_remedy": words["refused_remedy"]}
    if x.challenge_frame is not None or x.port_alone:
        known = _STILL_KNOWN.format(x.challenge_frame) if x.challenge_frame is not None else _NOT_CLOSED
        title = f"Port {x.client_port} was used again too soon: {x.first_server} still knows an earlier connection"
        return {"title": title, "assumed": known + _TOO_SOON.format(x.client_port), "timed_out_remedy": USE_OTHER_PORTS}
    assumed, look = _DOWN_OR_DROPPED, _LOOK_FOR_SERVER
    if x.between_frame is not None:
        assumed, look = _ONLY_THESE, _LOOK_FOR_DEVICE
    elif accepted is not None:
        assumed, look = _QUEUE_FULL.format(accepted), _LOOK_FOR_SERVER + _LOOK_AT_QUEUE
    if x.older_frame is not None:
        return {"assumed": assumed + _OR_NOT_CLOSED.format(x.client_port), "timed_out_remedy": look + USE_OTHER_PORTS}
    return {"assumed": assumed, "timed_out_remedy": look}


_DAMAGED = (
    "each copy has a wrong {}, so the server discards it. Packets of the client on other connections have correct checksums. The "
    "client sends SYNs with wrong checksums, or a device between the client and the capture point damages them"
)
_DOWN_OR_DROPPED = "the server is down or has another address, or something on the path drops the packets"
_ONLY_THESE = (
    "it accepted another connection between these SYNs, so its process runs, and its listen queue is not full. A device on the "
    "path drops these packets, or a rule drops those of this client or port"
)
_LOOK_FOR_DEVICE = (
    "Find the device or rule that drops the packets of this client or port: a firewall, a full connection table, a NAT that has "
    "run out of ports, a rate limit. A capture on the server shows whether the SYN arrives. "
)
_STILL_KNOWN = (
    "it answered with an ACK that does not acknowledge the SYN (frame {}, a challenge ACK), so it still knows an earlier "
    "connection on the same ports"
)
_NOT_CLOSED = (
    "it accepted other connections before and after, but an earlier connection on the same ports had not been closed by both "
    "sides, so it still knows that connection"
)
_TOO_SOON = (
    ". The client, or a NAT on the path, used port {} again too soon. An RST of the client would end the earlier connection, but "
    "no RST reached the server, or a device drops what the server answers"
)
_OR_NOT_CLOSED = (
    ". Or the server still knows an earlier connection on the same ports, which was not closed by both sides: the client, or a "
    "NAT on the path, used port {} again too soon"
)
USE_OTHER_PORTS = (
    "Have the client, or the NAT, leave a port unused for longer than the server remembers a closed connection (60 s on Linux). "
    "Reuse connections, and widen the range of ports (net.ipv4.ip_local_port_range; on a NAT more ports or addresses), so that "
    "ports come round later. Do not bind the client to a fixed port. Let firewalls pass the server's challenge ACK and the "
    "client's RST, which end the earlier connection (conntrack calls them INVALID). "
)


_QUEUE_FULL = (
    "it had accepted a connection {} earlier, so its process has ended, its listen queue is full, or a device drops SYNs"
)
_ELSEWHERE = (
    "the SYN-ACK came from {} instead. The client had sent no SYN to that address, so its host rejects or ignores the SYN-ACK. "
    "The SYN reached a server, but the answer keeps the server's own address"
)
_TRANSLATE_BOTH_WAYS = (
    "Find the device that forwards the SYN to that server (DNAT, a balancer), and have the answers return through it: route them "
    "there, or have the device also translate the client's address (SNAT, masquerade). In LVS with direct routing, give the "
    "server the virtual address on its loopback interface. "
)
_LOOK_FOR_SERVER = (
    "Check whether the server is up and has this address, whether there is a path to it (traceroute -T -p PORT), and which "
    "firewall or security group drops the packets. A capture on the server shows whether the SYN arrives. "
)
_LOOK_AT_QUEUE = (
    "If the SYN arrives there and gets no answer, the program does not accept connections fast enough: on Linux ss -ltn shows "
    "its listen queue (Recv-Q above Send-Q), and nstat -az TcpExtListenOverflows counts the dropped SYNs. "
)


def _of_closed_at_once(x: Facts) -> dict[str, Any]:
    if x.ended_time is None or x.answer_time is None:
        return {"accepted_by": _RELAY_OR_FILTER, "closed_remedy": _CHECK_RELAY}
    return {"accepted_by": _ENDED.format(duration_text(x.ended_time - x.answer_time)), "closed_remedy": _RESTART}


_RELAY_OR_FILTER = (
    "Either a relay accepted the connection although no server was available behind the relay, or the service or a filter on "
    "the path rejects this client."
)
_ENDED = "The server refused a SYN to the same port {} later: the process that listened there had ended."
_CHECK_RELAY = (
    "Check whether a process listens behind the port: a balancer without a live target, docker-proxy, a port-forward and other "
    "TCP relays accept first and connect afterwards. Check why the service may reject this client (TCP wrappers in "
    "hosts.allow and hosts.deny, tcp-request connection reject in haproxy, a connection limit). The log of the service at "
    "that time may show the reason."
)
_RESTART = (
    "Find out why the server's process ended (see its log at that time). If it was restarted, have the new process listen before "
    "the old one stops (nginx -s reload, systemd socket activation, SO_REUSEPORT), or have clients try again."
)


def _of_tried_next(x: Facts) -> dict[str, Any]:
    late = x.number == attempts.TRIED_LATE
    return {
        "did": _FAILED_AS.get(x.failed_as, ""),
        "waited": f" The client tried that address only after {duration_text(x.waited_for or 0)}." if late else "",
    }


_FAILED_AS = {
    attempts.REFUSED: "refused a connection",
    attempts.PROHIBITED: "was blocked by a firewall",
    attempts.UNREACHABLE: "was not reachable",
    attempts.TIMED_OUT: "did not answer",
    attempts.CLOSED_AT_ONCE: "reset a connection at once",
}


def _of_down(x: Facts) -> dict[str, Any]:
    return {
        "outages": f" (it went down {x.outages} times; this was the longest outage)" if x.outages > 1 else "",
        "restart": _sender(x) or _IS_RESTART,
        "probe": _PROBE if x.number == attempts.PORT_CHECK else "",
        "down_remedy": _OVERLAP if x.reset_ttl is None else _FIND_SENDER,
    }


_IS_RESTART = " In most cases that is a restart."
_PROBE = (
    " That was the only attempt, and it came from the server's own host: many servers connect to their own port before they "
    "listen, to learn whether it is free."
)
_OVERLAP = (
    "Have the new process listen before the old one stops (nginx -s reload, systemd socket activation, SO_REUSEPORT, a rolling "
    "update behind a balancer), or have clients retry for at least as long as the outage lasts."
)


def words_of_kind(x: Facts) -> dict[str, Any]:
    """Return the words that only some kinds need."""
    words = _OF_KIND.get(x.kind)
    return words(x) if words else {}


_OF_KIND = {
    "refused": _of_refusal,
    "prohibited": _of_prohibited,
    "unreachable": _of_icmp,
    "timed-out": _of_timed_out,
    "closed-at-once": _of_closed_at_once,
    "tried-next": _of_tried_next,
    "down": _of_down,
}
