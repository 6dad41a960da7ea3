"""A connection that was captured before and after address translation (NAT) counts once; the two of a proxy do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

import wiredoctor
from tests.ladders import Packet, ladder_packets, to_pcap
from tests.pipeline import feeding
from tests.pipeline.ladders import FILES, together
from tests.pipeline.processes import is_same, reports
from tests.report.counted import written
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import FORMS, sweep
from wiredoctor.findings import Report
from wiredoctor.report.filter import Filter
from wiredoctor.report.filtered_report import filter_report
from wiredoctor.testing.wire import SYN, Peers

ROUTER = 2_000
"""The time in ns that the router takes."""
RESET = """
  0.000  >  S    mss 1460 {ts}
  0.010  <  S.   mss 1460 {ts}
  0.010  >  .             {ts}
  0.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" {ts}
  0.222  <  R.            {ts}
"""
REFUSED = "  0.000  >  S    mss 1460 ts\n  0.010  <  R.   ack 1\n"


def server_moved(peers: Peers) -> Peers:
    """The connection after the destination was translated, as by a published port."""
    host, _, port = peers.server.rpartition(":")
    first, dot, rest = host.partition(".")
    return replace(peers, server=f"{int(first) + 100}{dot}{rest}:{port}" if dot else f"[fd00:99::{port}]:{port}")


def with_own_numbers(peers: Peers) -> Peers:
    """The same ends with initial sequence numbers that connections of other hosts do not have."""
    more = crc32(peers.client.rpartition(":")[0].encode())
    return replace(peers, isn=tuple((number + more) & 0xFFFFFFFF for number in peers.isn))


def both_legs(packets: Iterable[Packet], after: dict[Peers, Peers], router: int = ROUTER) -> list[Packet]:
    """The packets of these connections before and after the translation, and all others once."""
    made: list[Packet] = []
    for number, one in enumerate(packets):
        packet = replace(one, ip_id=number if one.ip_id is None else one.ip_id)
        legs = [packet]
        if packet.peers in after:
            later = packet.time + (-router if packet.side else router)
            left = packet.time if packet.left is None else packet.left
            legs.append(replace(packet, peers=after[packet.peers], time=later, left=left, ttl=packet.ttl - 1))
        made += reversed(legs) if packet.side else legs
    return sorted(made, key=lambda packet: packet.time)


def nat(text: str, after: dict[int, Peers] | None = None) -> bytes:
    """A capture of a ladder, all of whose connections were translated, or those that begin in these places."""
    packets = ladder_packets(text)
    known = list(dict.fromkeys(packet.peers for packet in packets))
    return to_pcap(
        both_legs(
            packets, {one: server_moved(one) for one in known} if after is None else {known[n]: to for n, to in after.items()}
        )
    )


def host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0]


def counts(report: Report) -> Counter[tuple[object, ...]]:
    found = [f for f in report.findings if f.rule != "duplicate-packets"]
    return Counter((f.rule, f.kind, f.severity, f.exchange, f.client, f.server, f.delay) for f in found)


ALIKE = [
    file
    for file in FILES
    if file.stem
    in (
        *("capture_loss", "offload", "chunked_to_http10", "invalid_chunk", "undecodable_body", "unfinished_transfer_coding"),
        *("websocket_failed", "gateway_error", "idle_close", "keep_alive_disabled", "keep_alive_race", "premature_close"),
        *("foreign_reset", "reset_destroys_response", "redirect_loop", "repeated_auth_challenge", "connect_retry"),
        *("delayed_ack_stall", "retransmission_stall", "unanswered", "zero_window_stall", "late_flush", "tiny_chunks"),
    )
]
"""Files of ladders, each of which is told once, whether or not both legs of its connection were captured."""


RETRIED = """
  1.000  >  S    mss 1460 {ts}
  2.000  >  S    mss 1460 {ts}
  2.010  <  S.   mss 1460 {ts}
  2.010  >  .             {ts}
  2.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" {ts}
  2.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n" {ts}
"""


@pytest.mark.parametrize(
    ("option", "is_dropped", "told"),
    [
        ("ts", True, True),
        ("ts", False, False),  # lost after the translation
        ("", True, False),  # without timestamps, only SYNs that are answered are recognized
        ("", False, False),
    ],
)
def test_a_syn_that_was_not_translated(option: str, is_dropped: bool, told: bool, tmp_path: Path) -> None:
    packets = ladder_packets(RETRIED.replace("{ts}", option))
    moved = server_moved(packets[0].peers)
    kept = [
        packet
        for packet in both_legs(packets, {packets[0].peers: moved})
        if not (is_dropped and packet.peers == moved and packet.time < 1_500_000_000)
    ]
    [retry] = [f for f in analyze_bytes(tmp_path / "c.pcap", to_pcap(kept)).findings if f.rule == "connect-retry"]
    assert ("the host that translates dropped the first SYN" in retry.message) is told


@FORMS
@pytest.mark.parametrize("file", sweep(ALIKE, ALIKE[:1].__contains__), ids=lambda file: file.stem)
def test_every_fault_is_told_once(file: Path, tmp_path: Path) -> None:
    packets = [replace(packet, peers=with_own_numbers(packet.peers)) for packet in together(file)]
    first = {packet.peers: packet for packet in reversed(packets)}
    answered = {packet.peers for packet in packets if packet.flags & SYN and packet.side == 1}
    callers = {host(peers.client) for peers in first if peers not in answered}  # known as gateways by their addresses alone
    after = {
        peers: server_moved(peers)
        for peers in answered
        if first[peers].flags & SYN and first[peers].side == 0 and host(peers.server) not in callers
    }
    once = analyze_bytes(tmp_path / "once.pcap", to_pcap(both_legs(packets, {})))
    legs = both_legs(packets, after, 0)  # of some ladders, the answer to the SYN takes no time
    twice = analyze_bytes(tmp_path / "twice.pcap", to_pcap(legs))
    assert counts(twice) == counts(once)
    assert (twice.connection_count, twice.exchange_count) == (once.connection_count, once.exchange_count)


@pytest.mark.parametrize(
    "text", [RESET.format(ts=""), RESET.format(ts="ts"), REFUSED], ids=["no timestamps", "timestamps", "refused"]
)
def test_the_report(text: str, tmp_path: Path) -> None:
    stamped = f"connection 1, start 0.5, stamp 70 90\n{text}"
    report = analyze_bytes(tmp_path / "nat.pcap", nat(stamped))
    assert counts(report) == counts(analyze_bytes(tmp_path / "once.pcap", to_pcap(ladder_packets(stamped))))
    assert report.connection_count == 1
    line = "captured before and after address translation (NAT), and counted once: 1 connection (10.0.0.2:80 became 110.0.0.2:80)"
    assert line in " ".join(written(report, "text").split())


@pytest.mark.parametrize(
    ("wanted", "findings"),
    [
        (Filter(hosts=("110.0.0.2",)), 1),
        (Filter(hosts=("10.0.0.2",)), 1),
        (Filter(hosts=("110.0.0.3",)), 0),
        (Filter(ports=(8080,)), 1),
        (Filter(ports=(80,)), 1),
        (Filter(ports=(81,)), 0),
    ],
)
def test_filters_know_both_addresses(wanted: Filter, findings: int, tmp_path: Path) -> None:
    path = tmp_path / "nat.pcap"
    path.write_bytes(nat(RESET.format(ts=""), {0: Peers("10.0.0.1:40001", "110.0.0.2:8080", (1000, 5000))}))
    report = filter_report(wiredoctor.analyze(path), wanted)
    assert (len(report.findings), report.connection_count, report.exchange_count) == (findings,) * 3


def test_ipv6_to_ipv4(tmp_path: Path) -> None:
    text = "connection 1, client [2001:db8::1]:4001, server [64:ff9b::a00:2]:80\n" + RESET.format(ts="")
    report = analyze_bytes(tmp_path / "nat64.pcap", nat(text, {0: Peers("192.0.2.1:4001", "10.0.0.2:80", (1000, 5000))}))
    assert report.connection_count == len(report.findings) == 1
    assert dict(report.captures[0].translations) == {("[64:ff9b::a00:2]:80", "10.0.0.2:80"): 1}


OTHER = "connection 2, start {start}, client 10.0.0.3:4001, server 10.0.0.4:80, isn 1000 {isn}\n"


@pytest.mark.parametrize(
    ("start", "isn"), [(0.001, 5001), (0.011, 5000), (0.2, 5000)], ids=["another answer", "answered before", "later"]
)
def test_others_are_not_merged(start: float, isn: int, tmp_path: Path) -> None:
    talk = RESET.format(ts="")
    packets = ladder_packets(f"connection 1\n{talk}{OTHER.format(start=start, isn=isn)}{talk}")
    report = analyze_bytes(tmp_path / "two.pcap", to_pcap([replace(packet, ip_id=7) for packet in packets]))
    assert report.connection_count == len(report.findings) == 2


ALIKE_SYNS = """
connection 1, client 10.0.0.1:40001, server 10.0.0.2:80, isn 1000 5000, stamp 70 90
  0.000  >  S    {data} mss 1460 ts
  0.010  <  S.   mss 1460 ts
  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n" ts
connection 2, start 0.05, client 10.0.0.3:40001, server 10.0.0.4:80, isn 1000 6000, stamp 20 40
  0.000  >  S    {data} mss 1460 ts
  0.010  <  S.   mss 1460 ts
  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n" ts
"""
REQUEST = '"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'


def test_a_syn_that_was_answered_has_no_second_leg(tmp_path: Path) -> None:
    """Whether or not the SYN had data (TCP Fast Open): a router forwards a SYN before it can be answered."""
    for data in ("", REQUEST):
        packets = ladder_packets(ALIKE_SYNS.format(data=data))
        first = packets[0].peers
        sent = [replace(packet, ip_id=7, ttl=64 if packet.peers == first else 63) for packet in packets]
        assert analyze_bytes(tmp_path / "two.pcap", to_pcap(sent)).connection_count == 2


def test_many_connections_with_one_initial_sequence_number(tmp_path: Path) -> None:
    """As of devices that begin with the same number each time, one connection after the other."""
    for data in ("", REQUEST):
        text = "".join(
            f"connection {n}, start {5 * n}, client 10.0.0.{n}:4001, server 10.0.1.2:80, isn 1000 {5000 + 1000 * n}\n"
            f" 0.000 > S {data} mss 1460\n 0.010 < S. mss 1460\n 0.010 > .\n 0.03 > F.\n 0.04 < F.\n"
            for n in range(1, 13)
        )
        assert analyze_bytes(tmp_path / "many.pcap", nat(text)).connection_count == 12


GATEWAY = """
connection 1, client 198.51.100.7:40001, server 10.0.0.2:30080
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /a/order HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.0170  <  P.   "HTTP/1.1 502 Bad Gateway\\r\\nServer: nginx/1.22.1\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
  0.0175  >  F.
  0.0180  <  F.
connection 2, client 10.244.0.5:50002, server 10.96.0.7:80
  0.0020  >  S    mss 1460
  0.0024  <  S.   mss 1460
  0.0024  >  .
  0.0026  >  P.   "GET /a/order HTTP/1.1\\r\\nHost: a\\r\\nX-Forwarded-For: 10.0.0.2\\r\\n\\r\\n"
  0.0160  <  F.
  0.0162  >  F.
"""


def test_a_gateway_between_translations_stays_one(tmp_path: Path) -> None:
    """As on a node of Kubernetes: both addresses change in front, and those of the service behind."""
    front, back = (
        Peers("10.0.0.2:1025", "10.244.0.5:80", (1000, 5000)),
        Peers("10.244.0.5:50002", "10.244.0.9:8080", (2000, 10000)),
    )
    report = analyze_bytes(tmp_path / "node.pcap", nat(GATEWAY, {0: front, 1: back}))
    assert [(f.rule, f.kind) for f in report.findings] == [("no-response", "later"), ("gateway-error", "closed")]


def test_ports_used_again(tmp_path: Path) -> None:
    """The second leg's ports belong later to a connection that was captured once."""
    talk = RESET.format(ts="")
    packets = ladder_packets(
        f"connection 1\n{talk}connection 2, start 9, client 10.0.0.1:40001, server 110.0.0.2:80, isn 77 88\n{talk}"
    )
    first = packets[0].peers
    report = analyze_bytes(tmp_path / "again.pcap", to_pcap(both_legs(packets, {first: server_moved(first)})))
    assert [(f.client, f.server) for f in report.findings] == [(first.client, first.server), (first.client, "110.0.0.2:80")]


@pytest.mark.slow
def test_any_batches_and_processes(tmp_path: Path) -> None:
    text = "".join(
        f"connection {n}, start {n / 100}, client 10.0.{n}.1:4001, server 10.0.{n}.2:80, stamp 70 90\n{RESET.format(ts=ts)}"
        for n, ts in ((n, "ts" if n % 2 else "") for n in range(1, 30))
    )
    path = tmp_path / "nat.pcap"
    path.write_bytes(nat(text))
    assert feeding.report(path, 1) == feeding.report(path)
    assert is_same(reports([path], [1, 2, 5]))
