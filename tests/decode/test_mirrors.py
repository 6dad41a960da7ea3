"""Mirror ports send frames in tunnels, and may cut them."""

from __future__ import annotations

import struct

import pytest

from tests.decode import udp as udps
from tests.decode.decoding import decoded
from tests.decode.packets import Record, ethernet, ipv4, ipv6, tcp
from tests.decode.rare import ERSPAN2, gre, tzsp
from tests.decode.udp import geneve, udp, vxlan

IN_MIRRORS = {
    "ERSPAN II": lambda f: ipv4(gre(ERSPAN2 + f, 0x1000, bytes(4), 0x88BE), 47),
    "NVGRE": lambda f: ipv4(gre(f, 0x2000, bytes(4), 0x6558), 47),
    "VXLAN": lambda f: ipv4(udp(vxlan(f), udps.VXLAN), 17),
    "GENEVE": lambda f: ipv4(udp(geneve(f), udps.GENEVE), 17),
    "TZSP": lambda f: ipv4(udp(tzsp(f), 37008), 17),
}


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("way", IN_MIRRORS)
def test_mirrors_that_cut(way: str, six: bool) -> None:
    """Of a frame that the mirror has cut off, what was sent counts by its own IP header, and what is there was captured."""
    segment = tcp(bytes(400))
    whole = ethernet(ipv6(segment), 0x86DD) if six else ethernet(ipv4(segment))
    records = [Record(IN_MIRRORS[way](whole[:size]), 101) for size in (len(whole), 128, 90)]
    rows, oddities, state = decoded(records)
    headers = len(whole) - 400
    assert rows["length"].tolist() == [400] * 3
    assert rows["captured"].tolist() == [400, 128 - headers, 90 - headers]
    assert state.longest_cut == len(records[1].data)
    assert not oddities


def test_other_tunnels_do_not_cut() -> None:
    """No tunnel between hosts cuts packets: what is inside ends with it, whatever its header says."""
    rows, _, state = decoded([Record(ipv4(ipv4(tcp(bytes(400)))[:140], 4), 101)])
    assert (rows["length"].tolist(), rows["captured"].tolist()) == ([100], [100])
    assert state.longest_cut == -1


def test_keys_and_sessions_tell_copies_apart() -> None:
    """One frame on two mirrors: another key, ERSPAN session or VLAN; class of service and truncation are no other mirror."""
    keys = [ipv4(gre(ethernet(ipv4(tcp())), 0x2000, struct.pack(">I", key), 0x6558), 47) for key in (1, 2)]
    heads = (0x10050007, 0x10050008, 0x10060007, 0x1005E407)
    sessions = [ipv4(gre(struct.pack(">II", head, 0) + ethernet(ipv4(tcp())), 0x1000, bytes(4), 0x88BE), 47) for head in heads]
    way = decoded([Record(p, 101) for p in [*keys, *sessions]])[0]["encapsulation"].tolist()
    assert len(set(way)) == 5
    assert way[5] == way[2]
