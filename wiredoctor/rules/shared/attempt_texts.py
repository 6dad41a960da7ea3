"""Write the texts and the evidence about failed connection attempts and the events after them.

The rows are those of `connect-failed`, one per finding (attempt_groups.py).
"""

from __future__ import annotations

import polars as pl

from wiredoctor.rules.shared import icmp
from wiredoctor.rules.shared.evidence import evidence
from wiredoctor.world import attempts
from wiredoctor.world.numbers import duration

c = pl.col


def attempt_evidence() -> pl.Expr:
    quoting = pl.format("{} sends {}, and quotes the SYN", "router", "said")
    answer = (
        pl.when(c("failed_as") == attempts.CLOSED_AT_ONCE)
        .then(pl.lit("the server's RST, before it sent any data"))
        .when(c("failed_as") == attempts.GIVEN_UP)
        .then(pl.lit("the client's RST in response to the SYN-ACK"))
        .when(c("answered_in").is_not_null())
        .then(pl.format("an RST that acknowledges the SYN, {} after it", duration(c("answered_in"))))
        .when(c("reset_ttl").is_not_null())
        .then(pl.format("an RST that acknowledges the SYN, with a time to live of {}", "reset_ttl"))
        .when(c("error").is_null())
        .then(pl.lit("an RST that acknowledges the SYN"))
        .otherwise(quoting)
    )
    then = (
        pl.when(c("next_server").is_not_null())
        .then(pl.format("the SYN-ACK of {} to the same client", "next_server"))
        .otherwise(pl.lit("the server accepts a connection"))
    )
    return evidence(
        ("before_frame", "before_time", "the server had accepted connections"),
        ("other_frame", "other_time", pl.format("{} had refused the same client", _other_address())),
        ("syn_frame", "syn_time", pl.when(c("syns") > 1).then(pl.lit("the first SYN")).otherwise(pl.lit("the SYN"))),
        ("answer_frame", "answer_time", answer),
        ("last_syn_frame", "last_syn_time", pl.format("the last of {} SYNs", "syns")),
        ("then_frame", "then_time", then),
    )


def _other_address() -> pl.Expr:
    """Return the endpoint with the other address of localhost: ::1 in place of 127.0.0.1, or the reverse."""
    server = pl.col("server")
    named = attempts.one_host("server")
    return (
        pl.when(server.str.starts_with("["))
        .then(named.str.replace("localhost", "127.0.0.1", literal=True))
        .otherwise(named.str.replace("localhost", "[::1]", literal=True))
    )


def answer_texts() -> tuple[pl.Expr, ...]:
    """Return the texts about a device that rejected the SYN, by an ICMP error or by an RST that came too early for the server.

    `answerer`: the device. `said`: its answer. `forbids`: what its rule does. `prohibited_remedy`: what to do.
    """
    by_icmp = c("router").is_not_null()
    nearer = pl.format("A device nearer to the client than {}", attempts.host_of("server"))
    early = pl.format(
        "an RST after {}, but that server's SYN-ACKs take at least {}", duration(c("answered_in")), duration(c("round_trip"))
    )
    return (
        pl.when(by_icmp).then("router").otherwise(nearer).alias("answerer"),
        pl.when(by_icmp).then(icmp.error_text(c("error"))).otherwise(early).alias("said"),
        pl.when(by_icmp).then(pl.lit(_FORBIDS)).otherwise(pl.lit(_LIMITS)).alias("forbids"),
        pl.when(by_icmp).then(pl.format(_FIND_RULE, "router")).otherwise(pl.lit(_FIND_DEVICE)).alias("prohibited_remedy"),
    )


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


def icmp_texts() -> tuple[pl.Expr, pl.Expr]:
    """Return the columns `reason` (why the ICMP error was sent) and `errno` (the error that Linux programs then report).

    The kernel's table icmp_err_convert maps ICMP errors to errno.
    """
    error = pl.col("error")

    def text_of(texts: dict[str, tuple[tuple[int, int, int], ...]], otherwise: str) -> pl.Expr:
        numbers = {icmp.number(*one): text for text, ones in texts.items() for one in ones}
        return error.replace_strict(numbers, default=otherwise, return_dtype=pl.String)

    forwards = (pl.col("router") == attempts.host_of("server")) & error.is_in([icmp.number(*one) for one in _UNREACHABLE])
    reason = pl.when(forwards).then(pl.lit(_FORWARDED)).otherwise(text_of(_REASONS, ""))
    errno = pl.when(error.is_null()).then(pl.lit('"Connection refused"')).otherwise(text_of(_ERRNO, '"No route to host"'))
    return reason.alias("reason"), errno.alias("errno")


_UNREACHABLE = ((4, 3, 0), (4, 3, 1), (4, 3, 6), (4, 3, 7), (6, 1, 0), (6, 1, 3))
_FORWARDED = (
    ": it probably forwards connections to that port (DNAT, a published port of a container, kube-proxy) to another host, which "
    "does not answer or to which it has no route"
)
"""The reason if the ICMP error comes from the address to which the client tried to connect."""
_REASONS = {
    ": it has no route to that address, or a route of type unreachable": ((4, 3, 0), (4, 3, 6), (6, 1, 0)),
    ": no host answers for that address there (ARP, neighbor discovery), or the route to it is of type unreachable": (
        *((4, 3, 1), (4, 3, 7)),
        (6, 1, 3),
    ),
    ": the packet passed too many routers, usually because of a routing loop": icmp.TIME_EXCEEDED,
}
_ERRNO = {
    '"Connection refused"': ((4, 3, 3), (6, 1, 4)),
    '"Network is unreachable"': ((4, 3, 0), (4, 3, 6), (4, 3, 9), (4, 3, 11), (6, 1, 0)),
    '"Permission denied"': ((6, 1, 1), (6, 1, 5), (6, 1, 6)),
}


_SYN_OR_RST = "tcp.flags.syn == 1 || tcp.flags.reset == 1"
_ICMP = "tcp.flags.syn == 1 && (icmp || icmpv6)"
"""The display filter for an ICMP error that quotes a SYN: Wireshark also applies tcp.flags to the quoted header."""


def with_texts(told: pl.DataFrame) -> pl.DataFrame:
    """Add the text columns. A finding about many connections does not name any of them."""
    one, several_servers, several_clients = c("alone"), c("servers") > 1, c("clients") > 1
    ports = pl.format("{} ports of {}", "servers", "server_host")
    where = (
        pl.when(~several_servers)
        .then("server")
        .when(c("server_hosts") == 1)
        .then(ports)
        .when(c("server_hosts") == c("servers"))
        .then(pl.format("{} hosts", "server_hosts"))
        .otherwise(pl.format("{} ports of {} hosts", "servers", "server_hosts"))
    )
    whose = pl.when(several_clients).then(pl.format("{} clients", "clients")).otherwise("client_host")
    scan = pl.lit(" A client that tries this many ports is looking for open ones, or is configured with wrong ones.")
    more = pl.format(" {} connections failed in this way; the first is shown.", "failures")
    several = pl.when(c("failures") > 1).then(more).otherwise(pl.lit(""))
    tries = pl.when(one & (c("syns") > 1)).then(pl.format(", {} times", "syns")).otherwise(pl.lit(""))
    again = pl.when(one & (c("syns") > 1)).then(pl.format(" The SYN was sent {} times.", "syns")).otherwise(pl.lit(""))
    stream = pl.format("tcp.stream == {}", "connection")
    return told.with_columns(
        where.alias("where"),
        whose.alias("whose"),
        tries.alias("tries"),
        pl.when(c("syns") > 1)
        .then(pl.format(", which was sent {} times within {}", "syns", duration(c("lasted").cast(pl.Int64))))
        .when(one & (c("number") == attempts.TIMED_OUT))
        .then(pl.lit(", which gave up before its TCP repeated the SYN"))
        .otherwise(pl.lit(""))
        .alias("sent"),
        again.alias("again"),
        pl.when(several_servers).then(more + scan).otherwise(several).alias("many"),
        *_outcome(),
        pl.when(one).then(stream).when(c("router").is_null()).then(pl.lit(_SYN_OR_RST)).otherwise(pl.lit(_ICMP)).alias("filter"),
        pl.when(one).then("connection").alias("connection"),
        pl.when(one).then("client").when(~several_clients).then("client_host").alias("client"),
        pl.when(~several_servers).then("server").alias("server"),
        c("failures").alias("events"),
    )


def _outcome() -> tuple[pl.Expr, ...]:
    """Return the texts about the failure and what followed it."""
    nothing = pl.lit("")
    failed_as = {
        attempts.REFUSED: "refused a connection",
        attempts.PROHIBITED: "was blocked by a firewall",
        attempts.UNREACHABLE: "was not reachable",
        attempts.TIMED_OUT: "did not answer",
        attempts.CLOSED_AT_ONCE: "reset a connection at once",
    }
    other = pl.format(" {} had refused the same client just before.", _other_address())
    by_other = pl.when(c("reset_ttl").is_not_null())
    sender = pl.format(_BY_OTHER, "reset_ttl", "accepted_ttl")
    longest = pl.format(" (it went down {} times; this was the longest outage)", "outages")
    waited = pl.format(" The client tried that address only after {}.", duration(c("waited_for")))
    return (
        c("failed_as").replace_strict(failed_as, default="", return_dtype=pl.String).alias("did"),
        pl.when(c("other_frame").is_not_null()).then(other).otherwise(nothing).alias("other"),
        pl.when(c("outages") > 1).then(longest).otherwise(nothing).alias("outages"),
        pl.when(c("number") == attempts.TRIED_LATE).then(waited).otherwise(nothing).alias("waited"),
        by_other.then(sender).otherwise(nothing).alias("sender"),
        by_other.then(sender).otherwise(pl.lit(_IS_RESTART)).alias("restart"),
        by_other.then(pl.lit(_FIND_SENDER)).otherwise(pl.lit(_OVERLAP)).alias("down_remedy"),
        pl.when(c("number") == attempts.PORT_CHECK).then(pl.lit(_PROBE)).otherwise(nothing).alias("probe"),
        pl.when(c("ended_after").is_null())
        .then(pl.lit(_RELAY_OR_FILTER))
        .otherwise(pl.format(_ENDED, duration(c("ended_after"))))
        .alias("accepted_by"),
        pl.when("busy").then(pl.lit(_BUSY)).otherwise(pl.lit(_NOT_LISTENING)).alias("because"),
        pl.when("busy")
        .then(pl.lit(_CHECK_QUEUE))
        .when(c("reset_ttl").is_not_null())
        .then(pl.lit(_FIND_SENDER))
        .otherwise(pl.lit(_CHECK_LISTENER))
        .alias("refused_remedy"),
        pl.when(c("ended_after").is_null()).then(pl.lit(_CHECK_RELAY)).otherwise(pl.lit(_RESTART)).alias("closed_remedy"),
        *_accepted_before(),
    )


_IS_RESTART = " In most cases that is a restart."
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
_PROBE = (
    " That was the only attempt, and it came from the server's own host: many servers connect to their own port before they "
    "listen, to learn whether it is free."
)
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
_OVERLAP = (
    "Have the new process listen before the old one stops (nginx -s reload, systemd socket activation, SO_REUSEPORT, a rolling "
    "update behind a balancer), or have clients retry for at least as long as the outage lasts."
)
_RESTART = (
    "Find out why the server's process ended (see its log at that time). If it was restarted, have the new process listen before "
    "the old one stops (nginx -s reload, systemd socket activation, SO_REUSEPORT), or have clients try again."
)


def _accepted_before() -> tuple[pl.Expr, ...]:
    """Return the texts about a server that had accepted a connection before it refused or ignored another one."""
    was_up = c("accepted_before").is_not_null() & (c("servers") == 1)
    known = pl.when(was_up)
    ago = duration(c("accepted_before"))
    ended = (
        " The server had accepted a connection {} earlier: its process has ended or stopped listening since, or a connection "
        "limit was reached."
    )
    full = "it had accepted a connection {} earlier, so its process has ended, its listen queue is full, or a device drops SYNs"
    return (
        pl.when("busy").then(pl.lit("")).otherwise(known.then(pl.format(ended, ago)).otherwise(pl.lit(""))).alias("before"),
        pl.when(c("next_server").is_not_null())
        .then(pl.format(_ELSEWHERE, "next_server"))
        .when(was_up)
        .then(pl.format(full, ago))
        .otherwise(pl.lit("the server is down or has another address, or something on the path drops the packets"))
        .alias("assumed"),
        pl.when(c("next_server").is_not_null())
        .then(pl.lit(_TRANSLATE_BOTH_WAYS))
        .otherwise(pl.format("{}{}", pl.lit(_LOOK_FOR_SERVER), known.then(pl.lit(_LOOK_AT_QUEUE)).otherwise(pl.lit(""))))
        .alias("timed_out_remedy"),
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
