"""Test tunnels in UDP: packets that are none, tunnels that look alike, and fragments."""

from __future__ import annotations

import pytest

from tests.core.front import by_core
from tests.decode import udp
from tests.decode.decoding import decoded, payloads
from tests.decode.packets import Record, capture, ethernet, ipv4, tcp
from tests.decode.udp import GTP_U, INSIDE, L2TP, NO_TUNNEL, VXLAN, gtp, l2tp, vxlan
from wiredoctor import limits


def _datagram(inside: bytes, port: int, ident: int = 7) -> bytes:
    return ipv4(udp.udp(inside, port), 17, ident=ident)


@pytest.mark.parametrize("what", NO_TUNNEL)
def test_no_tunnel(what: str) -> None:
    port, inside = NO_TUNNEL[what]
    rows, _, state = decoded([Record(_datagram(inside, port), 101)])
    assert not len(rows["frame"])
    assert dict(state.not_analysed) == {"UDP": 1}


@pytest.mark.parametrize("size", [0, 7])
def test_impossible_length(size: int) -> None:
    """As in Wireshark: less than its own header is no UDP."""
    whole = ipv4(udp.udp(vxlan(ethernet(udp.FOUR)), VXLAN, size=size), 17)
    assert dict(decoded([Record(whole, 101)])[2].not_analysed) == {"UDP": 1}


def test_length_ends_the_packet() -> None:
    """What lies behind the length that UDP says is not the tunnel's."""
    inside = vxlan(ethernet(ipv4(tcp(b"hello"), total=0)))
    whole = ipv4(udp.udp(inside, VXLAN) + b"more", 17)
    assert decoded([Record(whole, 101)])[0]["length"].tolist() == [5]


@pytest.mark.parametrize("what", INSIDE)
def test_cut_anywhere(what: str) -> None:
    """16 bytes of a TCP header make a row; before that every cut is counted once (`decoded` checks)."""
    whole = _datagram(INSIDE[what][1], INSIDE[what][0])
    enough = len(whole) - len(tcp(b"hello")) + 16
    rows, _, _ = decoded([Record(whole[:size], 101, len(whole)) for size in range(len(whole))])
    assert rows["frame"].tolist() == list(range(enough + 1, len(whole) + 1))
    assert set(rows["length"].tolist()) == {5}


def test_networks_tell_tunnels_apart() -> None:
    """One packet in two networks of each kind, and without a tunnel."""
    inside = [(VXLAN, vxlan(ethernet(udp.FOUR), n)) for n in (1, 2)] + [(GTP_U, gtp(udp.FOUR, tunnel=n)) for n in (3, 4)]
    inside += [(udp.GENEVE, udp.geneve(udp.FOUR, 0x0800, network=n)) for n in (5, 6)]
    inside += [(L2TP, l2tp(udp.PPP, session=n)) for n in (7, 8)]
    records = [Record(_datagram(i, port), 101) for port, i in inside]
    rows, _, _ = decoded([*records, Record(udp.FOUR, 101)])
    assert len(set(rows["encapsulation"].tolist())) == 9


def test_what_is_inside_says_why_not() -> None:
    arp = vxlan(ethernet(bytes(28), 0x0806))
    other = vxlan(ethernet(ipv4(udp.udp(b"", 53), 17)))
    _, _, state = decoded([Record(_datagram(i, VXLAN), 101) for i in (arp, other)])
    assert dict(state.not_analysed) == {"ARP": 1, "UDP": 1}


def _fragments(payload: bytes, ident: int, at: int = 40) -> list[Record]:
    """Of a datagram, `at` bytes each."""
    pieces = range(0, len(payload), at)
    last = pieces[-1]
    return [
        Record(ipv4(payload[p : p + at], 17, ident=ident, fragment=p // 8 | (0x2000 if p < last else 0)), 101) for p in pieces
    ]


def test_fragments_of_a_tunnel_are_put_together() -> None:
    tunnel = _fragments(udp.udp(vxlan(ethernet(ipv4(tcp(b"x" * 60)))), VXLAN), 1)
    ordinary = _fragments(udp.udp(bytes(150), 53), 2)
    records = [r for pair in zip(tunnel, ordinary, strict=True) for r in pair]
    answer = decoded(records)
    assert payloads(records, answer) == [b"x" * 60]
    assert answer[0]["frame"].tolist() == [2 * len(tunnel) - 1]
    assert dict(answer[2].not_analysed) == {"IP fragment before its datagram was complete": len(tunnel) - 1, "UDP": len(ordinary)}


def test_known_tunnels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.TUNNELS, "value", 3)
    firsts = [_fragments(udp.udp(vxlan(bytes(60)), VXLAN), ident)[0] for ident in range(10)]
    assert len(decoded(firsts)[2].tunnels) == 3


def test_other_udp_is_not_kept() -> None:
    records = [Record(_datagram(bytes(50), 443), 101), *_fragments(udp.udp(bytes(150), 53), 2)]
    rows, read = by_core(*capture(records))
    assert len(rows["frame"]) == 0
    assert read.datagrams.fragments is None
    first = _fragments(udp.udp(vxlan(bytes(60)), VXLAN), 3)[0]
    assert by_core(*capture([*records, first]))[1].datagrams.fragments is not None
