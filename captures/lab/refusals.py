"""Record connections that ICMP errors refuse: from firewalls and routes of the server, or of a router in front of it.

The recorded "server" is the router for addresses behind it (10.9.2.0/24, fd00:9:2::/64).
"""

from __future__ import annotations

from connects import FINE, REPORTS, TWO_GETS
from scenario import Connection, Find, Lab, over_ipv6, raw_talk, recording

ERRORS = "tcp or icmp or (icmp6 and ip6[40] < 128)"
"""A capture filter without neighbor discovery."""

ATTEMPT = Connection((), closed_by="")
NOT_SAID = {"connect-retry": "it was never connected", "one-sided": "there is nothing that the recording could have missed"}


def ask(lab: Lab, *urls: str, seconds: int = 5) -> None:
    """Request each URL with curl on the client; no response is expected."""
    for url in urls:
        lab.client.run("curl", "-sS", "--max-time", str(seconds), url, check=False)


def failed(*kinds: str) -> tuple[Find, ...]:
    return tuple(Find("connect-failed", kind, None, number) for number, kind in enumerate(kinds))


@recording(
    title="A firewall on the server rejects connections: port unreachable, administratively prohibited, host prohibited",
    at=("client", "server"),
    software=("curl",),
    connections=(ATTEMPT, ATTEMPT, ATTEMPT),
    finds=failed("prohibited", "prohibited", "prohibited"),
    must_not=NOT_SAID,
    expression=ERRORS,
)
def rejected(lab: Lab) -> None:
    """curl requests ports 81, 82 and 83 of the server, for each of which iptables has a REJECT: the first with the default error,
    the others with icmp-admin-prohibited and icmp-host-prohibited."""
    for port, answer in (("81", "icmp-port-unreachable"), ("82", "icmp-admin-prohibited"), ("83", "icmp-host-prohibited")):
        reject = ("-p", "tcp", "--dport", port, "-j", "REJECT", "--reject-with", answer)
        lab.server.run("iptables", "-A", "INPUT", *reject)
    ask(lab, *(f"http://10.9.0.2:{port}/" for port in (81, 82, 83)))


@over_ipv6(
    rejected,
    title="A firewall on the server rejects connections; IPv6",
    at="client",
    connections=(ATTEMPT, ATTEMPT),
    finds=failed("prohibited", "prohibited"),
)
def rejected_ipv6(lab: Lab) -> None:
    """Like rejected: ip6tables answers with icmp6-port-unreachable and icmp6-adm-prohibited."""
    for port, answer in (("81", "icmp6-port-unreachable"), ("82", "icmp6-adm-prohibited")):
        reject = ("-p", "tcp", "--dport", port, "-j", "REJECT", "--reject-with", answer)
        lab.server.run("ip6tables", "-A", "INPUT", *reject)
    ask(lab, *(f"http://[fd00:9::2]:{port}/" for port in (81, 82)))


@recording(
    title="A router has no usable route: a prohibit route, an unreachable route, no route at all, and a blackhole route",
    at=("client", "server"),
    software=("curl",),
    connections=(ATTEMPT, ATTEMPT, ATTEMPT, ATTEMPT),
    finds=failed("prohibited", "unreachable", "unreachable", "timed-out"),
    must_not=NOT_SAID,
    expression=ERRORS,
)
def no_route(lab: Lab) -> None:
    """curl requests four addresses behind a router, which has a prohibit route to the first, an unreachable route to the second,
    none to the third, and a blackhole route to the fourth. curl waits 8 seconds for the fourth."""
    lab.client.run("ip", "route", "add", "10.9.2.0/24", "via", "10.9.0.2")
    lab.server.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    for kind, address in (("prohibit", "10.9.2.1"), ("unreachable", "10.9.2.2"), ("blackhole", "10.9.2.4")):
        lab.server.run("ip", "route", "add", kind, address)
    ask(lab, *(f"http://10.9.2.{number}/" for number in (1, 2, 3, 4)), seconds=8)


@over_ipv6(
    no_route,
    title="A router has no usable route; IPv6",
    at="client",
    connections=(ATTEMPT, ATTEMPT),
    finds=failed("prohibited", "unreachable"),
)
def no_route_ipv6(lab: Lab) -> None:
    """Like no-route: a prohibit route, and none at all."""
    lab.client.run("ip", "-6", "route", "add", "fd00:9:2::/64", "via", "fd00:9::2")
    lab.server.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    lab.server.run("ip", "-6", "route", "add", "prohibit", "fd00:9:2::1")
    ask(lab, "http://[fd00:9:2::1]/", "http://[fd00:9:2::2]/")


@recording(
    title="A connection outlives ICMP errors",
    at="client",
    software=("python",),
    connections=REPORTS,
    finds=(Find("retransmission-stall", "timeout", None, 0, measured=True),),
    must_not={"connect-failed": "it was connected", "slow-response": "the server answered at once"},
    expression=ERRORS,
)
def outlived_error(lab: Lab) -> None:
    """The server rejects the second of two GETs with icmp-host-unreachable, and accepts its retransmission. Linux treats this
    error as temporary and continues (RFC 9293 section 3.9.2.2)."""
    second = ("-m", "statistic", "--mode", "nth", "--every", "3", "--packet", "1")
    requests = ("-p", "tcp", "--dport", "8080", "--tcp-flags", "PSH", "PSH", *second)
    lab.server.run("iptables", "-A", "INPUT", *requests, "-j", "REJECT", "--reject-with", "icmp-host-unreachable")
    raw_talk(lab, [[FINE]], TWO_GETS)
